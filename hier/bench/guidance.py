"""Suites about guidance: what each part is worth, and what it saves when the planner is bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from hier.bench.figures import by_variant, check_levels, learning_figures, rows_of, short_name
from hier.bench.jobs import budget, jobs_of, plain_config
from hier.bench.starts import source_controllers
from hier.config import HierConfig
from hier.run.sweep import Row, kept_parent, train_all

# What the planner gives beside its choices is measured on these.
LEVELS = {
    "BabyAI-UnlockPickup-v0": 51_200,
    "BabyAI-PutNextLocal-v0": 40_960,
    "BabyAI-KeyCorridorS3R3-v0": 51_200,
    "BabyAI-BlockedUnlockPickup-v0": 61_440,
}
FLAT = "flat"
LINVIT = ["guidance.soft_choice=true"]
READ = ["guidance.requery_rounds=3"]
VARIANTS = {
    FLAT: ["planner.type=none"],
    "subgoals": [],
    "+ actions": ["guidance.actions=loss"],
    "+ value": ["guidance.value_shaping=0.5"],
}

# Where guidance must not cost anything: the preset, and steps of training.
NEVER_WORSE = {
    "BabyAI-UnlockPickup-v0": ("demo", 51_200),
    "BabyAI-PutNextLocal-v0": ("demo", 40_960),
    "BabyAI-KeyCorridorS3R3-v0": ("demo", 51_200),
    "BabyAI-GoToSeqS5R2-v0": ("demo", 20_480),
    "BabyAI-BlockedUnlockPickup-v0": ("demo", 102_400),
    "PointMaze_Medium-v3": ("pointmaze", 40_000),
    "MiniWorld-FourRooms-v0": ("rooms", 100_352),
    "MiniWorld-PutNext-v0": ("rooms", 200_704),
}
# Too far for these steps from nothing: controllers of the source levels, which flat PPO cannot use.
STARTED = ("BabyAI-BlockedUnlockPickup-v0", "BabyAI-GoToSeqS5R2-v0")
OBEYED, GUIDED, GOOD = "planner alone", "LINVIT + ReAd", "oracle, alone"
GOOD_STEPS = 61_440
ORACLE = ["planner.type=oracle"]
NOISY = ["planner.type=noisy", "planner.options.accuracy=0.5"]
ORDER = ["planner.type=mistaken", "planner.options.mistake=order"]
COLOR = ["planner.type=mistaken", "planner.options.mistake=color"]
# What is wrong with the planner, on what level, and for how many steps it is lived with.
BAD_PLANNERS = {
    "noisy": (NOISY, ["env.id=BabyAI-UnlockPickup-v0"], 81_920),
    "color": (COLOR, ["env.id=BabyAI-GoToLocal-v0"], 20_480),
}
# The level's own 72 steps leave no time to find out that a locked door does not open.
PATIENT = ["env.id=BabyAI-UnlockPickup-v0", "env.max_steps=200", "subgoal.max_duration=20"]
WRONG_ORDER = {"order": (ORDER, PATIENT, 122_880)}


def guidance(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] = tuple(NEVER_WORSE)
) -> tuple[dict[str, Any], list[Row]]:
    """The built-in planner alone, and under LINVIT with ReAd.

    Raises:
        UnknownNameError: for a level that is none of :data:`NEVER_WORSE`.
    """
    check_levels(levels, NEVER_WORSE)
    levels = levels[:1] if quick else levels
    tasks = {}
    for level in levels:
        preset, steps = NEVER_WORSE[level]
        lines = [f"env.id={level}", "planner.type=vlm", *budget(steps, quick)]
        tasks[short_name(level)] = plain_config(preset, *lines)
    variants = {OBEYED: [], GUIDED: [*LINVIT, *READ]}
    return _learned("guidance", levels, tasks, variants, quick, seeds)


def actions_and_value(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] = tuple(LEVELS)
) -> tuple[dict[str, Any], list[Row]]:
    """Flat, the planner's subgoals, and beside them its actions or its value.

    Raises:
        UnknownNameError: for a level that is none of :data:`LEVELS`.
    """
    check_levels(levels, LEVELS)
    levels = levels[:1] if quick else levels
    tasks = {
        short_name(level): plain_config("demo", f"env.id={level}", *budget(LEVELS[level], quick))
        for level in levels
    }
    return _learned("actions-and-value", levels, tasks, VARIANTS, quick, seeds)


def _learned(
    suite: str,
    levels: Sequence[str],
    tasks: Mapping[str, HierConfig],
    variants: Mapping[str, list[str]],
    quick: bool,
    seeds: Sequence[int],
) -> tuple[dict[str, Any], list[Row]]:
    """Train each task's variants, on a level that is far from controllers of the source levels."""
    jobs = jobs_of(kept_parent(suite, quick), tasks, variants, seeds)
    if any(_starts(config) for config, *_ in jobs):
        starts = source_controllers(quick, seeds)
        jobs = [(_started(*job[:2], starts), *job[1:]) for job in jobs]
    rows = train_all(jobs)
    figures: dict[str, Any] = {}
    for key, some in by_variant(rows, levels, variants):
        figures |= learning_figures(some, key)
        figures[f"{key}.queries_per_episode"] = round(
            median(row["planner_queries"] / max(row["episodes"], 1) for row in some), 1
        )
        figures[f"{key}.planner_share"] = median(row["planner_share"] for row in some)
    return figures, rows


def _starts(config: HierConfig) -> bool:
    return any(level in STARTED for level in config.env.ids)


def _started(config: HierConfig, variant: str, starts: Mapping[int, Path]) -> HierConfig:
    """On a level that is far, a controller to begin with, but for flat PPO."""
    if not _starts(config):
        return config
    start = [] if variant == FLAT else [f"controller.start={starts[config.seed]}"]
    return config.override(*start)


def bad_planner(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """A noisy planner, and one that names the wrong color: alone, and under LINVIT with ReAd."""
    return _misled("bad-planner", BAD_PLANNERS, quick, seeds)


def wrong_order(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """A planner that would open the door before fetching the key; as :func:`bad_planner`."""
    return _misled("wrong-order", WRONG_ORDER, quick, seeds)


def _misled(
    suite: str,
    planners: Mapping[str, tuple[list[str], list[str], int]],
    quick: bool,
    seeds: Sequence[int],
) -> tuple[dict[str, Any], list[Row]]:
    base, parent = plain_config("demo"), kept_parent(suite, quick)
    jobs, mistakes = [], []
    for seed in seeds:
        for mistake, (wrong, level, steps) in planners.items():
            variants = {
                GOOD: [*budget(min(steps, GOOD_STEPS), quick), *ORACLE],
                OBEYED: [*budget(steps, quick), *wrong],
                GUIDED: [*budget(steps, quick), *wrong, *LINVIT, *READ],
            }
            jobs += jobs_of(parent, {mistake: base.override(*level)}, variants, [seed])
            mistakes += [mistake] * len(variants)
    rows = [
        {**row, "mistake": mistake} for row, mistake in zip(train_all(jobs), mistakes, strict=True)
    ]
    figures: dict[str, Any] = {}
    for mistake in planners:
        for variant, key in ((GOOD, "good"), (OBEYED, "obeyed"), (GUIDED, "guided")):
            some = rows_of(rows, mistake=mistake, variant=variant)
            figures |= learning_figures(some, f"{mistake}.{key}")
    return figures, rows
