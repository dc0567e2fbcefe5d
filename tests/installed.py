"""Levels of simulators that a machine may lack."""

from importlib.util import find_spec

import pytest

from hier import envs
from hier.envs import SimulatorError


def made(level):
    """An environment of ``level``, reset; a skip where its simulator is absent or cannot draw."""
    family = level.removeprefix("privileged/").partition("-")[0]
    rooms = family == "MiniWorld"
    if family != "BabyAI":
        library, extra = ("miniworld",) * 2 if rooms else ("gymnasium_robotics", "mujoco")
        # Looked for, not imported: importing may ask for a screen.
        if find_spec(library) is None:
            pytest.skip(f"needs the extra [{extra}]")
    env = None if rooms else envs.make_env(level)
    try:
        env = env or envs.make_env(level)  # MiniWorld opens OpenGL when it is built
        env.reset(seed=0)
    except SimulatorError as error:
        pytest.skip(str(error))
    return env
