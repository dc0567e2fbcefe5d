"""Symmetries of the gridworld, under which one training example becomes many.

The task stays the same if two colors change places in picture, mission and answer, if picture and
sides are mirrored, or, where no box is opened, if balls and boxes change places.
"""

from __future__ import annotations

import numpy as np

from hier.envs.gridworld.cells import CELLS, CODE, COLORS, N_CODES
from hier.envs.variations import Symmetry

_COLORED = ("door", "key", "ball", "box", "floor")


def draw_symmetry(rng: np.random.Generator) -> Symmetry:
    """A symmetry drawn evenly; it is the identity once in 2,880 times.

    Args:
        rng: draws the order of the colors, the mirror, and the exchange of balls and boxes.
    """
    colors = dict(zip(COLORS, (COLORS[i] for i in rng.permutation(len(COLORS))), strict=True))
    kinds = {"ball": "box", "box": "ball"} if rng.random() < 0.5 else {}
    mirrored = bool(rng.random() < 0.5)
    sides = {"left": "right", "right": "left"} if mirrored else {}
    codes = np.arange(N_CODES, dtype=np.uint8)
    for code, cell in enumerate(CELLS):
        if cell.kind in _COLORED:
            kind = kinds.get(cell.kind, cell.kind)
            codes[code] = CODE[cell._replace(kind=kind, color=colors[cell.color])]
    return Symmetry(codes, mirrored, {**colors, **kinds, **sides})
