"""What suites train: configurations under several variants and seeds, one job each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hier.config import HierConfig

# In figures of a suite that is only tried, nothing counts but that there are some.
_QUICK = ("total_timesteps=2048", "eval.episodes=4", "eval.every=0")

# As one of several processes, and from new weights, for what a suite measures is learning.
ALONE = ("torch_threads=1", "controller.start=null")


def budget(steps: int, quick: bool) -> list[str]:
    """Overrides that train for ``steps``, or hardly at all in a quick suite."""
    return list(_QUICK) if quick else [f"total_timesteps={steps}"]


def plain_config(preset: str, *lines: str) -> HierConfig:
    """A preset from new weights on one torch thread, judged at the end alone, without videos."""
    return HierConfig.load(preset, [*ALONE, "eval.every=0", "eval.videos=0", *lines])


def jobs_of(
    parent: Path,
    tasks: Mapping[str, HierConfig],
    variants: Mapping[str, Iterable[str]],
    seeds: Sequence[int],
) -> list[tuple[HierConfig, str, Path]]:
    """Jobs for :func:`hier.run.sweep.train_all`.

    They go seed by seed, so that what an interrupted suite has done is comparable.

    Args:
        parent: of the run folders.
        tasks: configurations by the beginning of their folders' names, which may be empty.
        variants: overrides by name.
        seeds: of the trainings.
    """
    return [
        (
            config.override(f"seed={seed}", *lines),
            variant,
            parent / re.sub(r"[^\w.]+", "-", f"{task} {variant} seed {seed}").strip("-"),
        )
        for seed in seeds
        for task, config in tasks.items()
        for variant, lines in variants.items()
    ]
