"""One moment in a room as a picture: what is seen, known, pursued and considered."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.rooms.maps import CELL, SIZE
from envs.rooms.percept import RoomsPercept
from envs.rooms.subgoals import RoomsSubgoals
from envs.subgoal import Subgoal
from perception.scene_card import LEVEL_TITLE, pictures_in_a_row, write_card

_SIDE, _CARD = 320, 340
_CELL = _SIDE // SIZE
_CELLS = np.array([(206, 206, 202), (255, 255, 255), (90, 92, 98)], np.uint8)  # as maps' codes
_AGENT, _TARGET = (20, 20, 20), (0, 170, 200)
_COLORS = {
    "blue": (30, 60, 230), "green": (20, 160, 40), "grey": (120, 120, 120),
    "purple": (112, 39, 195), "red": (220, 30, 30), "yellow": (225, 200, 0),
}  # fmt: skip
_SPACE = RoomsSubgoals()


def draw_rooms(
    percept: RoomsPercept,
    subgoal: Subgoal | None,
    candidates: Sequence[Subgoal] = (),
    log_probs: NDArray[np.floating] | None = None,
    *,
    caption: str = "",
    level: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Draw the first-person picture, the percept's map with the target, and the candidates.

    Arguments and result as :meth:`envs.domain.Domain.draw_scene`.
    """
    pictures = [("view", percept.frame), ("percept", _plan(percept, subgoal))]
    if level is not None:
        pictures.append((LEVEL_TITLE, level))
    canvas, corner = pictures_in_a_row(pictures, _SIDE, _CARD)
    write_card(
        canvas, corner, (12, caption), subgoal, candidates, log_probs,
        size=14, mission=percept.mission, spacing=19,
    )  # fmt: skip
    return np.array(canvas)


def draw_map(percept: RoomsPercept) -> NDArray[np.uint8]:
    """The percept's map for planners, 40 m a side and north up, ``(320, 320, 3)`` uint8."""
    return _plan(percept, None)


def _plan(percept: RoomsPercept, subgoal: Subgoal | None) -> NDArray[np.uint8]:
    """The percept's map with agent, objects and target, ``(320, 320, 3)`` uint8."""
    plan = np.ascontiguousarray(_CELLS[percept.cells].repeat(_CELL, 0).repeat(_CELL, 1))
    for thing in percept.objects:
        cv2.circle(plan, _pixel(thing.place), _CELL, _COLORS[thing.color], -1, cv2.LINE_AA)
    ahead = np.array([np.cos(percept.heading), np.sin(percept.heading)])
    tip = _pixel(percept.position + ahead)
    cv2.arrowedLine(plan, _pixel(percept.position), tip, _AGENT, 2, cv2.LINE_AA, tipLength=0.5)
    place = None if subgoal is None else _SPACE.place(percept, subgoal)
    if place is not None:
        cv2.circle(plan, _pixel(place), 2 * _CELL, _TARGET, 2, cv2.LINE_AA)
    return plan


def _pixel(place: Sequence[float] | NDArray[np.floating]) -> tuple[int, int]:
    """Column and row of a place, as OpenCV counts."""
    row, column = ((SIZE / 2 - float(v) / CELL) * _CELL for v in place)
    return int(column), int(row)
