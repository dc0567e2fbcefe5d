"""A scripted controller for mazes: along the corridors, by force toward a wanted speed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hier.envs.pointmaze.maps import Cell, cell_at, center, is_straight, neighbors, steps_to
from hier.envs.pointmaze.percept import MazePercept
from hier.envs.pointmaze.subgoals import MazeSubgoals
from hier.envs.subgoal import Subgoal

_PACE = 3.0  # cells a second wanted, per cell that is left
_FASTEST = 2.5  # cells a second; faster, it is thrown past corners
_FORCE = 1.0  # of the actuator, per cell a second that is wanted beyond the present speed


class MazeScriptedController:
    """Pushes the ball where a subgoal points; implements :class:`.ScriptedController`."""

    actions: tuple[str, ...] = ()  # forces are no choice among a few
    patience = 150

    def action(
        self, percept: MazePercept, subgoal: Subgoal, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """The next force, ``(2,)`` float32 in [-1, 1] to the right and up."""
        wanted = np.clip(_PACE * (self._aim(percept, subgoal) - percept.position), -1, 1)
        force = _FORCE * (_FASTEST * wanted - percept.velocity)
        return np.clip(force * (1, -1), -1, 1).astype(np.float32)

    def random_action(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Any force."""
        return rng.uniform(-1, 1, 2).astype(np.float32)

    @staticmethod
    def _aim(percept: MazePercept, subgoal: Subgoal) -> NDArray[np.float32]:
        """The place to head for: the target, or the corner where the way to it bends."""
        target = MazeSubgoals.place(percept, subgoal)
        walls, here = percept.walls, percept.cell
        there: Cell = cell_at(walls, target)
        if is_straight(walls, here, there):
            return target
        steps = steps_to(walls, there)
        corner = here
        while corner != there:
            onward = min(neighbors(walls, corner), key=lambda cell: steps[cell], default=corner)
            if steps[onward] >= steps[corner] or not is_straight(walls, here, onward):
                break
            corner = onward
        return center(corner)
