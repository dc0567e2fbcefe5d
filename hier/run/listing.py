"""The run folders below a folder, and how each stands; it imports nothing heavy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hier.envs.errors import in_one_line
from hier.run.folder import RunFolder, step_of
from hier.run.lock import holder
from hier.run.status import Progress

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built


@dataclass(frozen=True, slots=True)
class ListedRun:
    """One run folder.

    Attributes:
        folder: where it lies.
        level, planner, seed: as configured; of a pre-training, the planner is ``pretrain``.
        steps, total: environment steps (gradient steps of a pre-training), done and to do.
        success: rate of the last evaluation, in [0, 1]; of the last 100 training episodes before
            the first; ``None`` where there is neither.
        state: ``running``, ``finished``, ``interrupted`` or ``broken: WHY``.
        age: seconds since it last wrote a file.
    """

    folder: str
    level: str = ""
    planner: str = ""
    seed: int | None = None
    steps: int | None = None
    total: int | None = None
    success: float | None = None
    state: str = ""
    age: float = 0.0


def list_runs(folder: str | Path) -> list[ListedRun]:
    """All runs below ``folder``, and itself if it is one; a run that cannot be read says why."""
    now = time.time()
    return [_listed(path, now) for path in sorted(_run_folders(Path(folder)))]


def _run_folders(folder: Path) -> Iterator[Path]:
    """Folders with a ``config.yaml``; what lies within a run is not searched."""
    try:
        inside = list(folder.iterdir())
    except OSError:  # no folder, or not ours to read
        return
    if any(path.name == "config.yaml" for path in inside):
        yield folder
        return
    for path in inside:
        if path.is_dir() and not path.is_symlink():
            yield from _run_folders(path)


def _listed(path: Path, now: float) -> ListedRun:
    run, age = RunFolder(path), 0.0
    try:
        written = [run.path, run.config_file, run.progress_file, run.evaluations_file]
        age = now - max(file.stat().st_mtime for file in written if file.exists())
        config = yaml.load(run.config_file.read_bytes(), _Loader)
        if not isinstance(config, dict):
            raise ValueError("config.yaml holds no keys")
        return _read(run, config, age)
    except KeyError as error:
        return ListedRun(str(path), state=f"broken: there is no {error}", age=age)
    except Exception as error:  # whatever a damaged file leads to, the other runs are listed
        reason = in_one_line(error)
        return ListedRun(str(path), state=f"broken: {reason[:80]}", age=age)


def _read(run: RunFolder, config: dict[str, Any], age: float) -> ListedRun:
    running = holder(run.path) is not None
    if "total_timesteps" not in config:
        levels = config["levels"]
        return ListedRun(
            str(run.path), f"{levels[0]}{', …' if levels[1:] else ''}", "pretrain", config["seed"],
            total=config["steps"], state="running" if running else "not running", age=age,
        )  # fmt: skip
    total, level = config["total_timesteps"], config["env"]["id"]
    evaluations, progress = run.evaluations(), Progress.of(run)
    checkpoints = run.checkpoint_files()
    saved = step_of(checkpoints[-1]) if checkpoints else 0
    judged = evaluations[-1]["env_steps"] if evaluations else 0
    success = progress.success if progress else None
    if evaluations:
        success = evaluations[-1]["success_rate"]
    if running:
        state, steps = "running", max(saved, progress.step if progress else 0)
    else:  # what came after the checkpoint is lost
        state, steps = "finished" if min(saved, judged) >= total else "interrupted", saved
    return ListedRun(
        str(run.path), level if isinstance(level, str) else ", ".join(level),
        config["planner"]["type"], config["seed"], steps, total, success, state, age,
    )  # fmt: skip
