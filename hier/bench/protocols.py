"""Public protocols on BabyAI levels: the built-in agent beside what others publish.

BALROG (arXiv 2411.13543) and AgentGym (arXiv 2406.04151) judge language models that act in words.
The agent here sees the levels' frames alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.envs.babyai.core.verifier import (
    AfterInstr,
    BeforeInstr,
    GoToInstr,
    Instr,
    ObjDesc,
    OpenInstr,
    PickupInstr,
    PutNextInstr,
)

from hier.bench.built_in import TYPE, play
from hier.bench.figures import rows_of, short_name
from hier.envs.errors import UnknownNameError
from hier.envs.gridworld.env import GridworldEnv
from hier.perception.gridworld.domain import Gridworld
from hier.run.pool import side_by_side
from hier.run.sweep import Row, evaluation_row

# What AgentGym's server lists, in its order.
AGENTGYM = tuple(
    f"BabyAI-{name}-v{int(name == 'GoToObjS6')}"  # of which minigrid has the second version alone
    for name in (
        *("GoToRedBallGrey", "GoToRedBall", "GoToRedBallNoDists", "GoToObjS6", "GoToLocalS8N7"),
        *("GoToObjMazeS7", "GoToImpUnlock", "GoToSeqS5R2", "GoToRedBlueBall", "GoToDoor"),
        *("GoToObjDoor", "Open", "OpenRedDoor", "OpenDoorLoc", "OpenRedBlueDoorsDebug"),
        *("OpenDoorsOrderN4Debug", "Pickup", "UnblockPickup", "PickupLoc", "PickupDistDebug"),
        *("PickupAbove", "PutNextLocalS6N4", "PutNextS7N4Carrying", "Unlock", "UnlockLocalDist"),
        *("KeyInBox", "UnlockPickupDist", "BlockedUnlockPickup", "UnlockToUnlock"),
        *("ActionObjDoor", "FindObjS7", "KeyCorridorS6R3", "OneRoomS20", "MoveTwoAcrossS8N9"),
        *("SynthS5R2", "SynthLoc", "SynthSeq", "MiniBossLevel", "BossLevel", "BossLevelNoUnlock"),
    )
)


class MixedLocal(RoomGridLevel):
    """One task of BALROG's ``MixedTrainLocal`` as BALROG sets it: no object but those named.

    The level itself is in a fork of minigrid. This one follows its description: one room of eight
    cells a side; to open a locked door, two rooms, the door's key in the first.

    Args:
        task: one of :data:`BALROG`.
        **options: of :class:`RoomGridLevel`.
    """

    def __init__(self, task: str, **options: Any):
        self.task = task
        columns = 2 if task == "open" else 1
        super().__init__(room_size=8, num_rows=1, num_cols=columns, **options)

    def gen_mission(self) -> None:
        """Place the objects and the agent, and say what is to be done."""
        self.instrs = self._mission()

    def _mission(self) -> Instr:
        if self.task == "open":
            door, _ = self.add_door(0, 0, 0, locked=True)
            self.add_object(0, 0, "key", door.color)
            self.place_agent(0, 0)
            return OpenInstr(ObjDesc("door", self._rand_elem([None, door.color])))
        self.place_agent()
        one, *others = self.add_distractors(num_distractors=1 if self.task in _SINGLE else 2)
        self.check_objs_reachable()
        first = ObjDesc(one.type, one.color)
        if self.task in _SINGLE:
            return (GoToInstr if self.task == "goto" else PickupInstr)(first)
        second = ObjDesc(others[0].type, others[0].color)
        if self.task == "putnext":
            return PutNextInstr(first, second)  # the level is drawn anew where that is done already
        if self._rand_bool():
            return BeforeInstr(PickupInstr(first), GoToInstr(second))
        return AfterInstr(GoToInstr(second), PickupInstr(first))


BALROG = ("goto", "pickup", "open", "putnext", "pick_up_seq_go_to")
_SINGLE = ("goto", "pickup")


class Balrog(Gridworld):
    """BALROG's five BabyAI tasks; ``hier.bench.protocols:Balrog/goto`` names one."""

    def env_ids(self) -> tuple[str, ...]:
        """:data:`BALROG`."""
        return BALROG

    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        """See :meth:`hier.envs.domain.Domain.make_env`."""
        if env_id not in BALROG:
            raise UnknownNameError("task", env_id, BALROG)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return GridworldEnv(MixedLocal(env_id, max_steps=max_steps))


def balrog_babyai(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """BALROG's five BabyAI tasks, zero-shot: 50 episodes each, where BALROG plays 10."""
    tasks = {f"hier.bench.protocols:Balrog/{task}": task for task in BALROG[: 1 if quick else None]}
    return _judged(tasks, 4 if quick else 50)


def agentgym_babyai(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """The 40 levels of AgentGym's server, zero-shot, 5 episodes each."""
    levels = {level: short_name(level) for level in AGENTGYM[: 1 if quick else None]}
    return _judged(levels, 4 if quick else 5)


def _judged(levels: Mapping[str, str], episodes: int) -> tuple[dict[str, Any], list[Row]]:
    """Play levels with the built-in agent under the built-in planner and under the oracle.

    Args:
        levels: names for figures, by environment id.
        episodes: of each level.
    """
    jobs = [(level, variant, episodes) for level in levels for variant in TYPE]
    rows = side_by_side(_judge, jobs)
    figures: dict[str, Any] = {}
    for variant, planner in TYPE.items():
        some = rows_of(rows, variant=variant)
        figures[f"{planner}.success"] = sum(row["success"] for row in some) / len(some)
        figures |= {f"{levels[row['level']]}.{planner}": row["success"] for row in some}
    return figures, rows


def _judge(job: tuple[str, str, int]) -> Row:
    level, variant, episodes = job
    found = play(level, episodes, variant)
    row = {"level": level, "variant": variant, **evaluation_row(found)}
    print(f"{level} {variant}: {row['success']:.0%}", flush=True)
    return row
