"""Missions as BabyAI instructions: BabyAI's own, and translations of MiniGrid's."""

from __future__ import annotations

import re
from typing import Any

from minigrid.core.world_object import WorldObj
from minigrid.envs.babyai.core import verifier

_MATTER = r"(?P<color>red|green|blue|purple|yellow|grey) (?P<kind>key|ball|box|door|object)"
_OTHER = r"(?P<color2>red|green|blue|purple|yellow|grey) (?P<kind2>key|ball|box|door)"


class ReachGoalInstr(verifier.Instr):
    """*Reach the goal*, for which BabyAI's language has no instruction."""

    def surface(self, env: Any) -> str:
        return "reach the goal"

    def verify(self, action: Any) -> str:
        return "continue"


class StopAtInstr(verifier.GoToInstr):
    """*Go to* as in MiniGrid's own levels: the action ``done`` says that the agent is there.

    To open something is a failure.
    """

    def verify_action(self, action: Any) -> str:  # type: ignore[override]
        """``success``, ``failure`` or ``continue``; BabyAI's *go to* says where one is there."""
        if action == self.env.actions.toggle:
            return "failure"
        if action == self.env.actions.done:
            return super().verify_action(action)
        return "continue"


def next_clause(instruction: verifier.Instr | None) -> verifier.Instr | None:
    """The first elementary instruction that is not done."""
    while isinstance(instruction, verifier.BeforeInstr | verifier.AfterInstr | verifier.AndInstr):
        if isinstance(instruction, verifier.AfterInstr):
            done = instruction.b_done == "success"
            instruction = instruction.instr_a if done else instruction.instr_b
        else:
            done = instruction.a_done == "success"
            instruction = instruction.instr_b if done else instruction.instr_a
    return instruction


def clauses_of(instruction: verifier.Instr | None) -> list[Any]:
    """The elementary instructions of an instruction, in the order of its words."""
    if isinstance(instruction, verifier.SeqInstr):
        return [*clauses_of(instruction.instr_a), *clauses_of(instruction.instr_b)]
    return [] if instruction is None else [instruction]


def instruction_of(simulator: Any) -> verifier.Instr | None:
    """The instruction of the running level; ``None`` where its mission names no task.

    Args:
        simulator: an unwrapped MiniGrid environment.
    """
    if getattr(simulator, "instrs", None) is not None:
        return simulator.instrs
    instruction = _translated(simulator)
    for name in ("desc", "desc_move", "desc_fixed"):
        desc = getattr(instruction, name, None)
        if desc is not None:
            desc.find_matching_objs(simulator)
            if simulator.carrying is not None and _matches(simulator.carrying, desc):
                desc.obj_set.append(simulator.carrying)
    return instruction


def _translated(simulator: Any) -> verifier.Instr | None:
    """An instruction that says what one of MiniGrid's missions says."""
    mission = simulator.mission
    if match := re.search(rf"put the {_MATTER} near the {_OTHER}", mission):
        moved = verifier.ObjDesc(match["kind"], match["color"])
        return verifier.PutNextInstr(moved, verifier.ObjDesc(match["kind2"], match["color2"]))
    if mission == "open the red door then the blue door":
        color = "blue" if simulator.red_door.is_open else "red"
        return verifier.OpenInstr(verifier.ObjDesc("door", color))
    if mission == "open the door":
        return verifier.OpenInstr(verifier.ObjDesc("door"))
    if "goal" in mission:
        return ReachGoalInstr()
    match = re.search(_MATTER, mission)
    if match is None:
        return None
    desc = verifier.ObjDesc(None if match["kind"] == "object" else match["kind"], match["color"])
    return (verifier.GoToInstr if mission.startswith("go to") else verifier.PickupInstr)(desc)


def _matches(obj: WorldObj, desc: verifier.ObjDesc) -> bool:
    return desc.type in (None, obj.type) and desc.color in (None, obj.color)
