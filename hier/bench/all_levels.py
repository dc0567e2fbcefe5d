"""The shipped agent on every level that the subgoal vocabulary covers, zero-shot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from hier.bench.built_in import ORACLE, PLANNER, TYPE, play
from hier.bench.figures import check_levels, rows_of, short_name
from hier.envs.registry import domain_named
from hier.envs.subgoal import Outcome
from hier.pretraining.config import PretrainConfig
from hier.run.evaluation import EpisodeResult
from hier.run.pool import side_by_side
from hier.run.sweep import ROW_FILE, Row, evaluation_row, keep_row, kept_parent

_EPISODES = 20  # a level by itself is known to 10 points, the mean to 1


def all_levels(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] = ()
) -> tuple[dict[str, Any], list[Row]]:
    """Success of the built-in agent under the built-in planner and under the oracle.

    Nothing learns. Source levels are marked: planner and controller learned on these alone. A
    suite that is cut off goes on where it was.

    Args:
        quick: two levels, four episodes each.
        seeds: not used; the agent is given.
        levels: all that are covered when empty.
    """
    known = ["BabyAI-GoToLocal-v0", "BabyAI-BossLevel-v0"] if quick else covered_levels()
    check_levels(levels, known)
    source, parent = PretrainConfig.load("gridworld").levels, kept_parent("all-levels", quick)
    rows = side_by_side(
        _judge,
        [
            (level, level in source, variant, 4 if quick else _EPISODES, parent)
            for level in levels or known
            for variant in TYPE
        ],
    )
    return _figures(rows), rows


def covered_levels() -> list[str]:
    """Ids of MiniGrid's and BabyAI's levels that the subgoal vocabulary covers, sorted."""
    from hier.envs.gridworld.coverage import coverage
    from hier.envs.gridworld.generated import PREFIX

    ids = [name for name in domain_named("gridworld").env_ids() if not name.startswith(PREFIX)]
    return [row.env_id for row in coverage(ids) if row.covered]


def _judge(job: tuple[str, bool, str, int, Path]) -> Row:
    level, source, variant, episodes, parent = job
    folder = parent / f"{level}-{TYPE[variant]}"
    if (folder / ROW_FILE).exists():
        return json.loads((folder / ROW_FILE).read_text())
    evaluation = play(level, episodes, variant)
    row = {
        "level": level,
        "variant": variant,
        "source": source,
        **evaluation_row(evaluation),
        **_failures(evaluation.episodes),
    }
    print(f"{level} {variant}: {row['success']:.0%}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    keep_row(folder, row)
    return row


def _failures(episodes: Sequence[EpisodeResult]) -> dict[str, float | None]:
    """Where the steps of failed episodes went, in [0, 1]; ``None`` where none failed.

    Much time in subgoals that timed out speaks against the controller (or for a target that cannot
    be reached), little against the planner.
    """
    steps = [step for episode in episodes if not episode.success for step in episode.plan]
    if not steps:
        return {"failed_in_timed_out": None, "failed_exploring": None}
    total = sum(duration for _, duration, _ in steps)
    stuck = sum(duration for _, duration, outcome in steps if outcome == Outcome.TIMEOUT)
    exploring = sum(duration for subgoal, duration, _ in steps if subgoal.startswith("explore"))
    return {"failed_in_timed_out": stuck / total, "failed_exploring": exploring / total}


def _figures(rows: Sequence[Row]) -> dict[str, Any]:
    figures: dict[str, Any] = {"levels": len(rows_of(rows, variant=PLANNER))}
    for variant in TYPE:
        name = TYPE[variant]
        ordered = sorted(rows_of(rows, variant=variant), key=lambda row: row["success"])
        successes = [row["success"] for row in ordered]
        figures |= {
            f"{name}.mean": fmean(successes),
            f"{name}.median": median(successes),
            f"{name}.worst_ten": {short_name(r["level"]): r["success"] for r in ordered[:10]},
        }
    gaps = {
        short_name(ours["level"]): round(oracle["success"] - ours["success"], 3)
        for ours, oracle in zip(
            rows_of(rows, variant=PLANNER), rows_of(rows, variant=ORACLE), strict=True
        )
    }
    figures["gap.mean"] = fmean(gaps.values())
    figures["gap.over_15_points"] = {
        level: gap for level, gap in sorted(gaps.items(), key=lambda g: -g[1]) if gap > 0.15
    }
    return figures
