"""Success against environment steps, as a picture; and how all our plots look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.envs.files import atomic_write
from hier.run.comparison import Group, interquartile_mean, interval

# Okabe and Ito's, which all eyes tell apart; black last.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def plot_groups(groups: Sequence[Group], path: Path) -> None:
    """The success of groups of runs, with 95% intervals where a group has several.

    Lines are training episodes, which TensorBoard has; points are evaluations on unseen levels.

    Args:
        groups: what :func:`hier.run.comparison.groups_of` found.
        path: picture to write.
    """
    figure, axes = new_axes(
        "Success: training episodes (lines) and evaluations (points)",
        "thousand environment steps",
        "interquartile mean of success",
    )
    for number, group in enumerate(groups):
        color = COLORS[number % len(COLORS)]
        count = len(group.runs)
        axes.plot([], [], color=color, label=f"{group.label} ({count} run{'s'[: count > 1]})")
        steps, values = common_points(group.training_curves)
        if len(steps):
            low, high = interval(values)
            axes.plot(steps / 1000, interquartile_mean(values), color=color, linewidth=2)
            axes.fill_between(steps / 1000, low, high, color=color, alpha=0.18, lw=0)
        steps, values = _evaluations(group)
        if len(steps):
            middle, (low, high) = interquartile_mean(values), interval(values)
            # Rounding may put an end of the interval on the wrong side of the mean by 1e-17.
            reach = np.maximum([middle - low, high - middle], 0.0)
            axes.errorbar(
                steps / 1000, middle, reach, color=color, fmt="o", markersize=5, capsize=3,
                markeredgecolor="white", zorder=3,
            )  # fmt: skip
    axes.set_xlim(left=0)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="lower center", ncols=1)
    height = figure.get_size_inches()[1] + 0.22 * len(labels)
    figure.set_size_inches(figure.get_size_inches()[0], height)
    write_figure(figure, path, bottom=(0.1 + 0.22 * len(labels)) / height)


def common_points(
    curves: Sequence[Sequence[Sequence[float]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Curves at the steps of all of them, from where the last begins to where the first ends.

    Args:
        curves: of ``[env_steps, success]``; between its points a curve is a line, as off-policy
            algorithms log at other steps in each seed.

    Returns:
        ``(n,)`` steps and ``(n, curves)`` success; ``n`` is 0 where they share no step.
    """
    if not all(curves):
        return np.empty(0), np.empty((0, len(curves)))
    arrays = [np.array(curve, float) for curve in curves]
    first, last = max(curve[0, 0] for curve in arrays), min(curve[-1, 0] for curve in arrays)
    steps = np.unique(np.concatenate([curve[:, 0] for curve in arrays]))
    steps = steps[(first <= steps) & (steps <= last)]
    return steps, np.stack([np.interp(steps, *curve.T) for curve in arrays], axis=-1)


def _evaluations(group: Group) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``(n,)`` steps at which every run was evaluated, and ``(n, runs)`` success."""
    found = [
        {entry["env_steps"]: entry["success_rate"] for entry in run.evaluations()}
        for run in group.runs
    ]
    steps = sorted(set.intersection(*(set(one) for one in found)))
    return np.array(steps, float), np.array([[one[step] for one in found] for step in steps])


def new_axes(title: str, x: str, y: str) -> tuple[Any, Any]:
    """A figure and its only axes, for shares between 0 and 1."""
    figure, axes = pyplot().subplots(figsize=(6.4, 4.0), dpi=130)
    dress(axes, title, x, y)
    return figure, axes


def dress(axes: Any, title: str, x: str, y: str) -> None:
    """Titles, a grid, and no frame."""
    axes.set(title=title, xlabel=x, ylabel=y, ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def write_figure(figure: Any, path: Path, bottom: float = 0.0) -> None:
    """Write a figure whole or not at all, with a share of its height left free below."""
    figure.tight_layout(rect=(0, bottom, 1, 1))
    with atomic_write(path) as file:
        figure.savefig(file)
    pyplot().close(figure)


def pyplot() -> Any:
    """Matplotlib, which needs no display here."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
