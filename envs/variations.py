"""How one example of a domain becomes many, for pre-training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Symmetry(NamedTuple):
    """One way to exchange things without changing what is right to do.

    Attributes:
        codes: ``(n_codes,)`` uint8, the new code of each cell code of a map.
        mirrored: whether pictures are flipped left to right.
        words: the words that change, and into what.
    """

    codes: NDArray[np.uint8]
    mirrored: bool
    words: dict[str, str]


class CodedMaps(Protocol):
    """Pictures that are maps painted cell by cell, so that codes can be kept in their place."""

    @property
    def cells(self) -> int:
        """Cells a side of the map that planners are shown, odd."""

    @property
    def words(self) -> Sequence[Sequence[str]]:
        """Per cell code the words for what it shows, possibly none."""

    def codes(self, percept: Any, cells: int) -> NDArray[np.uint8]:
        """``(cells, cells)`` uint8 codes around the agent, a new array."""

    def paint(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(n, side, side, 3)`` uint8 pictures of maps ``(n, cells, cells)``."""


class Variations(NamedTuple):
    """A domain's ways to make one example into many; each may be missing.

    Attributes:
        vary: ``vary(simulator, rng, share)`` changes a level that was just reset.
        paraphrase: ``paraphrase(mission, rng)`` says the same in other words.
        symmetry: ``symmetry(rng)`` draws a :class:`Symmetry`; needs ``maps``.
        words: every word that a mission, a subgoal or a scene of the domain may hold, beside those
            that are heard in demonstrations.
        maps: the domain's default picture as a map of codes.
    """

    vary: Callable[..., None] | None = None
    paraphrase: Callable[..., str] | None = None
    symmetry: Callable[[np.random.Generator], Symmetry] | None = None
    words: tuple[str, ...] = ()
    maps: CodedMaps | None = None
