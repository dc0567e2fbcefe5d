"""A run goes on, or further than it was asked; its logs never run backwards."""

import json
import shutil
from collections import Counter

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from torch.utils.tensorboard import SummaryWriter

from hier import HierConfig, resume, train
from hier.cli import main
from hier.envs.errors import ConfigError, RunFolderError
from hier.run.folder import RunFolder
from hier.run.resuming import rewind

SMALL = [
    "planner.type=oracle", "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=4", "total_timesteps=256",
    "checkpoint_every=128", "eval.episodes=4", "eval.every=128", "eval.episodes_during=2",
    "eval.videos=1", "torch_threads=1", "controller.options.n_steps=16",
    "controller.options.batch_size=64", "controller.options.n_epochs=1",
]  # fmt: skip


def logged(run):
    """``(tag, step)`` of what the event files hold, as any reader finds it."""
    files = sorted(run.tensorboard.glob("events*"))
    return [
        (value.tag, event.step)
        for file in files
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
        if event.step
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    return train(HierConfig.load("demo", SMALL), folder=folder, progress=False).folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a finished run."""
    return RunFolder(shutil.copytree(finished, tmp_path / "run"))


@pytest.mark.slow
def test_a_finished_run_says_how_to_extend_it(run, capsys):
    before = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}
    assert main(["train", "--resume", str(run.path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hier: {run.path} is finished after 256 steps; to extend it: ")
    assert error.endswith(f"hier train --resume {run.path} total_timesteps=512\n")
    for words, complaint in (
        ("total_timesteps=128", "has already learned from 256 steps"),
        ("controller.gamma=0.9", "controller.gamma cannot change in the middle of a run"),
        ("seed=1", "seed cannot change"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            resume(run.path, [words], progress=False)
    assert before == {file: file.read_bytes() for file in before}


@pytest.mark.slow
def test_a_finished_run_is_extended(run):
    before = logged(run)
    result = resume(run.path, ["total_timesteps=384", "eval.episodes=3"], progress=False)
    assert result.env_steps == 384 and len(result.evaluation.episodes) == 3
    assert run.config() == HierConfig.load("demo", SMALL).override(
        "total_timesteps=384", "eval.episodes=3"
    )
    assert [entry["env_steps"] for entry in run.evaluations()] == [128, 256, 384]
    after = logged(run)
    assert after[: len(before)] == before
    assert {step for _, step in after[len(before) :]} == {320, 384}
    events = b"".join(file.read_bytes() for file in run.tensorboard.glob("events*"))
    assert events.count(b"custom_scalars__config__") == 1
    with pytest.raises(RunFolderError, match="is finished after 384 steps"):
        resume(run.path, progress=False)


@pytest.mark.slow
def test_what_came_after_the_checkpoint_is_logged_once(run):
    expected = Counter(logged(run))
    *_, newest = run.checkpoint_files()
    newest.unlink()  # as if the run was killed before this one
    (run.checkpoints / ".hier-partial-step-0000000256-abc.zip").touch()
    with open(run.evaluations_file, "a") as file:
        file.write('{"env_steps": 25')
    assert resume(run.path, progress=False).env_steps == 256
    after = logged(run)
    steps = [step for tag, step in after if tag == "time/fps"]
    assert Counter(after) == expected and steps == [64, 128, 192, 256]
    assert not list(run.checkpoints.glob(".*"))
    lines = [json.loads(line) for line in run.evaluations_file.read_text().splitlines()]
    assert [line["env_steps"] for line in lines] == [128, 256]


def test_events_after_the_step_are_dropped_and_a_cut_off_one_too(tmp_path):
    run = RunFolder(tmp_path)
    with SummaryWriter(run.tensorboard) as writer:
        for step in range(1, 10):
            writer.add_scalar("x", step**2, step)
    (file,) = run.tensorboard.glob("events*")
    file.write_bytes(file.read_bytes()[:-5])
    rewind(run, 100)
    assert logged(run) == [("x", step) for step in range(1, 9)]
    rewind(run, 4)
    assert logged(run) == [("x", step) for step in range(1, 5)]
    assert run.evaluations() == []
