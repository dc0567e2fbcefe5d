"""The memory map: views, stitched together by odometry into a map that does not turn."""

from __future__ import annotations

from hier.envs.compiled import compiled
from hier.envs.gridworld.cells import EMPTY, NAMED, UNSEEN, WALKABLE
from hier.envs.gridworld.percept import HEADINGS


@compiled
def start_map(cells, pose, bounds):
    """Forget everything: the agent stands in the middle of an unseen map, facing up.

    Args:
        cells: ``(size, size)`` uint8 map, written.
        pose: ``(3,)`` int64 ``(x, y, heading)``, written.
        bounds: ``(4,)`` int64 ``(x0, y0, x1, y1)`` of everything seen, written.
    """
    cells[:] = UNSEEN
    middle = cells.shape[0] // 2
    pose[0] = middle
    pose[1] = middle
    pose[2] = 3
    bounds[:] = middle


@compiled
def extend_map(cells, pose, bounds, odometry, view):
    """Move by the odometry and write the new view into the map.

    Args:
        cells, pose, bounds: the map's state as in :func:`start_map`, updated.
        odometry: ``(3,)`` cells ahead, cells to the right, quarter turns clockwise.
        view: ``(7, 7)`` uint8 codes in the agent's frame.

    Returns:
        The number of named objects seen for the first time, or -1 if the map is too small (the
        view then went unwritten).
    """
    fx, fy = HEADINGS[pose[2]]
    pose[0] += fx * odometry[0] - fy * odometry[1]
    pose[1] += fy * odometry[0] + fx * odometry[1]
    pose[2] = (pose[2] + odometry[2]) % 4
    fx, fy = HEADINGS[pose[2]]
    x, y = pose[0], pose[1]
    size = view.shape[0]
    half = size // 2
    # Two cells stay free around the view so that neighbors of seen cells can be looked up.
    reach = size + 1
    if x < reach or y < reach or x >= cells.shape[1] - reach or y >= cells.shape[0] - reach:
        return -1
    discoveries = 0
    for row in range(size):
        for col in range(size):
            code = view[row, col]
            ahead, right = size - 1 - row, col - half
            if code == UNSEEN or (ahead == 0 and right == 0):
                continue
            cx = x + fx * ahead - fy * right
            cy = y + fy * ahead + fx * right
            if cells[cy, cx] == UNSEEN:
                if NAMED[code]:
                    discoveries += 1
                bounds[0] = min(bounds[0], cx)
                bounds[1] = min(bounds[1], cy)
                bounds[2] = max(bounds[2], cx)
                bounds[3] = max(bounds[3], cy)
            cells[cy, cx] = code
    # The agent hides what it stands on; the map keeps what it knew, or assumes bare floor.
    if not WALKABLE[cells[y, x]]:
        cells[y, x] = EMPTY
    return discoveries
