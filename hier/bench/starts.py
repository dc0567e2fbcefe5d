"""Controllers that suites begin with: trained once, kept under ``runs``, and used again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hier.bench.figures import short_name
from hier.bench.jobs import ALONE
from hier.bench.worlds import ORACLE, world_config
from hier.config import HierConfig
from hier.run.sweep import train_all


def source_controllers(quick: bool, seeds: Sequence[int]) -> dict[int, Path]:
    """Controllers that learned on the source levels under the oracle, one run per seed.

    They are kept in ``runs/source-levels``; a finished one of the same configuration is used again.
    """
    base = HierConfig.load("source-levels", ["planner.type=oracle", *ALONE, "eval.videos=0"])
    if quick:
        base = base.override("total_timesteps=3072", "eval.episodes=12", "eval.every=0")
    return _trained("source-levels", "", {s: base.override(f"seed={s}") for s in seeds}, quick)


def world_controllers(level: str, quick: bool, seeds: Sequence[int]) -> dict[int, Path]:
    """Controllers that learned on a level of the suite ``worlds`` from percepts, under the oracle.

    They are kept in ``runs/world-controllers``, as :func:`source_controllers` are.
    """
    configs = {seed: world_config(level, ORACLE, seed, quick) for seed in seeds}
    return _trained("world-controllers", f"{short_name(level)}-", configs, quick)


def _trained(
    kind: str, prefix: str, configs: Mapping[int, HierConfig], quick: bool
) -> dict[int, Path]:
    """The folders of controllers by seed; what is not there yet is trained."""
    parent = Path("runs", f"{kind}-quick" if quick else kind)
    folders = {seed: parent / f"{prefix}seed-{seed}" for seed in configs}
    train_all([(configs[seed], parent.name, folder) for seed, folder in folders.items()])
    return folders
