"""How one example of a domain becomes many, for pre-training."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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


class Variations(NamedTuple):
    """A domain's ways to make one example into many.

    Attributes:
        vary: ``vary(simulator, rng, share)`` changes a level that was just reset.
        paraphrase: ``paraphrase(mission, rng)`` says the same in other words.
        symmetry: ``symmetry(rng)`` draws a :class:`Symmetry`.
        words: every word that a mission or a scene of the domain may hold.
    """

    vary: Callable[..., None]
    paraphrase: Callable[..., str]
    symmetry: Callable[[np.random.Generator], Symmetry]
    words: tuple[str, ...]
