"""Three calibrated cameras on the table, without perspective, at 7 mm a pixel.

They look at the robot from across the table, so that the arm comes from behind, and from far
enough apart that two of them give a place in space.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.envs.robotics import LevelCamera

PIXELS = 128  # a side of each picture
FIELD = 0.9  # meters seen each way
MIDDLE = np.array([1.3, 0.75, 0.6])  # of what every camera sees
# Degrees of azimuth and elevation: the first looks past palm and fingers at a block that is held,
# the last past a hand that stands before the target.
VIEWS = ((180.0, -15.0), (180.0, -50.0), (135.0, -30.0))
FRAME = (PIXELS, PIXELS * len(VIEWS), 3)
FRAME_EVERY = 2  # control steps between two pictures
FRAME_SECONDS = FRAME_EVERY * 0.04
YELLOW = (1.0, 0.85, 0.0, 1.0)
_UNSEEN = ("head_pan_link", "head_tilt_link", "laser_link")  # yet a third of what is drawn


def _axes(azimuth: float, elevation: float) -> NDArray[np.float64]:
    a, e = np.deg2rad((azimuth, elevation))
    forward = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.array([forward[1], -forward[0], 0.0]) / np.cos(e)
    return np.stack([right, np.cross(right, forward)])


AXES = np.stack([_axes(*view) for view in VIEWS])  # (3, 2, 3): right and up of each, unit vectors


class Camera(LevelCamera):
    """Takes pictures of one kind of task; argument and errors as :class:`.LevelCamera`."""

    def __init__(self, level: str):
        super().__init__(level, FIELD, PIXELS)
        self._views = [self._view(MIDDLE, 3.0, *angles) for angles in VIEWS]

    def _prepare(self, model: Any) -> None:
        names = self._simulator._model_names
        # Aids that show no thing, the robot's own red button, and what no picture shows.
        model.geom_rgba[model.geom_rgba[:, 3] < 0.9, 3] = 0.0
        for part in ("estop_link", *_UNSEEN):
            model.geom_rgba[names.geom_name2id[f"robot0:{part}"], 3] = 0.0
        if self._simulator.has_object:  # as grey as the floor unless it is painted
            block = names.geom_name2id["object0"]
            model.mat_rgba[model.geom_matid[block]] = YELLOW
        self._target = names.site_name2id["target0"]
        self._floor = model.body_pos[model.site_bodyid[self._target]].copy()
        # One sample a pixel: twice as fast, and edges keep the colors of what they bound.
        model.vis.quality.offsamples = 0

    def picture(
        self, positions: NDArray[np.floating], target: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """The scene from all sides.

        Args:
            positions: ``(nq,)`` of the simulator's joints.
            target: ``(3,)`` place of the target.

        Returns:
            ``(128, 384, 3)`` uint8, in the order of :data:`VIEWS`.
        """
        self._simulator.data.qpos[:] = positions
        self._simulator.model.site_pos[self._target] = target - self._floor
        return np.hstack(self._pictures(self._views))


@lru_cache
def camera_of(level: str) -> Camera:
    """The cameras at ``level``, one set per process; raises like :class:`Camera`."""
    return Camera(level)
