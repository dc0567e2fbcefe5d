"""A few examples, always the same ones, in the suite; many new ones by ``make fuzz``."""

import os

from hypothesis import HealthCheck, settings

_ALWAYS = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile("short", max_examples=25, derandomize=True, database=None, **_ALWAYS)
settings.register_profile("long", max_examples=int(os.environ.get("FUZZ", 2000)), **_ALWAYS)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
