"""Suites for the built-in planner: its accuracy, and episodes on levels nothing learned on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hier.bench.figures import rows_of, short_name, success_figures
from hier.bench.starts import source_controllers
from hier.envs.registry import domain_named
from hier.planners.accuracy import measure_accuracy
from hier.planners.language.planner import VLMPlanner
from hier.planners.play import Mistakes
from hier.pretraining.config import PretrainConfig
from hier.run.evaluation import evaluate
from hier.run.pool import side_by_side
from hier.run.sweep import Row, evaluation_row

PLANNERS = ("vlm", "oracle")


def zero_shot(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Held-out levels with the built-in planner, beside the oracle; nothing learns on them.

    The controllers are :func:`source_controllers`.
    """
    levels, episodes = PretrainConfig.load("gridworld").held_out, 100
    if quick:
        levels, episodes = levels[:2], 4
    folders = source_controllers(quick, seeds)
    rows = side_by_side(
        _judge,
        [
            (folders[seed], level, planner, seed, episodes)
            for level in levels
            for planner in PLANNERS
            for seed in seeds
        ],
    )
    figures: dict[str, Any] = {}
    for level in levels:
        for planner in PLANNERS:
            name = "success" if planner == "vlm" else "oracle_success"
            some = rows_of(rows, level=level, variant=planner)
            figures |= success_figures(some, f"{short_name(level)}.{name}")
    return figures, rows


def _judge(job: tuple[Path, str, str, int, int]) -> Row:
    folder, level, planner, seed, episodes = job
    evaluation = evaluate(
        folder,
        env_id=level,
        episodes=episodes,
        overrides=[f"planner.type={planner}", "torch_threads=1"],
        progress=False,
    )
    row = {
        "level": level,
        "variant": planner,
        "seed": seed,
        "env_steps": 0,
        "demonstrations": 0,
        "planner_queries": sum(episode.planner_queries for episode in evaluation.episodes),
        **evaluation_row(evaluation),
    }
    print(f"{level} {planner} controller {seed}: {row['success']:.0%}", flush=True)
    return row


def planner_accuracy(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """How often the built-in planner names the expert's subgoal, level by level.

    2,000 states of unseen seeds over the source levels, and 100 of every other level that the
    subgoal vocabulary covers, see :func:`.measure_accuracy`; and as many in episodes with
    mistakes. The states are fixed; the suite's seeds are of no consequence.
    """
    from hier.envs.gridworld.coverage import coverage

    made = PretrainConfig.load("gridworld")
    source = made.levels
    if quick:
        held_out, each, each_held_out = made.held_out[:2], 8, 8
    else:
        found = coverage(domain_named("gridworld").env_ids())
        held_out = [row.env_id for row in found if row.covered and row.env_id not in source]
        each, each_held_out = 167, 100
    planner = VLMPlanner(device="cpu")
    first = 3_000_000
    rows: list[Row] = []
    figures: dict[str, Any] = {}
    for group, levels, states in (("source", source, each), ("held_out", held_out, each_held_out)):
        plain = measure_accuracy(planner, levels, states, first_seed=first)
        after = measure_accuracy(planner, levels, states, first_seed=first, mistakes=Mistakes())
        rows += [
            {
                "level": one.level,
                "variant": group,
                "states": one.states,
                "accuracy": one.accuracy,
                "probability": one.probability,
                "accuracy_after_mistakes": other.accuracy,
            }
            for one, other in zip(plain.levels, after.levels, strict=True)
        ]
        figures |= {
            f"{group}.accuracy": plain.mean,
            f"{group}.accuracy.worst": min(level.accuracy for level in plain.levels),
            f"{group}.accuracy_after_mistakes": after.mean,
            f"{group}.calibration_error": plain.calibration_error,
            f"{group}.calibration_error_after_mistakes": after.calibration_error,
        }
    figures |= {f"{short_name(row['level'])}.accuracy": row["accuracy"] for row in rows}
    return figures, rows
