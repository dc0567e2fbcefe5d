"""The heading in which the agent can take its next step.

The search for ways works on cells and ignores that the agent is round and that an object it carries
sticks out. The functions here correct its ways for that.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import FAR
from hier.envs.rooms.maps import CELL, from_agent
from hier.envs.rooms.percept import AGENT_RADIUS, RADIUS, RoomsPercept, SeenObject, carried_ahead
from hier.envs.rooms.ways import Way

STEP = 0.15  # meters ahead by one action
TURN = math.pi / 12  # radians by one action
_TURNS = TURN * np.arange(-12, 12)  # to every heading that the agent can face
_SAME = 1.3 * TURN  # radians within which a step is stopped by what stopped another


def clear_heading(
    percept: RoomsPercept, aim: NDArray[np.floating], target: SeenObject | None
) -> float | None:
    """The heading nearest to ``aim`` in which nothing stops a step, in radians.

    A known object stops a step in which the agent, or what it carries, would run into it. A step
    that was stopped from here before will be stopped again.

    Args:
        percept: what the agent knows.
        aim: ``(2,)`` the place to go to.
        target: the object that the agent may touch.

    Returns:
        ``None`` where nothing stands in the way to ``aim``, or where every heading is blocked.
    """
    others = [thing for thing in percept.objects if thing is not target]
    reach = 0.0 if percept.carrying is None else carried_ahead(percept.carrying[1])
    places = np.array([thing.place for thing in others], np.float64).reshape(-1, 2)
    radii = np.array([RADIUS[thing.kind] for thing in others])
    away = np.hypot(*(places - percept.position).T) - radii
    near = away < AGENT_RADIUS + STEP + (2 * reach if reach else 0.0)
    if not near.any() and not percept.stopped:
        return None
    places, radii = places[near], radii[near]
    headings = percept.heading + _TURNS
    ways = np.stack([np.cos(headings), np.sin(headings)], 1)
    bodies = [(0.0, AGENT_RADIUS)]
    if percept.carrying is not None:
        bodies.append((reach, RADIUS[percept.carrying[1]]))
    stopped = np.zeros(len(headings), np.bool_)
    for ahead, radius in bodies:
        before = _gaps(percept.position + ahead * ways, places)
        after = _gaps(percept.position + (ahead + STEP) * ways, places)
        # A body that touches a thing already can still move away from it.
        stopped |= ((after < radius + radii) & (after < before)).any(1)
    for heading in percept.stopped:
        stopped |= np.abs(_difference(headings, heading)) < _SAME
    wanted = math.atan2(*(np.asarray(aim) - percept.position)[::-1])
    off = np.abs(_difference(headings, wanted))
    if stopped.all() or not stopped[off.argmin()]:
        return None
    return float(headings[np.where(stopped, np.inf, off).argmin()])


def toward(percept: RoomsPercept, heading: float) -> NDArray[np.float32]:
    """The place half a meter off in a heading, ``(2,)`` float32."""
    return percept.position + CELL * np.array([math.cos(heading), math.sin(heading)], np.float32)


def cannot_turn(percept: RoomsPercept, way: Way) -> bool:
    """Whether a turn to the way's bend was stopped here, and a step back was not.

    This happens to an agent that carries something and stands between other things.
    """
    turns = turns_to(percept, way.bend)
    side = "left" if turns > 0 else "right"
    return abs(turns) > 0.5 and side in percept.vain and "back" not in percept.vain


def turns_to(percept: RoomsPercept, place: NDArray[np.floating]) -> float:
    """Turns to the left, a fraction perhaps, until a place is straight ahead; from -12 to 12."""
    forward, left = from_agent(place, percept.position, percept.heading)
    return math.atan2(left, forward) / TURN


def actions_along(percept: RoomsPercept, way: Way) -> float:
    """About how many actions a way takes: the turns to its bend, and its steps."""
    if way.length >= FAR:
        return float(FAR)
    return way.length / STEP + abs(turns_to(percept, way.bend))


def _gaps(bodies: NDArray[np.floating], places: NDArray[np.floating]) -> NDArray[np.floating]:
    """Meters between middles, ``(n, m)``, of ``n`` bodies and ``m`` things."""
    return np.hypot(*np.moveaxis(bodies[:, None] - places, -1, 0))


def _difference(headings: NDArray[np.floating], heading: float) -> NDArray[np.floating]:
    return (headings - heading + np.pi) % (2 * np.pi) - np.pi
