"""Suites about guidance: what each part is worth, and what it saves when the planner is bad."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from hier.bench import Row
from hier.bench.learning import new_parent, train_all
from hier.bench.zero_shot import short_name
from hier.config import HierConfig

LEVELS = {
    "BabyAI-UnlockPickup-v0": 60_000,
    "BabyAI-PutNextLocal-v0": 100_000,
    "BabyAI-BlockedUnlockPickup-v0": 150_000,
    "BabyAI-KeyCorridorS3R3-v0": 200_000,
}
LINVIT = ["guidance.soft_choice=fixed"]
READ = ["guidance.requery_rounds=3"]
ACTIONS = ["guidance.actions=reward", "guidance.action_coef=0.1"]
VALUE = ["guidance.value_shaping=0.5"]
VARIANTS = {
    "flat": ["planner.type=none"],
    "subgoals": [],
    "+ soft choice": LINVIT,
    "+ actions": ACTIONS,
    "+ value": VALUE,
    "+ re-query": READ,
    "all": [*LINVIT, *ACTIONS, *VALUE, *READ],
}


def guidance(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Flat, the planner's subgoals, each part of guidance beside them, and all together."""
    base = HierConfig.load("demo", ["torch_threads=1", "eval.videos=0"])
    levels = dict(list(LEVELS.items())[:1]) if quick else LEVELS
    parent = new_parent("guidance")
    jobs = []
    for level, steps in levels.items():
        budget = [f"total_timesteps={steps}", f"eval.every={steps // 10}"]
        if quick:
            budget = ["total_timesteps=2048", "eval.every=1024", "eval.episodes=8"]
        for variant, lines in VARIANTS.items():
            for seed in seeds:
                config = base.override(f"env.id={level}", f"seed={seed}", *budget, *lines)
                name = f"{short_name(level)}-{variant.replace('+ ', '').replace(' ', '-')}"
                jobs.append((config, variant, parent / f"{name}-seed-{seed}"))
    rows = train_all(jobs)
    figures: dict[str, Any] = {}
    for level in levels:
        for variant in VARIANTS:
            some = [row for row in rows if (row["level"], row["variant"]) == (level, variant)]
            key = f"{short_name(level)}.{variant.replace('+ ', '').replace(' ', '_')}"
            figures |= {
                f"{key}.success": median(row["success"] for row in some),
                f"{key}.success.worst": min(row["success"] for row in some),
                f"{key}.steps_to_90": _or_none(median(steps_to(0.9, r["curve"]) for r in some)),
            }
    return figures, rows


def _or_none(value: float) -> float | None:
    return None if value == float("inf") else value  # JSON has no infinity


def steps_to(success: float, curve: Sequence[Sequence[float]]) -> float:
    """Environment steps at the first evaluation that reached ``success``; infinite if none did."""
    return min((steps for steps, value in curve if value >= success), default=float("inf"))
