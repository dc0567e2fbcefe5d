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

LEVELS = {
    "BabyAI-UnlockPickup-v0": 51_200,
    "BabyAI-PutNextLocal-v0": 40_960,
    "BabyAI-KeyCorridorS3R3-v0": 51_200,
    "BabyAI-BlockedUnlockPickup-v0": 61_440,
}
# Too far for these steps from nothing: controllers of the source levels, which flat PPO cannot use.
STARTED = "BabyAI-BlockedUnlockPickup-v0"
FLAT = "flat"
LINVIT = ["guidance.soft_choice=true"]
READ = ["guidance.requery_rounds=3"]
ACTIONS = ["guidance.actions=loss"]
VALUE = ["guidance.value_shaping=0.5"]
VARIANTS = {
    FLAT: ["planner.type=none"],
    "subgoals": [],
    "+ soft choice": LINVIT,
    "+ actions": ACTIONS,
    "+ value": VALUE,
    "+ re-query": READ,
    "all": [*LINVIT, *ACTIONS, *VALUE, *READ],
}

OBEYED, GUIDED, GOOD = "obeyed", "LINVIT + ReAd", "good planner, obeyed"
GOOD_STEPS = 61_440
ORACLE = ["planner.type=oracle"]
NOISY = ["planner.type=noisy", "planner.options.accuracy=0.5"]
ORDER = ["planner.type=mistaken", "planner.options.mistake=order"]
COLOR = ["planner.type=mistaken", "planner.options.mistake=color"]
# What is wrong with the planner, on what level, and for how many steps it is lived with.
BAD_PLANNERS = {
    "noisy": (NOISY, ["env.id=BabyAI-UnlockPickup-v0"], 163_840),
    "color": (COLOR, ["env.id=BabyAI-GoToLocal-v0"], 40_960),
}
# The level's own 72 steps leave no time to find out that a locked door does not open.
PATIENT = ["env.id=BabyAI-UnlockPickup-v0", "env.max_steps=200", "subgoal.max_duration=20"]
WRONG_ORDER = {"order": (ORDER, PATIENT, 245_760)}


def guidance(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] = tuple(LEVELS)
) -> tuple[dict[str, Any], list[Row]]:
    """Flat, the planner's subgoals, each part of guidance beside them, and all together.

    Raises:
        UnknownNameError: for a level that is none of :data:`LEVELS`.
    """
    check_levels(levels, LEVELS)
    levels = levels[:1] if quick else levels
    tasks = {
        short_name(level): plain_config("demo", f"env.id={level}", *budget(LEVELS[level], quick))
        for level in levels
    }
    jobs = jobs_of(kept_parent("guidance", quick), tasks, VARIANTS, seeds)
    if STARTED in levels:
        starts = source_controllers(quick, seeds)
        jobs = [(_started(*job[:2], starts), *job[1:]) for job in jobs]
    rows = train_all(jobs)
    figures: dict[str, Any] = {}
    for key, some in by_variant(rows, levels, VARIANTS):
        figures |= learning_figures(some, key)
        figures[f"{key}.queries_per_episode"] = round(
            median(row["planner_queries"] / max(row["episodes"], 1) for row in some), 1
        )
        figures[f"{key}.planner_share"] = median(row["planner_share"] for row in some)
    return figures, rows


def _started(config: HierConfig, variant: str, starts: Mapping[int, Path]) -> HierConfig:
    """On the level that is far, a controller to begin with, but for flat PPO."""
    if STARTED not in config.env.ids:
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
