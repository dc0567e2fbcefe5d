"""A scripted controller for the gridworld: it goes shortest ways over the percept's own map.

Demonstrations use it, and tests, to distinguish a planner's faults from a controller's.
"""

from __future__ import annotations

import numpy as np

from hier.envs.domain import FAR
from hier.envs.gridworld.cells import WALKABLE
from hier.envs.gridworld.percept import HEADINGS, GridPercept
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.envs.subgoal import Subgoal
from hier.perception.gridworld.grounding import distances

ACTIONS = ("left", "right", "forward", "pick up", "drop", "toggle", "done")  # by number
LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, STOP = range(7)  # MiniGrid's
_ACTS = {"pick up": PICK_UP, "open": TOGGLE, "toggle": TOGGLE, "drop": DROP, "put next to": DROP}
_SPACE = GridworldSubgoals()


class GridScriptedController:
    """Walks to where a subgoal points and does there what its verb says."""

    actions = ACTIONS
    patience = 40

    def action(self, percept: GridPercept, subgoal: Subgoal, rng: np.random.Generator) -> int:
        """The next action, an index into ``actions``; where there is no way, one that moves."""
        distance = distances(percept, _SPACE.target_mask(percept, subgoal))
        x, y = percept.x, percept.y
        best, turn = FAR, 0
        for quarter in (0, 1, 3, 2):  # straight on where ways are equally long
            dx, dy = HEADINGS[(percept.heading + quarter) % 4]
            if distance[y + dy, x + dx] < best:
                best, turn = int(distance[y + dy, x + dx]), quarter
        if best >= FAR:
            # The target is under the agent or cannot be reached: move away from here.
            return FORWARD if WALKABLE[percept.ahead] else int(rng.integers(2))
        if turn:
            return LEFT if turn == 3 else RIGHT
        if best:
            return FORWARD
        if subgoal.verb == "go to" and not WALKABLE[percept.ahead]:
            return STOP  # where it is already: some levels want to be told so
        return _ACTS.get(subgoal.verb, FORWARD)

    def random_action(self, rng: np.random.Generator) -> int:
        """Any of ``actions`` but the last, which ends some levels."""
        return int(rng.integers(STOP))
