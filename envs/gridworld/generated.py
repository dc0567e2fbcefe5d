"""Generated worlds to learn on: rooms of many sizes, locks, keys in boxes, blocked doors, clutter.

They are made so that a planner meets what the source levels lack. No world has the number and size
of rooms of a level that only evaluations play, and missions are drawn anew from BabyAI's language.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from minigrid.core.world_object import Box, Door, Key, WorldObj
from minigrid.envs.babyai.core import verifier
from minigrid.envs.babyai.core.roomgrid_level import RejectSampling, RoomGridLevel

from hier.envs.gridworld.cells import COLORS
from hier.envs.gridworld.instructions import StopAtInstr
from hier.envs.gridworld.variation import compose_mission, movable, place, place_in

PREFIX = "Hier-"
# Rows, columns, and side of a room in cells, walls included.
SIZES = ((1, 1, 9), (1, 2, 9), (1, 3, 5), (2, 2, 4), (2, 2, 7), (2, 3, 5), (3, 2, 6), (3, 3, 6))
STOP_SIZES = ((1, 1, 7), (2, 2, 6))
_MOST_CLUTTER = 12
_LOCKED, _BOXED, _BLOCKED, _OPEN = 0.35, 0.3, 0.25, 0.15  # odds


class GeneratedRooms(RoomGridLevel):
    """Connected rooms, and a mission of up to four clauses.

    Some doors are locked, with the key on the near side, lying there or in a box. Some have a
    thing in front of them that must be carried away.

    Args:
        rows, columns: rooms.
        room_size: cells a side, walls included.
        stop: missions are to go to something in the same room and say so with the action ``done``,
            as in MiniGrid's own levels.
        **options: of :class:`RoomGridLevel`.
    """

    unblocking = True  # for BabyAI: no mission is about a key that a locked door needs

    def __init__(
        self,
        rows: int = 2,
        columns: int = 2,
        room_size: int = 6,
        stop: bool = False,
        **options: Any,
    ):
        self.stop = stop
        super().__init__(room_size=room_size, num_rows=rows, num_cols=columns, **options)

    def gen_mission(self) -> None:
        """Build the level and draw its mission."""
        # The simulator's own generator seeds ours, so that a seed gives one world.
        rng = np.random.default_rng(int(self.np_random.integers(2**31)))
        self._detours = 0
        self.place_agent()
        doors = self.connect_all()
        for door in doors:
            if rng.random() < _LOCKED:
                self._lock(door, doors, rng)
            elif rng.random() < _OPEN:
                door.is_open = True
        for _ in range(int(rng.integers(_MOST_CLUTTER + 1))):
            place(self, movable(rng), rng)
        for door in doors:
            if rng.random() < _BLOCKED and not door.is_open:
                self._block(door, rng)
        self.instrs = self._mission(rng)

    def _mission(self, rng: np.random.Generator) -> verifier.Instr:
        if self.stop:
            room = self.room_from_pos(*self.agent_pos)  # no door has to be opened on the way
            near = [*room.objs, *(door for door in room.doors if isinstance(door, Door))]
            if not near:
                raise RejectSampling("nothing is near")
            target = near[int(rng.integers(len(near)))]
            return StopAtInstr(verifier.ObjDesc(target.type, target.color))
        instruction = compose_mission(self, rng)
        if instruction is None:
            raise RejectSampling("no mission fits")
        return instruction

    def num_navs_needed(self, instr: Any) -> int:
        """Walks across the level, those for keys and to clear the way among them."""
        top = instr is self.instrs
        return super().num_navs_needed(instr) + (self._detours if top else 0)

    def _lock(self, door: Door, doors: list[Door], rng: np.random.Generator) -> None:
        if any(other.color == door.color for other in doors if other is not door):
            return  # its key would be taken for another's
        door.is_locked = True
        # The key of each lock is where no lock keeps it from the agent, those before included.
        near = self._reachable()
        key: WorldObj = Key(door.color)
        if rng.random() < _BOXED:
            key = Box(str(rng.choice(COLORS)), contains=key)
        door.is_locked = place_in(self, key, near[int(rng.integers(len(near)))])
        self._detours += 2 * door.is_locked

    def _block(self, door: Door, rng: np.random.Generator) -> None:
        """Put a thing in front of a door, on a side that can be reached without it."""
        assert door.cur_pos is not None
        x, y = door.cur_pos
        sides = [(x + dx, y + dy) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
        near = self._reachable(but=door)
        for side in sides:
            if self.grid.get(*side) is not None or side == tuple(self.agent_pos):
                continue
            room = self.room_from_pos(*side)
            if room in near:
                thing = movable(rng)
                self.put_obj(thing, *side)
                room.objs.append(thing)
                self._detours += 1
                return

    def _reachable(self, but: Door | None = None) -> list[Any]:
        """Rooms that can be walked to without a key, and without passing a certain door."""
        found: list[Any] = [self.room_from_pos(*self.agent_pos)]
        for room in found:
            for door, neighbor in zip(room.doors, room.neighbors, strict=True):
                if isinstance(door, Door) and door is not but and not door.is_locked:
                    found += [neighbor] if neighbor not in found else []
        return found


def register() -> None:
    """Give the worlds ids such as ``Hier-Rooms-2x3-S5-v0``."""
    for kind, sizes in (("Rooms", SIZES), ("Stop", STOP_SIZES)):
        for rows, columns, size in sizes:
            name = f"{PREFIX}{kind}-{rows}x{columns}-S{size}-v0"
            options = {"rows": rows, "columns": columns, "room_size": size, "stop": kind == "Stop"}
            if name not in gym.registry:
                gym.register(name, entry_point=f"{__name__}:GeneratedRooms", kwargs=options)
