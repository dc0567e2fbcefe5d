"""Plays levels to find out which of them the subgoal vocabulary covers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from minigrid.envs.babyai.core import verifier

from hier.envs.domain import Observation, Tracker, batched
from hier.envs.errors import SimulatorError
from hier.envs.gridworld.env import GridworldEnv
from hier.envs.gridworld.expert import GridExpert
from hier.envs.gridworld.instructions import ReachGoalInstr, clauses_of, instruction_of
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.envs.gridworld.targets import VERBS
from hier.envs.registry import domain_of, make_env

STEPS, EVERY = 30, 5  # random actions per seed; steps from one question to the expert to the next

_VERB_OF = (
    (ReachGoalInstr, ("reach",)),
    (verifier.OpenInstr, ("open",)),
    (verifier.GoToInstr, ("go to",)),
    (verifier.PickupInstr, ("pick up",)),
    (verifier.PutNextInstr, ("pick up", "put next to")),
)

# What playing a level cannot show: why it is not covered, or what else success needs.
_DONE = "the closing `done` action is no subgoal: it is learned from the reward"
_STRICT = (
    "where two doors are to be opened nobody wins: MiniGrid's strict verifier takes the first for "
    "a wrong second"
)
_NOTES = {
    "MiniGrid-Playground-": "no mission and no reward: there is nothing to plan for",
    "MiniGrid-Memory": (
        "the mission names no object: which of the two at the end matches the one at the start is "
        "what has to be remembered; 'go to' can say it, the expert does not know it"
    ),
    "MiniGrid-GoToDoor-": _DONE,
    "MiniGrid-GoToObject-": _DONE,
    "BabyAI-OpenDoorsOrderN2Debug-": _STRICT,
    "BabyAI-OpenDoorsOrderN4Debug-": _STRICT,
}


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """What playing one level showed.

    Attributes:
        env_id: its id.
        buildable: whether the installed packages can build it.
        covered: whether the vocabulary has the verbs of every mission that came up.
        mission_verbs: the verbs of those missions.
        expert_verbs: the verbs that the expert named, in the vocabulary's order.
        expert_share: the share of states in which the expert named a subgoal, in [0, 1].
        note: why the level is not covered, or what else there is to know; may be empty.
    """

    env_id: str
    buildable: bool
    covered: bool
    mission_verbs: tuple[str, ...] = ()
    expert_verbs: tuple[str, ...] = ()
    expert_share: float = 0.0
    note: str = ""


def coverage(ids: Iterable[str], seeds: int = 3) -> list[CoverageRow]:
    """Play a few short episodes of every level and note the verbs of missions and expert.

    The expert is asked at each seed's start and in states on a short random walk from it. It goes
    by what is in view at that moment only.

    Args:
        ids: environment ids.
        seeds: episodes per level.

    Raises:
        UnknownNameError: for an id that is not registered.
    """
    return [_row(env_id, seeds) for env_id in ids]


def _row(env_id: str, seeds: int) -> CoverageRow:
    note = next((text for family, text in _NOTES.items() if env_id.startswith(family)), "")
    asked_for: set[str] = set()
    answers: list[str] = []
    named_all = True
    try:
        env, tracker = make_env(env_id), domain_of(env_id).tracker(1)
        assert isinstance(env, GridworldEnv)
        for seed in range(seeds):
            observation, _ = env.reset(seed=seed)
            expert = env.expert()  # first, because it makes missions readable in every level
            verbs = _verbs_of(instruction_of(env.simulator))
            named_all = named_all and bool(verbs)
            asked_for.update(verbs)
            answers += _expert_answers(env, expert, tracker, observation, seed)
    except SimulatorError as error:
        return CoverageRow(env_id, buildable=False, covered=False, note=str(error))
    return CoverageRow(
        env_id,
        buildable=True,
        covered=named_all,
        mission_verbs=_in_order(asked_for),
        expert_verbs=_in_order(set(answers)),
        expert_share=sum(map(bool, answers)) / max(1, len(answers)),
        note=note,
    )


def _verbs_of(instruction: verifier.Instr | None) -> set[str]:
    """The verbs of an instruction's clauses; empty if one of them has none."""
    found: set[str] = set()
    for clause in clauses_of(instruction):
        verbs = next((verbs for kind, verbs in _VERB_OF if isinstance(clause, kind)), ())
        if not verbs:
            return set()
        found.update(verbs)
    return found


def _expert_answers(
    env: GridworldEnv, expert: GridExpert, tracker: Tracker, observation: Observation, seed: int
) -> list[str]:
    """The verbs that the expert names on a random walk, an empty text where it names none.

    The tracker begins anew each time, so that the expert goes by what is in view alone.
    """
    space = GridworldSubgoals()
    env.action_space.seed(seed)
    answers = []
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            tracker.reset(batched(observation))
            percept = tracker.percept(0)
            subgoal = expert.subgoal(percept, space.candidates(percept))
            answers.append("" if subgoal is None else subgoal.verb)
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            break
    return answers


def _in_order(verbs: set[str]) -> tuple[str, ...]:
    return tuple(verb for verb in VERBS if verb in verbs)


def to_markdown(rows: Sequence[CoverageRow]) -> str:
    """The rows as a Markdown page: counts, what the columns mean, and a table."""
    built = [row for row in rows if row.buildable]
    covered = [row for row in built if row.covered]
    lines = [
        "# Which levels the gridworld's subgoals cover",
        "",
        f"Of {len(rows)} levels, {len(built)} can be built with minigrid {version('minigrid')} "
        f"from PyPI, and {len(covered)} of these have missions made of the vocabulary's verbs: "
        f"{', '.join(VERBS)}. Written by `hier envs --coverage`, which plays every level a little.",
        "",
        "*Mission*: verbs that the missions met ask for. *Expert*: verbs that the expert (BabyAI's "
        "bot) named at the start and on a random walk, seeing only what was in view; *answers*: "
        "the share of those states in which it named one. It has none where the walk made the "
        "mission impossible, for instance by opening the box that was to be picked up.",
        "",
        "Everywhere: a subgoal names an object by color and kind, so that of several alike it may "
        "be the wrong one; side words (*on your left*) are those of the starting pose, without "
        "BabyAI's restriction to the first room; an open door cannot be asked to be closed.",
        "",
        "| level | covered | mission | expert | answers | note |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        state = "not built" if not row.buildable else "yes" if row.covered else "no"
        share = f"{row.expert_share:.0%}" if row.buildable else ""
        verbs = ", ".join(row.mission_verbs), ", ".join(row.expert_verbs)
        lines.append(f"| {row.env_id} | {state} | {verbs[0]} | {verbs[1]} | {share} | {row.note} |")
    return "\n".join(lines)
