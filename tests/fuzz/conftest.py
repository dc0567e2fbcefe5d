"""A few examples, always the same ones, in the suite; many new ones by ``make fuzz``."""

import os
import resource

import psutil
import pytest
from hypothesis import HealthCheck, settings

_ALWAYS = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile("short", max_examples=25, derandomize=True, database=None, **_ALWAYS)
settings.register_profile("long", max_examples=int(os.environ.get("FUZZ", 2000)), **_ALWAYS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


@pytest.fixture(autouse=True)
def _little_memory():
    """A file that claims to be huge must not take the machine's memory."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    now = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (now + 3 * 2**30, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
