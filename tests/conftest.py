"""Options of the test run, and fresh machine code for it."""

from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption(
        "--full",
        action="store_true",
        help="play 100,000 steps and more where perception is compared with the simulator",
    )


def pytest_configure():
    # Numba's cache notices a change of the file a function is in, not of those that it calls.
    root = Path(__file__).resolve().parent.parent
    for package in ("envs", "perception"):
        newest = max(file.stat().st_mtime for file in root.glob("envs/**/*.py"))
        newest = max(newest, *(file.stat().st_mtime for file in root.glob("perception/**/*.py")))
        for compiled in root.glob(f"{package}/**/*.nb[ic]"):
            if compiled.stat().st_mtime < newest:
                compiled.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def full(request):
    return request.config.getoption("--full")
