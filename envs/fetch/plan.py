"""A plan of the table from above and from the side, drawn from places."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hier.envs.fetch.percept import SIDE

PLAN = 240  # pixels a side of each of the two
_SCALE = 270  # pixels a meter
_TABLE = ((1.05, 1.55), (0.40, 1.10), (0.0, 0.40))  # along x, y and z
_MIDDLE = (1.3, 0.75, 0.62)
_PAPER, _WOOD = (228, 230, 234), (196, 186, 170)
_BLOCK, _TARGET, _HAND, _MARK = (222, 184, 0), (220, 30, 30), (60, 64, 72), (0, 200, 232)


def draw_plan(
    gripper: NDArray[np.floating],
    opening: float,
    block: NDArray[np.floating] | None,
    target: NDArray[np.floating],
    mark: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """The table from above (the robot below) beside the same from its left (the robot on the left).

    Args:
        gripper, target: ``(3,)`` places in meters.
        opening: meters between the fingers.
        block: ``(3,)``; ``None`` for none.
        mark: ``(3,)`` place of a subgoal, drawn as a ring.

    Returns:
        ``(240, 480, 3)`` uint8.
    """
    views = []
    # Which coordinate goes to the right, which up, and the sign of the first.
    for right, up, sign in ((1, 0, -1), (0, 2, 1)):
        plan = np.full((PLAN, PLAN, 3), _PAPER, np.uint8)

        def pixel(point: NDArray[np.floating], r: int = right, u: int = up, s: int = sign) -> tuple:
            column = PLAN / 2 + s * (point[r] - _MIDDLE[r]) * _SCALE
            return int(column), int(PLAN / 2 - (point[u] - _MIDDLE[u]) * _SCALE)

        low, high = (pixel(np.array([side[k] for side in _TABLE])) for k in range(2))
        cv2.rectangle(plan, low, high, _WOOD, -1)
        if block is not None:
            half = int(SIDE / 2 * _SCALE)
            x, y = pixel(block)
            cv2.rectangle(plan, (x - half, y - half), (x + half, y + half), _BLOCK, -1)
        cv2.circle(plan, pixel(target), 5, _TARGET, -1, cv2.LINE_AA)
        for side in (-1, 1):  # the fingers open along y
            finger = gripper + np.array([0.0, side * (opening / 2 + 0.01), 0.0])
            x, y = pixel(finger)
            tall = 10 if up == 2 else 3
            cv2.rectangle(plan, (x - 2, y - tall), (x + 2, y + 3), _HAND, -1)
        if mark is not None:
            cv2.circle(plan, pixel(mark), 10, _MARK, 2, cv2.LINE_AA)
        views.append(plan)
    return np.concatenate(views, axis=1)
