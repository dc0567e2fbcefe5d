"""Suite ``worlds``: mazes, a robot's hand and 3-D rooms, flat and with subgoals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from hier.bench.figures import (
    by_variant,
    check_levels,
    learning_figures,
    short_name,
    success_figures,
)
from hier.config import HierConfig
from hier.envs.registry import domain_of
from hier.run.evaluation import evaluate
from hier.run.pool import side_by_side
from hier.run.sweep import Row, keep_row, kept_parent, train_job


class Task(NamedTuple):
    """What is trained on a level: a preset, for so many environment steps."""

    preset: str
    steps: int


TASKS = {
    "PointMaze_Medium-v3": Task("pointmaze", 40_000),
    "PointMaze_Large-v3": Task("pointmaze", 100_000),
    "FetchPush-v4": Task("fetch", 40_000),
    "FetchPickAndPlace-v4": Task("fetch", 50_000),
    "MiniWorld-FourRooms-v0": Task("rooms", 100_352),
    "MiniWorld-PickupObjects-v0": Task("rooms", 100_352),
    "MiniWorld-PutNext-v0": Task("rooms", 200_704),
}
TOLD = "privileged/"  # before the id of a level whose simulator tells what others must see
FLAT, ORACLE, ORACLE_TOLD = "flat, privileged", "oracle", "oracle, privileged"


def worlds(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] = tuple(TASKS)
) -> tuple[dict[str, Any], list[Row]]:
    """Controllers that learn from nothing with the oracle, from cameras and privileged; flat RL.

    The flat baseline is privileged, and where it replays its transitions it has hindsight (HER).
    The controller that learned from cameras is evaluated twice more: on the simulator's state
    (``told``), and with the domain's built-in planner, if any, with which it never trained
    (``vlm``).

    Raises:
        UnknownNameError: for a level that is none of :data:`TASKS`.
    """
    check_levels(levels, TASKS)
    levels = list(levels)[:1] if quick else levels
    parent = kept_parent("worlds", quick)
    jobs = [
        (world_config(level, variant, seed, quick), level, variant, parent / f"{name}-seed-{seed}")
        for seed in seeds
        for level in levels
        for variant in (ORACLE, FLAT, ORACLE_TOLD)
        for name in [f"{short_name(level)}-{variant.replace(', ', '-')}"]
    ]
    rows = side_by_side(_trained, jobs)
    figures: dict[str, Any] = {}
    for key, some in by_variant(rows, levels, (ORACLE, FLAT, ORACLE_TOLD)):
        figures |= learning_figures(some, key)
        if some[0]["variant"] == ORACLE:
            world = short_name(some[0]["level"])
            for name in sorted({"told", "vlm"} & some[0].keys()):
                figures |= success_figures(some, f"{world}.{name}", name)
            figures[f"{world}.seconds"] = median(row["seconds"] for row in some)
    return figures, rows


def world_config(level: str, variant: str, seed: int, quick: bool) -> HierConfig:
    """How a variant of the suite is trained on one of :data:`TASKS`."""
    task = TASKS[level]
    lines = [
        f"env.id={level if variant == ORACLE else TOLD + level}",
        f"seed={seed}",
        f"total_timesteps={2048 if quick else task.steps}",
        *("torch_threads=1", "eval.every=0", "eval.videos=0"),
        f"eval.episodes={4 if quick else 100}",
    ]
    config = HierConfig.load(task.preset, lines)
    if variant != FLAT:
        return config
    replays = config.controller.algorithm in ("sac", "td3")
    return config.override("planner.type=none", f"controller.hindsight={0.5 if replays else 0}")


def _trained(job: tuple[HierConfig, str, str, Path]) -> Row:
    """Train, then evaluate the controller on privileged state and with the built-in planner."""
    config, level, variant, folder = job
    row = train_job((config, variant, folder))
    if variant == ORACLE and "told" not in row:
        row["told"] = evaluate(folder, env_id=TOLD + level, progress=False).success_rate
        if domain_of(level).planner:
            vlm = evaluate(folder, overrides=["planner.type=vlm"], progress=False)
            row["vlm"] = vlm.success_rate
    row["level"] = level
    keep_row(folder, row)
    return row
