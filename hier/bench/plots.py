"""Plots of committed results: every seed shown, the median in bold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hier.run.plotting import COLORS, common_points, dress, new_axes, pyplot, write_figure


def plot_curves(result: dict[str, Any], path: Path) -> None:
    """Success on unseen levels against environment steps.

    Args:
        result: a result of :func:`hier.bench.run_suite` whose rows hold a ``curve`` of
            ``[env_steps, success]``.
        path: PNG to write.
    """
    figure, axes = new_axes(result["name"], "environment steps", "success on unseen levels")
    variants = list(dict.fromkeys(row["variant"] for row in result["rows"]))
    for variant, color in zip(variants, COLORS, strict=False):
        curves = np.array([row["curve"] for row in result["rows"] if row["variant"] == variant])
        for curve in curves:
            axes.plot(*curve.T, color=color, alpha=0.35, linewidth=1, marker=".")
        steps, middle = np.median(curves, axis=0).T
        axes.plot(steps, middle, color=color, linewidth=2.5, label=f"{variant} (median)")
    axes.set_xlim(left=0)
    _save(figure, axes, path)


def plot_accuracy(result: dict[str, Any], path: Path) -> None:
    """Final success against the planner's accuracy; the random planner as a dashed line.

    Args:
        result: of the ``planner-quality`` suite.
        path: PNG to write.
    """
    figure, axes = new_axes(result["name"], "planner accuracy", "success on unseen levels")
    found: dict[float, list[float]] = defaultdict(list)
    chance = [row["success"] for row in result["rows"] if row["variant"] == "random"]
    for row in result["rows"]:
        if row["variant"] != "random":
            found[float(row["variant"].split()[1])].append(row["success"])
    for accuracy, values in found.items():
        axes.plot([accuracy] * len(values), values, ".", color=COLORS[0], alpha=0.5)
    ordered = sorted(found)
    axes.plot(
        ordered, [median(found[a]) for a in ordered], color=COLORS[0], linewidth=2.5, label="median"
    )
    axes.axhline(median(chance), color=COLORS[1], linestyle="--", label="random planner (median)")
    axes.set_xticks(ordered)
    _save(figure, axes, path)


def plot_panels(result: dict[str, Any], path: Path) -> None:
    """Success of the training episodes against environment steps, one panel per task.

    The line is the median over seeds, the band reaches from the worst to the best.

    Args:
        result: a result with rows that hold a ``training_curve`` (others are left out); a task is a
            ``level`` and, where rows have one, a ``mistake``.
        path: PNG to write.
    """
    rows = [row for row in result["rows"] if "training_curve" in row]
    tasks = list(dict.fromkeys((row["level"], row.get("mistake", "")) for row in rows))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    columns = min(len(tasks), 3 if len(tasks) % 2 else 2)
    lines = -(-len(tasks) // columns)
    figure, grid = pyplot().subplots(
        lines, columns, figsize=(4.6 * columns, 3.4 * lines), dpi=130, squeeze=False, sharey=True
    )
    for axes, (level, mistake) in zip(grid.flat, tasks, strict=False):
        name = level.removeprefix("BabyAI-").removesuffix("-v0")
        dress(axes, f"{name}, {mistake}" if mistake else name, "thousand environment steps", "")
        for variant, color in zip(variants, COLORS, strict=False):
            curves = [
                row["training_curve"]
                for row in rows
                if (row["level"], row.get("mistake", ""), row["variant"])
                == (level, mistake, variant)
            ]
            _band(axes, curves, color, variant)
    for axes in grid[:, 0]:
        axes.set_ylabel("success, last 100 episodes")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    wide = min(len(variants), 2 if columns == 1 else 3 * columns)
    figure.legend(handles, labels, frameon=False, loc="lower center", ncols=wide)
    write_figure(figure, path, bottom=-(-len(variants) // wide) * 0.24 / (3.4 * lines))


def _band(axes: Any, curves: list[Any], color: str, label: str) -> None:
    curves = [curve for curve in curves if curve]
    if not curves:
        return
    steps, values = common_points(curves)
    axes.plot(steps / 1000, np.median(values, axis=1), color=color, linewidth=2, label=label)
    axes.fill_between(
        steps / 1000, values.min(axis=1), values.max(axis=1), color=color, alpha=0.15, lw=0
    )


def plot_levels(result: dict[str, Any], path: Path) -> None:
    """Success on every level, sorted, as bars; the oracle's as dots.

    Args:
        result: of the ``all-levels`` suite.
        path: PNG to write.
    """
    bars, dots = dict.fromkeys(row["variant"] for row in result["rows"])
    found = {(row["level"], row["variant"]): row["success"] for row in result["rows"]}
    levels = sorted({level for level, _ in found}, key=lambda level: found[level, bars])
    figure, axes = pyplot().subplots(figsize=(7.5, 0.14 * len(levels) + 1.2), dpi=110)
    axes.barh(levels, [found[level, bars] for level in levels], color=COLORS[0], label=bars)
    axes.plot([found[level, dots] for level in levels], levels, "o", color=COLORS[1],
              markersize=2.5, label=dots)  # fmt: skip
    axes.set(title=result["name"], xlabel="success in unseen episodes", xlim=(0, 1.02))
    axes.tick_params(axis="y", labelsize=5, length=0)
    axes.margins(y=0.005)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    write_figure(figure, path)


def plot_disturbance(result: dict[str, Any], path: Path) -> None:
    """Success by disturbance, with and without re-planning.

    Args:
        result: of the ``disturbance`` suite.
        path: PNG to write.
    """
    figure, axes = new_axes(result["name"], "", "success where it took place")
    _bars(axes, [(r["disturbance"], r["variant"], r["success"]) for r in result["rows"]])
    _save(figure, axes, path, below=True)


def plot_lava(result: dict[str, Any], path: Path) -> None:
    """Success and violations by level, with and without the safety filter.

    Args:
        result: of the ``lava`` suite.
        path: PNG to write.
    """
    figure, axes = new_axes(result["name"], "", "share of episodes")  # lava ends an episode
    measures = {
        "success": "success",
        "violations": "violations",
        "train_violations": "violations\nin training",
    }
    values = [
        (f"{row['level'].split('-')[1]}\n{label}", row["variant"], row.get(key))
        for key, label in measures.items()
        for row in result["rows"]
    ]
    _bars(axes, sorted(values, key=lambda value: value[0].split("\n")[0]))
    axes.tick_params(axis="x", labelsize=6)
    _save(figure, axes, path, below=True)


def _bars(axes: Any, values: Sequence[tuple[str, str, float | None]]) -> None:
    """Bars of medians with a point per seed, from ``(group, variant, value)``."""
    groups = list(dict.fromkeys(group for group, _, _ in values))
    variants = list(dict.fromkeys(variant for _, variant, _ in values))
    width = 0.8 / len(variants)
    for k, (variant, color) in enumerate(zip(variants, COLORS, strict=False)):
        label = f"{variant} (median)"
        for place, group in enumerate(groups):
            x = place + (k - (len(variants) - 1) / 2) * width
            some = [v for g, name, v in values if (g, name) == (group, variant) and v is not None]
            if some:
                axes.bar(x, median(some), 0.9 * width, color=color, alpha=0.6, label=label)
                axes.plot([x] * len(some), some, ".", color=color)
                label = ""
    axes.set_xticks(range(len(groups)), groups)


def _save(figure: Any, axes: Any, path: Path, below: bool = False) -> None:
    if below:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="lower center", ncols=len(labels))
    else:
        axes.legend(frameon=False, loc="best")
    write_figure(figure, path, bottom=0.07 if below else 0.0)
