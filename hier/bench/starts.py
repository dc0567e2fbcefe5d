"""Controllers that suites begin with: trained once, kept under ``runs``, and used again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hier.bench.figures import short_name
from hier.bench.worlds import ORACLE, world_config
from hier.config import HierConfig
from hier.envs.errors import UserError
from hier.run.folder import RunFolder
from hier.run.sweep import train_all


def source_controllers(quick: bool, seeds: Sequence[int]) -> dict[int, Path]:
    """Controllers that learned on the source levels under the oracle, one run per seed.

    They are kept in ``runs/source-levels``; a finished one of the same configuration is used again.
    """
    base = HierConfig.load(
        "source-levels", ["planner.type=oracle", "torch_threads=1", "eval.videos=0"]
    )
    parent = Path("runs/source-levels")
    if quick:
        base = base.override("total_timesteps=3072", "eval.episodes=12", "eval.every=0")
        parent = Path("runs/source-levels-quick")
    folders = {seed: parent / f"seed-{seed}" for seed in seeds}
    _train({folder: base.override(f"seed={seed}") for seed, folder in folders.items()})
    return folders


def world_controllers(level: str, quick: bool, seeds: Sequence[int]) -> dict[int, Path]:
    """Controllers that learned on a level of the suite ``worlds`` from percepts, under the oracle.

    They are kept in ``runs/world-controllers``, as :func:`source_controllers` are.
    """
    parent = Path("runs/world-controllers-quick" if quick else "runs/world-controllers")
    folders = {seed: parent / f"{short_name(level)}-seed-{seed}" for seed in seeds}
    _train({folder: world_config(level, ORACLE, seed, quick) for seed, folder in folders.items()})
    return folders


def _train(wanted: Mapping[Path, HierConfig]) -> None:
    """Train what is not there yet."""
    train_all(
        [
            (config, folder.parent.name, folder)
            for folder, config in wanted.items()
            if not _finished(folder, config)
        ]
    )


def _finished(folder: Path, config: HierConfig) -> bool:
    """Whether a folder holds this run, trained to its end."""
    try:
        run = RunFolder.open(folder)
        steps = int(run.latest_checkpoint().stem.removeprefix("step-"))
        return run.config() == config and steps >= config.total_timesteps
    except UserError:
        return False
