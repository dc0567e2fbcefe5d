"""Ways over the agent's map that keep its body, and what it carries, off walls and objects.

A* (Hart et al. 1968) finds them on cells of a quarter of a meter, in compiled code. A meter costs
more in narrow places, so that a way leads through one only if there is no other.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hier.envs.compiled import compiled
from hier.envs.domain import FAR
from hier.envs.rooms.maps import CELL, SIZE, UNKNOWN, WALL
from hier.envs.rooms.percept import AGENT_RADIUS

FINE = CELL / 2  # meters a side of the cells of ways
_MARGIN = 4  # cells searched around what is known
_ROOMY = 0.25  # meters left beside the body from which on a meter costs 1
_TIGHT = -0.35  # meters left at which a meter costs most; negative, as radii are not exact
_MOST = 16.0
_WRONG = 4 * _MOST  # cost of a meter in a wall near an end, where the map must be wrong
_IMPASSABLE = 1e9
_NEAREST = 0.6  # meters to the first bend; the agent would turn back and forth before a nearer one


class Way(NamedTuple):
    """How to get to a place.

    Attributes:
        place: ``(2,)`` float32, where it ends.
        bend: ``(2,)`` float32, where it first bends, not nearer than 0.6 m; ``place`` itself if it
            never does.
        length: in meters; ``FAR`` where none is known.
    """

    place: NDArray[np.float32]
    bend: NDArray[np.float32]
    length: float


def way_to(
    cells: NDArray[np.uint8],
    start: NDArray[np.floating],
    target: NDArray[np.floating],
    objects: ArrayLike,
    body: float = AGENT_RADIUS,
) -> Way:
    """The way from one place to another, either of which may lie in a wall or object.

    The map may be wrong by a cell, so walls within 0.75 m of the ends can be passed.

    Args:
        cells: ``(80, 80)`` uint8 map (:mod:`hier.envs.rooms.maps`); what is unknown may be walked.
        start, target: ``(2,)`` places.
        objects: ``(n, 3)`` places and radii of what is in the way, in meters.
        body: radius of what walks there, in meters.
    """
    place = np.asarray(target, np.float32)
    ends = SIZE - np.stack([start, target]) / FINE  # rows and columns
    known = np.argwhere(cells != UNKNOWN) * 2
    low = np.concatenate([ends, known]).min(0) - _MARGIN
    high = np.concatenate([ends, known + 2]).max(0) + _MARGIN
    (top, left), (bottom, right) = np.clip([low // 2, high // 2 + 1], 0, SIZE).astype(np.int64)
    corner = np.array([2 * top, 2 * left])
    free = (cells[top:bottom, left:right] != WALL).astype(np.uint8).repeat(2, 0).repeat(2, 1)
    if free.all():
        room = np.full(free.shape, _ROOMY, np.float32)
    else:
        room = cv2.distanceTransform(free, cv2.DIST_L2, 5) * FINE - FINE / 2 - body
    things = np.array(objects, np.float64).reshape(-1, 3)
    things[:, :2] = SIZE - things[:, :2] / FINE - corner
    things[:, 2] += body
    costs = _costs(room.astype(np.float64), free, things)
    first, last = ends - corner
    path, spent = _cheapest(costs, first, last)
    if not len(path):
        return Way(place, place, float(FAR))
    length, row, column = _pulled(costs, spent, path, first, last)
    if row < 0:
        return Way(place, place, length)
    bend = (SIZE - corner - (row, column)) * FINE
    return Way(place, bend.astype(np.float32), length)


@compiled
def _costs(
    room: NDArray[np.float64], free: NDArray[np.uint8], things: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The cost of a meter in each cell.

    Args:
        room: meters left beside the body, as far as walls go; things are added in place.
        free: whether a cell is no wall.
        things: ``(n, 3)`` rows and columns of objects, and meters to their middles to be kept.
    """
    rows, columns = room.shape
    for k in range(len(things)):
        reach = (things[k, 2] + _ROOMY) / FINE + 1
        for row in range(max(int(things[k, 0] - reach), 0), min(int(things[k, 0] + reach), rows)):
            left, right = int(things[k, 1] - reach), int(things[k, 1] + reach)
            for column in range(max(left, 0), min(right, columns)):
                away = np.hypot(row + 0.5 - things[k, 0], column + 0.5 - things[k, 1]) * FINE
                room[row, column] = min(room[row, column], away - things[k, 2])
    costs = np.empty(room.shape)
    for row in range(rows):
        for column in range(columns):
            tight = min(max((_ROOMY - room[row, column]) / (_ROOMY - _TIGHT), 0.0), 1.0)
            costs[row, column] = 1 + (_MOST - 1) * tight if free[row, column] else _IMPASSABLE
    return costs


@compiled
def _cheapest(
    costs: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cells of the cheapest way ``(n, 2)``, none where there is none, and what each has cost.

    Args:
        costs: of a meter in each cell; walls near the ends are opened in place.
        start, end: row and column.
    """
    rows, columns = costs.shape
    first = min(max(int(start[0]), 0), rows - 1), min(max(int(start[1]), 0), columns - 1)
    last = min(max(int(end[0]), 0), rows - 1), min(max(int(end[1]), 0), columns - 1)
    for row, column in (first, last):
        for r in range(max(row - 3, 0), min(row + 4, rows)):
            for c in range(max(column - 3, 0), min(column + 4, columns)):
                costs[r, c] = min(costs[r, c], _WRONG)
    spent = np.full((rows, columns), np.inf)
    came = np.full((rows, columns), -1)
    closed = np.zeros((rows, columns), np.bool_)
    spent[first] = 0.0
    queue = [(0.0, first[0] * columns + first[1])]
    while len(queue) > 0:
        _, here = heapq.heappop(queue)
        row, column = here // columns, here % columns
        if closed[row, column]:
            continue
        closed[row, column] = True
        if (row, column) == last:
            break
        for down in range(-1, 2):
            for right in range(-1, 2):
                r, c = row + down, column + right
                inside = 0 <= r < rows and 0 <= c < columns
                if not inside or closed[r, c] or costs[r, c] >= _IMPASSABLE:
                    continue
                meters = FINE * np.hypot(down, right)
                total = spent[row, column] + meters * (costs[row, column] + costs[r, c]) / 2
                if total < spent[r, c]:
                    spent[r, c], came[r, c] = total, here
                    rest = FINE * np.hypot(r - last[0], c - last[1])
                    heapq.heappush(queue, (total + rest, r * columns + c))
    path = [last[0] * columns + last[1]]
    while closed[last] and path[-1] != first[0] * columns + first[1]:
        path.append(came[path[-1] // columns, path[-1] % columns])
    cells = np.empty((len(path) if closed[last] else 0, 2), np.int64)
    for k in range(len(cells)):
        cells[k] = path[-1 - k] // columns, path[-1 - k] % columns
    return cells, spent


@compiled
def _pulled(
    costs: NDArray[np.float64],
    spent: NDArray[np.float64],
    cells: NDArray[np.int64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Straighten a way like a string pulled tight.

    From each corner the way goes straight to the farthest of its cells to which the straight line
    costs no more than the way along the cells.

    Args:
        costs: of a meter in each cell.
        spent: cost of the way up to each of ``cells``.
        cells: ``(n, 2)`` cells of the way.
        start, end: exact row and column of its ends.

    Returns:
        Length in meters, and row and column of the first bend; its row is -1 if there is none.
    """
    length, bend_row, bend_column = 0.0, -1.0, -1.0
    here, row, column = 0, start[0], start[1]
    while here < len(cells) - 1:
        # Find the farthest cell that can be reached straight from the present corner.
        there = len(cells) - 1
        while there > here + 1:
            r, c = cells[there]
            way = spent[r, c] - spent[cells[here, 0], cells[here, 1]]
            if _straight(costs, row, column, r + 0.5, c + 0.5) <= way + FINE / 2:
                break
            there -= 1
        # Go there; the last leg ends at the exact end instead of a cell's middle.
        last_leg = there == len(cells) - 1
        to_row, to_column = cells[there, 0] + 0.5, cells[there, 1] + 0.5
        if last_leg:
            to_row, to_column = end[0], end[1]
        length += FINE * np.hypot(to_row - row, to_column - column)
        # Note the first corner that is far enough away to head for.
        if bend_row < 0 and length >= _NEAREST and not last_leg:
            bend_row, bend_column = to_row, to_column
        here, row, column = there, to_row, to_column
    # Start and end lie in one cell.
    if len(cells) == 1:
        length = FINE * np.hypot(end[0] - start[0], end[1] - start[1])
    return length, bend_row, bend_column


@compiled
def _straight(
    costs: NDArray[np.float64], row: float, column: float, to_row: float, to_column: float
) -> float:
    """What a straight line costs, by samples an eighth of a meter apart."""
    meters = FINE * np.hypot(to_row - row, to_column - column)
    steps = max(int(meters / (FINE / 2)), 1)
    total = 0.0
    for k in range(steps):
        share = (k + 0.5) / steps
        r = min(max(int(row + share * (to_row - row)), 0), costs.shape[0] - 1)
        c = min(max(int(column + share * (to_column - column)), 0), costs.shape[1] - 1)
        total += costs[r, c]
    return total / steps * meters
