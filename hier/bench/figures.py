"""Headline figures of suites that train: medians and worst seeds of their rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import product
from statistics import median
from typing import Any

from hier.envs.errors import UnknownNameError
from hier.run.curves import steps_to
from hier.run.sweep import Row


def check_levels(levels: Sequence[str], known: Collection[str]) -> None:
    """Raise UnknownNameError for a level that a suite does not have."""
    for level in levels:
        if level not in known:
            raise UnknownNameError("level of this suite", level, known)


def rows_of(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """The rows with these values, such as ``variant="flat"``."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def by_variant(
    rows: Sequence[Row], levels: Iterable[str], variants: Iterable[str]
) -> Iterator[tuple[str, list[Row]]]:
    """Each level's rows of each variant, after what their figures' names begin with."""
    for level, variant in product(levels, variants):
        name = variant.replace("+ ", "").replace(", ", "_").replace(" ", "_")
        yield f"{short_name(level)}.{name}", rows_of(rows, level=level, variant=variant)


def spread(values: Sequence[float], key: str) -> dict[str, float]:
    """``KEY`` the median and ``KEY.worst`` the lowest."""
    return {key: median(values), f"{key}.worst": min(values)}


def success_figures(rows: Sequence[Row], key: str, measure: str = "success") -> dict[str, float]:
    """``KEY`` the median of a measure over seeds and ``KEY.worst`` the lowest."""
    return spread([row[measure] for row in rows], key)


def learning_figures(rows: Sequence[Row], key: str) -> dict[str, Any]:
    """``KEY.success``, ``KEY.success.worst``, and ``KEY.steps_to_90``, medians over seeds."""
    steps = median(steps_to(0.9, row["training_curve"]) for row in rows)
    return {
        **success_figures(rows, f"{key}.success"),
        # JSON has no infinity.
        f"{key}.steps_to_90": None if steps == float("inf") else int(steps),
    }


def short_name(env_id: str) -> str:
    """``BabyAI-UnlockPickup-v0`` as ``UnlockPickup``."""
    return env_id.removeprefix("BabyAI-").removesuffix("-v0")
