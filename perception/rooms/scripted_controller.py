"""A scripted controller for rooms: it turns to where the way bends, walks, picks up and drops."""

from __future__ import annotations

import numpy as np

from hier.envs.rooms.maps import from_agent
from hier.envs.rooms.percept import RADIUS, RoomsPercept
from hier.envs.rooms.subgoals import PutNext, RoomsSubgoals
from hier.envs.subgoal import Subgoal

ACTIONS = ("left", "right", "forward", "back", "pick up", "drop")  # MiniWorld's, by number
LEFT, RIGHT, FORWARD, BACK, PICK_UP, DROP = range(6)
_STRAIGHT = 0.14  # radians off its way that it accepts: a little more than half a turn
_FACED = 0.4  # radians off at which the hand reaches what lies there
_HAND = 0.95  # meters from the agent's middle to the side of what the hand reaches
_PUT = 2.75  # meters from the target within which a stopped step means that it touches the target
_SPACE = RoomsSubgoals()


class RoomsScriptedController:
    """Walks to where a subgoal points; implements :class:`.ScriptedController`.

    Where something that the percept does not show stops it, it tries a random way around. It
    remembers that way, its last action and the last percept, so it serves one episode.
    """

    actions = ACTIONS
    patience = 60

    def __init__(self) -> None:
        self._percept: RoomsPercept | None = None
        self._subgoal: Subgoal | None = None
        self._moved = True
        self._answer = self._last = FORWARD
        self._around: list[int] = []
        self._failed: set[int] = set()  # actions without effect since the last one that had any

    def action(self, percept: RoomsPercept, subgoal: Subgoal, rng: np.random.Generator) -> int:
        """The next action, an index into ``actions``; the same for the same percept and subgoal."""
        if percept is not self._percept:
            self._moved = self._percept is None or _differ(self._percept, percept)
        elif subgoal == self._subgoal:
            return self._answer
        self._percept, self._subgoal = percept, subgoal
        self._answer = self._next(percept, subgoal, rng)
        return self._answer

    def random_action(self, rng: np.random.Generator) -> int:
        """A turn or a step; some levels have no other action."""
        return int(rng.choice((LEFT, RIGHT, FORWARD)))

    def _next(self, percept: RoomsPercept, subgoal: Subgoal, rng: np.random.Generator) -> int:
        if subgoal.verb == "put down":
            return DROP
        way = _SPACE.way(percept, subgoal)
        if way is None:
            return self.random_action(rng)
        aims = np.stack([way.bend, way.place])
        ahead = from_agent(aims, percept.position, percept.heading)
        bend, aside = np.arctan2(ahead[:, 1], ahead[:, 0])
        away, faced = float(np.hypot(*ahead[1])), abs(aside) < _FACED
        if isinstance(subgoal, PutNext) and away < _PUT and faced and not self._moved:
            return DROP
        if self._moved:
            self._failed.clear()
        elif self._last == FORWARD or percept.carrying is not None:
            self._failed.add(self._last)
            self._around = self._way_around(percept.carrying is not None, rng)
        if self._around:
            self._last = self._around.pop(0)
            return self._last
        if subgoal.verb == "pick up" and away < _HAND + RADIUS[subgoal.kind] and faced:
            # If the hand felt nothing last time, the object is farther off than it looks.
            self._last = FORWARD if self._last == PICK_UP else PICK_UP
            return self._last
        wanted = FORWARD if abs(bend) < _STRAIGHT else LEFT if bend > 0 else RIGHT
        if {wanted, self._last} == {LEFT, RIGHT} and abs(bend) < _FACED:
            wanted = FORWARD  # do not turn back and forth
        self._last = wanted
        return wanted

    def _way_around(self, carries: bool, rng: np.random.Generator) -> list[int]:
        """A few random actions around an unseen obstacle; with a load, back first and then turn."""
        if carries and BACK not in self._failed:
            return [BACK] * int(rng.integers(1, 6)) + [int(rng.integers(2))] * 2 + [FORWARD] * 3
        sides = [side for side in (LEFT, RIGHT) if side not in self._failed]
        if not sides:
            return [DROP] if carries else []
        turns = [int(rng.choice(sides))] * int(rng.integers(1, 6))
        return turns + [FORWARD] * 3


def _differ(before: RoomsPercept, after: RoomsPercept) -> bool:
    """Whether the agent moved, turned, or its hand felt something."""
    moved = np.abs(after.position - before.position).max() > 1e-4
    turned = abs(after.heading - before.heading) > 1e-4
    return bool(moved or turned or before.carrying != after.carrying or after.taken is not None)
