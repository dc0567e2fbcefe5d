"""Headline figures of suites that train: medians and worst seeds of their rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from statistics import median
from typing import Any

from hier.envs.errors import UnknownNameError
from hier.run.sweep import Row


def check_levels(levels: Sequence[str], known: Collection[str]) -> None:
    """Raise UnknownNameError for a level that a suite does not have."""
    for level in levels:
        if level not in known:
            raise UnknownNameError("level of this suite", level, known)


def by_variant(
    rows: Sequence[Row], levels: Sequence[str], variants: Sequence[str]
) -> Iterator[tuple[str, list[Row]]]:
    """Each level's rows of each variant, after what their figures' names begin with."""
    for level in levels:
        for variant in variants:
            name = variant.replace("+ ", "").replace(", ", "_").replace(" ", "_")
            some = [row for row in rows if (row["level"], row["variant"]) == (level, variant)]
            yield f"{short_name(level)}.{name}", some


def success_figures(rows: Sequence[Row], key: str, measure: str = "success") -> dict[str, float]:
    """``KEY`` the median of a measure over seeds and ``KEY.worst`` the lowest."""
    values = [row[measure] for row in rows]
    return {key: median(values), f"{key}.worst": min(values)}


def learning_figures(rows: Sequence[Row], key: str) -> dict[str, Any]:
    """``KEY.success``, ``KEY.success.worst``, and ``KEY.steps_to_90``, medians over seeds."""
    steps = median(steps_to(0.9, row["training_curve"]) for row in rows)
    return {
        **success_figures(rows, f"{key}.success"),
        # JSON has no infinity.
        f"{key}.steps_to_90": None if steps == float("inf") else int(steps),
    }


def steps_to(success: float, curve: Sequence[Sequence[float]]) -> float:
    """Environment steps at which a curve first reached ``success``; infinite if it never did."""
    return min((steps for steps, value in curve if value >= success), default=float("inf"))


def short_name(env_id: str) -> str:
    """``BabyAI-UnlockPickup-v0`` as ``UnlockPickup``."""
    return env_id.removeprefix("BabyAI-").removesuffix("-v0")
