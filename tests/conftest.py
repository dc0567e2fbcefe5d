"""Options of the test run."""

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--full",
        action="store_true",
        help="play 100,000 steps and more where perception is compared with the simulator",
    )


@pytest.fixture(scope="session")
def full(request):
    return request.config.getoption("--full")
