"""A maze's expert: the next stop on the shortest way, by the simulator's own map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hier.envs.pointmaze.maps import Cell, cell_at, steps_to
from hier.envs.pointmaze.percept import MazePercept
from hier.envs.pointmaze.subgoals import REACH_GOAL, GoToCell
from hier.envs.subgoal import Subgoal


class MazeExpert:
    """Names the candidate that lies on the shortest way to the goal.

    Args:
        walls: ``(12, 12)`` bool, the simulator's map.
        position, goal: ``(2,)`` places ``(column, row)`` in the simulator now.
    """

    def __init__(
        self,
        walls: NDArray[np.bool_],
        position: NDArray[np.floating],
        goal: NDArray[np.floating],
    ):
        self.walls = walls
        self.here = cell_at(walls, position)
        self.goal = cell_at(walls, goal)

    def subgoal(self, percept: MazePercept, candidates: Sequence[Subgoal]) -> Subgoal | None:
        """The goal itself where that is offered, else the best stop; ``None`` if none is free."""
        if REACH_GOAL in candidates:
            return REACH_GOAL
        cells = {(g.row, g.column): g for g in candidates if isinstance(g, GoToCell)}
        free = [cell for cell in cells if not self.walls[cell]]
        return cells[min(free, key=self._length)] if free else None

    def _length(self, cell: Cell) -> int:
        return int(steps_to(self.walls, self.here)[cell] + steps_to(self.walls, self.goal)[cell])
