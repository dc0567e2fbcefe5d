"""Builds levels of MiniWorld without a screen, or says why that is not possible."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hier.envs.errors import SimulatorError
from hier.envs.rooms.camera import FRAME

_APT = "apt-get install libegl1 libgl1 libglu1-mesa libgl1-mesa-dri"

_compiled = ""  # level whose walls are in OpenGL's display list, of which MiniWorld has but one


def build(level: str) -> Any:
    """A level of MiniWorld, unwrapped, that draws into a small frame buffer of its own.

    Args:
        level: MiniWorld's own id.

    Raises:
        SimulatorError: if a library is missing or no OpenGL can be opened, with the remedy.
    """
    global _compiled
    try:
        import pyglet

        if sys.platform == "linux" and not os.environ.get("DISPLAY"):
            pyglet.options["headless"] = True  # EGL; read once, at pyglet.gl's import
        import miniworld
    except ModuleNotFoundError as error:
        raise SimulatorError(
            f"{level} needs miniworld and pyglet 1.5 ({error}); install them with "
            "pip install 'hier-agent[miniworld]'"
        ) from error
    except Exception as error:  # the loader raises errors of several kinds
        raise SimulatorError(
            f"{level} needs OpenGL with EGL and GLU, and MiniWorld did not load ({error!r}); {_APT}"
        ) from error
    gym.register_envs(miniworld)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # a notice about multisampling
            env: Any = gym.make(
                level, disable_env_checker=True, window_width=320, window_height=240
            ).unwrapped
            # One sample a pixel: twice as fast, and edges keep the colors of what they bound.
            env.obs_fb = miniworld.miniworld.FrameBuffer(FRAME[1], FRAME[0], 1)
    except Exception as error:
        raise SimulatorError(
            f"{level} could not be built: {error!r}; if no OpenGL context was opened: {_APT}"
        ) from error
    _compiled = level
    return env


def mute(env: Any) -> None:
    """Keep a level from drawing at every step; :func:`picture` and :func:`plan` still do."""
    env.render_obs = lambda frame_buffer=None: np.zeros(FRAME, np.uint8)


def picture(env: Any, level: str) -> NDArray[np.uint8]:
    """What the agent sees, ``(60, 80, 3)`` uint8."""
    _compile(env, level)
    return type(env).render_obs(env)


def plan(env: Any, level: str) -> NDArray[np.uint8]:
    """The level from above, ``(240, 320, 3)`` uint8; for people."""
    _compile(env, level)
    return env.render_top_view(env.vis_fb)


def _compile(env: Any, level: str) -> None:
    """Draw the walls into the display list again if another level overwrote it.

    All OpenGL contexts share one display list.
    """
    global _compiled
    if _compiled != level:
        env.shadow_window.switch_to()
        env._render_static()
        _compiled = level
