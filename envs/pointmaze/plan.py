"""A plan of a maze from above, drawn from its walls and places."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_WALL, _FREE, _GOAL, _AGENT = (178, 128, 77), (38, 58, 84), (220, 30, 30), (77, 178, 77)
_MARK = (0, 200, 232)


def draw_plan(
    walls: NDArray[np.bool_],
    position: NDArray[np.floating],
    goal: NDArray[np.floating],
    scale: int,
    mark: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """A maze from above, ``(rows * scale, columns * scale, 3)`` uint8.

    Args:
        walls: ``(rows, columns)`` bool.
        position, goal: ``(2,)`` places of the agent and the goal, in cells.
        scale: pixels a cell.
        mark: ``(2,)`` place of a subgoal, drawn as a ring.
    """
    plan = np.where(walls[..., None], _WALL, _FREE).astype(np.uint8)
    plan = np.ascontiguousarray(plan.repeat(scale, 0).repeat(scale, 1))
    marks = [(goal, scale // 5, _GOAL, -1), (position, scale // 5, _AGENT, -1)]
    if mark is not None:
        marks.append((mark, scale // 3, _MARK, 2))
    for place, radius, color, thickness in marks:
        middle = int(place[0] * scale), int(place[1] * scale)
        cv2.circle(plan, middle, radius, color, thickness, cv2.LINE_AA)
    return plan
