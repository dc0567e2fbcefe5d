"""Suites about guidance: what each part is worth, and what it saves when the planner is bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from hier.bench.figures import by_variant, check_levels, learning_figures, short_name
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
LINVIT = ["guidance.soft_choice=annealed"]
READ = ["guidance.requery_rounds=3"]
BELIEVED = ["guidance.trust=full"]  # the planner is known to be bad
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
    base = HierConfig.load("demo", ["torch_threads=1", "eval.videos=0", "eval.every=0"])
    levels = levels[:1] if quick else levels
    parent = kept_parent("guidance", quick)
    starts = source_controllers(quick, seeds) if STARTED in levels else {}
    jobs = []
    # Seed by seed, so that what an interrupted suite has done is comparable.
    for seed in seeds:
        for level in levels:
            for variant, lines in VARIANTS.items():
                budget = _budget(LEVELS[level], quick)
                if level == STARTED:
                    budget.append("guidance.critic.gamma=0.99")  # up to a hundred steps a task
                    if variant != FLAT:
                        budget.append(f"controller.start={starts[seed]}")
                config = base.override(f"env.id={level}", f"seed={seed}", *budget, *lines)
                name = f"{short_name(level)}-{variant.replace('+ ', '').replace(' ', '-')}"
                jobs.append((config, variant, parent / f"{name}-seed-{seed}"))
    rows = train_all(jobs)
    figures: dict[str, Any] = {}
    for key, some in by_variant(rows, levels, list(VARIANTS)):
        figures |= learning_figures(some, key)
        figures[f"{key}.queries_per_episode"] = round(
            median(row["planner_queries"] / max(row["episodes"], 1) for row in some), 1
        )
        figures[f"{key}.planner_share"] = median(row["planner_share"] for row in some)
    return figures, rows


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
    base = HierConfig.load("demo", ["torch_threads=1", "eval.videos=0", "eval.every=0"])
    parent = kept_parent(suite, quick)
    jobs, mistakes = [], []
    for seed in seeds:
        for mistake, (wrong, level, steps) in planners.items():
            for variant, budget, lines in (
                (GOOD, min(steps, GOOD_STEPS), ORACLE),
                (OBEYED, steps, wrong),
                (GUIDED, steps, [*wrong, *LINVIT, *READ, *BELIEVED]),
            ):
                config = base.override(*level, f"seed={seed}", *_budget(budget, quick), *lines)
                name = variant.replace(",", "").replace(" + ", "-").replace(" ", "-")
                jobs.append((config, variant, parent / f"{mistake}-{name}-seed-{seed}"))
                mistakes.append(mistake)
    rows = [
        {**row, "mistake": mistake} for row, mistake in zip(train_all(jobs), mistakes, strict=True)
    ]
    figures: dict[str, Any] = {}
    for mistake in planners:
        for variant, key in ((GOOD, "good"), (OBEYED, "obeyed"), (GUIDED, "guided")):
            some = [r for r in rows if (r["mistake"], r["variant"]) == (mistake, variant)]
            figures |= learning_figures(some, f"{mistake}.{key}")
    return figures, rows


def _budget(steps: int, quick: bool) -> list[str]:
    if quick:
        return ["total_timesteps=2048", "eval.episodes=8"]
    return [f"total_timesteps={steps}"]
