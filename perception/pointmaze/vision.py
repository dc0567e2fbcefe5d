"""What a picture from above shows, by color: walls, goal and agent (OpenCV)."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hier.envs.errors import PerceptionError
from hier.envs.pointmaze.camera import PIXELS
from hier.envs.pointmaze.maps import SIZE, as_map

# Hue (OpenCV's half degrees), saturation and value: lowest and highest of each color.
_WALL = ((8, 80, 60), (25, 255, 255))
_AGENT = ((45, 60, 40), (75, 255, 255))
_GOAL = (((0, 100, 40), (6, 255, 255)), ((165, 100, 40), (180, 255, 255)))


class Scene(NamedTuple):
    """A maze without its agent.

    Attributes:
        walls: ``(12, 12)`` bool.
        corner: ``(2,)`` float32 pixel coordinates (right, down) of the maze's upper left corner.
        goal: ``(2,)`` float32 place of the goal, in cells from that corner.
    """

    walls: NDArray[np.bool_]
    corner: NDArray[np.float32]
    goal: NDArray[np.float32]


def see_scene(frame: NDArray[np.uint8]) -> Scene:
    """Walls and goal of a picture.

    Args:
        frame: ``(120, 120, 3)`` uint8 RGB from :class:`hier.envs.pointmaze.camera.Camera`.

    Raises:
        PerceptionError: if there is no maze, or no goal in it.
    """
    colors = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
    walls = cv2.inRange(colors, *_WALL)
    width, height = cv2.boundingRect(walls)[2:]
    columns, rows = round(width / PIXELS), round(height / PIXELS)
    if not (3 <= rows <= SIZE and 3 <= columns <= SIZE):
        raise PerceptionError(
            f"the picture shows walls over {height} x {width} pixels, which is no maze of 3 to "
            f"{SIZE} cells a side; the camera must look straight down on all of it"
        )
    # The outline is sharp to a pixel only; the middle of the maze is the middle of the picture.
    size = np.array([columns, rows]) * PIXELS
    corner = ((np.array(frame.shape[1::-1]) - size) / 2).astype(np.float32)
    x, y = corner.astype(int)
    inside = walls[y : y + rows * PIXELS, x : x + columns * PIXELS]
    shares = inside.reshape(rows, PIXELS, columns, PIXELS).mean(axis=(1, 3)) / 255
    low, high = (cv2.inRange(colors, *limits) for limits in _GOAL)  # red lies at both ends
    goal = _middle(cv2.bitwise_or(low, high))
    if goal is None:
        raise PerceptionError("the picture shows no red goal; the camera must see the whole maze")
    return Scene(as_map(shares > 0.5), corner, _in_cells(goal, corner))


def see_agent(frame: NDArray[np.uint8], corner: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The agent's place in cells from the maze's ``corner``, ``(2,)``; ``None`` where it is hidden.

    Args:
        frame: as for :func:`see_scene`.
        corner: of the scene.
    """
    found = _middle(cv2.inRange(cv2.cvtColor(frame, cv2.COLOR_RGB2HSV), *_AGENT))
    return None if found is None else _in_cells(found, corner)


def _in_cells(point: NDArray[np.float32], corner: NDArray[np.float32]) -> NDArray[np.float32]:
    return ((point - corner) / PIXELS).astype(np.float32)


def _middle(mask: Any) -> NDArray[np.float32] | None:
    """Centroid (right, down) of what a mask marks, in pixel coordinates; ``None`` for nothing."""
    moments = cv2.moments(mask, binaryImage=True)
    if not moments["m00"]:
        return None
    middle = [moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]]
    return np.array(middle, np.float32) + np.float32(0.5)  # a pixel's middle, not its corner
