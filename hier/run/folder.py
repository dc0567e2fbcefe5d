"""A run on disk: its configuration, results, and the checkpoints to resume from."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import json
import os
import platform
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from hier.config import HierConfig
from hier.config_base import Settings
from hier.envs.errors import NotFiniteError, RunFolderError, in_one_line
from hier.envs.files import atomic_write, clear_partial, recover_folder
from hier.run.lock import locked

PACKAGES = (
    "torch", "stable_baselines3", "sb3_contrib", "gymnasium", "minigrid", "numpy", "numba",
    "transformers",
)  # fmt: skip
KEPT_CHECKPOINTS = 3
_CHECKPOINT = re.compile(r"step-\d+\.zip")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The project's git commit, with ``-dirty`` where the tree has changes; empty outside git."""
    root = Path(__file__).resolve().parents[2]
    try:
        head = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip()


@contextmanager
def faults_named(run: Path) -> Iterator[None]:
    """Inside the block, what disk or permissions refuse is an error that names the remedy.

    Args:
        run: the folder.

    Raises:
        RunFolderError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            f"{run} cannot be read or written ({error}); free some disk space, or give yourself "
            f"the right to write there, and go on with hier train --resume {run}"
        ) from error


class Checkpointed(Protocol):
    """What a run learns beside its controller and keeps in the same checkpoint."""

    def save(self, run: RunFolder, checkpoint: Path) -> None:
        """Add it to a controller's checkpoint, or to the run's folder."""

    def load(self, run: RunFolder, checkpoint: Path) -> None:
        """Go on from :meth:`save`; without it there, start anew, with a warning.

        Raises:
            RunFolderError: if it does not fit this configuration.
        """


class RunFolder:
    """Paths and files of one run.

    ``config.yaml``, ``run.json`` (command, versions, seed), ``tensorboard/``, ``checkpoints/``,
    ``evaluations.jsonl``, ``videos/`` and, where it learns from feedback, ``planner/`` and
    ``lessons/``.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config_file = self.path / "config.yaml"
        self.tensorboard = self.path / "tensorboard"
        self.checkpoints = self.path / "checkpoints"
        self.videos = self.path / "videos"
        self.planner = self.path / "planner"  # as feedback has left it
        self.lessons = self.path / "lessons"
        self.evaluations_file = self.path / "evaluations.jsonl"
        self.progress_file = self.path / "progress.json"  # while it trains, and as it ended

    @classmethod
    def create(cls, config: Settings, path: str | Path | None = None) -> RunFolder:
        """Make the folder of a new run and write what it was asked.

        Args:
            config: of the run.
            path: where; ``runs/NAME-DATE-TIME`` when omitted.

        Raises:
            RunFolderError: if the folder already holds a run or cannot be written to, or another
                process trains in it.
        """
        about = {
            "command": " ".join(sys.argv),
            "started": datetime.now().isoformat(timespec="seconds"),
            "seed": config.seed,
            "commit": commit(),
            "versions": versions(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        }
        try:
            run = cls(new_folder(f"{config.name}-s{config.seed}") if path is None else path)
            run.path.mkdir(parents=True, exist_ok=True)
            with locked(run.path):  # of two that start here at once, one finds the other's run
                run.require_new()
                run._write(config, about)
        except OSError as error:
            raise RunFolderError(
                f"no run folder can be made at {path or 'runs/'} ({error}); name a folder that can "
                "be written to, with --run FOLDER"
            ) from error
        return run

    def _write(self, config: Settings, about: dict[str, Any]) -> None:
        self.clear_partial()
        with atomic_write(self.path / "run.json") as file:
            file.write_text(json.dumps(about, indent=1) + "\n")
        with atomic_write(self.config_file) as file:  # the last, for it makes the folder a run
            file.write_text(config.to_yaml())

    def clear_partial(self) -> None:
        """Delete what a process that was killed while it wrote left here."""
        folders = (self.checkpoints, self.lessons, self.tensorboard, self.videos)
        for folder in (self.path, *folders):
            clear_partial(folder)

    def require_new(self) -> None:
        """Raise RunFolderError if the folder already holds a run."""
        if self.config_file.exists():
            raise RunFolderError(
                f"{self.path} already holds a run; continue it with hier train --resume "
                f"{self.path} or choose another --run folder"
            )

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run.

        Raises:
            RunFolderError: if there is none, naming the newest runs beside it.
        """
        run = cls(path)
        recover_folder(run.planner)
        if not run.config_file.is_file():
            state = "has no config.yaml" if run.path.is_dir() else "does not exist"
            others = sorted(
                Path("runs").glob("**/config.yaml"), key=lambda p: p.stat().st_mtime, reverse=True
            )
            hint = ", ".join(str(p.parent) for p in others[:3]) or "none yet: hier train demo"
            raise RunFolderError(f"{run.path} is not a run folder ({state}); newest runs: {hint}")
        return run

    def config(self, overrides: Sequence[str] = (), *, trust_code: bool = False) -> HierConfig:
        """The configuration the run was started with, with ``overrides``.

        Args:
            overrides: dotted.
            trust_code: run code that the configuration names.

        Raises:
            ConfigError: if the file was damaged, or for a wrong override.
            UntrustedCodeError: if it names code that is not trusted.
        """
        return HierConfig.of_run(self.config_file, overrides, trust_code=trust_code)

    def checkpoint_files(self) -> list[Path]:
        """Checkpoints, oldest first."""
        return sorted(
            file for file in self.checkpoints.glob("step-*.zip") if _CHECKPOINT.fullmatch(file.name)
        )

    def save_checkpoint(self, model: Any, parts: Sequence[Checkpointed] = ()) -> Path:
        """Write the controller and ``parts`` atomically and drop all but the newest few.

        Raises:
            RunFolderError: if it cannot be written; earlier ones are untouched.
            NotFiniteError: if the controller's weights are not finite; earlier ones are untouched.
        """
        path = self.checkpoints / f"step-{model.num_timesteps:010d}.zip"
        if not self.config_file.exists():
            raise RunFolderError(
                f"{self.path} has no config.yaml any more: the folder was moved or deleted while "
                "it trained, so nothing more is saved; bring it back and resume, or train anew"
            )
        kept = [old.name for old in self.checkpoint_files()]
        for name, weights in model.policy.named_parameters():
            if not weights.isfinite().all():
                raise NotFiniteError(
                    f"the controller's weights {name} are not finite after step "
                    f"{model.num_timesteps}; {kept[-1] if kept else 'no checkpoint'} in "
                    f"{self.checkpoints} is the last good one: hier train --resume {self.path}, or "
                    "start anew with a lower controller.options.learning_rate"
                )
        from hier.controllers.saved import save_controller  # which imports torch

        try:
            with atomic_write(path) as file:
                save_controller(model, file)
                for part in parts:
                    part.save(self, file)
        except OSError as error:
            raise RunFolderError(
                f"checkpoint {path} cannot be written ({error}); free some disk space, then go on "
                f"with hier train --resume {self.path} from {kept[-1] if kept else 'the start'}"
            ) from error
        for old in self.checkpoint_files()[:-KEPT_CHECKPOINTS]:
            old.unlink()
        return path

    def latest_checkpoint(self) -> Path:
        """The newest checkpoint that is whole; a damaged one is passed over with a warning.

        Raises:
            RunFolderError: if there is none.
        """
        for path in reversed(self.checkpoint_files()):
            if _is_whole(path):
                return path
            warnings.warn(f"checkpoint {path} is damaged; falling back", stacklevel=2)
        raise RunFolderError(
            f"{self.path} has no readable checkpoint; it stopped before its first one "
            "(checkpoint_every). Start again in a new folder"
        )

    def append_evaluation(self, entry: dict[str, Any]) -> None:
        """Add one line to ``evaluations.jsonl``."""
        with open(self.evaluations_file, "a") as file:
            file.write(json.dumps(entry) + "\n")

    def about(self) -> dict[str, Any]:
        """What ``run.json`` says of how the run began; empty without that file.

        Raises:
            RunFolderError: if it is damaged.
        """
        file = self.path / "run.json"
        try:
            found = json.loads(file.read_text())
            if not isinstance(found, dict):
                raise ValueError(f"it holds a {type(found).__name__}")
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            raise RunFolderError(
                f"{file} is damaged ({in_one_line(error)}); delete it, nothing is learned from it"
            ) from error
        return found

    def evaluations(self) -> list[dict[str, Any]]:
        """All evaluations so far, oldest first; a line that is damaged is left out."""
        if not self.evaluations_file.exists():
            return []
        found = []
        for line in self.evaluations_file.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                found.append(json.loads(line))
        return [entry for entry in found if _is_evaluation(entry)]


def step_of(checkpoint: Path) -> int:
    """The environment step at which a checkpoint was saved."""
    return int(checkpoint.stem.removeprefix("step-"))


def new_folder(name: str, end: str = "") -> Path:
    """Make ``runs/NAME-DATE-TIME``; of runs that start in the same second, each gets its own.

    Args:
        name: how its name begins.
        end: how its name ends.
    """
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    for number in itertools.count(1):
        path = Path("runs") / f"{name}-{stamp}{f'-{number}' if number > 1 else ''}{end}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path
    raise AssertionError  # the count does not end


def _is_evaluation(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    step, success = entry.get("env_steps"), entry.get("success_rate")
    numbers = all(type(value) in (int, float) for value in entry.values())
    return numbers and type(step) is int and success is not None and 0 <= success <= 1


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # zipfile passes on what its decompressors raise
        return False
