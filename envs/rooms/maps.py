"""The agent's map: places in metres, cells of half a metre, and ways between them.

Places are ``(north, west)`` in metres from where the episode began, north being where the agent
looked then; headings are radians to the left of north. The map is ``(80, 80)`` cells with north
up, and the start lies at its middle.
"""

from __future__ import annotations

import heapq
import math
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.domain import FAR

SIZE = 80  # cells a side: twice the longest line in the largest level, and room to spare
CELL = 0.5  # metres
UNKNOWN, FREE, WALL = range(3)  # what a cell of a map says

Cell = tuple[int, int]
_NEXT = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]
_TIGHT = 4  # what a step beside an obstacle counts when a way is sought
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def cells_at(places: NDArray[np.floating]) -> NDArray[np.int64]:
    """Row and column of places ``(..., 2)``; what lies off the map counts to its border."""
    cells = np.floor(SIZE / 2 - places / CELL)
    return np.minimum(np.maximum(cells, 0), SIZE - 1).astype(np.int64)  # much cheaper than np.clip


def cell_at(place: NDArray[np.floating]) -> Cell:
    """Row and column of one place ``(2,)``."""
    row, column = cells_at(place)
    return int(row), int(column)


def centre(cell: Cell) -> NDArray[np.float32]:
    """The place of a cell's centre, ``(2,)`` float32."""
    return np.array([SIZE / 2 - cell[0] - 0.5, SIZE / 2 - cell[1] - 0.5], np.float32) * CELL


def centres(cells: NDArray[np.integer]) -> NDArray[np.floating]:
    """As :func:`centre`, of cells ``(..., 2)``."""
    return (SIZE / 2 - 0.5 - cells) * CELL


def from_agent(
    places: NDArray[np.floating], position: NDArray[np.floating], heading: float
) -> NDArray[np.float32]:
    """Places ``(..., 2)`` as metres ``(forward, left)`` of an agent."""
    cos, sin = math.cos(heading), math.sin(heading)
    away = np.asarray(places) - position
    north, west = away[..., 0], away[..., 1]
    ahead = np.empty(away.shape, np.float32)  # np.stack takes ten times as long
    ahead[..., 0], ahead[..., 1] = cos * north + sin * west, cos * west - sin * north
    return ahead


def to_map(
    ahead: NDArray[np.floating], position: NDArray[np.floating], heading: float
) -> NDArray[np.float32]:
    """The inverse of :func:`from_agent`."""
    cos, sin = math.cos(heading), math.sin(heading)
    forward, left = np.asarray(ahead)[..., 0], np.asarray(ahead)[..., 1]
    places = np.empty((*np.shape(forward), 2), np.float32)
    places[..., 0] = cos * forward - sin * left + position[0]
    places[..., 1] = sin * forward + cos * left + position[1]
    return places


def frontier(cells: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Free cells beside an unknown one, ``(80, 80)`` bool.

    Args:
        cells: ``(80, 80)`` uint8 of UNKNOWN, FREE and WALL.
    """
    unknown = (cells == UNKNOWN).astype(np.uint8)
    return (cv2.dilate(unknown, CROSS) > 0) & (cells == FREE)


def frontiers(cells: NDArray[np.uint8], most: int = 6) -> list[Cell]:
    """One cell in the middle of each of the longest stretches of frontier, by row and column."""
    edge = frontier(cells)
    _, labels, stats, middles = cv2.connectedComponentsWithStats(edge.astype(np.uint8))
    found = []
    for label in 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:most]:
        members = np.argwhere(labels == label)
        away = np.abs(members - middles[label][::-1]).sum(1)
        row, column = members[away.argmin()]
        found.append((int(row), int(column)))
    return sorted(found)


def obstacles(cells: NDArray[np.uint8], objects: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Where the agent's middle cannot be, ``(80, 80)`` uint8: 2 in walls and objects, 1 beside.

    Args:
        cells: the map; what is unknown does not count.
        objects: ``(n, 2)`` places of things 1 m wide.
    """
    walls = cells == WALL
    blocked = np.asarray(cv2.dilate(walls.astype(np.uint8), CROSS), np.uint8)
    middles = [(int(column), int(row)) for row, column in cells_at(objects)]
    for middle in middles:
        cv2.circle(blocked, middle, 2, 1, -1)
    for middle in middles:
        cv2.circle(blocked, middle, 1, 2, -1)
    blocked[walls] = 2
    return blocked


def way_to(
    blocked: NDArray[np.uint8], place: NDArray[np.floating], target: NDArray[np.floating]
) -> tuple[float, NDArray[np.float32]]:
    """Length of a way in metres, and the farthest place on it that lies straight ahead ``(2,)``.

    ``FAR`` and the target itself where no way is known. The way keeps off what is beside obstacles
    as long as it can: who starts there leaves it first, so that corners are not cut. A target may
    lie in an obstacle.

    Args:
        blocked: as from :func:`obstacles`: 2 is impassable, 1 passable where nothing else is.
        place: where the way begins.
        target: where it ends.
    """
    start, end = cell_at(place), cell_at(target)
    stops = _way(blocked.tobytes(), start, end)
    if stops is None:
        return float(FAR), np.asarray(target, np.float32)
    points = [np.asarray(place), *(centre(cell) for cell in stops), np.asarray(target)]
    length = sum(math.dist(a, b) for a, b in pairwise(points))
    return length, np.asarray(points[1], np.float32)


@lru_cache(maxsize=4096)
def _way(packed: bytes, start: Cell, end: Cell) -> tuple[Cell, ...] | None:
    """The corners of the shortest way between two cells, without its ends."""
    blocked = np.frombuffer(packed, np.uint8).reshape(SIZE, SIZE).copy()
    blocked[start] = blocked[end] = 0
    if _is_straight(blocked, start, end):
        return ()
    path = _search(blocked, start, end)
    if path is None:
        return None
    corners, here = [], 0
    while here < len(path) - 1:
        there = len(path) - 1
        while there > here + 1 and not _is_straight(blocked, path[here], path[there]):
            there -= 1
        here = there
        corners.append(path[here])
    return tuple(corners[:-1])


def _is_straight(blocked: NDArray[np.uint8], start: Cell, end: Cell) -> bool:
    steps = 8 * max(abs(end[0] - start[0]), abs(end[1] - start[1])) + 1  # an eighth of a cell
    rows = np.rint(np.linspace(start[0], end[0], steps)).astype(np.int64)
    columns = np.rint(np.linspace(start[1], end[1], steps)).astype(np.int64)
    return not blocked[rows, columns].any()


def _search(blocked: NDArray[np.uint8], start: Cell, end: Cell) -> list[Cell] | None:
    """A* over the eight neighbours (Hart et al. 1968); ``None`` where no way leads.

    A step beside an obstacle counts :data:`_TIGHT` times.
    """
    rows = blocked.tolist()  # plain lists are read several times faster
    queue = [(math.dist(start, end), 0.0, start, start)]
    came: dict[Cell, Cell] = {}
    while queue:
        _, walked, here, before = heapq.heappop(queue)
        if here in came:
            continue
        came[here] = before
        if here == end:
            path = [end]
            while path[-1] != start:
                path.append(came[path[-1]])
            return path[::-1]
        for down, right in _NEXT:
            row, column = there = here[0] + down, here[1] + right
            inside = 0 <= row < SIZE and 0 <= column < SIZE
            if inside and there not in came and rows[row][column] < 2:
                length = walked + math.hypot(down, right) * (_TIGHT if rows[row][column] else 1)
                heapq.heappush(queue, (length + math.dist(there, end), length, there, here))
    return None
