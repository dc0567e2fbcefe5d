"""Runs that differ in the seed alone, as one group with the spread of its success.

Interquartile mean and bootstrap intervals are those of Agarwal et al., "Deep Reinforcement Learning
at the Edge of the Statistical Precipice" (arXiv 2108.13264), as rliable has them for one task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.config import HierConfig
from hier.envs.errors import RunFolderError
from hier.run.curves import steps_to, training_curve
from hier.run.folder import RunFolder

RESAMPLES = 2000
# Keys in which runs of one group may differ.
_FREE = ("seed", "name", *HierConfig.bookkeeping_keys)


@dataclass(frozen=True)
class Group:
    """Runs of one configuration with several seeds.

    Attributes:
        label: what sets it apart from the other groups.
        runs: their folders.
        config: of the first.
    """

    label: str
    runs: list[RunFolder]
    config: HierConfig

    @cached_property
    def success(self) -> NDArray[np.float64]:
        """``(runs,)`` success rates of the last evaluations, in [0, 1]."""
        return np.array([run.evaluations()[-1]["success_rate"] for run in self.runs])

    @property
    def unfinished(self) -> list[RunFolder]:
        """Runs whose last evaluation is not that of the end."""
        total = self.config.total_timesteps
        return [run for run in self.runs if run.evaluations()[-1]["env_steps"] < total]

    @cached_property
    def training_curves(self) -> list[list[list[float]]]:
        """Each run's ``[env_steps, success]`` of the last 100 training episodes."""
        return [training_curve(run, self.config) for run in self.runs]

    def summary(self) -> dict[str, Any]:
        """Figures by name; ``None`` for what there is not: an interval of one run, steps to 90%."""
        steps = median(steps_to(0.9, curve) for curve in self.training_curves)
        low, high = interval(self.success)
        several = len(self.runs) > 1
        return {
            "group": self.label,
            "runs": [str(run.path) for run in self.runs],
            "unfinished": [str(run.path) for run in self.unfinished],
            "steps": max(run.evaluations()[-1]["env_steps"] for run in self.runs),
            "iqm": float(interquartile_mean(self.success)),
            "low": float(low) if several else None,
            "high": float(high) if several else None,
            "median": float(np.median(self.success)),
            "worst": float(self.success.min()),
            "steps_to_90": None if steps == float("inf") else int(steps),
        }


def groups_of(runs: Sequence[str | Path], *, trust_code: bool = False) -> list[Group]:
    """Sort runs into groups that differ in the seed alone.

    Args:
        runs: their folders.
        trust_code: run code that their configurations name.

    Raises:
        RunFolderError: for a folder that is no run, or that has no evaluation yet.
        UntrustedCodeError: if one names code that is not trusted.
    """
    found: dict[str, list[tuple[RunFolder, HierConfig]]] = {}
    for path in dict.fromkeys(Path(run) for run in runs):
        run = RunFolder.open(path)
        if not run.evaluations():
            raise RunFolderError(
                f"{run.path} has no evaluation yet; leave it out, or go on with it: "
                f"hier train --resume {run.path}"
            )
        config = run.config(trust_code=trust_code)
        key = repr([(k, v) for k, v in config.flat().items() if k not in _FREE])
        found.setdefault(key, []).append((run, config))
    labels = _labels([members[0][1] for members in found.values()])
    return [
        Group(label, [run for run, _ in members], members[0][1])
        for label, members in zip(labels, found.values(), strict=True)
    ]


def _labels(configs: Sequence[HierConfig]) -> list[str]:
    """Names of configurations, with the keys in which they differ where names do not do."""
    names = [config.name for config in configs]
    if len(set(names)) == len(names):
        return names
    flat = [config.flat() for config in configs]
    keys = dict.fromkeys(key for one in flat for key in one if key not in _FREE)
    differing = [key for key in keys if len({repr(one.get(key)) for one in flat}) > 1]
    return [
        " ".join([name, *(f"{key}={one.get(key)}" for key in differing if key in one)])
        for name, one in zip(names, flat, strict=True)
    ]


def interquartile_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean along the last axis without its lowest and highest quarter, as SciPy's ``trim_mean``.

    A quarter is rounded down, so that it is the plain mean of fewer than four values.

    Args:
        values: ``(..., n)``.

    Returns:
        ``(...)``.
    """
    n = values.shape[-1]
    return np.sort(values, axis=-1)[..., n // 4 : n - n // 4].mean(axis=-1)


def interval(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 95% interval of the interquartile mean: percentiles of a bootstrap over the last axis.

    Args:
        values: ``(..., n)``; the same runs are drawn all along the other axes.

    Returns:
        ``(2, ...)``, its lower and upper end.
    """
    n = values.shape[-1]
    drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    means = interquartile_mean(values[..., drawn])
    return np.percentile(means, [2.5, 97.5], axis=-1)
