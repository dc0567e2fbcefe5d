"""The base of trackers in whose domains each subgoal has one place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import FAR
from hier.envs.subgoal import Subgoal


class PlaceGrounding(NamedTuple):
    """Where the current subgoals are, for ``n`` environments; see :class:`.Grounding`.

    Attributes:
        place: ``(n, k)`` float32 in [-3, 3], part of the controller's observation; zeros for none.
        steps: ``(n,)`` float64 length of the way, in the domain's cells.
        found: ``(n,)`` int64, 1 where there is a subgoal and its place is known.
    """

    place: NDArray[np.float32]
    steps: NDArray[np.float64]
    found: NDArray[np.int64]


class PlaceTracker(ABC):
    """Keeps the subgoal of each environment and finds its place; a base for trackers.

    It makes a percept at the first call of :meth:`percept` and keeps it until :meth:`_changed`.

    Args:
        n: number of environments.
        numbers: how many describe a place, ``k`` of :class:`PlaceGrounding`.
    """

    def __init__(self, n: int, numbers: int):
        self._subgoals: list[Subgoal | None] = [None] * n
        self.grounding = PlaceGrounding(
            np.zeros((n, numbers), np.float32), np.full(n, float(FAR)), np.zeros(n, np.int64)
        )
        self._percepts: list[Any] = [None] * n

    def percept(self, i: int) -> Any:
        """The latest percept of environment ``i``; only its frame changes with the next step."""
        if self._percepts[i] is None:
            self._percepts[i] = self._new_percept(i)
        return self._percepts[i]

    @abstractmethod
    def _new_percept(self, i: int) -> Any:
        """A percept of environment ``i`` as it is now."""

    def _changed(self, which: Sequence[int]) -> None:
        """Drop the percepts of the environments ``which``, because they are out of date."""
        for i in which:
            self._percepts[i] = None

    @abstractmethod
    def _place(self, percept: Any, subgoal: Subgoal) -> tuple[NDArray[np.float32], float] | None:
        """A subgoal's numbers ``(k,)`` and way; ``None`` where it has no known place."""

    def pursue(self, i: int, subgoal: Subgoal | None) -> None:
        """Set the subgoal that :meth:`ground` places for environment ``i``; ``None`` for none."""
        self._subgoals[i] = subgoal

    def ground(self, which: Sequence[int] | None = None) -> PlaceGrounding:
        """Place the subgoals of ``which`` (all when omitted); live arrays over all environments."""
        g = self.grounding
        for i in range(len(self._subgoals)) if which is None else which:
            subgoal = self._subgoals[i]
            found = None if subgoal is None else self._place(self.percept(i), subgoal)
            if found is None:
                g.place[i], g.steps[i], g.found[i] = 0.0, FAR, 0
            else:
                g.place[i], g.steps[i] = found
                g.found[i] = 1
        return g

    def unsafe_actions(self, actions: NDArray[Any], kinds: Sequence[str]) -> NDArray[np.bool_]:
        """``(n,)`` false, because nothing in these domains does harm."""
        return np.zeros(len(actions), np.bool_)


def around(
    cells: NDArray[np.uint8], middle: tuple[int, int], side: int, beyond: int
) -> NDArray[np.uint8]:
    """The ``side`` x ``side`` cells of a map around one of them, a new array.

    Args:
        cells: the map, ``(rows, columns)``.
        middle: row and column.
        side: rows and columns of the result.
        beyond: the code of cells off the map.
    """
    (row, column), (rows, columns), half = middle, cells.shape, side // 2
    padded = np.full((rows + 2 * half, columns + 2 * half), beyond, np.uint8)  # np.pad takes longer
    padded[half : half + rows, half : half + columns] = cells
    return padded[row : row + side, column : column + side].copy()
