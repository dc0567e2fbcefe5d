"""Grounding: from a subgoal in words to places on the map and in the view.

It uses the memory map alone. Distances are steps over cells that are known to be walkable; where no
such way is known, things that the agent could remove (objects, closed doors) count as passable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hier.envs.compiled import compiled
from hier.envs.domain import FAR
from hier.envs.gridworld.cells import REMOVABLE, WALKABLE
from hier.envs.gridworld.percept import HEADINGS, GridPercept
from hier.envs.gridworld.targets import mark_targets


@compiled
def flood(cells, bounds, targets, lenient, distance, queue):
    """Steps from every cell to the nearest target (breadth first from the targets).

    Args:
        cells: ``(size, size)`` uint8 map.
        bounds: ``(4,)`` int64, box around the seen cells.
        targets: ``(size, size)`` bool.
        lenient: also pass removable things.
        distance: ``(size, size)`` int32, written within ``bounds`` grown by one; ``FAR`` where
            there is no way.
        queue: int64 work space of ``size * size``.
    """
    size = cells.shape[1]
    head, tail = 0, 0
    for y in range(bounds[1] - 1, bounds[3] + 2):
        for x in range(bounds[0] - 1, bounds[2] + 2):
            distance[y, x] = FAR
            if targets[y, x]:
                distance[y, x] = 0
                queue[tail] = y * size + x
                tail += 1
    steps = (1, -1, size, -size)
    while head < tail:
        place = queue[head]
        head += 1
        y, x = place // size, place % size
        for step in steps:
            near = place + step
            ny, nx = near // size, near % size
            if ny < bounds[1] or ny > bounds[3] or nx < bounds[0] or nx > bounds[2]:
                continue
            if distance[ny, nx] <= distance[y, x] + 1:
                continue
            code = cells[ny, nx]
            if WALKABLE[code] or (lenient and REMOVABLE[code]):
                distance[ny, nx] = distance[y, x] + 1
                queue[tail] = near
                tail += 1


@compiled
def ground(cells, bounds, pose, subgoal, targets, distance, queue, planes):
    """Ground one subgoal.

    Args:
        cells, bounds, pose: a memory map.
        subgoal: ``(4,)`` int64 verb, color, kind, side (see ``GridworldSubgoals.as_integers``).
        targets, distance, queue: work space; ``targets`` holds the target mask afterward.
        planes: ``(2, 7, 7)`` float32 in the agent's frame, written: the target mask, and how much
            closer to the target each cell is than the agent's own (-1 six or more steps closer,
            0 as far, +1 six or more steps farther or no way).

    Returns:
        ``(found, steps, ahead, right)``: number of target cells; walking distance to the nearest,
        ``FAR`` if no way is known; and that target's place relative to the agent, in cells.
    """
    # Mark the cells at which the subgoal points.
    x, y = pose[0], pose[1]
    for ty in range(bounds[1] - 1, bounds[3] + 2):
        for tx in range(bounds[0] - 1, bounds[2] + 2):
            targets[ty, tx] = False
    found = mark_targets(
        cells, bounds, x, y, subgoal[0], subgoal[1], subgoal[2], subgoal[3], targets
    )
    planes[:] = 0.0
    if found == 0:
        return 0, FAR, 0, 0
    # Measure the way from every cell; if there is none from here, pass things that can be removed.
    flood(cells, bounds, targets, False, distance, queue)
    if distance[y, x] >= FAR:
        flood(cells, bounds, targets, True, distance, queue)
    here = distance[y, x]
    fx, fy = HEADINGS[pose[2]]
    # Find the nearest target: walk downhill or, if there is no way, compare straight distances.
    gx, gy = x, y
    if here < FAR:
        while distance[gy, gx] > 0:
            best = distance[gy, gx]
            nx, ny = gx, gy
            # Straight ahead first, so that equal ways prefer not to turn.
            for hx, hy in ((fx, fy), (-fy, fx), (fy, -fx), (-fx, -fy)):
                if distance[gy + hy, gx + hx] < best:
                    best = distance[gy + hy, gx + hx]
                    nx, ny = gx + hx, gy + hy
            gx, gy = nx, ny
    else:
        nearest = FAR
        for ty in range(bounds[1] - 1, bounds[3] + 2):
            for tx in range(bounds[0] - 1, bounds[2] + 2):
                if targets[ty, tx] and abs(tx - x) + abs(ty - y) < nearest:
                    nearest = abs(tx - x) + abs(ty - y)
                    gx, gy = tx, ty
    # Write both planes, cell by cell of the view.
    view = planes.shape[1]
    half = view // 2
    for row in range(view):
        for col in range(view):
            ahead, right = view - 1 - row, col - half
            cx = x + fx * ahead - fy * right
            cy = y + fy * ahead + fx * right
            if not (bounds[0] - 1 <= cx <= bounds[2] + 1 and bounds[1] - 1 <= cy <= bounds[3] + 1):
                planes[1, row, col] = 1.0
                continue
            if targets[cy, cx]:
                planes[0, row, col] = 1.0
            if here >= FAR or distance[cy, cx] >= FAR:
                planes[1, row, col] = 1.0
            else:
                gain = (distance[cy, cx] - here) / 6.0
                planes[1, row, col] = min(1.0, max(-1.0, gain))
    dx, dy = gx - x, gy - y
    return found, here, dx * fx + dy * fy, -dx * fy + dy * fx


def distances(percept: GridPercept, targets: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Steps from every cell of the percept's map to the nearest target, over free cells alone."""
    _, distance, queue = work_space(len(percept.map))
    flood(percept.map, np.asarray(percept.bounds), targets, False, distance, queue)
    return distance


def work_space(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``targets``, ``distance`` and ``queue`` for maps of ``size`` cells a side."""
    return (
        np.zeros((size, size), np.bool_),
        np.full((size, size), FAR, np.int32),
        np.zeros(size * size, np.int64),
    )
