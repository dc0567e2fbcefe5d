"""Levels that change behind the agent's back, as ReAd tests re-planning (arXiv 2405.14314)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from minigrid.core.world_object import WorldObj
from numpy.typing import NDArray

from hier.envs.errors import UnknownNameError
from hier.envs.gridworld.cells import code_of, place_of
from hier.envs.gridworld.env import GridworldEnv
from hier.envs.gridworld.instructions import clauses_of, next_clause
from hier.envs.gridworld.percept import HEADINGS
from hier.envs.gridworld.targets import keeps_ways_open

Place = tuple[int, int]

MOVED_AFTER, CLOSED_AFTER, TAKEN_AFTER = 4, 2, 3  # steps


class Disturbed(gym.Wrapper):
    """Changes the level between two steps, once per episode, as soon as ``kind`` can happen.

    - ``object moved``: from the fourth step on, what the mission needs next and lies about (the key
      of a locked door, else a thing that the mission names) lies elsewhere in its room;
    - ``door closed``: a door shuts, unlocked as it is, at least two steps after the agent opened
      it, while nothing stands in it and the agent is on the side from which it did;
    - ``key taken``: a key that a locked door needs, in hand for three steps, lies elsewhere in
      the agent's room.

    Things go to bare cells, drawn from the simulator's own generator, where they block no way. The
    observation of the step before shows the change, as far as it is in view;
    ``info["disturbed"]`` says whether it has happened in this episode.

    Args:
        env: from :func:`hier.envs.make_env`.
        kind: one of :data:`DISTURBANCES`.

    Raises:
        UnknownNameError: for an unknown kind.

    >>> from hier.envs import make_env
    >>> env = Disturbed(make_env("BabyAI-UnlockPickup-v0"), "object moved")
    >>> _ = env.reset(seed=0)
    >>> [env.step(0)[-1]["disturbed"] for _ in range(5)]
    [False, False, False, True, True]
    """

    def __init__(self, env: GridworldEnv, kind: str):
        super().__init__(env)
        if kind not in DISTURBANCES:
            raise UnknownNameError("disturbance", kind, DISTURBANCES)
        self._level = env
        self._change = getattr(self, f"_{kind.replace(' ', '_')}")
        self._begin()

    def _begin(self) -> None:
        self.disturbed = False
        self._steps = 0
        self._in_hand = 0  # steps for which the same thing has been carried
        self._held: WorldObj | None = None
        self._door: _Opened | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray], dict[str, Any]]:
        """Start an episode; its seed decides the disturbance, too."""
        observation, info = self._level.reset(seed=seed, options=options)
        self._begin()
        return observation, {**info, "disturbed": False}

    def step(self, action: int) -> tuple[dict[str, NDArray], float, bool, bool, dict[str, Any]]:
        """One step of the level, and then perhaps the disturbance."""
        observation, reward, terminated, truncated, info = self._level.step(action)
        self._watch(action)
        if not (self.disturbed or terminated or truncated) and self._change():
            self.disturbed = True
            observation["image"] = self._level.see_changes()
        return observation, reward, terminated, truncated, {**info, "disturbed": self.disturbed}

    def _watch(self, action: int) -> None:
        simulator = self._level.simulator
        self._steps += 1
        self._in_hand = self._in_hand + 1 if simulator.carrying is self._held else 0
        self._held = simulator.carrying
        ahead = simulator.grid.get(*simulator.front_pos)
        if action == simulator.actions.toggle and ahead is not None and ahead.type == "door":
            self._door = _Opened(ahead, simulator.front_pos, simulator.dir_vec, self._steps)

    def _object_moved(self) -> bool:
        if self._steps < MOVED_AFTER:
            return False
        grid = self._level.simulator.grid
        for thing in self._needed():
            place = place_of(grid, thing)
            if place is not None and (free := self._free_cells(place)):
                grid.set(*place, None)
                self._put(thing, free)
                return True
        return False

    def _door_closed(self) -> bool:
        opened = self._door
        if opened is None or self._steps - opened.at < CLOSED_AFTER:
            return False
        if not opened.door.is_open or not opened.is_near(self._level.simulator.agent_pos):
            return False
        opened.door.is_open = False
        return True

    def _key_taken(self) -> bool:
        simulator, key = self._level.simulator, self._held
        if key is None or self._in_hand < TAKEN_AFTER or not _opens_a_door(simulator.grid, key):
            return False
        here = _integers(simulator.agent_pos)
        underfoot = simulator.grid.get(*here)
        free = self._free_cells(here)
        if not free or (underfoot is not None and underfoot.type == "door"):
            return False
        simulator.carrying = self._held = None
        for clause in clauses_of(getattr(simulator, "instrs", None)):
            if hasattr(clause, "preCarrying"):
                clause.preCarrying = None  # or the next thing taken would not count
        self._put(key, free)
        return True

    def _needed(self) -> list[WorldObj]:
        """Keys of locked doors first, then what the mission's next clause is about."""
        simulator = self._level.simulator
        things = [thing for thing in simulator.grid.grid if thing is not None]
        keys = [thing for thing in things if _opens_a_door(simulator.grid, thing)]
        clause = next_clause(getattr(simulator, "instrs", None))
        desc = getattr(clause, "desc_move", getattr(clause, "desc", None))
        named = [] if desc is None else [thing for thing in desc.obj_set if thing.type != "door"]
        return keys + named

    def _free_cells(self, start: Place) -> list[Place]:
        """Bare cells of the room around ``start`` on which a thing would block no way."""
        simulator = self._level.simulator
        grid, agent = simulator.grid, _integers(simulator.agent_pos)
        cells = np.array([code_of(thing) for thing in grid.grid], np.uint8)
        cells = cells.reshape(grid.height, grid.width)
        return [
            (x, y)
            for x, y in _room(grid, start)
            if grid.get(x, y) is None and (x, y) != agent and keeps_ways_open(cells, x, y, *agent)
        ]

    def _put(self, thing: WorldObj, free: Sequence[Place]) -> None:
        simulator = self._level.simulator
        place = free[int(simulator.np_random.integers(len(free)))]
        simulator.grid.set(*place, thing)
        thing.cur_pos = place


DISTURBANCES = ("object moved", "door closed", "key taken")


class _Opened:
    """A door that the agent toggled: from which side, and at which step."""

    def __init__(self, door: Any, place: Any, heading: Any, at: int):
        self.door, self.at = door, at
        self._place, self._heading = np.array(place), np.array(heading)

    def is_near(self, agent: Any) -> bool:
        """Whether the agent is on the side it came from, and not in the doorway."""
        return bool((np.array(agent) - self._place) @ self._heading < 0)


def _room(grid: Any, start: Place) -> list[Place]:
    """The cells around ``start`` within walls, doors and lava, sorted."""
    found, queue = {start}, [start]
    while queue:
        x, y = queue.pop()
        for dx, dy in HEADINGS:
            there = (x + dx, y + dy)
            thing = grid.get(*there)
            if there not in found and (thing is None or thing.type not in ("wall", "door", "lava")):
                found.add(there)
                queue.append(there)
    return sorted(found)


def _opens_a_door(grid: Any, thing: WorldObj) -> bool:
    return thing.type == "key" and any(
        door is not None and door.type == "door" and door.is_locked and door.color == thing.color
        for door in grid.grid
    )


def _integers(place: Any) -> Place:
    return int(place[0]), int(place[1])
