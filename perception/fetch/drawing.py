"""One moment at the table as a picture, for people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Scene
from hier.envs.fetch.percept import FetchPercept
from hier.envs.fetch.plan import PLAN, draw_plan
from hier.envs.fetch.subgoals import FetchSubgoals
from hier.perception.scene_card import compose

_SPACE = FetchSubgoals()


def draw_table(scene: Scene) -> NDArray[np.uint8]:
    """Draw the newest pictures, the percept's plan with the subgoal's place, and the candidates.

    Argument and result as :meth:`hier.envs.domain.Domain.draw_scene`.
    """
    percept: FetchPercept = scene.percept
    mark = None if scene.subgoal is None else _SPACE.place(percept, scene.subgoal)
    known = draw_plan(percept.gripper, percept.opening, percept.block, percept.target, mark)
    pictures = [("cameras", percept.frame), ("percept", known)]
    return np.array(compose(scene, pictures, 2 * PLAN, stacked=True))
