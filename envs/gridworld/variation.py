"""Variations of levels for pre-training: clutter, more locked doors, other missions, other words.

They keep a planner from memorizing the few levels that it is trained on. Each variation starts from
a level as its generator built it. New instructions are objects of BabyAI's own classes, so that the
expert and the simulator understand them.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from minigrid.core.world_object import Ball, Box, Goal, Key, WorldObj
from minigrid.envs.babyai.core import verifier
from minigrid.envs.babyai.core.roomgrid_level import RejectSampling

from hier.envs.gridworld.cells import COLORS
from hier.envs.gridworld.instructions import ReachGoalInstr

MOST_CLUTTER = 7
_MOVABLE = {"key": Key, "ball": Ball, "box": Box}
_GOAL_MISSIONS = (
    "get to the green goal square",
    "reach the goal",
    "open the door then get to the goal",
    "use the key to open the door and then get to the goal",
)
# In each row the other phrases mean the same as the first.
_SYNONYMS = (
    ("go to", "walk to", "approach", "find"),
    ("pick up", "grab", "take", "fetch"),
    ("put", "place"),
    ("next to", "beside", "near"),
    ("after you", "once you"),
    (", then", "and then", ", next"),
    ("open", "unlock"),
)


def vary(simulator: Any, rng: np.random.Generator, share: float = 1.0) -> None:
    """Change a freshly reset BabyAI level in place.

    Args:
        simulator: an unwrapped ``RoomGridLevel``.
        rng: decides which changes are made; the simulator's own generator places things.
        share: factor on the probability of each change, in [0, 1]; 0 leaves the level as it is.
    """
    if rng.random() < 0.6 * share:
        for _ in range(int(rng.integers(1, MOST_CLUTTER + 1))):
            place(simulator, movable(rng), rng)
    if rng.random() < 0.2 * share:
        _lock_a_door(simulator, rng)
    draw = rng.random()
    instruction: verifier.Instr | None = None
    if draw < 0.08 * share:
        place(simulator, Goal(), rng)
        instruction = ReachGoalInstr()
        mission = str(rng.choice(_GOAL_MISSIONS))
    elif draw < 0.65 * share:
        instruction = compose_mission(simulator, rng)
        mission = instruction.surface(simulator) if instruction else ""
    if instruction is not None:
        simulator.instrs, simulator.mission = instruction, mission
    # There may be more objects now that fit the mission, and it may take longer.
    simulator.instrs.reset_verifier(simulator)
    navigations = 1 if draw < 0.08 * share else simulator.num_navs_needed(simulator.instrs)
    rooms = simulator.num_rows * simulator.num_cols
    simulator.max_steps = navigations * simulator.room_size**2 * rooms


def paraphrase(mission: str, rng: np.random.Generator, share: float = 0.5) -> str:
    """``mission`` in other words; each phrase that has synonyms is replaced with odds ``share``."""
    for first, *others in _SYNONYMS:
        if rng.random() < share:
            other = str(rng.choice(others))
            mission = re.sub(rf"(?<!\w){re.escape(first)}(?!\w)", other, mission)
    return mission.replace(" ,", ",")


def movable(rng: np.random.Generator) -> WorldObj:
    """A key, ball or box of any color."""
    return _MOVABLE[str(rng.choice(list(_MOVABLE)))](str(rng.choice(COLORS)))


def place(simulator: Any, thing: WorldObj, rng: np.random.Generator) -> None:
    """Put a thing into any room, if there is a place for it."""
    column, row = int(rng.integers(simulator.num_cols)), int(rng.integers(simulator.num_rows))
    place_in(simulator, thing, simulator.get_room(column, row))


def place_in(simulator: Any, thing: WorldObj, room: Any) -> bool:
    """Whether there was a place for a thing in a room."""
    try:
        simulator.place_obj(thing, room.top, room.size, max_tries=100)
    except RecursionError:  # the room is full
        return False
    room.objs.append(thing)
    return True


def _lock_a_door(simulator: Any, rng: np.random.Generator) -> None:
    doors = [door for door in _things(simulator, ("door",)) if not door.is_locked]
    if not doors:
        return
    door = doors[int(rng.integers(len(doors)))]
    # The key lies where the agent starts, so that no key is behind its own door.
    if place_in(simulator, Key(door.color), simulator.room_from_pos(*simulator.agent_pos)):
        door.is_locked, door.is_open = True, False


def compose_mission(simulator: Any, rng: np.random.Generator) -> verifier.Instr | None:
    """A mission of up to three clauses about what is there, not done yet; ``None`` if none fits."""
    for _ in range(10):
        try:
            instruction = _instruction(simulator, rng, compound=True)
            simulator.validate_instrs(instruction)
        except (RejectSampling, LookupError):
            continue
        return instruction
    return None


def _instruction(simulator: Any, rng: np.random.Generator, compound: bool) -> verifier.Instr:
    draw = rng.random()
    if not compound or draw < 0.45:
        return _clause(simulator, rng)
    nested = draw > 0.8
    first = _instruction(simulator, rng, compound=False)
    second = _instruction(simulator, rng, compound=False)
    if draw < 0.6:
        return verifier.AndInstr(first, second)
    if nested and rng.random() < 0.5:
        first = verifier.AndInstr(first, _clause(simulator, rng))
    elif nested:
        second = verifier.AndInstr(second, _clause(simulator, rng))
    ordered = verifier.BeforeInstr if rng.random() < 0.6 else verifier.AfterInstr
    return ordered(first, second)


def _clause(simulator: Any, rng: np.random.Generator) -> verifier.Instr:
    # To put one thing next to another takes the most to learn.
    verb = str(rng.choice(["go to", "pick up", "open", "put"], p=[0.25, 0.25, 0.125, 0.375]))
    if verb == "go to":
        return verifier.GoToInstr(_description(simulator, rng, ("key", "ball", "box", "door")))
    if verb == "pick up":
        return verifier.PickupInstr(_description(simulator, rng, tuple(_MOVABLE)))
    if verb == "open":
        return verifier.OpenInstr(_description(simulator, rng, ("door",)))
    return verifier.PutNextInstr(
        _description(simulator, rng, tuple(_MOVABLE)),
        _description(simulator, rng, ("key", "ball", "box", "door")),
    )


def _things(simulator: Any, kinds: tuple[str, ...]) -> list[Any]:
    return [thing for thing in simulator.grid.grid if thing is not None and thing.type in kinds]


def _description(
    simulator: Any, rng: np.random.Generator, kinds: tuple[str, ...]
) -> verifier.ObjDesc:
    things = _things(simulator, kinds)
    if not things:
        raise LookupError(f"the level has none of {kinds}")
    thing = things[int(rng.integers(len(things)))]
    color = thing.color if rng.random() < 0.8 else None
    where = str(rng.choice(verifier.LOC_NAMES)) if rng.random() < 0.1 else None
    found = verifier.ObjDesc(thing.type, color, where)
    if not found.find_matching_objs(simulator)[0]:
        found = verifier.ObjDesc(thing.type, color)
        found.find_matching_objs(simulator)
    return found
