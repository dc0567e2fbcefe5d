"""The table as one square picture, for planners that look: three cameras and the hand, enlarged."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hier.envs.fetch.camera import AXES, FIELD, MIDDLE, PIXELS
from hier.envs.fetch.percept import FetchPercept

VIEW = 96  # pixels a side of each quarter
_NEAR = 24  # pixels a side of what is enlarged: 17 cm


def collage(percept: FetchPercept) -> NDArray[np.uint8]:
    """The three cameras' pictures and the first one's around the gripper, ``(192, 192, 3)`` uint8.

    The order is by rows from the upper left. The last picture is enlarged, because a thing between
    the fingers takes only a few pixels. The hand's own sense says where the gripper is.
    """
    views = [percept.frame[:, k * PIXELS : (k + 1) * PIXELS] for k in range(len(AXES))]
    quarters = [cv2.resize(view, (VIEW, VIEW), interpolation=cv2.INTER_AREA) for view in views]
    right, up = AXES[0] @ (percept.gripper - MIDDLE) * (PIXELS / FIELD)
    middle = float(PIXELS / 2 + right), float(PIXELS / 2 - up)
    near = cv2.getRectSubPix(views[0], (_NEAR, _NEAR), middle)
    quarters.append(cv2.resize(near, (VIEW, VIEW), interpolation=cv2.INTER_LINEAR))
    rows = [np.hstack(quarters[:2]), np.hstack(quarters[2:])]
    return np.vstack(rows)
