"""gymnasium-robotics: its simulators by id, pictures of them on machines without a screen, and
what their environments share.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import os
import sys
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

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


class LevelCamera:
    """Takes pictures of one level, without perspective; a base for cameras.

    It has a simulator of its own, into which states are copied: an OpenGL context is a scarce thing
    and serves all environments of the level in this process.

    Args:
        level: id of the level in gymnasium-robotics.
        field: meters seen up and down.
        side: of a picture, in pixels.

    Raises:
        SimulatorError: if no picture can be taken on this machine.
    """

    def __init__(self, level: str, field: float, side: int):
        import mujoco

        self._mujoco = mujoco
        simulator: Any = build_simulator(level).unwrapped
        self._simulator, model = simulator, simulator.model
        model.vis.global_.orthographic = 1
        model.vis.global_.fovy = field  # of an orthographic camera: its height in meters
        model.vis.quality.shadowsize = 0
        self._prepare(model)
        self._renderer = open_renderer(level, model, side, side)

    def _prepare(self, model: Any) -> None:
        """Change how the level looks, before anything is drawn."""

    def _view(self, middle: Any, distance: float, azimuth: float, elevation: float) -> Any:
        """A point of view: what it looks at, from how many meters, and its angles in degrees."""
        view = self._mujoco.MjvCamera()
        view.type = self._mujoco.mjtCamera.mjCAMERA_FREE
        view.lookat[:] = middle
        view.distance, view.azimuth, view.elevation = distance, azimuth, elevation
        return view

    def _pictures(self, views: Sequence[Any]) -> list[NDArray[np.uint8]]:
        """The simulator's present state from each of ``views``."""
        data = self._simulator.data
        self._mujoco.mj_forward(self._simulator.model, data)
        found = []
        for view in views:
            self._renderer.update_scene(data, view)
            found.append(self._renderer.render())
        return found


class RoboticsEnv(gym.Env):
    """A level of gymnasium-robotics that is seen by a slow camera; a base for environments.

    It is no ``gym.Wrapper``: SB3 would take the goals of what is inside for its own.

    Args:
        env: the level, under a time limit.
        privileged: show the simulator's state instead of pictures.
        frame: shape of a picture.
        every: control steps between two pictures.
    """

    render_mode = "rgb_array"

    def __init__(self, env: gym.Env, privileged: bool, frame: tuple[int, ...], every: int):
        self.env = env
        self.simulator: Any = env.unwrapped
        self.action_space = env.action_space
        self.privileged = privileged
        self._every = every
        self._frame = np.zeros(frame, np.uint8)
        self._age = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray], dict[str, Any]]:
        """Start an episode; the same seed gives the same one as in the plain level.

        Raises:
            SimulatorError: if no picture can be taken on this machine.
        """
        super().reset(seed=seed)
        self.env.reset(seed=seed, options=options)
        self._age = -1  # of a picture that is due now
        return self._observation(), {}

    def close(self) -> None:
        """Close the simulator; cameras stay for other environments."""
        self.env.close()

    @property
    def max_steps(self) -> int:
        """Steps after which an episode ends."""
        return int(self.env.get_wrapper_attr("_max_episode_steps"))

    @abstractmethod
    def _observation(self) -> dict[str, NDArray]:
        """What the agent gets after a step or at the start."""

    @abstractmethod
    def _take_picture(self) -> NDArray[np.uint8]:
        """A picture of the present state."""

    def _newest_picture(self) -> dict[str, NDArray]:
        """``image`` and ``frame_age`` of the observation after one more step."""
        self._age += 1
        if self._age in (0, self._every):
            self._frame = self._take_picture()
            self._age = 0
        return {"image": self._frame.copy(), "frame_age": np.array([self._age])}
