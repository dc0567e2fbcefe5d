"""One agent's memory of a room: its own pose, the free floor and the objects."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from hier.envs.rooms.camera import DIRECTIONS, TANGENTS
from hier.envs.rooms.maps import (
    CELL,
    CROSS,
    FREE,
    SIZE,
    UNKNOWN,
    WALL,
    cell_at,
    cells_at,
    centers,
    from_agent,
    to_map,
)
from hier.envs.rooms.percept import (
    AGENT_RADIUS,
    COLORS,
    KINDS,
    MOTIONS,
    RADIUS,
    RAYS,
    SeenObject,
    Thing,
    carried_ahead,
)
from hier.envs.rooms.subgoals import ARRIVED

SEEN = 5.0  # meters up to which free floor is noted
SURE = 4.0  # meters up to which a wall is noted: a row of pixels is a third of a meter there
CLOSEST = 2.6  # meters: nearer, a wall's foot and an object's are out of the picture
SURE_LOOKS = 3  # looks after which a grey spot counts as an object
MISSES = 4  # looks without the object where it should be, after which it is forgotten
STOPS = 20  # number of stopped steps that the agent remembers
# Meters: if an object is nearer, the picture does not show its top either.
TOPS = {"ball": 1.6, "box": 1.6, "key": 2.4}
HERE = 0.2  # meters within which a step is stopped in the same headings
INSIDE = 0.6  # meters: nearer to an object's middle than its side and the agent's allow
_ALONG = np.arange(0.5, SEEN, 0.25)  # meters along a ray at which the floor is noted
_BEARINGS = np.arctan2(DIRECTIONS[:, 1], DIRECTIONS[:, 0])  # of the rays
_BUMPED = np.array([0.6, 0.0])  # meters ahead and left of the middle, where a body is stopped
_REACHED = np.array([(n, w) for n in (-1, 0, 1) for w in (-1, 0, 1)]) * CELL  # cells around


@dataclass(slots=True)
class _Known:
    """An object on the map: its place by the best view, and its kind by all views."""

    color: str
    place: NDArray[np.float32]
    view: float  # meters at the best view; less is better
    votes: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(KINDS)))
    looks: int = 0
    misses: int = 0

    @property
    def kind(self) -> str:
        return KINDS[int(self.votes.argmax())]

    @property
    def believed(self) -> bool:
        """Whether it is an object; from some places, spots of a wall look grey too."""
        return self.color != "grey" or self.looks >= SURE_LOOKS


def _nearest(things: list[_Known], place: NDArray[np.floating]) -> tuple[_Known | None, float]:
    """The thing nearest to a place, and the meters to it; ``None`` and infinity without any."""
    gaps = [float(np.hypot(*(thing.place - place))) for thing in things]
    if not gaps:
        return None, np.inf
    k = int(np.argmin(gaps))
    return things[k], gaps[k]


class RoomMemory:
    """Follows one episode from its first picture on.

    Attributes:
        position, heading: of the agent on the map (:mod:`hier.envs.rooms.maps`).
        reach: ``(16,)`` float32 as last seen.
        carrying, taken: see :class:`hier.envs.rooms.percept.RoomsPercept`.
        moved: whether the last action had any effect on the agent or its hand.
        vain: see :class:`hier.envs.rooms.percept.RoomsPercept`.
    """

    def __init__(self) -> None:
        self.position = np.zeros(2, np.float32)
        self.heading = 0.0
        self.reach = np.zeros(RAYS, np.float32)
        self.carrying: Thing | None = None
        self.taken: Thing | None = None
        self.moved = True
        self.vain: tuple[str, ...] = ()
        self._stops: deque[tuple[NDArray[np.float32], float]] = deque(maxlen=STOPS)
        self._known: list[_Known] = []
        self._holds = False  # something, as the hand feels
        self._held: _Known | None = None  # as it was known before the hand took it
        self._evidence = np.zeros((SIZE, SIZE), np.int8)  # above 0 for floor, below for wall
        self._felt = np.zeros((SIZE, SIZE), np.bool_)  # where the body was stopped
        self._passed = np.zeros((SIZE, SIZE), np.bool_)  # beside the agent, at some time
        self._stood = np.zeros((SIZE, SIZE), np.bool_)  # so near that it counts as explored

    def cells(self) -> NDArray[np.uint8]:
        """The map, ``(80, 80)`` uint8."""
        cells = np.full((SIZE, SIZE), UNKNOWN, np.uint8)
        cells[self._evidence > 0] = FREE
        cells[self._evidence < 0] = WALL
        # Unknown cells beside the agent's path, or beside floor that it reached, count as walls. It
        # could not see their floor from so near, and would otherwise explore them without end.
        edge = cv2.dilate((self._stood & (self._evidence > 0)).astype(np.uint8), CROSS) > 0
        cells[self._felt | (self._passed | edge) & (self._evidence == 0)] = WALL
        return cells

    def stopped(self) -> tuple[float, ...]:
        """Headings in which a step from about here was stopped."""
        return tuple(
            heading for place, heading in self._stops if np.hypot(*(place - self.position)) < HERE
        )

    def objects(self) -> tuple[SeenObject, ...]:
        """The known objects in the order in which they were found."""
        return tuple(
            SeenObject(o.color, o.kind, (float(o.place[0]), float(o.place[1])))
            for o in self._known
            if o.believed
        )

    def move(self, odometry: NDArray[np.floating]) -> None:
        """Add own motion: meters forward and left of the pose before, and radians to the left."""
        self.position = to_map(odometry[:2], self.position, self.heading)
        self.heading = float((self.heading + odometry[2] + np.pi) % (2 * np.pi) - np.pi)
        self.moved = bool(np.abs(odometry).max() > 1e-4)
        if self.moved:
            self.vain = ()

    def feel(self, took: bool, holds: bool, stopped: int) -> None:
        """Take in the sense of touch.

        A hand that closed has the nearest object ahead; one that opened left its object ahead of
        the agent. Where the body was stopped, something that was not seen blocks the way.

        Args:
            took: whether the hand closed on something.
            holds: whether it holds something now.
            stopped: 1 + number of the motion that was stopped, 0 for none.
        """
        self.taken = None
        if stopped and MOTIONS[stopped - 1] not in self.vain:
            self.vain += (MOTIONS[stopped - 1],)
        if stopped == 1 + MOTIONS.index("forward"):
            self._stops.append((self.position, self.heading))
            if self.carrying is None:
                self._touch()
        if took or (self.carrying is not None and not holds):
            self.moved, self.vain = True, ()
            self._stops.clear()
        self._holds = holds
        if took:
            self._held, found = None, self._ahead()
            if found is not None:
                self._take(found)
            self.carrying = self.taken if holds else None
        elif self.carrying is not None and not holds:
            color, kind = self.carrying
            away = carried_ahead(kind)
            place = to_map(np.array([away, 0.0]), self.position, self.heading)
            put = _Known(color, place, away, looks=SURE_LOOKS)
            put.votes[KINDS.index(kind)] = 1.0
            self._known.append(put)
            self.carrying = None

    def _touch(self) -> None:
        """Correct the map where the body was stopped, by the object ahead or else by a wall."""
        there = to_map(_BUMPED, self.position, self.heading)
        thing, gap = _nearest(self._known, there)
        if (thing is not None and gap < 1.3) or (thing := self._straight_ahead()) is not None:
            away = thing.place - self.position
            touching = AGENT_RADIUS + RADIUS[thing.kind]
            thing.place = self.position + away * min(1.0, touching / max(np.hypot(*away), 1e-6))
            return
        cell = cell_at(there)
        if self._evidence[cell] <= 0:  # seen as floor: then a shoulder was stopped, elsewhere
            self._felt[cell] = True

    def _straight_ahead(self) -> _Known | None:
        """The nearest object ahead within 2.5 m; some are nearer than they look."""
        ahead = [(from_agent(o.place, self.position, self.heading), o) for o in self._known]
        facing = [(x, o) for (x, y), o in ahead if 0 < x < 2.5 and abs(y) < 0.5 * x]
        return min(facing, key=lambda pair: pair[0])[1] if facing else None

    def _ahead(self) -> _Known | None:
        """The object that lies nearest to the hand, within 1.5 m."""
        hand = to_map(np.array([0.6, 0.0]), self.position, self.heading)
        found, gap = _nearest(self._known, hand)
        return found if gap < 1.5 else None

    def _take(self, found: _Known) -> None:
        self._known = [o for o in self._known if o is not found]
        self._held, self.taken = found, (found.color, found.kind)

    def _see_hand(self, sightings: NDArray[np.floating]) -> None:
        """Correct what is carried: it is the object that fills the middle of the view."""
        middle = (np.abs(sightings[:, 3]) < 0.3) & (sightings[:, 4] == 0.5)
        colors = [COLORS[int(number) - 1] for number in sightings[middle, 0]]
        if not middle[0] or (self.carrying is not None and self.carrying[0] in colors):
            return  # the largest is the first
        found, _ = _nearest([o for o in self._known if o.color == colors[0]], self.position)
        if found is None:  # it was never seen from farther off
            found = _Known(colors[0], self.position, np.inf)
            found.votes[KINDS.index("box")] = 1e-3
        if self._held is not None:
            self._known.append(self._held)
        self._take(found)
        self.carrying = self.taken

    def look(self, sightings: NDArray[np.floating], reach: NDArray[np.floating]) -> None:
        """Take in what a picture shows (:class:`hier.perception.rooms.vision.Sight`)."""
        self.reach = np.asarray(reach, np.float32)
        matched: list[_Known] = []
        if self._holds and (self.taken is not None or self.carrying is None):
            self._see_hand(sightings)
        for number, kind, forward, left, quality in sightings[sightings[:, 0] > 0]:
            color = COLORS[int(number) - 1]
            # The carried object is in the picture too, and is none of those on the map.
            if self.carrying is None or color != self.carrying[0]:
                ahead = np.array([forward, left], np.float32)
                matched += self._note_object(color, int(kind), ahead, float(quality))
        self._forget(matched)
        self._note_floor()

    def _note_floor(self) -> None:
        reach = self.reach[:, None]
        free = np.broadcast_to(_ALONG, (RAYS, len(_ALONG))) < np.maximum(reach - 0.3, 0)
        points = (DIRECTIONS[:, None] * _ALONG[:, None])[free]
        self._mark(points, 1)
        near = (self.reach > 0) & (self.reach < SURE)
        ends = DIRECTIONS[near] * (self.reach[near, None] + 0.15)
        things = [from_agent(o.place, self.position, self.heading) for o in self._known]
        for there in things:  # which hides the floor behind it
            ends = ends[np.hypot(*(ends - there).T) > 1.0]
        self._mark(ends, -2)
        self._mark(np.zeros((1, 2)), 4)  # where the agent stands there is floor
        if self.carrying is None:
            self._mark(self._hidden_walls(things), -1)
        row, column = cell_at(self.position)
        self._passed[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
        cells = cells_at(self.position + _REACHED)
        away = centers(cells) - self.position
        rows, columns = cells[np.hypot(away[:, 0], away[:, 1]) <= ARRIVED].T
        self._stood[rows, columns] = True

    def _hidden_walls(self, things: list[NDArray[np.float32]]) -> NDArray[np.floating]:
        """Where walls must stand whose foot is below the picture, meters ahead and left ``(n, 2)``.

        A ray without floor meets a wall or an object nearer than the picture shows. If no known
        wall or object explains that, the first unknown place on the ray may be a wall.

        Args:
            things: meters ahead and left to each that is known.
        """
        # Leave out the rays that a known object, near enough, covers.
        rays = self.reach == 0
        for forward, left in things:
            away = max(float(np.hypot(forward, left)), 0.1)
            aside = np.abs(_BEARINGS - np.arctan2(left, forward))
            rays &= (away > CLOSEST + 1) | (aside > np.arcsin(min(1.0 / away, 1.0)))
        # Look up what the map says along the other rays, as far as the picture does not show.
        along = _ALONG[_ALONG < CLOSEST]
        points = DIRECTIONS[rays][:, None] * along[:, None]
        cells = cells_at(to_map(points, self.position, self.heading))
        evidence = self._evidence[cells[..., 0], cells[..., 1]]
        evidence = np.where(self._felt[cells[..., 0], cells[..., 1]], -1, evidence)
        # Keep the first place that is not free, if nothing is known of it.
        first = (evidence <= 0).argmax(1)
        k = np.arange(len(points))
        return points[k, first][evidence[k, first] == 0]

    def _mark(self, ahead: NDArray[np.floating], amount: int) -> None:
        if not len(ahead):
            return
        cells = cells_at(to_map(ahead, self.position, self.heading))
        rows, columns = cells.T  # what is named twice counts once
        marked = self._evidence[rows, columns] + amount
        self._evidence[rows, columns] = np.clip(marked, -8, 8)

    def _note_object(
        self, color: str, kind: int, ahead: NDArray[np.float32], quality: float
    ) -> list[_Known]:
        """Match an object to the nearest known one of its color, or add it."""
        place = to_map(ahead, self.position, self.heading)
        away = float(np.hypot(*ahead))
        alike = [o for o in self._known if o.color == color]
        if quality < 1.0:  # its distance is a guess, its direction is not
            for thing in alike:
                there = from_agent(thing.place, self.position, self.heading)
                aside = np.arctan2(there[1], there[0]) - np.arctan2(ahead[1], ahead[0])
                if abs(aside) < 0.4 and np.hypot(*there) < CLOSEST + 1.5:
                    return [thing]
        known, gap = _nearest(alike, place)
        if known is not None and gap < max(0.8, 0.3 * away):
            # A better view is one from nearer, of the whole of it, with nothing in between.
            if quality == 1.0 and away <= 1.1 * known.view and self.carrying is None:
                nearer = away < 0.9 * known.view  # else one more look of the same worth
                known.place = place if nearer else (0.8 * known.place + 0.2 * place)
                known.view = min(away, known.view)
        elif quality == 0.0 or (quality < 1.0 and alike):
            return []
        else:
            if quality == 1.0:  # which may be what a guess put elsewhere
                self._known = [o for o in self._known if o.color != color or o.view < np.inf]
            known = _Known(color, place, away if quality == 1.0 else np.inf)
            self._known.append(known)
        if quality == 1.0:
            known.votes[kind] += 1 / away**2
        elif not known.votes.any():
            known.votes[kind] = 1e-3
        return [known]

    def _forget(self, matched: list[_Known]) -> None:
        """Drop objects that are not where they should be seen, or in which the agent stands."""
        seen: set[int] = {id(o) for o in matched}
        for known in self._known:
            # Its foot would be in the picture, and the floor is free to well behind it.
            forward, left = from_agent(known.place, self.position, self.heading)
            ray = int((TANGENTS[0] - left / max(forward, 0.1)) / (TANGENTS[0] - TANGENTS[1]) + 0.5)
            in_view = CLOSEST + 0.6 < forward < 7 and 1 <= ray < RAYS - 1
            free = in_view and self.reach[ray] > np.hypot(forward, left) + 0.5
            # Or it is nearer, but its top would be in the picture.
            top = TOPS[known.kind] < forward <= CLOSEST + 0.6
            free |= top and abs(left) < 0.45 * forward
            # Count looks with and without it, the latter only while the hand is empty.
            if id(known) in seen:
                known.misses = 0
                known.looks += 1
            elif free and self.carrying is None:
                known.misses += 1
            elif np.hypot(forward, left) < INSIDE:
                known.misses = MISSES
        self._known = [o for o in self._known if o.misses < MISSES]
