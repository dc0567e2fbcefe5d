"""The memory map as a picture, for planners that look at pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hier.envs.errors import PerceptionError
from hier.envs.gridworld.cells import CELLS, N_CODES, NAMED, UNSEEN
from hier.envs.gridworld.percept import GridPercept
from hier.envs.gridworld.rendering import TILE, tile_atlas
from hier.perception.places import around

__all__ = ["TILE", "TileMaps", "code_words", "map_codes", "map_image", "paint_codes"]

SHOWN = 15  # cells a side of the map that planners are shown


def map_codes(percept: GridPercept, cells: int = SHOWN) -> NDArray[np.uint8]:
    """The cells of :func:`map_image` by their codes, the agent's own holding what it carries.

    Args:
        percept: read at once; its live map is not kept.
        cells: side of the square, odd.

    Returns:
        ``(cells, cells)`` uint8 (:mod:`hier.envs.gridworld.cells`), a new array.

    Raises:
        PerceptionError: for an even or non-positive ``cells``, or another domain's percept.
    """
    if not isinstance(percept, GridPercept):
        raise PerceptionError(
            f"a {type(percept).__name__} has no map of tiles to paint; tell the planner the domain "
            "that it is asked about (its argument domain)"
        )
    if cells < 1 or cells % 2 == 0:
        raise PerceptionError(
            f"a map image of {cells} cells a side has no middle for the agent; use an odd number"
        )
    codes = around(percept.map, (percept.y, percept.x), cells, UNSEEN)
    # Heading 3 is up; each heading before it is one more quarter turn against the clock.
    codes = np.rot90(codes, (percept.heading + 1) % 4).copy()
    codes[cells // 2, cells // 2] = percept.carrying
    return codes


def paint_codes(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint maps from :func:`map_codes`.

    Args:
        codes: ``(..., cells, cells)`` uint8.

    Returns:
        ``(..., 8 * cells, 8 * cells, 3)`` uint8, a new array.
    """
    cells = codes.shape[-1]
    tiles = codes.astype(np.intp)
    tiles[..., cells // 2, cells // 2] += N_CODES  # the atlas: what a cell holds, then what a hand
    # (row, column, line, pixel, channel) to (row, line, column, pixel, channel)
    painted = tile_atlas()[tiles].swapaxes(-4, -3)
    return painted.reshape(*codes.shape[:-2], cells * TILE, cells * TILE, 3)


def map_image(percept: GridPercept, cells: int = SHOWN) -> NDArray[np.uint8]:
    """The known cells around the agent, painted with the 8-pixel tiles of frames.

    The agent stands in the middle and looks up; its tile shows what it carries, as in the
    first-person frame. Unknown cells, and cells beyond the map, have the unseen tile. Arguments and
    errors are those of :func:`map_codes`.

    Returns:
        ``(8 * cells, 8 * cells, 3)`` uint8.
    """
    return paint_codes(map_codes(percept, cells))


def code_words() -> list[tuple[str, ...]]:
    """Per cell code the words for what it shows: kind, color, state; none for what has no name."""
    return [
        tuple(word for word in cell if word) if NAMED[code] else ()
        for code, cell in enumerate(CELLS)
    ]


class TileMaps:
    """The map as codes, for pre-training; implements :class:`hier.envs.variations.CodedMaps`."""

    cells = SHOWN
    codes = staticmethod(map_codes)
    paint = staticmethod(paint_codes)

    @property
    def words(self) -> list[tuple[str, ...]]:
        """See :func:`code_words`."""
        return code_words()
