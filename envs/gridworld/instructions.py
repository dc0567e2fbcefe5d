"""Missions as BabyAI instructions: BabyAI's own, and translations of MiniGrid's."""

from __future__ import annotations

import re
from typing import Any

from minigrid.core.world_object import WorldObj
from minigrid.envs.babyai.core.verifier import (
    AfterInstr,
    AndInstr,
    BeforeInstr,
    GoToInstr,
    Instr,
    ObjDesc,
    OpenInstr,
    PickupInstr,
    PutNextInstr,
)

_MATTER = r"(?P<color>red|green|blue|purple|yellow|grey) (?P<kind>key|ball|box|door|object)"
_OTHER = r"(?P<color2>red|green|blue|purple|yellow|grey) (?P<kind2>key|ball|box|door)"


class ReachGoalInstr(Instr):
    """*Reach the goal*, for which BabyAI's language has no instruction."""

    def surface(self, env: Any) -> str:
        return "reach the goal"

    def verify(self, action: Any) -> str:
        return "continue"


def next_clause(instruction: Instr | None) -> Instr | None:
    """The first elementary instruction that is not done."""
    while isinstance(instruction, BeforeInstr | AfterInstr | AndInstr):
        if isinstance(instruction, AfterInstr):
            done = instruction.b_done == "success"
            instruction = instruction.instr_a if done else instruction.instr_b
        else:
            done = instruction.a_done == "success"
            instruction = instruction.instr_b if done else instruction.instr_a
    return instruction


def instruction_of(simulator: Any) -> Instr | None:
    """The instruction of the running level; ``None`` where its mission names no task.

    Args:
        simulator: an unwrapped MiniGrid environment.
    """
    if getattr(simulator, "instrs", None) is not None:
        return simulator.instrs
    mission = simulator.mission
    if match := re.search(rf"put the {_MATTER} near the {_OTHER}", mission):
        return _tracked(
            simulator,
            PutNextInstr(
                ObjDesc(match["kind"], match["color"]), ObjDesc(match["kind2"], match["color2"])
            ),
        )
    if mission == "open the red door then the blue door":
        first = simulator.red_door
        return _tracked(simulator, OpenInstr(ObjDesc("door", "blue" if first.is_open else "red")))
    if mission == "open the door":
        return _tracked(simulator, OpenInstr(ObjDesc("door")))
    if "goal" in mission:
        return ReachGoalInstr()
    match = re.search(_MATTER, mission)
    if match is None:
        return None
    desc = ObjDesc(None if match["kind"] == "object" else match["kind"], match["color"])
    if mission.startswith("go to"):
        return _tracked(simulator, GoToInstr(desc))
    return _tracked(simulator, PickupInstr(desc))


def _tracked(simulator: Any, instruction: Any) -> Instr:
    for name in ("desc", "desc_move", "desc_fixed"):
        if hasattr(instruction, name):
            desc = getattr(instruction, name)
            desc.find_matching_objs(simulator)
            if simulator.carrying is not None and _matches(simulator.carrying, desc):
                desc.obj_set.append(simulator.carrying)
    return instruction


def _matches(obj: WorldObj, desc: ObjDesc) -> bool:
    return desc.type in (None, obj.type) and desc.color in (None, obj.color)
