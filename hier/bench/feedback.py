"""Suites about feedback: what it makes of planners that are ignorant, wrong, or good already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from hier.bench.bad_planners import KEYLESS, half_taught, wrong_teacher
from hier.bench.figures import (
    by_variant,
    check_levels,
    learning_figures,
    short_name,
    success_figures,
)
from hier.bench.guidance import LINVIT, PATIENT, READ
from hier.bench.jobs import ALONE, budget, jobs_of
from hier.bench.starts import source_controllers, world_controllers
from hier.bench.worlds import TASKS
from hier.config import HierConfig
from hier.envs.registry import domain_of
from hier.planners.accuracy import measure_accuracy
from hier.planners.language.planner import VLMPlanner
from hier.run.curves import read_scalar
from hier.run.evaluation import evaluate
from hier.run.folder import RunFolder
from hier.run.pool import side_by_side
from hier.run.sweep import Row, keep_row, kept_parent, train_all, train_job

BEST, OTHERS = "improve", ("awr", "archer", "grpo", "step_dpo", "inverse_rl")
# Levels that neither planner nor controller learned on, and the steps that both are given there.
HELD_OUT = {
    "BabyAI-BlockedUnlockPickup-v0": 102_400,
    "BabyAI-KeyCorridorS3R3-v0": 20_480,
    "BabyAI-GoToSeqS5R2-v0": 20_480,
}
# A source level on which a planner that learned on six others was never taught.
OTHER_HALF = {"BabyAI-UnlockPickup-v0": 51_200}
# SAC knows its way in the maze already, and to go on learning it would take most of the time.
SELDOM = ["controller.options.train_freq=8", "controller.options.gradient_steps=2"]
# Where the planners that ship for other worlds err: steps given there, and what is set besides.
BEYOND: dict[str, tuple[int, Sequence[str]]] = {
    "PointMaze_Medium-v3": (122_880, SELDOM),
    "MiniWorld-PutNext-v0": (61_440, []),
}
NO_FEEDBACK, BEFORE = "no feedback", "before"
LEARNS = [f"feedback.objective={BEST}"]
# A subgoal takes more steps of these worlds. They are source levels themselves: what the planner
# answers there is not to be held.
BEYOND_LINES = [
    "planner.type=vlm", "feedback.anchors=0", *LINVIT, *READ,
]  # fmt: skip
_COMMON = [*ALONE, "eval.videos=0", "eval.every=40960"]

# The paper's level, and two that take several subgoals.
TABLE = {
    "BabyAI-GoToRedBallNoDists-v0": 20_480,
    "BabyAI-UnlockPickup-v0": 40_960,
    "BabyAI-KeyCorridorS3R3-v0": 40_960,
}
NEITHER, GUIDANCE, FEEDBACK, BOTH = "neither", "guidance", "feedback", "guidance and feedback"
WRONG_STEPS = 245_760

_ACCURACY_SEED = 3_500_000  # of the levels on which accuracy is measured
_STATES = 200  # on the level itself
_SOURCE_STATES = 36  # on each source level of its domain


def feedback(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] = tuple(HELD_OUT)
) -> tuple[dict[str, Any], list[Row]]:
    """Held-out levels: planner and controller as they come, and after learning there.

    Both begin as in the suite ``zero-shot``: the built-in planner, and a controller of the source
    levels. Nothing demonstrates the held-out level; the expert only judges accuracy.

    Raises:
        UnknownNameError: for a level that is none of :data:`HELD_OUT`.
    """
    check_levels(levels, HELD_OUT)
    levels = list(levels)[:1] if quick else levels
    tasks = _from_source({level: HELD_OUT[level] for level in levels}, quick, seeds)
    return _learned_there("feedback", tasks, (NO_FEEDBACK, BEST), quick, seeds)


def half_source(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """As :func:`feedback`, for a planner that was pre-trained on six of the twelve source levels.

    The level is one of the other six: it takes a key, whose use the planner was never shown. All
    objectives.
    """
    planner = half_taught(Path("runs/pretrain-half"), quick=quick)
    known = f"feedback.anchor_levels=[{','.join(KEYLESS)}]"
    tasks = _from_source(OTHER_HALF, quick, seeds, f"planner.model={planner}", known)
    return _learned_there("half-source", tasks, (NO_FEEDBACK, BEST, *OTHERS), quick, seeds)


def world_feedback(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] = tuple(BEYOND)
) -> tuple[dict[str, Any], list[Row]]:
    """As :func:`feedback` in a maze with continuous forces and in rooms seen in the first person.

    Planners are those that ship for these worlds, controllers those of the suite ``worlds``.

    Raises:
        UnknownNameError: for a level that is none of :data:`BEYOND`.
    """
    check_levels(levels, BEYOND)
    tasks = []
    for level in list(levels)[:1] if quick else levels:
        starts = world_controllers(level, quick, seeds)
        steps, own = BEYOND[level]
        lines = [f"env.id={level}", *_COMMON, *budget(steps, quick), *BEYOND_LINES, *own]
        tasks.append(_Task(HierConfig.load(TASKS[level].preset, lines), starts))
    return _learned_there("world-feedback", tasks, (NO_FEEDBACK, BEST), quick, seeds)


class _Task(NamedTuple):
    """What learns: a configuration of one level, and controllers to begin with, by seed."""

    config: HierConfig
    starts: Mapping[int, Path]


def _from_source(
    steps: Mapping[str, int], quick: bool, seeds: Sequence[int], *lines: str
) -> list[_Task]:
    """Levels of the gridworld, with controllers of its source levels."""
    starts = source_controllers(quick, seeds)
    return [
        _Task(_base(f"env.id={level}", *LINVIT, *budget(steps[level], quick), *lines), starts)
        for level in steps
    ]


def _learned_there(
    suite: str, tasks: Sequence[_Task], variants: Sequence[str], quick: bool, seeds: Sequence[int]
) -> tuple[dict[str, Any], list[Row]]:
    """Judge each task as it comes and after learning with each variant of feedback."""
    parent = kept_parent(suite, quick)
    lines = {v: [f"feedback.objective={'none' if v == NO_FEEDBACK else v}"] for v in variants}
    jobs, untrained = [], []
    for seed in seeds:
        for config, starts in tasks:
            level, start = config.env.ids[0], starts[seed]
            task = {short_name(level): config.override(f"controller.start={start}")}
            jobs += [(*job, quick) for job in jobs_of(parent, task, lines, [seed])]
            untrained.append((start, _model(config), level, seed, quick))
    rows = [*side_by_side(train_and_compare, jobs), *side_by_side(evaluate_before, untrained)]
    figures: dict[str, Any] = {}
    levels = [task.config.env.ids[0] for task in tasks]
    for key, some in by_variant(rows, levels, (BEFORE, *variants)):
        figures |= success_figures(some, f"{key}.success")
        figures |= success_figures(some, f"{key}.alone", "alone")
        figures |= {
            f"{key}.{name}": round(median(row[name] for row in some), 3)
            for name in ("accuracy", "source_accuracy")
        }
    return figures, rows


def _model(config: HierConfig) -> str:
    """Name or folder of the planner that a configuration begins with."""
    return config.planner.model or domain_of(config.env.ids[0]).planner


def wrong_teacher_suite(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """A planner taught to open before fetching the key, corrected by feedback under guidance.

    Controllers learn from nothing, on UnlockPickup with time enough to fail (see ``wrong-order``,
    which has guidance alone for an oracle that errs in the same way).
    """
    parent = kept_parent("wrong-teacher", quick)
    teacher = wrong_teacher(Path("runs/wrong-teacher"), "BabyAI-UnlockPickup-v0", quick=quick)
    # Its mistake is not the level's alone, so none of its other answers are worth keeping.
    base = _base(
        f"planner.model={teacher}", "feedback.anchors=0", *PATIENT, *budget(WRONG_STEPS, quick)
    )
    jobs = jobs_of(parent, {"": base}, {BOTH: [*LINVIT, *READ, *LEARNS]}, seeds)
    rows = side_by_side(train_and_compare, [(*job, quick) for job in jobs])
    figures = learning_figures(rows, "corrected")
    for name in ("alone", "as_it_was"):
        figures |= success_figures(rows, f"corrected.{name}", name)
    return figures, rows


def two_by_two(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Guidance off and on, feedback off and on: steps to 90 % and final success."""
    tasks = {
        short_name(level): _base("eval.every=0", f"env.id={level}", *budget(steps, quick))
        for level, steps in TABLE.items()
    }
    variants = {
        NEITHER: [],
        GUIDANCE: [*LINVIT, *READ],
        FEEDBACK: LEARNS,
        BOTH: [*LINVIT, *READ, *LEARNS],
    }
    rows = train_all(jobs_of(kept_parent("two-by-two", quick), tasks, variants, seeds))
    figures: dict[str, Any] = {}
    for key, some in by_variant(rows, TABLE, variants):
        figures |= learning_figures(some, key)
    return figures, rows


def _base(*lines: str) -> HierConfig:
    return HierConfig.load("demo", [*_COMMON, *lines])


def evaluate_before(job: tuple[Path, str, str, int, bool]) -> Row:
    """What planner and controller are worth on a level before they learn there."""
    run, planner, level, seed, quick = job
    found = evaluate(
        run,
        env_id=level,
        episodes=4 if quick else 100,
        overrides=["planner.type=vlm", f"planner.model={planner}", "torch_threads=1"],
        progress=False,
    )
    row = {"level": level, "variant": BEFORE, "seed": seed, "env_steps": 0}
    alone = found.success_rate
    return {**row, "success": alone, "alone": alone, **_accuracies(planner, level, quick)}


def train_and_compare(job: tuple[HierConfig, str, Path, bool]) -> Row:
    """Train, then judge the planner: alone, and against the expert where it was and elsewhere.

    ``alone`` is success where guidance does not help it, ``as_it_was`` that of the planner before
    feedback with the same controller.
    """
    config, variant, folder, quick = job
    row = train_job((config, variant, folder))
    if "alone" in row:
        return row
    off = ["guidance.soft_choice=false", "guidance.requery_rounds=0", "feedback.objective=none"]
    first = [f"planner.model={_model(config)}"]
    alone, as_it_was = (
        evaluate(folder, episodes=config.eval.episodes, overrides=[*off, *more], progress=False)
        for more in ([], first)
    )
    run = RunFolder.open(folder)
    learned = str(run.planner) if run.planner.exists() else _model(config)
    memory, share = read_scalar(run, "time/memory_mb"), read_scalar(run, "feedback/share")
    row |= {
        "alone": alone.success_rate,
        "as_it_was": as_it_was.success_rate,
        **_accuracies(learned, row["level"], quick),
        "feedback_share": round(share[-1][1], 3) if share else 0.0,
        "memory_mb": [[step, round(value)] for step, value in memory],
    }
    keep_row(folder, row)
    return row


def _accuracies(planner: str, level: str, quick: bool) -> Row:
    domain = domain_of(level)
    model, source = VLMPlanner(planner, device="cpu", domain=domain), domain.source_levels
    here = measure_accuracy(model, [level], 8 if quick else _STATES, first_seed=_ACCURACY_SEED)
    some = source[:2] if quick else source
    there = measure_accuracy(model, some, 4 if quick else _SOURCE_STATES, first_seed=_ACCURACY_SEED)
    return {"accuracy": here.mean, "source_accuracy": there.mean}
