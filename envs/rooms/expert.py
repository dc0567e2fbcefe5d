"""The rooms' expert: the subgoal on the shortest way to the end of the task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import FAR
from hier.envs.rooms.maps import center
from hier.envs.rooms.percept import PICK_UP, PUT_NEXT, RoomsPercept, Thing
from hier.envs.rooms.steering import actions_along
from hier.envs.rooms.subgoals import Explore, PutNext, RoomsSubgoals
from hier.envs.rooms.truth import RoomsTruth, turned
from hier.envs.rooms.ways import way_to
from hier.envs.subgoal import Subgoal

RED, YELLOW = ("red", "box"), ("yellow", "box")
MISTAKEN = 1.5  # meters by which the agent may misjudge the place of an object


class RoomsExpert:
    """Names the subgoal that the task needs, or where to look for the object that it needs.

    Args:
        truth: the simulator's state, now.
        searches: whether the expert explores the nearest unknown place, as if it did not know
            where things lie. A planner that sees only percepts can learn from such an expert.
    """

    def __init__(self, truth: RoomsTruth, searches: bool = False):
        self.truth = truth
        self._searches = searches

    def subgoal(self, percept: RoomsPercept, candidates: Sequence[Subgoal]) -> Subgoal | None:
        """The candidate to pursue; ``None`` if none leads on."""
        if percept.carrying is not None and self.truth.held != RED:
            return next((g for g in candidates if g.verb == "put down"), None)
        wanted = self._wanted(percept)
        places = np.array([place for _, place in wanted]).reshape(-1, 2)
        best, shortest = None, float(FAR)
        for candidate in candidates:
            if isinstance(candidate, Explore) or candidate.verb == "put down":
                continue
            for thing, place in wanted:
                if _is_meant(candidate, thing) and self._is_known(percept, candidate, place):
                    length = self._way(self.truth.position, place)
                    if length < shortest:
                        best, shortest = candidate, length
        if best is not None or not len(places):
            return best
        unseen = [candidate for candidate in candidates if isinstance(candidate, Explore)]
        lengths = [
            self._actions(percept, candidate) if self._searches else self._detour(candidate, places)
            for candidate in unseen
        ]
        return unseen[int(np.argmin(lengths))] if unseen else None

    @staticmethod
    def _actions(percept: RoomsPercept, candidate: Explore) -> float:
        way = RoomsSubgoals().way(percept, candidate)
        return float(FAR) if way is None else actions_along(percept, way)

    def _detour(self, candidate: Explore, places: NDArray[np.floating]) -> float:
        """Meters by way of a place to explore to the nearest of ``places`` in the world."""
        there = center((candidate.row, candidate.column))
        here = self._on_map(self.truth.position)
        beyond = min(self._length(there, self._on_map(place)) for place in places)
        return self._length(here, there) + beyond

    def _wanted(self, percept: RoomsPercept) -> list[tuple[Thing, NDArray[np.float64]]]:
        """What to head for, with its place in the world."""
        objects = self.truth.objects()
        if percept.mission == PICK_UP:
            return objects
        # A carried object hides the view, so the agent first looks for the place to put it.
        known = any(thing.color == YELLOW[0] for thing in percept.objects)
        put = percept.mission == PUT_NEXT and (percept.carrying is not None or not known)
        return [(thing, place) for thing, place in objects if thing == (YELLOW if put else RED)]

    def _is_known(
        self, percept: RoomsPercept, candidate: Subgoal, place: NDArray[np.floating]
    ) -> bool:
        target = RoomsSubgoals.target(percept, candidate)
        known = target is not None and np.hypot(*(self._on_map(place) - target.place)) < MISTAKEN
        return bool(known)

    def _on_map(self, place: NDArray[np.floating]) -> NDArray[np.float64]:
        return turned(place - self.truth.start, -self.truth.start_heading)

    def _way(self, start: NDArray[np.floating], end: NDArray[np.floating]) -> float:
        return self._length(self._on_map(start), self._on_map(end))

    def _length(self, start: NDArray[np.floating], end: NDArray[np.floating]) -> float:
        return way_to(self.truth.cells, start, end, ()).length


def _is_meant(candidate: Subgoal, thing: Thing) -> bool:
    """Whether the colors agree; kinds need not, because a distant box may look like a ball."""
    color = candidate.to_color if isinstance(candidate, PutNext) else candidate.color
    return thing[0] == color
