"""One moment in a maze as a picture, for people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Scene
from hier.envs.pointmaze.maps import SIZE
from hier.envs.pointmaze.percept import MazePercept
from hier.envs.pointmaze.plan import draw_plan
from hier.envs.pointmaze.subgoals import MazeSubgoals
from hier.perception.scene_card import compose

_SIDE = 360
_SPACE = MazeSubgoals()


def draw_maze(scene: Scene) -> NDArray[np.uint8]:
    """Draw the newest camera picture, the percept's map with the target, and the candidates.

    Argument and result as :meth:`hier.envs.domain.Domain.draw_scene`.
    """
    percept: MazePercept = scene.percept
    mark = None if scene.subgoal is None else _SPACE.place(percept, scene.subgoal)
    plan = draw_plan(percept.walls, percept.position, percept.goal, _SIDE // SIZE, mark)
    pictures = [("camera", percept.frame), ("percept", plan)]
    return np.array(compose(scene, pictures, _SIDE))
