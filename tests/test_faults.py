"""What docs/faults.md promises for disks, folders and planners; servers' faults are in
tests/planners/endpoint, simulators' in tests/hier/run/test_restarting.py.
"""

import errno
import re
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

from hier import HierConfig, resume, train
from hier.cli import main
from hier.envs.errors import RunFolderError
from hier.planners.protocol import PlannerError, PlannerReply, ask
from hier.run import training
from hier.run.folder import RunFolder
from hier.run.training import TrainingError
from tests.planners.test_planners import queries  # noqa: F401  (a fixture)

SMALL = [
    "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=2", "total_timesteps=64", "checkpoint_every=32",
    "eval.episodes=1", "eval.every=32", "eval.episodes_during=1", "eval.videos=0",
    "torch_threads=1", "planner.type=random", "planner.options={}",
    "controller.options.n_steps=8", "controller.options.batch_size=16",
    "controller.options.n_epochs=1", "controller.net_arch=[8]",
]  # fmt: skip
ROOT = Path(__file__).resolve().parents[1]


def start(folder, *more):
    return train(HierConfig.load("demo", [*SMALL, *more]), folder=folder, progress=False)


def refused(capsys, *words):
    assert main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("hier: ")
    return lines[0]


def full_disk(*args):
    raise OSError(errno.ENOSPC, "No space left on device", "evaluations.jsonl")


class TestDisk:
    def test_full_while_a_checkpoint_is_written(self, tmp_path):
        """No file may grow beyond 20 kB: the controller does not fit."""
        start(tmp_path / "first")  # what is compiled and kept on disk is there now
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        try:
            with pytest.raises(RunFolderError, match=r"checkpoint .* cannot be written .*; free"):
                start(tmp_path / "run")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        run = RunFolder(tmp_path / "run")
        assert not run.checkpoint_files() and not list(run.checkpoints.iterdir())
        assert resume(run.path, progress=False).env_steps == 64

    def test_full_while_an_evaluation_is_written(self, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "append_evaluation", full_disk)
            with pytest.raises(TrainingError, match=r"No space left .* hier train --resume"):
                start(tmp_path / "run")
        assert RunFolder(tmp_path / "run").checkpoint_files()
        assert resume(tmp_path / "run", progress=False).env_steps >= 64

    def test_full_at_the_last_evaluation(self, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "append_evaluation", full_disk)
            with pytest.raises(RunFolderError, match=r"cannot be read or written .*--resume"):
                start(tmp_path / "run", "eval.every=0")
        assert resume(tmp_path / "run", progress=False).evaluation is not None

    def test_a_command_that_cannot_write_says_so(self, monkeypatch, capsys):
        def full(*args, **kwargs):
            raise OSError(errno.ENOSPC, "No space left on device", "plan.png")

        monkeypatch.setattr("hier.run.proposals.propose", full)
        assert "No space left on device: 'plan.png'" in refused(capsys, "plan", "demo")


class TestFolder:
    @pytest.mark.parametrize("place", ["file", "file/run", "/proc/nowhere/run"])
    def test_where_none_can_be_made(self, place, tmp_path, capsys, monkeypatch):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setattr(training.Setup, "build", lambda config: None)
        line = refused(capsys, "train", "demo", *SMALL, "--run", tmp_path / place)
        assert re.search(r"no run folder can be made at .* with --run FOLDER", line)

    def test_gone_while_it_trains(self, tmp_path, monkeypatch):
        def gone(run, entry):
            shutil.rmtree(run.path)

        monkeypatch.setattr(RunFolder, "append_evaluation", gone)
        with pytest.raises(RunFolderError, match="moved or deleted while it trained"):
            start(tmp_path / "run")
        assert not (tmp_path / "run" / "checkpoints").exists()

    @pytest.mark.parametrize("what", ["", "checkpoints", "evaluations.jsonl", "lessons"])
    def test_something_else_in_its_place(self, what, tmp_path, capsys):
        run = RunFolder(start(tmp_path / "run").folder)
        place = run.path / what
        if place.is_dir():
            shutil.rmtree(place)
            place.write_text("not this")
        elif place.exists():
            place.unlink()
            place.mkdir()
        else:
            place.write_text("not this")
        for command in ("eval", "record"):
            if what in ("", "checkpoints"):
                refused(capsys, command, run.path)
        command = ["train", "--resume", str(run.path), "total_timesteps=128", "--quiet"]
        assert main(command) in (0, 2)
        assert len(capsys.readouterr().err.strip().splitlines()) <= 1


class Broken:
    """A planner that fails as it is asked to."""

    privileged, version = False, 0
    answer = None

    def score(self, asked):
        return Broken.answer(asked)


def sensible(asked):
    sizes = [len(query.candidates) for query in asked]
    return [PlannerReply(np.full(n, -np.log(n), np.float32)) for n in sizes]


def raising(asked):
    return {}["no such key"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (raising, r"planner Broken failed with KeyError: 'no such key' \(.*test_faults\.py:\d+\)"),
        (lambda asked: None, "failed with TypeError"),
        (lambda asked: sensible(asked)[1:], "one reply per query"),
        (lambda asked: [None] * len(asked), "must return PlannerReply"),
        (lambda asked: [PlannerReply(np.ones(99))] * len(asked), "one number per candidate"),
        (lambda asked: [PlannerReply(r.log_probs + np.inf) for r in sensible(asked)], "sum to"),
        (lambda asked: [PlannerReply(r.log_probs, np.inf) for r in sensible(asked)], "NaN"),
        (lambda asked: [PlannerReply("abc")] * len(asked), "one number per candidate"),
        (lambda asked: [PlannerReply(r.log_probs, "x") for r in sensible(asked)], "TypeError"),
    ],
)  # fmt: skip
def test_a_planner_that_fails_is_named(answer, words, queries):  # noqa: F811
    Broken.answer = staticmethod(answer)
    with pytest.raises(PlannerError, match=words):
        ask(Broken(), queries)


def test_a_planner_that_fails_ends_the_run_with_a_checkpoint(tmp_path):
    calls = []

    def sometimes(asked):
        calls.append(len(asked))
        return raising(asked) if len(calls) > 3 else sensible(asked)

    Broken.answer = staticmethod(sometimes)
    with pytest.raises(TrainingError, match=r"KeyError: .*; what was learned is kept"):
        start(tmp_path / "run", f"planner.type={__name__}.Broken")
    assert RunFolder(tmp_path / "run").checkpoint_files()


def test_every_row_of_the_page_names_its_tests():
    rows = re.findall(r"^\| (?!---|fault)(.+) \|$", (ROOT / "docs/faults.md").read_text(), re.M)
    assert len(rows) >= 20
    for row in rows:
        fault, behavior, test = row.split(" | ")
        assert len(fault.split()) > 1 and len(behavior.split()) >= 5
        assert re.search(r"\]\(\.\./tests/\S+\.py\)$", test), row
