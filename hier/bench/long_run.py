"""The suite that watches one long training from outside: memory, speed, and what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from hier.bench.guidance import LINVIT, READ
from hier.envs.errors import UserError
from hier.run.folder import RunFolder
from hier.run.status import Progress
from hier.run.sweep import Row, new_parent

STEPS, QUICK_STEPS = 2_000_000, 16_384
KEEPS_LEARNING = [*LINVIT, *READ, "feedback.objective=improve", "torch_threads=1"]
_MB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """A training at one moment.

    Attributes:
        step: environment steps so far.
        cpu_s: CPU seconds that its processes have taken.
        memory_mb: resident memory of its processes.
        tensorboard_mb: size of its TensorBoard folder.
    """

    step: int
    cpu_s: float
    memory_mb: float
    tensorboard_mb: float


def long_run(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """``hier train`` with guidance and feedback for two million steps, looked at now and then.

    Speed is in steps per CPU second, which other work on the machine does not disturb much.

    Args:
        quick: sixteen thousand steps.
        seeds: the first is that of the training.

    Raises:
        UserError: if the training fails; with its own words.
    """
    steps, folder = QUICK_STEPS if quick else STEPS, new_parent("long-run")
    run, rows = RunFolder(folder), list[Row]()
    with tempfile.TemporaryDirectory() as temporary:
        training = subprocess.Popen(
            [sys.executable, "-m", "hier", "train", "demo", f"total_timesteps={steps}",
             f"seed={seeds[0]}", *KEEPS_LEARNING, "--run", str(folder), "--quiet"],
            env={**os.environ, "TMPDIR": temporary}, stderr=subprocess.PIPE, text=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

        def note(sample: Sample) -> None:
            rows.append({"level": "UnlockPickup", "variant": "guidance and feedback",
                         "seed": seeds[0], **asdict(sample)})  # fmt: skip
            print(
                " ".join(f"{key}={value:.0f}" for key, value in asdict(sample).items()), flush=True
            )

        samples = watch(training, run, steps, note, every=max(1, steps // 400))
        _, complaint = training.communicate()
        if training.returncode:
            raise UserError(f"the training failed: {complaint.strip()[-500:]}")
        left = [str(path.relative_to(temporary)) for path in Path(temporary).rglob("*")]
    hidden = [path.name for path in run.path.rglob(".*") if path.name != ".lock"]
    return {
        **figures_of(samples),
        "temporary_files_left": len(left) + len(hidden),
        "left": left + hidden,
    }, rows


def watch(
    training: subprocess.Popen[str],
    run: RunFolder,
    steps: int,
    note: Callable[[Sample], None],
    *,
    every: int,
    seconds: float = 1.0,
) -> list[Sample]:
    """Samples of a process that trains, until it has ended.

    Args:
        training: the process.
        run: its folder.
        steps: that it will take.
        note: is handed each sample.
        every: steps between two samples, at least.
        seconds: between two looks.
    """
    process, samples, due = psutil.Process(training.pid), list[Sample](), 1
    while True:
        try:
            training.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        else:
            return samples
        progress = Progress.of(run)
        if progress is None or progress.step < due:
            continue
        try:
            family = [process, *process.children(recursive=True)]
            spent = sum(sum(one.cpu_times()[:2]) for one in family)
            held = sum(one.memory_info().rss for one in family) / _MB
        except psutil.NoSuchProcess:  # it has just ended
            continue
        samples.append(Sample(progress.step, spent, held, size_of(run.tensorboard)))
        note(samples[-1])
        due = min(progress.step + every, steps)


def size_of(folder: Path) -> float:
    """Of all files below a folder, in MiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / _MB


def figures_of(samples: Sequence[Sample]) -> dict[str, float]:
    """Growth of memory and change of speed.

    Args:
        samples: of the whole training, in order, about as many steps apart each.

    Returns:
        ``memory_growth``, from the second tenth to the last, medians; ``memory_peak_growth``, of
        the highest later sample over the median of the second tenth; ``steps_per_cpu_s.first`` and
        ``.last``, of the first and the last tenth, and their ``.ratio``; ``memory_mb`` and
        ``tensorboard_mb`` at the end.

    Raises:
        UserError: for fewer than four samples.
    """
    if len(samples) < 4:
        raise UserError(f"the training was seen {len(samples)} times, too seldom to judge it")
    tenth = max(2, round(len(samples) / 10))
    first, second, last = samples[:tenth], samples[tenth : 2 * tenth], samples[-tenth:]
    early = median(one.memory_mb for one in second)
    return {
        "env_steps": samples[-1].step,
        "cpu_s": samples[-1].cpu_s,
        "memory_mb": samples[-1].memory_mb,
        "memory_growth": median(one.memory_mb for one in last) / early - 1,
        "memory_peak_growth": max(one.memory_mb for one in samples[tenth:]) / early - 1,
        "steps_per_cpu_s.first": speed_of(first),
        "steps_per_cpu_s.last": speed_of(last),
        "steps_per_cpu_s.ratio": speed_of(last) / speed_of(first),
        "tensorboard_mb": samples[-1].tensorboard_mb,
    }


def speed_of(samples: Sequence[Sample]) -> float:
    """Steps per CPU second from the first of these samples to the last."""
    before, after = samples[0], samples[-1]
    return (after.step - before.step) / (after.cpu_s - before.cpu_s)
