"""Perception of many rooms at once: pictures and own motion in, percepts and targets out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hier.envs.domain import FAR, Imagined
from hier.envs.rooms.camera import FRAME
from hier.envs.rooms.maps import CELL, FREE, UNKNOWN, WALL, centers, from_agent, to_map
from hier.envs.rooms.percept import (
    AGENT_RADIUS,
    COLORS,
    MISSION_CODEC,
    MOTIONS,
    NEXT_TO,
    RADIUS,
    RAYS,
    RoomsPercept,
    SeenObject,
    carried_ahead,
)
from hier.envs.rooms.steering import actions_along, turns_to
from hier.envs.rooms.subgoals import Explore, PutNext, RoomsSubgoals
from hier.envs.subgoal import Subgoal
from hier.perception.places import PlaceTracker
from hier.perception.rooms.memory import RoomMemory
from hier.perception.rooms.vision import see

NEAR = 2.5  # meters around the agent for which the controller gets distances
SECTORS = np.arange(12) * np.pi / 6  # their directions, radians to the left
_AROUND = math.ceil(NEAR / CELL)  # cells
_N_PLACE = 11  # numbers that place a target
HAND, GRASP = 0.6, 0.48  # meters ahead where the hand closes, and how wide


class RoomsTracker(PlaceTracker):
    """Follows one agent per environment; implements :class:`hier.envs.domain.Tracker`.

    Every picture gives objects by color and the floor's edge; with the agent's own motion they
    become a map (:class:`hier.perception.rooms.memory.RoomMemory`). In the privileged variant the
    observation holds what a picture would show.

    A subgoal's place is sine and cosine of the bearing, the turns to the left until it is ahead,
    and a third of the meters, to where the way to the target first bends; sine and cosine of the
    bearing of the target, and the meters to it; 1; and what the hand would do (:meth:`_hand`); all
    in [-3, 3]. Steps are actions to the target, turns and steps.

    Args:
        n: number of environments.
    """

    wait_action = 7  # MiniWorld's "done", which does nothing

    def __init__(self, n: int):
        self._space = RoomsSubgoals()
        super().__init__(n, _N_PLACE)
        self._memories = [RoomMemory() for _ in range(n)]
        self._frames = np.zeros((n, *FRAME), np.uint8)
        self._missions = [""] * n

    def reset(self, observation: dict[str, NDArray], which: Sequence[int] | None = None) -> None:
        """Begin episodes; see :meth:`hier.envs.domain.Tracker.reset`."""
        which = range(len(self._memories)) if which is None else which
        for i in which:
            self._memories[i] = RoomMemory()
            self._missions[i] = MISSION_CODEC.decode(observation["mission"][i])
        self._take(observation, which)

    def update(self, observation: dict[str, NDArray]) -> None:
        """Take in one more step of every environment."""
        for i, memory in enumerate(self._memories):
            memory.move(observation["odometry"][i])
            took, holds, stopped = observation["touch"][i]
            memory.feel(bool(took), bool(holds), int(stopped))
        self._take(observation, range(len(self._memories)))

    def _take(self, observation: dict[str, NDArray], which: Sequence[int]) -> None:
        if "image" in observation:
            self._frames = observation["image"]
        for i in which:
            if "image" in observation:
                self._memories[i].look(*see(observation["image"][i]))
            else:
                self._memories[i].look(observation["sightings"][i], observation["reach"][i])
        self._changed(which)

    def _new_percept(self, i: int) -> RoomsPercept:
        memory = self._memories[i]
        return RoomsPercept(
            frame=self._frames[i],
            cells=memory.cells(),
            reach=memory.reach.copy(),
            position=memory.position.copy(),
            heading=memory.heading,
            objects=memory.objects(),
            carrying=memory.carrying,
            taken=memory.taken,
            mission=self._missions[i],
            stopped=memory.stopped(),
            vain=memory.vain,
        )

    def _place(
        self, percept: RoomsPercept, subgoal: Subgoal
    ) -> tuple[NDArray[np.float32], float] | None:
        way = self._space.way(percept, subgoal)
        if way is None:
            return None
        aims = np.stack([way.bend, way.place])
        ahead = from_agent(aims, percept.position, percept.heading)
        away = np.hypot(ahead[:, 0], ahead[:, 1])
        forward, left = (ahead / np.maximum(away, 1e-6)[:, None]).T
        turns = turns_to(percept, way.bend)
        hand = self._hand(percept, subgoal)
        place = left[0], forward[0], turns, away[0] / 3, left[1], forward[1], away[1], 1.0, *hand
        return np.clip(np.array(place, np.float32), -3.0, 3.0), actions_along(percept, way)

    def _hand(self, percept: RoomsPercept, subgoal: Subgoal) -> tuple[float, float, float]:
        """Whether the hand would succeed now, and its distances to the target and to other objects.

        Distances are in meters from -1 to 1, and 1 where there is no object: from the hand's reach
        for *pick up*, from the carried object for *put next to*.
        """
        target = self._space.target(percept, subgoal)
        if target is None or subgoal.verb == "go to":
            return 0.0, 1.0, 1.0
        if percept.carrying is None:
            there, wide = HAND, GRASP
        else:
            kind = percept.carrying[1]
            there, wide = carried_ahead(kind), RADIUS[kind] + NEXT_TO
        hand = to_map(np.array([there, 0.0]), percept.position, percept.heading)
        gaps = [np.hypot(*(o.place - hand)) - wide - RADIUS[o.kind] for o in percept.objects]
        gap = gaps.pop(next(k for k, o in enumerate(percept.objects) if o is target))
        other = min(gaps, default=1.0)
        does = gap <= 0 and (other > 0 or percept.carrying is not None)
        return float(does), *np.clip([gap, other], -1.0, 1.0)

    def controller_spaces(self, observation_space: spaces.Dict) -> dict[str, spaces.Space]:
        """``state`` ``(54,)`` float32 in [-3, 3].

        A third of the meters of free floor along each of the 16 rays; how near the next wall or
        object of the map is in each of 12 sectors around, from 0 at 2.5 m to 1; for each color
        whether an object of it is known and a fifth of the meters forward and left to the nearest;
        whether something is carried; whether the last action moved or turned the agent, or its hand
        felt something; which motions were stopped since one was not; and sine and cosine of the
        heading.
        """
        size = RAYS + len(SECTORS) + 3 * len(COLORS) + len(MOTIONS) + 4
        return {"state": spaces.Box(-3.0, 3.0, (size,), np.float32)}

    def controller_entries(self, observation: dict[str, NDArray]) -> dict[str, NDArray]:
        """The entries that :meth:`controller_spaces` names, batched."""
        rows = []
        for i, memory in enumerate(self._memories):
            known = np.zeros((len(COLORS), 3), np.float32)
            percept = self.percept(i)
            objects = percept.objects
            places = np.array([o.place for o in objects], np.float32).reshape(-1, 2)
            ahead = from_agent(places, memory.position, memory.heading)
            for k in np.argsort(-np.hypot(ahead[:, 0], ahead[:, 1])):  # the nearest last
                known[COLORS.index(objects[k].color)] = 1.0, *ahead[k] / 5
            radii = np.array([RADIUS[o.kind] for o in objects], np.float32)
            near = nearness(percept, ahead, radii)
            felt = [memory.carrying is not None, memory.moved]
            felt += [motion in memory.vain for motion in MOTIONS]
            own = [*map(float, felt), np.sin(memory.heading), np.cos(memory.heading)]
            rows.append(np.concatenate([memory.reach / 3, near, known.ravel(), own]))
        return {"state": np.clip(np.array(rows, np.float32), -3.0, 3.0)}

    def imagine(self, percept: RoomsPercept, subgoal: Subgoal) -> Imagined | None:
        """The agent at the target and the subgoal done; ``None`` where no way is known."""
        found = self._place(percept, subgoal)
        place = self._space.place(percept, subgoal)
        if found is None or place is None or found[1] >= FAR:
            return None
        then = percept.snapshot()
        if isinstance(subgoal, Explore):
            cells = then.cells.copy()
            row, column = subgoal.row, subgoal.column
            beyond = cells[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
            beyond[beyond == UNKNOWN] = FREE
            then = replace(then, cells=cells, position=place)
        elif subgoal.verb == "put down":
            ahead = np.array([carried_ahead(subgoal.kind), 0.0])
            north, west = to_map(ahead, percept.position, percept.heading)
            put = SeenObject(subgoal.color, subgoal.kind, (float(north), float(west)))
            then = replace(then, carrying=None, objects=(*then.objects, put))
        else:
            target = self._space.target(percept, subgoal)
            assert target is not None
            gap = AGENT_RADIUS + RADIUS[target.kind] + CELL / 2
            ahead = place - percept.position
            away = max(float(np.hypot(*ahead)), 1e-6)
            position = percept.position + ahead * max(1 - gap / away, 0.0)
            heading = float(np.arctan2(ahead[1], ahead[0]))
            then = replace(then, position=position.astype(np.float32), heading=heading)
            if subgoal.verb == "pick up":
                left = tuple(o for o in then.objects if o is not target)
                then = replace(then, objects=left, taken=target.thing)
            if isinstance(subgoal, PutNext) and percept.carrying is not None:
                put = SeenObject(*percept.carrying, (float(place[0]), float(place[1])))
                then = replace(then, carrying=None, objects=(*then.objects, put))
        return Imagined(then, round(found[1]))


def nearness(
    percept: RoomsPercept, ahead: NDArray[np.floating], radii: NDArray[np.floating]
) -> NDArray[np.float32]:
    """How near walls and objects are, ``(12,)`` float32: 0 from 2.5 m on, 1 where they touch.

    Args:
        percept: with the map.
        ahead: ``(n, 2)`` meters forward and left to the middles of its objects.
        radii: ``(n,)`` meters, theirs.
    """
    row, column = percept.cell
    top, left = max(row - _AROUND, 0), max(column - _AROUND, 0)
    walls = percept.cells[top : row + _AROUND + 1, left : column + _AROUND + 1] == WALL
    rows, columns = np.nonzero(walls)
    middles = centers(np.stack([rows + top, columns + left], -1))
    walls_ahead = from_agent(middles, percept.position, percept.heading)
    all_ahead = np.concatenate([ahead, walls_ahead])
    all_radii = np.concatenate([radii, np.full(len(walls_ahead), CELL / 2)])
    away = np.maximum(np.hypot(all_ahead[:, 0], all_ahead[:, 1]), 1e-6)
    bearing = np.arctan2(all_ahead[:, 1], all_ahead[:, 0])
    aside = np.abs((SECTORS[:, None] - bearing + np.pi) % (2 * np.pi) - np.pi)
    covered = aside <= np.pi / 12 + np.arcsin(np.minimum(all_radii / away, 1.0))
    gaps = np.where(covered, np.maximum(away - all_radii - AGENT_RADIUS, 0.0), NEAR)
    return (1 - np.minimum(gaps.min(1, initial=NEAR), NEAR) / NEAR).astype(np.float32)
