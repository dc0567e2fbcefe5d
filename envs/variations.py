"""How one example of a domain becomes many, for pre-training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Symmetry(NamedTuple):
    """A change of pictures and words under which the right answer changes in the same way.

    Attributes:
        codes: ``(n_codes,)`` uint8, the new code of each cell code of a map.
        mirrored: whether pictures are flipped left to right.
        words: the words that change, each with its new word.
    """

    codes: NDArray[np.uint8]
    mirrored: bool
    words: dict[str, str]


class CodedMaps(Protocol):
    """Pictures that are maps painted cell by cell; the codes of the cells can stand for them."""

    @property
    def cells(self) -> int:
        """Cells a side of the map in a planner's picture, an odd number."""

    @property
    def words(self) -> Sequence[Sequence[str]]:
        """For each cell code the words for what the cell shows, possibly none."""

    def codes(self, percept: Any, cells: int) -> NDArray[np.uint8]:
        """``(cells, cells)`` uint8 codes around the agent, a new array."""

    def paint(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``(n, side, side, 3)`` uint8 pictures of maps ``(n, cells, cells)``."""


class Variations(NamedTuple):
    """A domain's ways to make many training examples out of one; each may be missing.

    Attributes:
        vary: ``vary(simulator, rng, share)`` changes a level right after its reset.
        paraphrase: ``paraphrase(mission, rng)`` says the same in other words.
        symmetry: ``symmetry(rng)`` draws a :class:`Symmetry`; it needs ``maps``.
        words: words of the domain's missions, subgoals and scenes that the vocabulary must hold
            even if they occur in no demonstration.
        maps: the domain's default picture as a map of codes.
    """

    vary: Callable[..., None] | None = None
    paraphrase: Callable[..., str] | None = None
    symmetry: Callable[[np.random.Generator], Symmetry] | None = None
    words: tuple[str, ...] = ()
    maps: CodedMaps | None = None
