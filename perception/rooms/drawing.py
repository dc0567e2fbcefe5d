"""One moment in a room as a picture, for people; and the percept's map, for planners."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Scene
from hier.envs.rooms.maps import CELL, SIZE, center
from hier.envs.rooms.percept import AGENT_RADIUS, RADIUS, RoomsPercept, Thing
from hier.envs.rooms.subgoals import Explore, RoomsSubgoals
from hier.envs.subgoal import Subgoal
from hier.perception.scene_card import compose

_SIDE = 320
_SHOWN = 64  # cells a side of the map that are drawn; hardly a room reaches beyond
_CELL, _SMALL = _SIDE // _SHOWN, 3  # pixels, for people and for planners
_CELLS = np.array([(206, 206, 202), (255, 255, 255), (90, 92, 98)], np.uint8)  # as maps' codes
_AGENT, _TARGET, _EDGE = (20, 20, 20), (0, 170, 200), (255, 130, 200)
_COLORS = {
    "blue": (30, 60, 230), "green": (20, 160, 40), "grey": (120, 120, 120),
    "purple": (112, 39, 195), "red": (220, 30, 30), "yellow": (225, 200, 0),
}  # fmt: skip
_SPACE = RoomsSubgoals()


def draw_rooms(scene: Scene) -> NDArray[np.uint8]:
    """Draw the first-person picture, the percept's map with the target, and the candidates.

    Argument and result as :meth:`hier.envs.domain.Domain.draw_scene`.
    """
    percept: RoomsPercept = scene.percept
    pictures = [("view", percept.frame), ("percept", _plan(percept, scene.subgoal, _CELL))]
    return np.array(compose(scene, pictures, _SIDE))


def draw_map(percept: RoomsPercept) -> NDArray[np.uint8]:
    """The percept's map for planners, ``(192, 192, 3)`` uint8, 32 m a side and north up.

    The start is a cross at the middle, the agent an arrow; balls are round, boxes square, keys
    triangles. What is carried is framed, ahead of the agent; dots are places to explore. What lies
    beyond is drawn at the border.
    """
    return _plan(percept, None, _SMALL)


def _plan(percept: RoomsPercept, subgoal: Subgoal | None, cell: int) -> NDArray[np.uint8]:
    """The percept's map with all that is known and the target, ``cell`` pixels a cell."""
    edge = (SIZE - _SHOWN) // 2
    cells = percept.cells[edge : SIZE - edge, edge : SIZE - edge]
    plan = np.ascontiguousarray(_CELLS[cells].repeat(cell, 0).repeat(cell, 1))
    start = _pixel((0.0, 0.0), cell)
    cv2.drawMarker(plan, start, _AGENT, cv2.MARKER_TILTED_CROSS, 2 * cell, 1)
    for candidate in _SPACE.candidates(percept):
        if isinstance(candidate, Explore):
            middle = _pixel(center((candidate.row, candidate.column)), cell)
            cv2.circle(plan, middle, cell, _EDGE, -1, cv2.LINE_AA)
    for thing in percept.objects:
        _draw_thing(plan, thing.thing, thing.place, cell)
    ahead = np.array([np.cos(percept.heading), np.sin(percept.heading)])
    if percept.carrying is not None:
        away = AGENT_RADIUS + RADIUS[percept.carrying[1]] + 2 * CELL  # so that the arrow shows
        _draw_thing(plan, percept.carrying, percept.position + away * ahead, cell, framed=True)
    tail, tip = (_pixel(percept.position + far * ahead, cell) for far in (-CELL, 2 * CELL))
    cv2.arrowedLine(plan, tail, tip, _AGENT, 2, cv2.LINE_AA, tipLength=0.5)
    place = None if subgoal is None else _SPACE.place(percept, subgoal)
    if place is not None:
        cv2.circle(plan, _pixel(place, cell), 3 * cell, _TARGET, 2, cv2.LINE_AA)
    return plan


def _draw_thing(
    plan: NDArray[np.uint8],
    thing: Thing,
    place: Sequence[float] | NDArray[np.floating],
    cell: int,
    framed: bool = False,
) -> None:
    color, kind = thing
    x, y = _pixel(place, cell)
    r = round(1.4 * cell)
    if kind == "key":
        corners = np.array([(x, y - r), (x + r, y + r), (x - r, y + r)])
        cv2.fillPoly(plan, [corners], _COLORS[color], cv2.LINE_AA)
    elif kind == "box":
        cv2.rectangle(plan, (x - r, y - r), (x + r, y + r), _COLORS[color], -1)
    else:
        cv2.circle(plan, (x, y), r, _COLORS[color], -1, cv2.LINE_AA)
    if framed:
        cv2.rectangle(plan, (x - r - 1, y - r - 1), (x + r + 1, y + r + 1), _AGENT, 1)


def _pixel(place: Sequence[float] | NDArray[np.floating], cell: int) -> tuple[int, int]:
    """Column and row of a place on a plan, as OpenCV counts; on its border what lies beyond."""
    row, column = ((_SHOWN / 2 - float(v) / CELL) * cell for v in place)
    last = _SHOWN * cell - 1
    return min(max(int(column), 0), last), min(max(int(row), 0), last)
