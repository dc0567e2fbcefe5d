"""A maze's subgoals: go to the next stops, and reach the goal where it lies straight ahead."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hier.envs.pointmaze.maps import GOAL_RADIUS, SIZE, Cell, center, is_straight, next_stops
from hier.envs.pointmaze.percept import MazePercept
from hier.envs.subgoal import Subgoal, SubgoalSyntaxError, normalized

ARRIVED = 0.35  # meters from a cell's center at which it is reached
_PATTERN = re.compile(r"go to row (\d+) column (\d+)")


@dataclass(frozen=True, slots=True)
class GoToCell(Subgoal):
    """*Go to row 2 column 3*, counted from 0 at the upper left."""

    row: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.verb} row {self.row} column {self.column}"


REACH_GOAL = Subgoal("reach", "red", "goal")


def go_to(cell: Cell) -> GoToCell:
    """The subgoal to be at a cell's center."""
    return GoToCell("go to", row=cell[0], column=cell[1])


class MazeSubgoals:
    """Subgoals over map cells; implements :class:`hier.envs.subgoal.SubgoalSpace`."""

    verbs = ("go to", "reach")
    encoding_size = len(verbs) + 2 * SIZE

    def candidates(self, percept: MazePercept) -> list[Subgoal]:
        """Where each way from here ends or parts, by row and column; the goal if it is in line."""
        found: list[Subgoal] = [go_to(cell) for cell in next_stops(percept.walls, percept.cell)]
        if not found or is_straight(percept.walls, percept.cell, percept.goal_cell):
            found.append(REACH_GOAL)
        return found

    def parse(self, text: str) -> Subgoal:
        """The subgoal a sentence names; letter case, outer blanks and a full stop do not matter.

        Raises:
            SubgoalSyntaxError: for anything else.
        """
        sentence = normalized(text)
        if sentence == str(REACH_GOAL):
            return REACH_GOAL
        match = _PATTERN.fullmatch(sentence)
        if match is None or max(map(int, match.groups())) >= SIZE:
            raise SubgoalSyntaxError(
                f"{text!r} is not a subgoal; write for example 'go to row 2 column 3', with rows "
                f"and columns below {SIZE}, or '{REACH_GOAL}'. Verbs: {', '.join(self.verbs)}"
            )
        return go_to((int(match[1]), int(match[2])))

    def encode(self, subgoal: Subgoal | None) -> NDArray[np.float32]:
        """One-hot verb, row and column, ``(26,)`` float32; zeros for ``None``."""
        vector = np.zeros(self.encoding_size, np.float32)
        if subgoal is not None:
            vector[self.verbs.index(subgoal.verb)] = 1.0
        if isinstance(subgoal, GoToCell):
            vector[len(self.verbs) + subgoal.row] = 1.0
            vector[len(self.verbs) + SIZE + subgoal.column] = 1.0
        return vector

    @staticmethod
    def place(percept: MazePercept, subgoal: Subgoal) -> NDArray[np.float32]:
        """The place ``(column, row)`` a subgoal points at, ``(2,)`` float32."""
        if isinstance(subgoal, GoToCell):
            return center((subgoal.row, subgoal.column))
        return percept.goal

    def is_complete(self, subgoal: Subgoal, before: MazePercept, after: MazePercept) -> bool:
        """Whether the agent is within 0.35 m of the cell's center, or 0.45 m of the goal."""
        near = ARRIVED if isinstance(subgoal, GoToCell) else GOAL_RADIUS
        return bool(np.hypot(*(self.place(after, subgoal) - after.position)) <= near)

    def is_interrupted(self, subgoal: Subgoal, before: MazePercept, after: MazePercept) -> bool:
        """Never: nothing but the agent moves."""
        return False

    def is_repeatable(self, subgoal: Subgoal, percept: MazePercept) -> bool:
        """Being in a place twice is no progress."""
        return False

    def describe(self, percept: MazePercept) -> str:
        """The agent's cell, the goal's, and the map, one line a row."""
        rows, columns = (int(ends.max()) + 2 for ends in np.nonzero(~percept.walls))
        lines = [
            f"You are at row {percept.cell[0]} column {percept.cell[1]}. The red goal is at "
            f"row {percept.goal_cell[0]} column {percept.goal_cell[1]}. "
            "The map from row 0 on (# wall, . free):"
        ]
        lines += [
            "".join("#" if wall else "." for wall in row[:columns]) for row in percept.walls[:rows]
        ]
        return "\n".join(lines)

    def target_mask(self, percept: MazePercept, subgoal: Subgoal) -> NDArray[np.bool_]:
        """The cell on the percept's map, ``(12, 12)`` bool."""
        mask = np.zeros((SIZE, SIZE), np.bool_)
        if isinstance(subgoal, GoToCell):
            mask[subgoal.row, subgoal.column] = not percept.walls[subgoal.row, subgoal.column]
        else:
            mask[percept.goal_cell] = True
        return mask
