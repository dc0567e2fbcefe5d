"""One configuration with several seeds, side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from hier.config import HierConfig
from hier.run.folder import RunFolder, new_folder
from hier.run.pool import side_by_side
from hier.run.status import Progress, StatusLine


def seed_folders(name: str, seeds: Sequence[int], folder: str | None = None) -> list[Path]:
    """Folders for the runs of several seeds, ``FOLDER-seed-N``.

    Args:
        name: of the configuration.
        seeds: one for each run.
        folder: how their names begin; ``runs/NAME-DATE-TIME`` when omitted.

    Raises:
        RunFolderError: if one of them already holds a run.
    """
    if folder is None:
        end = f"-seed-{seeds[0]}"
        folder = str(new_folder(name, end)).removesuffix(end)
    folders = [Path(f"{folder}-seed-{seed}") for seed in seeds]
    for path in folders:
        RunFolder(path).require_new()
    return folders


def train_seeds(
    config: HierConfig, seeds: Sequence[int], folders: Sequence[Path], *, progress: bool = True
) -> None:
    """Train one run for each seed, several at a time.

    Where the cores do not suffice for ``torch_threads`` in each run, runs take fewer: more runs at
    a time are faster than more threads.

    Args:
        config: of the runs, but for the seed.
        seeds: one for each run.
        folders: of the runs.
        progress: show how far they are, on stderr.

    Raises:
        JobsFailedError: after the last run, if some failed; it names them.
        KeyboardInterrupt: after Ctrl-C, when all have saved a checkpoint.
    """
    cores = len(os.sched_getaffinity(0))
    threads = min(config.torch_threads, max(1, cores // len(seeds)))
    jobs = [
        (config.override(f"seed={seed}", f"torch_threads={threads}"), folder)
        for seed, folder in zip(seeds, folders, strict=True)
    ]
    line = StatusLine(progress)
    runs = {seed: RunFolder(folder) for seed, folder in zip(seeds, folders, strict=True)}
    try:
        side_by_side(
            _train, jobs, names=[str(folder) for folder in folders], workers=cores // threads,
            watch=lambda: line.show(describe(runs, config.total_timesteps)),
        )  # fmt: skip
    finally:
        line.close()
        for folder in folders:
            with suppress(OSError):  # all but those in which nothing began
                folder.rmdir()


def describe(runs: dict[int, RunFolder], total: int) -> str:
    """How far the runs of several seeds are, in one line.

    Args:
        runs: by seed.
        total: environment steps of each.
    """
    parts, left, speed = [], 0.0, 0.0
    for seed, run in runs.items():
        progress = Progress.of(run) or Progress(0, total, None, 0.0)
        success = "" if progress.success is None else f", success {progress.success:.0%}"
        parts.append(f"seed {seed}: {progress.step / total:.0%}{success}")
        if progress.step < total:
            left += total - progress.step
            speed += progress.steps_per_second
    if left and speed:
        parts.append(f"{tqdm.format_interval(left / speed)} left")
    return "  ".join(parts)


def _train(job: tuple[HierConfig, Path]) -> None:
    from hier.run.training import TrainingError, train

    config, folder = job
    if train(config, folder=folder, progress=False).interrupted:
        raise TrainingError(f"stopped; go on with hier train --resume {folder}")
