"""Mazes as grids of cells: where one can go, how far it is, and where ways part.

Places are ``(column, row)`` in cells from the maze's upper left corner, so cell ``(row, column)``
covers ``[column, column + 1) x [row, row + 1)``. A cell is one meter wide.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import FAR

SIZE = 12  # rows and columns of a map: the largest maze (9 x 12) and room to spare
GOAL_RADIUS = 0.45  # meters at which the simulator takes the goal for reached
SPEED_LIMIT = 5.0  # meters a second, the simulator's own

Cell = tuple[int, int]
_SIDES = ((-1, 0), (0, -1), (0, 1), (1, 0))


def as_map(walls: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A maze in the corner of a ``(12, 12)`` map; what lies outside of it is wall."""
    padded = np.ones((SIZE, SIZE), np.bool_)
    padded[: walls.shape[0], : walls.shape[1]] = walls
    return padded


def cell_at(walls: NDArray[np.bool_], place: NDArray[np.floating]) -> Cell:
    """The free cell that holds ``place``, or the nearest one where that is a wall.

    Args:
        walls: ``(12, 12)`` bool.
        place: ``(2,)`` column and row.
    """
    column, row = (min(max(int(v), 0), SIZE - 1) for v in place)
    if not walls[row, column]:
        return row, column
    rows, columns = np.nonzero(~walls)
    nearest = int(np.hypot(columns + 0.5 - place[0], rows + 0.5 - place[1]).argmin())
    return int(rows[nearest]), int(columns[nearest])


def center(cell: Cell) -> NDArray[np.float32]:
    """The place ``(column, row)`` of a cell's center, ``(2,)`` float32."""
    return np.array([cell[1] + 0.5, cell[0] + 0.5], np.float32)


def neighbors(walls: NDArray[np.bool_], cell: Cell) -> list[Cell]:
    """The free cells beside ``cell``, by row and column."""
    found = []
    for down, right in _SIDES:
        row, column = cell[0] + down, cell[1] + right
        if 0 <= row < SIZE and 0 <= column < SIZE and not walls[row, column]:
            found.append((row, column))
    return found


def steps_to(walls: NDArray[np.bool_], cell: Cell) -> NDArray[np.int32]:
    """Cells to walk from everywhere to ``cell``, ``(12, 12)`` int32; ``FAR`` where no way is."""
    return _steps_to(walls.tobytes(), cell)


@lru_cache(maxsize=4096)
def _steps_to(packed: bytes, cell: Cell) -> NDArray[np.int32]:
    walls = np.frombuffer(packed, np.bool_).reshape(SIZE, SIZE)
    steps = np.full((SIZE, SIZE), FAR, np.int32)
    steps[cell] = 0
    queue = deque([cell])
    while queue:
        here = queue.popleft()
        for near in neighbors(walls, here):
            if steps[near] == FAR:
                steps[near] = steps[here] + 1
                queue.append(near)
    steps.setflags(write=False)  # shared by the cache
    return steps


def is_straight(walls: NDArray[np.bool_], start: Cell, end: Cell) -> bool:
    """Whether the cells lie in one row or column with nothing between them."""
    if start[0] != end[0] and start[1] != end[1]:
        return False
    rows, columns = sorted((start[0], end[0])), sorted((start[1], end[1]))
    return not walls[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1].any()


def next_stops(walls: NDArray[np.bool_], cell: Cell) -> list[Cell]:
    """Each way from ``cell``, followed to where it ends or another parts from it; sorted."""
    return [_follow(walls, cell, near) for near in neighbors(walls, cell)]


def _follow(walls: NDArray[np.bool_], start: Cell, cell: Cell) -> Cell:
    ahead = cell[0] - start[0], cell[1] - start[1]
    while True:
        beyond = cell[0] + ahead[0], cell[1] + ahead[1]
        back = cell[0] - ahead[0], cell[1] - ahead[1]
        ways = neighbors(walls, cell)
        if beyond not in ways or any(way not in (beyond, back) for way in ways):
            return cell
        cell = beyond


def way_to(
    walls: NDArray[np.bool_], place: NDArray[np.floating], target: NDArray[np.floating]
) -> float:
    """Length of the shortest way between two places, in cells; ``FAR`` if there is none.

    It leads along rows and columns, over the centers of the cells between, so that it falls
    steadily while one walks it, around corners too.
    """
    here, there = cell_at(walls, place), cell_at(walls, target)
    steps = steps_to(walls, there)
    if steps[here] >= FAR:
        return float(FAR)
    if steps[here] <= 1:
        return float(np.abs(target - place).sum())
    onward = min(neighbors(walls, here), key=lambda cell: steps[cell])
    return float(np.abs(center(onward) - place).sum() + steps[onward])
