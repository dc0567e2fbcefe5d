"""Plots of committed results: every seed shown, the median in bold."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from envs.files import atomic_write

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito


def plot_curves(result: dict[str, Any], path: Path) -> None:
    """Success on unseen levels against environment steps.

    Args:
        result: a result of :func:`hier.bench.run_suite` whose rows hold a ``curve`` of
            ``[env_steps, success]``.
        path: PNG to write.
    """
    figure, axes = _axes(result["name"], "environment steps", "success on unseen levels")
    variants = list(dict.fromkeys(row["variant"] for row in result["rows"]))
    for variant, color in zip(variants, COLORS, strict=False):
        curves = [row["curve"] for row in result["rows"] if row["variant"] == variant]
        for curve in curves:
            axes.plot(*zip(*curve, strict=True), color=color, alpha=0.35, linewidth=1, marker=".")
        steps = [step for step, _ in curves[0]]
        middle = [
            median(values) for values in zip(*[[v for _, v in c] for c in curves], strict=True)
        ]
        axes.plot(steps, middle, color=color, linewidth=2.5, label=f"{variant} (median)")
    axes.set_xlim(left=0)
    _save(figure, axes, path)


def plot_accuracy(result: dict[str, Any], path: Path) -> None:
    """Final success against the planner's accuracy; the random planner as a dashed line.

    Args:
        result: of the ``planner-quality`` suite.
        path: PNG to write.
    """
    figure, axes = _axes(result["name"], "planner accuracy", "success on unseen levels")
    found: dict[float, list[float]] = {}
    for row in result["rows"]:
        if row["variant"] == "random":
            found.setdefault(-1.0, []).append(row["success"])
        else:
            found.setdefault(float(row["variant"].split()[1]), []).append(row["success"])
    chance = found.pop(-1.0)
    for accuracy, values in found.items():
        axes.plot([accuracy] * len(values), values, ".", color=COLORS[0], alpha=0.5)
    ordered = sorted(found)
    axes.plot(
        ordered, [median(found[a]) for a in ordered], color=COLORS[0], linewidth=2.5, label="median"
    )
    axes.axhline(median(chance), color=COLORS[1], linestyle="--", label="random planner (median)")
    axes.set_xticks(ordered)
    _save(figure, axes, path)


def _axes(title: str, x: str, y: str) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), dpi=130)
    axes.set(title=title, xlabel=x, ylabel=y, ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Any, axes: Any, path: Path) -> None:
    from matplotlib import pyplot

    axes.legend(frameon=False, loc="best")
    figure.tight_layout()
    with atomic_write(path) as file:
        figure.savefig(file)
    pyplot.close(figure)
