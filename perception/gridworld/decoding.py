"""From pixels back to cells: the exact inverse of the tile renderer."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hier.envs.compiled import compiled
from hier.envs.errors import PerceptionError
from hier.envs.gridworld.cells import CARRYABLE, EMPTY, N_CODES
from hier.envs.gridworld.rendering import TILE, tile_atlas

UNKNOWN = 255  # code of a tile the atlas does not hold


class TileTable(NamedTuple):
    """From the hash of a tile's pixels to its code, sorted by hash.

    The agent's own tiles have codes from ``N_CODES`` on.
    """

    hashes: NDArray[np.uint64]
    codes: NDArray[np.int16]
    tiles: NDArray[np.uint64]


@compiled
def _tile_hash(words, row, col):
    value = np.uint64(1469598103934665603)
    for line in range(8):
        for word in range(3):
            value ^= words[row * 8 + line, col * 3 + word]
            value *= np.uint64(1099511628211)
            value ^= value >> np.uint64(29)
    return value


@lru_cache(maxsize=1)
def tile_table() -> TileTable:
    """The table for every tile that a frame of the gridworld can hold."""
    atlas = tile_atlas()
    tiles = np.frombuffer(atlas.tobytes(), np.uint64).reshape(len(atlas), TILE, 3).copy()
    carried = [EMPTY, *np.flatnonzero(CARRYABLE).tolist()]
    codes = np.array([*range(N_CODES), *(N_CODES + code for code in carried)], np.int16)
    hashes = np.array([_tile_hash(tiles[code], 0, 0) for code in codes], np.uint64)
    order = hashes.argsort(kind="stable")
    return TileTable(hashes[order], codes[order], tiles)


@compiled
def decode_frame(words, hashes, codes, tiles, view):
    """Decode one frame.

    Args:
        words: ``(56, 21)`` uint64, the frame's pixels as words.
        hashes, codes, tiles: a :class:`TileTable`.
        view: ``(7, 7)`` uint8, written; the agent's own cell gets the carried object's code.

    Returns:
        -1, or ``row * 7 + col`` of the first tile that the table does not hold exactly.
    """
    size = view.shape[0]
    unknown = -1
    for row in range(size):
        for col in range(size):
            value = _tile_hash(words, row, col)
            slot = np.searchsorted(hashes, value)
            found = -1
            if slot < len(hashes) and hashes[slot] == value:
                found = codes[slot]
            own = row == size - 1 and col == size // 2
            if found >= 0:
                # A hash can lie; the pixels cannot.
                for line in range(8):
                    for word in range(3):
                        if tiles[found, line, word] != words[row * 8 + line, col * 3 + word]:
                            found = -1
                            break
                    if found < 0:
                        break
            if found >= 0 and own == (found >= N_CODES):
                view[row, col] = found - N_CODES if own else found
            else:
                view[row, col] = 255
                if unknown < 0:
                    unknown = row * size + col
    return unknown


def as_words(frames: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Frames ``(..., 56, 56, 3)`` uint8 as words ``(..., 56, 21)``; no copy if C-ordered."""
    frames = np.ascontiguousarray(frames)
    return frames.reshape(*frames.shape[:-2], -1).view(np.uint64)


def decode(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The cell codes a first-person frame shows.

    Args:
        frame: ``(56, 56, 3)`` uint8.

    Returns:
        ``(7, 7)`` uint8; the agent's own cell ``(6, 3)`` holds what it carries.

    Raises:
        PerceptionError: if a tile is not one of the renderer's, with its place.
    """
    size = frame.shape[0] // TILE
    view = np.zeros((size, size), np.uint8)
    table = tile_table()
    unknown = decode_frame(as_words(frame), *table, view)
    if unknown >= 0:
        raise unknown_tile(unknown, size)
    return view


def unknown_tile(index: int, size: int, env: int | None = None) -> PerceptionError:
    """The error for a tile the atlas does not hold."""
    place = f"row {index // size}, column {index % size}" + (
        "" if env is None else f" of environment {env}"
    )
    return PerceptionError(
        f"the frame's tile at {place} is not one of MiniGrid's 8-pixel tiles; "
        "pass the unscaled image of hier.envs.make_env"
    )
