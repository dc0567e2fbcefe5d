"""Options of the test run."""

import os
import sys

import pytest

# Tests run side by side, one process per core: a second thread would only wait for another's core.
# Set before anything imports torch or numba; processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption(
        "--full",
        action="store_true",
        help="play 100,000 steps and more where perception is compared with the simulator",
    )


@pytest.fixture(scope="session")
def full(request):
    return request.config.getoption("--full")


@pytest.fixture(autouse=True)
def _one_thread():
    """A run sets the threads that it is configured with, for the whole process."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
