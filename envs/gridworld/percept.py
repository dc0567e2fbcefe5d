"""The gridworld's percept: a decoded view and a map of everything seen so far."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hier.envs.gridworld.cells import EMPTY

HEADINGS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # (dx, dy) for headings 0..3, clockwise


@dataclass(frozen=True, slots=True)
class GridPercept:
    """What the agent knows after one frame.

    The map does not turn with the agent: the agent's start is its center, and the agent's first
    heading is up (3). It is made from decoded frames and odometry and holds no simulator state.

    Attributes:
        frame: ``(56, 56, 3)`` uint8 first-person frame.
        mission: the instruction.
        view: ``(7, 7)`` uint8 cell codes in the agent's frame; row 0 is farthest ahead, the agent
            stands at ``(6, 3)``.
        carrying: code of the carried object, ``EMPTY`` for none.
        map: ``(size, size)`` uint8 cell codes, ``UNSEEN`` where the agent never looked. It is the
            tracker's own array and changes with the next frame; :meth:`snapshot` copies it.
        x, y, heading: pose on the map; heading 0 is +x, 1 is +y, 2 is -x, 3 is -y.
        discoveries: named objects seen for the first time so far in this episode.
        bounds: ``(x0, y0, x1, y1)``, inclusive box around everything seen.
    """

    frame: NDArray[np.uint8]
    mission: str
    view: NDArray[np.uint8]
    carrying: int
    map: NDArray[np.uint8]
    x: int
    y: int
    heading: int
    discoveries: int
    bounds: tuple[int, int, int, int]

    @property
    def hands_full(self) -> bool:
        """Whether the agent carries something."""
        return self.carrying != EMPTY

    @property
    def ahead(self) -> int:
        """Code of the cell the agent faces."""
        return int(self.view[-2, self.view.shape[1] // 2])

    @property
    def front(self) -> tuple[int, int]:
        """Map position ``(x, y)`` of the cell the agent faces."""
        dx, dy = HEADINGS[self.heading]
        return self.x + dx, self.y + dy

    def snapshot(self) -> GridPercept:
        """A copy that does not change with later frames."""
        return replace(self, frame=self.frame.copy(), view=self.view.copy(), map=self.map.copy())
