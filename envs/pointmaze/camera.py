"""A camera above a maze, calibrated: 10 pixels a meter, straight down, without perspective."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hier.envs.robotics import LevelCamera

PIXELS = 10  # a meter, which is a cell
FIELD = 12  # meters seen each way, around the middle of the maze
FRAME = (FIELD * PIXELS, FIELD * PIXELS, 3)
FRAME_EVERY = 20  # control steps (of 10 ms) between two pictures


class Camera(LevelCamera):
    """Takes pictures of one kind of maze; argument and errors as :class:`.LevelCamera`."""

    def __init__(self, level: str):
        super().__init__(level, FIELD, FRAME[0])
        self._from_above = self._view(0.0, 10.0, 90.0, -90.0)

    def picture(
        self, position: NDArray[np.floating], goal: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """The maze with agent and goal at these simulator coordinates; ``(120, 120, 3)`` uint8."""
        simulator = self._simulator
        simulator.data.qpos[:2] = position
        simulator.model.site_pos[simulator.target_site_id][:2] = goal
        (picture,) = self._pictures([self._from_above])
        return picture


@lru_cache
def camera_of(level: str) -> Camera:
    """The camera above ``level``, one per process; raises like :class:`Camera`."""
    return Camera(level)
