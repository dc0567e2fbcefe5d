"""Kills small trainings, resumes them, and looks for anything torn, lost, left behind or twice.

``python -m tests.crash.harness --kills 200 --out crashes.json`` kills at random moments and inside
every write. The process that runs this imports everything and computes nothing; each training is a
fork of it, so that a kill and its resume take seconds.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from hier import HierConfig, resume, train
from hier.bench import machine
from hier.controllers import replay
from hier.controllers.saved import save_controller
from hier.envs.errors import RunFolderError
from hier.envs.tensors import unpack
from hier.feedback import loop, saved
from hier.feedback.lessons import read_lessons
from hier.guidance.critic import SubgoalCritic
from hier.planners.language.planner import SETTINGS, LanguagePlanner
from hier.run import periodic_evaluation, training
from hier.run.folder import RunFolder, commit, step_of, versions
from hier.run.lock import LOCK
from hier.run.setup import Setup
from hier.run.status import Progress

STEPS = 192
SMALL = [
    "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=4", f"total_timesteps={STEPS}",
    "checkpoint_every=64", "eval.every=64", "eval.episodes=1", "eval.episodes_during=1",
    "torch_threads=1", "controller.net_arch=[8]",
]  # fmt: skip
RUNS = {  # between them they have everything that a checkpoint can hold
    "feedback": [
        *SMALL, "controller.options.n_steps=16", "controller.options.batch_size=64",
        "controller.options.n_epochs=1", "guidance.soft_choice=true", "feedback.store=true",
        "feedback.objective=inverse_rl", "feedback.every=48", "feedback.warmup=4",
        "feedback.updates=1", "feedback.batch_size=4", "feedback.anchors=2",
        "feedback.max_share=1",
    ],
    "replay": [
        *SMALL, "planner.type=random", "planner.options={}", "controller.algorithm=dqn",
        "controller.options.learning_starts=32", "controller.options.buffer_size=400",
        "controller.options.train_freq=16", "controller.options.gradient_steps=1",
    ],
}  # fmt: skip
# What writes; a kill inside it comes at a random call or return of a C function.
WINDOWS: dict[str, tuple[Any, str]] = {
    "configuration": (RunFolder, "_write"),
    "checkpoint": (RunFolder, "save_checkpoint"),
    "planner": (LanguagePlanner, "save"),
    "lessons": (loop, "write_lessons"),
    "evaluations": (RunFolder, "append_evaluation"),
    "events": (RecordWriter, "write"),
    "video": (periodic_evaluation, "write_gif"),
    "progress": (Progress, "save"),
    "rewinding": (training, "rewind"),  # while a killed run is resumed
}
ANYWHERE = "any moment"
Watcher = Callable[[int, int], None]  # of the occurrence of a window, and of the call inside it


class CrashError(AssertionError):
    """A run was not as it should be after a kill and a resume."""


def watch(window: str, watcher: Watcher) -> None:
    """Call ``watcher`` at each call and return of a C function inside a window."""
    owner, name = WINDOWS[window]
    original, occurrence = getattr(owner, name), [0]

    def watched(*args: Any, **kwargs: Any) -> Any:
        occurrence[0] += 1
        calls = [0]

        def profile(frame: Any, event: str, argument: Any) -> None:
            if event in ("c_call", "c_return"):
                calls[0] += 1
                watcher(occurrence[0], calls[0])

        sys.setprofile(profile)
        try:
            return original(*args, **kwargs)
        finally:
            sys.setprofile(None)

    setattr(owner, name, staticmethod(watched) if inspect.ismethod(original) else watched)


def fork(job: Callable[[], None], log: Path) -> int:
    """Run a job in a fork of this process; the process id."""
    sys.stdout.flush(), sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        with open(log, "a") as file:
            os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        SubgoalCritic.say = 1.0  # type: ignore[method-assign, assignment]  # so few steps give none
        loop._STATES = 4
        job()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)


def ended(pid: int, cpu: float | None = None) -> int:
    """Wait for a process, and kill it after ``cpu`` seconds of its time; its wait status."""
    if cpu is not None:
        process = psutil.Process(pid)
        while True:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return status
            times = process.cpu_times()
            if times.user + times.system >= cpu:
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.002)
    return os.waitpid(pid, 0)[1]


def killed(status: int) -> bool:
    """Whether a wait status is that of a killed process."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def start(kind: str, folder: Path) -> None:
    """Train."""
    train(HierConfig.load("demo", RUNS[kind]), folder=folder, progress=False)


def go_on(kind: str, folder: Path) -> None:
    """What a user does after a kill: resume the run, or start it if it had not begun."""
    run = RunFolder(folder)
    if not run.config_file.exists():
        return start(kind, folder)
    Setup.resume = _compared  # type: ignore[method-assign]
    try:
        resume(folder, progress=False)
    except RunFolderError as error:
        if "is finished" not in str(error):
            raise


def _compared(run: RunFolder, config: HierConfig, checkpoint: Path) -> Setup:
    """``Setup.resume``, and whether what it restored would be saved as the same again."""
    setup = _resume(run, config, checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / checkpoint.name
        save_controller(setup.model, again)
        for part in setup.checkpointed:
            part.save(run, again)
        before, after = members_of(checkpoint), members_of(again)
    for state in (before, after):
        if saved.MEMBER in state:
            state[saved.MEMBER].pop("seconds")  # wall time
    require(before.keys() == after.keys(), f"members {sorted(before)} became {sorted(after)}")
    for name in before:
        require(alike(before[name], after[name]), f"{name} was not restored")
    return setup


_resume = Setup.resume


def members_of(checkpoint: Path) -> dict[str, Any]:
    """All states in a checkpoint."""
    with zipfile.ZipFile(checkpoint) as archive:
        return {name: unpack(archive.read(name)) for name in archive.namelist()}


def alike(one: Any, other: Any) -> bool:
    """Whether two states are the same, bit by bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other or (one != one and other != other)


def require(fact: Any, otherwise: str) -> None:
    """Raise CrashError unless ``fact`` holds."""
    if not fact:
        raise CrashError(otherwise)


def check(kind: str, folder: Path) -> None:
    """Look at every file of a finished run.

    Raises:
        CrashError: for the first that is not as an uninterrupted run leaves it.
    """
    run = RunFolder(folder)
    hidden = [path for path in folder.rglob(".*") if path.name != LOCK]
    require(not hidden, f"{hidden} were left behind")
    require(run.config() == HierConfig.load("demo", RUNS[kind]), "the configuration changed")
    json.loads((folder / "run.json").read_text())
    json.loads(run.progress_file.read_text())
    text = run.evaluations_file.read_text()
    judged = [json.loads(line)["env_steps"] for line in text.splitlines()]
    rising = all(a < b for a, b in itertools.pairwise(judged))
    require(text.endswith("\n") and rising, f"evaluations at {judged}")
    require(judged[-1] == STEPS, f"the last evaluation is at {judged[-1]}")
    check_events(run)
    for video in run.videos.iterdir():
        with Image.open(video) as gif:
            gif.seek(gif.n_frames - 1)  # type: ignore[attr-defined]
            gif.load()
        require(int(re.findall(r"\d+", video.name)[0]) in judged, f"{video.name} is of no one")
    checkpoints = run.checkpoint_files()
    require(step_of(checkpoints[-1]) == STEPS, f"the last checkpoint is {checkpoints[-1].name}")
    states = [members_of(checkpoint) for checkpoint in checkpoints]
    if kind == "replay":
        state = states[-1][replay.MEMBER]
        require(state["position"] == STEPS // 4, f"{state['position']} transitions are kept")
    if kind == "feedback":
        state = states[-1][saved.MEMBER]
        kept = saved.restored_lessons(state["lessons"])
        stored = read_lessons(run.lessons)
        same = [saved.written_of(a) for a in kept] == [saved.written_of(a) for a in stored]
        require(same, f"{len(stored)} lessons in files, {len(kept)} in the checkpoint")
        version = json.loads((run.planner / SETTINGS).read_text())["version"]
        require(version == state["version"], f"planner {version}, in mind {state['version']}")
        load_file(run.planner / "model.safetensors")


def check_events(run: RunFolder) -> None:
    """No TensorBoard event is cut off, comes twice, or goes back in time."""
    seen, last = Counter[tuple[str, int]](), 0
    for file in sorted(run.tensorboard.glob("events*")):
        records = list(RawEventFileLoader(str(file)).Load())
        size = sum(len(record) + 16 for record in records)
        require(size == file.stat().st_size, f"{file.name} is cut off")
        for event in map(Event.FromString, records):
            if event.step:
                require(event.step >= last, f"step {event.step} comes after {last}")
                last = event.step
                seen.update((value.tag, event.step) for value in event.summary.value)
    twice = [event for event, times in seen.items() if times > 1]
    require(not twice, f"{twice} come twice")
    require(last == STEPS, f"the last event is at {last}")


class Harness:
    """Kills and resumes.

    Args:
        folder: for the runs.
        seed: of all that is random.
    """

    def __init__(self, folder: Path, seed: int = 0):
        self.folder, self.log = folder, folder / "log.txt"
        self.random = random.Random(seed)
        self.calls: dict[tuple[str, str], list[int]] = {}  # in each occurrence of a window
        self.cpu: dict[str, float] = {}  # seconds of an uninterrupted run
        self.failures: list[str] = []

    def windows(self, kind: str) -> list[str]:
        """Those that a kind of run has."""
        return [window for key, window in self.calls if key == kind]

    def measure(self, kind: str) -> None:
        """How long a run is, and how many calls each window makes."""
        run, counted = self.folder / f"{kind}-whole", self.folder / f"{kind}.json"
        shutil.rmtree(run, ignore_errors=True)

        def counting() -> None:
            counts: dict[str, list[int]] = {window: [] for window in WINDOWS}

            def watcher(window: str) -> Watcher:
                def note(occurrence: int, call: int) -> None:
                    counts[window][occurrence - 1 :] = [call]

                return note

            for window in WINDOWS:
                watch(window, watcher(window))
            start(kind, run)
            counts["rewinding"] = [400]  # about; it is not part of an uninterrupted run
            counted.write_text(json.dumps(counts))

        before = os.times()
        status = ended(fork(counting, self.log))
        after = os.times()
        require(not status, f"an uninterrupted run failed:\n{self.log.read_text()[-2000:]}")
        check(kind, run)
        self.cpu[kind] = (
            after.children_user
            + after.children_system
            - (before.children_user + before.children_system)
        )
        for window, calls in json.loads(counted.read_text()).items():
            if calls:
                self.calls[kind, window] = calls

    def kill(self, kind: str, window: str) -> bool:
        """Kill a run there, resume it and look at it; whether it came to a kill."""
        folder = self.folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        self.log.write_text("")
        place = window
        if window in (ANYWHERE, "rewinding"):
            cpu = self.random.uniform(0.0, self.cpu[kind])
            status = ended(fork(lambda: start(kind, folder), self.log), cpu)
            place = f"{window}, {cpu:.2f} s"
        if window != ANYWHERE:
            calls = self.calls[kind, window]
            which = self.random.randrange(len(calls))
            at = self.random.randint(1, calls[which])
            place = f"{place}, occurrence {which + 1}, call {at} of {calls[which]}"

            def watcher(occurrence: int, call: int) -> None:
                if (occurrence, call) == (which + 1, at):
                    os.kill(os.getpid(), signal.SIGKILL)

            def job() -> None:
                watch(window, watcher)
                go_on(kind, folder) if window == "rewinding" else start(kind, folder)

            status = ended(fork(job, self.log))
        if not killed(status):
            require(not status, f"{place}: it failed:\n{self.log.read_text()[-1500:]}")
            return False
        try:
            status = ended(fork(lambda: go_on(kind, folder), self.log))
            require(not status, f"it cannot be resumed:\n{self.log.read_text()[-1500:]}")
            check(kind, folder)
        except Exception as error:
            self.failures.append(f"{kind}, {place}: {type(error).__name__}: {error}")
            kept = self.folder / f"failure-{len(self.failures)}"
            shutil.copytree(folder, kept, dirs_exist_ok=True)
        return True


def main() -> int:
    """Kill evenly over the windows; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop early after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="for the runs; a temporary one by default")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="crashes-"))
    folder.mkdir(parents=True, exist_ok=True)
    at = commit()  # what is imported, whatever becomes of the tree meanwhile
    began, harness = time.monotonic(), Harness(folder, options.seed)
    kills, survived = Counter[str](), Counter[str]()
    for kind in RUNS:
        harness.measure(kind)
    turns = [(kind, window) for kind in RUNS for window in (*harness.windows(kind), ANYWHERE)]
    harness.random.shuffle(turns)
    turn = 0
    while kills.total() < options.kills and time.monotonic() - began < 60 * options.minutes:
        kind, window = turns[turn % len(turns)]
        turn += 1
        before = len(harness.failures)
        if harness.kill(kind, window):
            kills[window] += 1
            survived[window] += len(harness.failures) == before
            print(f"{kills.total()}/{options.kills} {kind}, {window}", *harness.failures[before:])
            sys.stdout.flush()
        elif turn > 10 * options.kills:
            break
    figures = {
        "kills": kills.total(),
        "survived": survived.total(),
        **{f"{window}.kills": kills[window] for window in sorted(kills)},
        **{f"{window}.survived": survived[window] for window in sorted(kills)},
    }
    report = {
        "name": "crashes",
        "command": " ".join(["python -m tests.crash.harness", *sys.argv[1:]]),
        "commit": at, "date": str(date.today()), "machine": machine(), "versions": versions(),
        "seeds": [options.seed], "quick": False, "figures": figures,
        "rows": [{"failure": failure} for failure in harness.failures],
        "seconds": round(time.monotonic() - began),
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    return int(survived != kills or not kills)


if __name__ == "__main__":
    raise SystemExit(main())
