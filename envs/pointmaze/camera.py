"""A camera above a maze, calibrated: 10 pixels a meter, straight down, without perspective."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.envs.robotics import build_simulator, open_renderer

PIXELS = 10  # a meter, which is a cell
FIELD = 12  # meters seen each way, around the middle of the maze
FRAME = (FIELD * PIXELS, FIELD * PIXELS, 3)
FRAME_EVERY = 20  # control steps (of 10 ms) between two pictures


class Camera:
    """Takes pictures of one kind of maze.

    It has a simulator of its own, into which states are copied: an OpenGL context is a scarce thing
    and serves all environments of the level in this process.

    Args:
        level: id of the maze in gymnasium-robotics.

    Raises:
        SimulatorError: if no picture can be taken on this machine.
    """

    def __init__(self, level: str):
        import mujoco

        self._mujoco = mujoco
        simulator: Any = build_simulator(level).unwrapped
        self._simulator = simulator
        model = simulator.model
        model.vis.global_.orthographic = 1
        model.vis.global_.fovy = FIELD  # of an orthographic camera: its height in meters
        model.vis.quality.shadowsize = 0
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FREE
        self._view.lookat[:] = 0.0
        self._view.distance, self._view.azimuth, self._view.elevation = 10.0, 90.0, -90.0
        self._renderer = open_renderer(level, model, FRAME[0], FRAME[1])

    def picture(
        self, position: NDArray[np.floating], goal: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """The maze with agent and goal at these simulator coordinates; ``(120, 120, 3)`` uint8."""
        simulator = self._simulator
        simulator.data.qpos[:2] = position
        simulator.model.site_pos[simulator.target_site_id][:2] = goal
        self._mujoco.mj_forward(simulator.model, simulator.data)
        self._renderer.update_scene(simulator.data, self._view)
        return self._renderer.render()


@lru_cache
def camera_of(level: str) -> Camera:
    """The camera above ``level``, one per process; raises like :class:`Camera`."""
    return Camera(level)
