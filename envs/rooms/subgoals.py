"""Subgoals in rooms: go to, pick up and put next to known objects, put down, and explore."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hier.envs.rooms.maps import (
    CELL,
    FREE,
    SIZE,
    UNKNOWN,
    Cell,
    cell_at,
    cells_at,
    center,
    frontier,
    frontiers,
)
from hier.envs.rooms.percept import (
    AGENT_RADIUS,
    COLORS,
    GO_TO,
    KINDS,
    NEXT_TO,
    PICK_UP,
    RADIUS,
    RoomsPercept,
    SeenObject,
)
from hier.envs.rooms.steering import cannot_turn, clear_heading, toward
from hier.envs.rooms.ways import Way, way_to
from hier.envs.subgoal import Subgoal, SubgoalSyntaxError, normalized

ARRIVED = 0.6  # meters from a place to explore at which it is explored
_BITS = 7  # of a row or column
_THING = rf"({'|'.join(COLORS)}) ({'|'.join(KINDS)})"
_OBJECT = re.compile(rf"(go to|pick up|put down) the {_THING}")
_PUT = re.compile(rf"put the {_THING} next to the {_THING}")
_EXPLORE = re.compile(r"explore (\d+\.\d+) m (north|south) (\d+\.\d+) m (west|east)")
_SIDES = ("north", "north-west", "west", "south-west", "south", "south-east", "east", "north-east")


@dataclass(frozen=True, slots=True)
class Explore(Subgoal):
    """*Explore 2.25 m north 0.75 m west* of where the episode began: see what lies beyond."""

    row: int = 0
    column: int = 0

    def __str__(self) -> str:
        north, west = center((self.row, self.column))
        return (
            f"{self.verb} {abs(north):.2f} m {'north' if north > 0 else 'south'} "
            f"{abs(west):.2f} m {'west' if west > 0 else 'east'}"
        )


@dataclass(frozen=True, slots=True)
class PutNext(Subgoal):
    """*Put the red box next to the yellow box*; ``color`` and ``kind`` are of what is carried."""

    to_color: str = ""
    to_kind: str = ""

    def __str__(self) -> str:
        return f"put the {self.color} {self.kind} next to the {self.to_color} {self.to_kind}"


def explore(cell: Cell) -> Explore:
    """The subgoal to see what lies beyond a cell."""
    return Explore("explore", row=cell[0], column=cell[1])


class RoomsSubgoals:
    """Subgoals over known objects and the map's edge; implements
    :class:`hier.envs.subgoal.SubgoalSpace`.
    """

    verbs = ("go to", "pick up", "put", "put down", "explore")
    encoding_size = len(verbs) + 2 * (len(COLORS) + len(KINDS)) + 2 * _BITS

    def candidates(self, percept: RoomsPercept) -> list[Subgoal]:
        """Subgoals for each known object, by name; then the stretches of the map's edge to explore.

        Where the mission is to go somewhere, the agent has no hand and can only go to objects.
        Elsewhere it can pick objects up, put a carried one next to another, or put it down.
        """
        found: list[Subgoal] = []
        verb = "go to" if percept.mission == GO_TO else "pick up"
        for color, kind in sorted({thing.thing for thing in percept.objects}):
            if percept.carrying is not None:
                found.append(PutNext("put", *percept.carrying, "", color, kind))
            else:
                found.append(Subgoal(verb, color, kind))
        if percept.carrying is not None:
            found.append(Subgoal("put down", *percept.carrying))
        found += [explore(cell) for cell in frontiers(percept.cells) or _around(percept)]
        return found

    def parse(self, text: str) -> Subgoal:
        """The subgoal a sentence names; letter case, outer blanks and a full stop do not matter.

        Raises:
            SubgoalSyntaxError: for anything else.
        """
        sentence = normalized(text)
        if match := _OBJECT.fullmatch(sentence):
            return Subgoal(*match.groups())
        if match := _PUT.fullmatch(sentence):
            color, kind, to_color, to_kind = match.groups()
            return PutNext("put", color, kind, "", to_color, to_kind)
        if match := _EXPLORE.fullmatch(sentence):
            north = float(match[1]) * (1 if match[2] == "north" else -1)
            west = float(match[3]) * (1 if match[4] == "west" else -1)
            subgoal = explore(cell_at(np.array([north, west])))
            if str(subgoal) == sentence:  # places between two cells' centers name none
                return subgoal
        raise SubgoalSyntaxError(
            f"{text!r} is not a subgoal; write for example 'pick up the red box', 'put the red "
            "box next to the yellow box' or 'explore 2.25 m north 0.75 m west'. "
            f"Verbs: {', '.join(self.verbs)}; colors: {', '.join(COLORS)}; kinds: "
            f"{', '.join(KINDS)}; places are centers of cells of {CELL} m"
        )

    def encode(self, subgoal: Subgoal | None) -> NDArray[np.float32]:
        """One-hot verb, colors and kinds, and row and column in binary, ``(37,)`` float32."""
        parts = [np.zeros(n, np.float32) for n in (len(self.verbs), *self._sizes, _BITS, _BITS)]
        if subgoal is not None:
            parts[0][self.verbs.index(subgoal.verb)] = 1.0
            if subgoal.color:
                parts[1][COLORS.index(subgoal.color)] = 1.0
                parts[2][KINDS.index(subgoal.kind)] = 1.0
        if isinstance(subgoal, PutNext):
            parts[3][COLORS.index(subgoal.to_color)] = 1.0
            parts[4][KINDS.index(subgoal.to_kind)] = 1.0
        if isinstance(subgoal, Explore):
            for part, number in ((parts[5], subgoal.row), (parts[6], subgoal.column)):
                part[:] = [number >> bit & 1 for bit in range(_BITS)]
        return np.concatenate(parts)

    _sizes = (len(COLORS), len(KINDS), len(COLORS), len(KINDS))

    @staticmethod
    def target(percept: RoomsPercept, subgoal: Subgoal) -> SeenObject | None:
        """The nearest known object a subgoal leads to; ``None`` for a place or if none is known."""
        if isinstance(subgoal, PutNext):
            return percept.nearest(subgoal.to_color, subgoal.to_kind)
        if subgoal.verb in ("explore", "put down"):
            return None
        return percept.nearest(subgoal.color, subgoal.kind)

    def place(self, percept: RoomsPercept, subgoal: Subgoal) -> NDArray[np.float32] | None:
        """The place a subgoal points at, ``(2,)`` float32; ``None`` if it is not known."""
        if isinstance(subgoal, Explore):
            return center((subgoal.row, subgoal.column))
        if subgoal.verb == "put down":  # wherever the agent is
            return None if percept.carrying is None else percept.position
        target = self.target(percept, subgoal)
        return None if target is None else np.array(target.place, np.float32)

    def way(self, percept: RoomsPercept, subgoal: Subgoal) -> Way | None:
        """The way to a subgoal's place, around all other objects; ``None`` if it has no place.

        Where a known object would stop a step, the way first leads half a meter past that object.
        Where the agent cannot turn with what it carries, the way first leads back.
        """
        place = self.place(percept, subgoal)
        if place is None:
            return None
        target = self.target(percept, subgoal)
        others = [(*o.place, RADIUS[o.kind]) for o in percept.objects if o is not target]
        body = AGENT_RADIUS if percept.carrying is None else RADIUS[percept.carrying[1]]
        way = way_to(percept.cells, percept.position, place, others, body)
        heading = clear_heading(percept, way.bend, target)
        if heading is not None:
            way = way._replace(bend=toward(percept, heading))
        if cannot_turn(percept, way):
            way = way._replace(bend=toward(percept, percept.heading + np.pi))
        return way

    def is_complete(self, subgoal: Subgoal, before: RoomsPercept, after: RoomsPercept) -> bool:
        """Whether the step achieved it.

        - *go to*: the agent touches the object, by its map;
        - *pick up*: the hand closed on the object;
        - *put next to*: the hand let the object go, and it lies next to the other one;
        - *put down*: the hand let the object go;
        - *explore*: the agent reached the place, the map knows it with its surroundings, or
          another object was found (an object that the hand let go is none).
        """
        if isinstance(subgoal, Explore):
            here = subgoal.row, subgoal.column
            seen = after.cells[here] != UNKNOWN and not frontier(after.cells)[here]
            arrived = np.hypot(*(center(here) - after.position)) <= ARRIVED
            found = len(after.objects) > len(before.objects)
            return bool(seen or arrived or found) and before.carrying == after.carrying
        thing = subgoal.color, subgoal.kind
        if subgoal.verb == "pick up":
            return after.taken == thing
        if subgoal.verb == "put down":
            return before.carrying == thing and after.carrying is None
        if isinstance(subgoal, PutNext):
            if before.carrying != thing or after.carrying is not None:
                return False
            put = after.nearest(*thing)
            others = [o for o in after.objects if o.thing == (subgoal.to_color, subgoal.to_kind)]
            return put is not None and _any_near(put, others)
        target = self.target(after, subgoal)
        # They must touch: at a greater distance the simulator may not end the episode.
        near = AGENT_RADIUS + RADIUS[subgoal.kind]
        return target is not None and after.distance(target) <= near

    def is_interrupted(self, subgoal: Subgoal, before: RoomsPercept, after: RoomsPercept) -> bool:
        """Whether the hand took or let go of something that was not asked for."""
        return before.carrying != after.carrying or after.taken is not None

    def is_repeatable(self, subgoal: Subgoal, percept: RoomsPercept) -> bool:
        """Whether it is *pick up* in a level in which the objects vanish; others may look alike."""
        return subgoal.verb == "pick up" and percept.mission == PICK_UP

    def describe(self, percept: RoomsPercept) -> str:
        """The mission, the agent's place and hand, and every known object with its bearing."""
        north, west = percept.position
        side = _SIDES[round(percept.heading / (np.pi / 4)) % 8]
        hand = " ".join(percept.carrying) if percept.carrying else "nothing"
        lines = [
            f"Mission: {percept.mission}. You are {north:.1f} m north and {west:.1f} m west of "
            f"where you began and face {side}. You carry {hand}."
        ]
        for thing in percept.objects:
            lines.append(
                f"You know a {thing.color} {thing.kind} {thing.place[0]:.1f} m north "
                f"{thing.place[1]:.1f} m west of there, {percept.distance(thing):.1f} m from you."
            )
        share = int((percept.cells == FREE).sum() * CELL**2)
        lines.append(f"You have seen {share} square metres of floor.")
        return "\n".join(lines)

    def target_mask(self, percept: RoomsPercept, subgoal: Subgoal) -> NDArray[np.bool_]:
        """The target's cell on the percept's map, ``(80, 80)`` bool."""
        mask = np.zeros((SIZE, SIZE), np.bool_)
        place = self.place(percept, subgoal)
        if place is not None:
            mask[cell_at(place)] = True
        return mask


def _any_near(put: SeenObject, others: Iterable[SeenObject]) -> bool:
    limit = RADIUS[put.kind] + NEXT_TO
    return any(
        o is not put and np.hypot(*np.subtract(put.place, o.place)) <= limit + RADIUS[o.kind]
        for o in others
    )


def _around(percept: RoomsPercept) -> list[Cell]:
    """Cells to explore when the known floor has no edge: the unknown ones 2 m off on four sides.

    This happens close to a wall, where the picture shows no floor at all. Where all four cells are
    known, it is the free cell farthest from the agent.
    """
    angles = percept.heading + np.arange(4) * np.pi / 2
    places = percept.position + 2.0 * np.stack([np.cos(angles), np.sin(angles)], 1)
    around = sorted({(int(row), int(column)) for row, column in cells_at(places)})
    unknown = [cell for cell in around if percept.cells[cell] == UNKNOWN]
    if unknown:
        return unknown
    free = np.argwhere(percept.cells == FREE)
    row, column = free[np.abs(free - percept.cell).sum(1).argmax()]
    return [(int(row), int(column))]
