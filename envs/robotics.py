"""gymnasium-robotics: its simulators by id, and pictures of them on machines without a screen."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import os
import sys
from typing import Any

import gymnasium as gym

from hier.envs.errors import SimulatorError


def build_simulator(level: str, **options: Any) -> gym.Env:
    """An environment of gymnasium-robotics.

    Args:
        level: its id there.
        options: further arguments of ``gym.make``.

    Raises:
        SimulatorError: if the extra ``mujoco`` is not installed, or the simulator fails.
    """
    _draw_without_screen()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a notice about other hands
            import gymnasium_robotics
        import mujoco  # noqa: F401

        gym.register_envs(gymnasium_robotics)
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        raise SimulatorError(
            f"{level} needs gymnasium-robotics and mujoco ({error}); install them with "
            "pip install 'hier-agent[mujoco]'"
        ) from error
    try:
        return gym.make(level, disable_env_checker=True, **options)
    except Exception as error:
        raise SimulatorError(f"{level} could not be built: {error!r}") from error


def _draw_without_screen() -> None:
    """Make MuJoCo draw by EGL where there is no screen and ``MUJOCO_GL`` is not set."""
    if sys.platform != "linux" or os.environ.get("DISPLAY") or "MUJOCO_GL" in os.environ:
        return
    os.environ["MUJOCO_GL"] = "egl"
    chosen = sys.modules.get("mujoco.gl_context")
    if chosen is not None:  # another import has loaded it with the wrong choice
        with contextlib.suppress(Exception):  # without EGL the renderer raises a clear error
            importlib.reload(chosen)


def open_renderer(level: str, model: Any, height: int, width: int) -> Any:
    """A ``mujoco.Renderer`` that is closed when the process ends.

    Args:
        level: id of what is rendered, for the message.
        model: MuJoCo model.
        height, width: of a picture, in pixels.

    Raises:
        SimulatorError: if no picture can be taken on this machine.
    """
    import mujoco

    try:
        renderer = mujoco.Renderer(model, height, width)
    except Exception as error:  # drivers raise errors of all kinds
        raise SimulatorError(
            f"{level} cannot be seen: MuJoCo opened no OpenGL context ({error!r}); on a "
            "machine without a screen set MUJOCO_GL=egl and install libegl1 and "
            f"libgl1-mesa-dri, or play privileged/{level}, which needs no pictures"
        ) from error
    atexit.register(renderer.close)  # while its libraries are still there
    return renderer
