"""One moment in a maze as a picture, for people."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Scene
from hier.envs.pointmaze.maps import SIZE
from hier.envs.pointmaze.percept import MazePercept
from hier.envs.pointmaze.subgoals import MazeSubgoals
from hier.envs.subgoal import Subgoal
from hier.perception.scene_card import LEVEL_TITLE, compose, fitted

_SIDE = 360
_CELL = _SIDE // SIZE
_WALL, _FREE, _GOAL, _AGENT = (178, 128, 77), (38, 58, 84), (220, 30, 30), (77, 178, 77)
_TARGET = (0, 200, 232)
_SPACE = MazeSubgoals()


def draw_maze(scene: Scene) -> NDArray[np.uint8]:
    """Draw the newest camera picture, the percept's map with the target, and the candidates.

    Argument and result as :meth:`hier.envs.domain.Domain.draw_scene`.
    """
    percept: MazePercept = scene.percept
    pictures = [("camera", percept.frame), ("percept", _plan(percept, scene.subgoal))]
    if scene.level is not None:
        pictures.append((LEVEL_TITLE, scene.level))
    return np.array(compose(scene, [(title, fitted(p, _SIDE)) for title, p in pictures]))


def _plan(percept: MazePercept, subgoal: Subgoal | None) -> NDArray[np.uint8]:
    """The percept's map with agent, goal and target, ``(360, 360, 3)`` uint8."""
    plan = np.where(percept.walls[..., None], _WALL, _FREE).astype(np.uint8)
    plan = np.ascontiguousarray(plan.repeat(_CELL, 0).repeat(_CELL, 1))
    marks = [(percept.goal, _CELL // 5, _GOAL, -1), (percept.position, _CELL // 5, _AGENT, -1)]
    if subgoal is not None:
        marks.append((_SPACE.place(percept, subgoal), _CELL // 3, _TARGET, 2))
    for place, radius, color, thickness in marks:
        middle = int(place[0] * _CELL), int(place[1] * _CELL)
        cv2.circle(plan, middle, radius, color, thickness, cv2.LINE_AA)
    return plan
