"""Where a gridworld subgoal points on the map, in compiled code.

The same function serves the subgoal space (one percept at a time, for planners and tests) and
the grounding of perception (all environments at every step).
"""

from __future__ import annotations

import numpy as np

from hier.envs.compiled import compiled
from hier.envs.gridworld.cells import (
    COLOR_OF,
    DOOR_STATES,
    EMPTY,
    KIND_OF,
    KINDS,
    STATE_OF,
    UNSEEN,
    WALKABLE,
)

VERBS = ("explore", "go to", "pick up", "open", "drop", "put next to", "toggle", "reach")
_EXPLORE, _GO_TO, _PICK_UP, _OPEN, _DROP, _PUT_NEXT_TO, _, _REACH = range(len(VERBS))  # as integers
WHERE = ("", "left", "right", "front", "behind")
ANY = 254  # color or kind left open
_GOAL = KINDS.index("goal")
_WALL, _DOOR = KINDS.index("wall"), KINDS.index("door")
_OPEN_STATE = DOOR_STATES.index("open")
_LOCKED_STATE = DOOR_STATES.index("locked")


@compiled
def _matches(code, color, kind):
    return (kind == ANY or KIND_OF[code] == kind) and (color == ANY or COLOR_OF[code] == color)


@compiled
def _on_side(where, x, y, start):
    # The agent starts at (start, start) facing up (-y).
    if where == 1:
        return x < start
    if where == 2:
        return x > start
    if where == 3:
        return y < start
    if where == 4:
        return y > start
    return True


@compiled
def keeps_ways_open(cells, x, y, ax, ay):
    # Whether a thing at (x, y) would block no way; BabyAI's bot has the same rule for dropping. Of
    # the eight cells around, the free ones (the agent's too) stay connected: along the ring, free
    # and occupied change at most twice. And whatever else is there, a door above all, keeps a free
    # cell beside it in the ring.
    dxs = (-1, 0, 1, 1, 1, 0, -1, -1)
    dys = (-1, -1, -1, 0, 1, 1, 1, 0)
    changes = 0
    for k in range(8):
        cx, cy = x + dxs[k], y + dys[k]
        nx, ny = x + dxs[(k + 1) % 8], y + dys[(k + 1) % 8]
        px, py = x + dxs[(k + 7) % 8], y + dys[(k + 7) % 8]
        free = WALKABLE[cells[cy, cx]] or (cx == ax and cy == ay)
        next_free = WALKABLE[cells[ny, nx]] or (nx == ax and ny == ay)
        previous_free = WALKABLE[cells[py, px]] or (px == ax and py == ay)
        if free != next_free:
            changes += 1
        if not (free or next_free or previous_free) and KIND_OF[cells[cy, cx]] != _WALL:
            return False
    return changes <= 2


@compiled
def _beside(cells, x, y, color, kind, where):
    start = cells.shape[0] // 2
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        code = cells[y + dy, x + dx]
        if _matches(code, color, kind) and _on_side(where, x + dx, y + dy, start):
            return True
    return False


@compiled
def _blocks_a_door(cells, x, y):
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        code = cells[y + dy, x + dx]
        if KIND_OF[code] == _DOOR and STATE_OF[code] != _OPEN_STATE:
            return True
    return False


@compiled
def _points_at(cells, x, y, ax, ay, verb, color, kind, where, lenient):
    code = cells[y, x]
    underfoot = x == ax and y == ay
    if verb == _EXPLORE:
        # A frontier: unseen, beside a cell one can stand on.
        return code == UNSEEN and (
            WALKABLE[cells[y, x - 1]]
            or WALKABLE[cells[y, x + 1]]
            or WALKABLE[cells[y - 1, x]]
            or WALKABLE[cells[y + 1, x]]
        )
    if verb == _REACH:
        return KIND_OF[code] == _GOAL
    if verb == _DROP:
        return code == EMPTY and not underfoot and (lenient or keeps_ways_open(cells, x, y, ax, ay))
    if underfoot and not (lenient and verb in (_GO_TO, _PUT_NEXT_TO)):
        return False
    if verb == _PUT_NEXT_TO:
        return code == EMPTY and _beside(cells, x, y, color, kind, where)
    if verb == _OPEN:
        state = STATE_OF[code]
        if state == _OPEN_STATE or (state == _LOCKED_STATE and not lenient):
            return False
    if verb == _PICK_UP and not lenient and not _blocks_a_door(cells, x, y):
        return False
    start = cells.shape[0] // 2
    return _matches(code, color, kind) and _on_side(where, x, y, start)


@compiled
def mark_targets(cells, bounds, ax, ay, verb, color, kind, where, out):
    """Mark the map cells a subgoal points at.

    If there is no better cell, the rules are lenient: *open* takes a locked door, *pick up* a thing
    that blocks no shut door (of things alike, those in the way come first), *drop* a free cell that
    blocks a way, and *go to* and *put next to* the agent's own cell, which it has to leave first
    (it stands in the doorway that is meant, or on the last free cell beside the object).

    Args:
        cells: ``(size, size)`` uint8 map.
        bounds: int array ``(x0, y0, x1, y1)`` around the seen cells; they keep a margin of two
            cells from the edge of the map.
        ax, ay: the agent's position; otherwise no target, save for a goal underfoot.
        verb, color, kind, where: the subgoal as integers (``ANY`` where open).
        out: ``(size, size)`` bool, all false inside ``bounds`` grown by one; written.

    Returns:
        The number of cells marked.
    """
    count = 0
    grow = 1 if verb == _EXPLORE else 0
    for lenient in (False, True):
        for y in range(bounds[1] - grow, bounds[3] + 1 + grow):
            for x in range(bounds[0] - grow, bounds[2] + 1 + grow):
                if _points_at(cells, x, y, ax, ay, verb, color, kind, where, lenient):
                    out[y, x] = True
                    count += 1
        if count > 0 or verb not in (_GO_TO, _OPEN, _PICK_UP, _DROP, _PUT_NEXT_TO):
            break
    return count


def new_mask(size: int) -> np.ndarray:
    """An empty target mask for a map of ``size`` cells a side."""
    return np.zeros((size, size), np.bool_)
