"""A maze's percept: the map, where the agent is, and where the goal is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hier.envs.missions import MissionCodec
from hier.envs.pointmaze.maps import Cell, cell_at

MISSION = "reach the red goal"
MISSION_CODEC = MissionCodec(("", *MISSION.split()), length=4)


@dataclass(frozen=True, slots=True)
class MazePercept:
    """What the agent knows; places and units as in :mod:`hier.envs.pointmaze.maps`.

    Attributes:
        frame: ``(120, 120, 3)`` uint8, the newest picture of the camera above the maze; black in
            the privileged variant, which has none.
        walls: ``(12, 12)`` bool, outside of the maze too.
        position: ``(2,)`` float32 place of the agent.
        velocity: ``(2,)`` float32, cells per second to the right and down.
        goal: ``(2,)`` float32 place of the goal.
        mission: the instruction, always the same.
    """

    frame: NDArray[np.uint8]
    walls: NDArray[np.bool_]
    position: NDArray[np.float32]
    velocity: NDArray[np.float32]
    goal: NDArray[np.float32]
    mission: str = MISSION

    @property
    def cell(self) -> Cell:
        """Row and column of the agent."""
        return cell_at(self.walls, self.position)

    @property
    def goal_cell(self) -> Cell:
        """Row and column of the goal."""
        return cell_at(self.walls, self.goal)

    def snapshot(self) -> MazePercept:
        """A copy that later observations leave alone."""
        return replace(self, frame=self.frame.copy())
