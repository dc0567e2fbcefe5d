"""Imagination: the percept an agent will probably have once it has achieved a subgoal.

The percept's own map decides: the agent goes the shortest way to the nearest target, where the verb
has its effect.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import FAR, Imagined
from hier.envs.gridworld.cells import CELLS, CODE, EMPTY
from hier.envs.gridworld.percept import HEADINGS, GridPercept
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.envs.subgoal import Subgoal
from hier.perception.gridworld.grounding import distances
from hier.perception.gridworld.map_image import map_codes

_SPACE = GridworldSubgoals()


def imagine(percept: GridPercept, subgoal: Subgoal) -> Imagined | None:
    """The percept after ``subgoal`` was achieved.

    The agent stands on the goal after *reach*, and else beside the nearest target and faces it.
    Objects have moved into its hand or out of it; the door is open; the box is gone, and nothing
    lies in its place, although the box may hold something. The view comes from the map. The frame
    stays the last one.

    Args:
        percept: now; read at once.
        subgoal: one of its candidates.

    Returns:
        ``None`` where the outcome is unknown: for *explore*, where no free way to a target is
        known, where the agent stands on the target, and for a locked door without its key.
    """
    if subgoal.verb == "explore":
        return None
    distance = distances(percept, _SPACE.target_mask(percept, subgoal))
    steps = int(distance[percept.y, percept.x])
    onto = subgoal.verb == "reach"
    if steps >= FAR or (steps == 0 and not onto):
        return None
    after = _at_the_target(percept.snapshot(), distance, 0 if onto else 1)
    x, y = after.front
    ahead = CELLS[after.map[y, x]]
    if subgoal.verb == "pick up":
        after = replace(after, carrying=int(after.map[y, x]))
        after.map[y, x] = EMPTY
    elif subgoal.verb in ("drop", "put next to"):
        after.map[y, x] = after.carrying
        after = replace(after, carrying=EMPTY)
    elif subgoal.verb == "toggle":
        after.map[y, x] = EMPTY
    elif subgoal.verb == "open":
        held = CELLS[after.carrying]
        if ahead.state == "locked" and (held.kind, held.color) != ("key", ahead.color):
            return None
        after.map[y, x] = CODE[ahead._replace(state="open")]
    return Imagined(replace(after, view=_view(after)), steps)


def _at_the_target(percept: GridPercept, distance: NDArray[np.int32], end: int) -> GridPercept:
    """The agent walked to where ``distance`` is ``end``, and turned to go on from there."""
    x, y, heading = percept.x, percept.y, percept.heading
    while distance[y, x]:
        # Straight on first, so that equal ways prefer not to turn.
        ways = [(heading + quarter) % 4 for quarter in (0, 1, 3, 2)]
        heading = min(ways, key=lambda h: distance[y + HEADINGS[h][1], x + HEADINGS[h][0]])
        if distance[y, x] == end:
            break
        x, y = x + HEADINGS[heading][0], y + HEADINGS[heading][1]
    return replace(percept, x=x, y=y, heading=heading)


def _view(percept: GridPercept) -> NDArray[np.uint8]:
    """What the map knows of the cells in view."""
    size = percept.view.shape[0]
    around = map_codes(percept, 2 * size - 1)
    return around[:size, size // 2 : size // 2 + size].copy()
