"""The gridworld's expert: BabyAI's bot, which names subgoals here instead of actions.

The bot is stateful and expects to follow every step, but the planner needs it only when a subgoal
has ended. So each question builds a new bot from the simulator's present state, the agent's map and
the parts of the instruction that are not done yet. On some seeds the bot fails: it raises, or its
subgoals do not help. The caller then gets ``None`` or an episode without reward, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from minigrid.core.world_object import WorldObj
from minigrid.envs.babyai.core import verifier
from minigrid.minigrid_env import MiniGridEnv
from minigrid.utils import baby_ai_bot as bots

from hier.envs.gridworld.cells import UNSEEN, place_of
from hier.envs.gridworld.instructions import ReachGoalInstr, instruction_of, next_clause
from hier.envs.gridworld.percept import HEADINGS, GridPercept
from hier.envs.subgoal import Subgoal


class GridExpert:
    """Names the subgoal that BabyAI's bot would pursue now.

    Args:
        simulator: the running, unwrapped MiniGrid environment (privileged access).
    """

    def __init__(self, simulator: Any):
        self.simulator = simulator
        if not hasattr(self.simulator, "room_from_pos"):
            # The bot's object search asks for the room, needed only for BabyAI's location words.
            self.simulator.room_from_pos = lambda *position: None

    def subgoal(self, percept: GridPercept, candidates: Sequence[Subgoal]) -> Subgoal | None:
        """The bot's subgoal as one of ``candidates``; ``None`` where the bot fails."""
        try:
            wanted = self._wanted(percept)
        except Exception:  # the bot raises errors of all kinds in states that it cannot handle
            wanted = None
        if wanted is None or wanted in candidates:
            return wanted
        # The mission may say "on your left" where the agent knows no such object on that side.
        plain = Subgoal(wanted.verb, wanted.color, wanted.kind)
        return plain if plain in candidates else None

    def _wanted(self, percept: GridPercept) -> Subgoal | None:
        clause = next_clause(instruction_of(self.simulator))
        if clause is None:
            return None
        return _Decision(self.simulator, clause, self._seen(percept)).subgoal()

    def _seen(self, percept: GridPercept) -> np.ndarray:
        # The agent's map, turned into the simulator's coordinates.
        simulator = self.simulator
        seen = np.zeros((simulator.width, simulator.height), bool)
        rows, cols = np.nonzero(percept.map != UNSEEN)
        dx, dy = cols - percept.x, rows - percept.y
        fx, fy = HEADINGS[percept.heading]
        ahead, right = dx * fx + dy * fy, -dx * fy + dy * fx
        gx, gy = HEADINGS[simulator.agent_dir]
        x = simulator.agent_pos[0] + gx * ahead - gy * right
        y = simulator.agent_pos[1] + gy * ahead + gx * right
        inside = (x >= 0) & (x < simulator.width) & (y >= 0) & (y < simulator.height)
        seen[x[inside], y[inside]] = True
        return seen


class _Decision(bots.BabyAIBot):
    """A bot for one question: which subgoal serves ``clause`` now?"""

    def __init__(self, simulator: MiniGridEnv, clause: verifier.Instr, seen: np.ndarray):
        self.mission = simulator
        self.clause = clause
        self.vis_mask = seen
        self.stack: list[bots.Subgoal] = []
        self.bfs_counter = 0
        self.bfs_step_counter = 0
        self.carrying = simulator.carrying
        self._keyless: list[WorldObj] = []  # locked doors whose key is nowhere in sight

    def subgoal(self) -> Subgoal | None:
        clause = self.clause
        if isinstance(clause, ReachGoalInstr):
            return self._reach_goal()
        if isinstance(clause, verifier.OpenInstr):
            return self._act_on(_shut_ones(clause.desc), "open")
        if isinstance(clause, verifier.GoToInstr):
            return self._act_on(clause.desc, "go to")
        if isinstance(clause, verifier.PickupInstr):
            return self._act_on(clause.desc, "pick up")
        assert isinstance(clause, verifier.PutNextInstr)
        put_down = self._act_on(clause.desc_fixed, "put next to")
        if any(self.carrying is obj for obj in clause.desc_move.obj_set):
            return put_down
        # What needs free hands on the way there comes before taking the thing along.
        if self.carrying is None and put_down.verb == "pick up":
            return put_down
        return self._act_on(clause.desc_move, "pick up")

    def _act_on(self, desc: verifier.ObjDesc, verb: str) -> Subgoal:
        obj, position = self._find_obj_pos(desc, verb == "put next to")
        if position is None:
            if any(self.carrying is thing for thing in desc.obj_set):
                return Subgoal("drop")  # what is in hand can be neither gone to nor picked up
            return self._explore()
        where = desc.loc or ""
        goal = Subgoal(verb, obj.color, obj.type, where)
        hindrance = self._hindrance(position)
        if hindrance is not None:
            return self._remove(hindrance)
        if verb == "open" and obj.is_locked:
            return self._unlock(obj, where)
        if verb == "pick up" and self.carrying is not None:
            return Subgoal("drop")
        return goal

    def _find_obj_pos(self, obj_desc: verifier.ObjDesc, adjacent: bool = False) -> Any:
        """As the bot's, whose lists of things and places go out of step once a thing is moved."""
        lying = verifier.ObjDesc(obj_desc.type, obj_desc.color, obj_desc.loc)
        for place in obj_desc.obj_poss:
            there = self.mission.grid.get(*place)
            if any(there is thing for thing in obj_desc.obj_set):
                lying.obj_set.append(there)
                lying.obj_poss.append(place)
        if not lying.obj_set:  # hidden in a box, in hand, or gone
            return None, None
        try:
            return super()._find_obj_pos(lying, adjacent)
        except AssertionError:  # seen, but shut away since
            places = zip(lying.obj_set, lying.obj_poss, strict=True)
            return next(pair for pair in places if self.vis_mask[pair[1]])

    def _reach_goal(self) -> Subgoal:
        grid = self.mission.grid
        for x in range(grid.width):
            for y in range(grid.height):
                cell = grid.get(x, y)
                if cell is not None and cell.type == "goal" and self.vis_mask[x, y]:
                    hindrance = self._hindrance((x, y))
                    if hindrance is None:
                        return Subgoal("reach", cell.color, "goal")
                    return self._remove(hindrance)
        return self._explore()

    def _hindrance(self, position: tuple[int, int]) -> WorldObj | None:
        """The first thing to move or open on the way to ``position``; ``None`` if the way is free.

        Raises:
            LookupError: if the known map has no way at all.
        """
        position = (int(position[0]), int(position[1]))
        if position == tuple(self.mission.agent_pos + self.mission.dir_vec):
            return None
        path, _, _ = self._shortest_path(lambda pos, cell: pos == position)
        if path is not None:
            return None
        path = _path_through_things(self.mission, self.vis_mask, position)
        if path is None:
            raise LookupError(f"no way to {position}")
        for x, y in path[:-1]:
            cell = self.mission.grid.get(x, y)
            if cell is not None and not cell.can_overlap():
                return cell
        return None

    def _remove(self, obj: Any) -> Subgoal:
        if obj.type == "door":
            return self._unlock(obj) if obj.is_locked else Subgoal("open", obj.color, "door")
        if self.carrying is not None:
            return Subgoal("drop")
        return Subgoal("pick up", obj.color, obj.type)

    def _unlock(self, door: Any, where: str = "") -> Subgoal:
        place = place_of(self.mission.grid, door)
        assert place is not None
        way = self._hindrance(place)
        if self._has_key(door):
            return self._remove(way) if way else Subgoal("open", door.color, "door", where)
        key = verifier.ObjDesc("key", door.color)
        key.find_matching_objs(self.mission)
        obj, position = self._find_obj_pos(key)
        if position is None:
            self._keyless.append(door)
            return self._explore()
        if self.carrying is not None:
            return Subgoal("drop")
        # Clear the way while the hands are free; the key takes them up.
        hindrance = way or self._hindrance(position)
        if hindrance is not None and hindrance is not door:
            return self._remove(hindrance)
        return Subgoal("pick up", obj.color, obj.type)

    def _has_key(self, door: Any) -> bool:
        held = self.carrying
        return held is not None and held.type == "key" and held.color == door.color

    def _explore(self) -> Subgoal:
        _, unseen, blocked = self._shortest_path(
            lambda pos, cell: not self.vis_mask[pos], try_with_blockers=True
        )
        if unseen is not None and not blocked:
            return Subgoal("explore")
        doors: list[Callable[[Any, Any], bool]] = [
            lambda pos, cell: _is_shut(cell) and not cell.is_locked,
            lambda pos, cell: _is_shut(cell) and self._has_key(cell),
            lambda pos, cell: _is_shut(cell) and not any(cell is door for door in self._keyless),
        ]
        for wanted in doors:
            _, position, _ = self._shortest_path(wanted, try_with_blockers=True)
            if position is not None:
                door = self.mission.grid.get(*position)
                if door.is_locked:
                    return self._unlock(door)
                return self._remove(self._hindrance(position) or door)
        if unseen is not None:
            hindrance = self._hindrance(unseen)
            return Subgoal("explore") if hindrance is None else self._remove(hindrance)
        return self._open_a_box()

    def _open_a_box(self) -> Subgoal:
        # Everything was seen and the object is nowhere: it is hidden.
        _, position, _ = self._shortest_path(
            lambda pos, cell: cell is not None and cell.type == "box" and self.vis_mask[pos],
            try_with_blockers=True,
        )
        if position is None:
            if self.carrying is not None:
                return Subgoal("drop")  # the box in hand, or what keeps the way shut
            raise LookupError("nothing left to explore")
        box = self.mission.grid.get(*position)
        return Subgoal("toggle", box.color, "box")


def _is_shut(cell: Any) -> bool:
    return cell is not None and cell.type == "door" and not cell.is_open


def _shut_ones(doors: verifier.ObjDesc) -> verifier.ObjDesc:
    """The doors that can still be opened, all where none can."""
    places = list(zip(doors.obj_set, doors.obj_poss, strict=True))
    shut = verifier.ObjDesc(doors.type, doors.color, doors.loc)
    places = [place for place in places if _is_shut(place[0])] or places
    shut.obj_set, shut.obj_poss = map(list, zip(*places, strict=True))
    return shut


def _path_through_things(
    simulator: MiniGridEnv, seen: np.ndarray, target: tuple[int, int]
) -> list[tuple[int, int]] | None:
    """The path over seen cells that passes the fewest things and then is the shortest."""
    from heapq import heappop, heappush

    start = (int(simulator.agent_pos[0]), int(simulator.agent_pos[1]))
    queue: list[tuple[int, tuple[int, int]]] = [(0, start)]
    came_from: dict[tuple[int, int], tuple[int, int] | None] = {start: None}
    cost = {start: 0}
    while queue:
        paid, here = heappop(queue)
        if here == target:
            path = []
            step: tuple[int, int] | None = here
            while step is not None and step != start:
                path.append(step)
                step = came_from[step]
            return path[::-1]
        if paid > cost[here] or not seen[here]:
            continue
        for dx, dy in HEADINGS:
            there = (here[0] + dx, here[1] + dy)
            if not (0 <= there[0] < simulator.width and 0 <= there[1] < simulator.height):
                continue
            cell = simulator.grid.get(*there)
            if cell is not None and cell.type in ("wall", "lava") and there != target:
                continue
            hindered = cell is not None and not cell.can_overlap() and there != target
            price = paid + 1 + (50 if hindered else 0)
            if price < cost.get(there, 1 << 30):
                cost[there] = price
                came_from[there] = here
                heappush(queue, (price, there))
    return None
