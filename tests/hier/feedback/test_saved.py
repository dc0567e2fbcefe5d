"""A resumed run goes on with the lessons, the optimizer and the draws that it had."""

import shutil

import numpy as np
import pytest
import torch

from hier import HierConfig, resume, train
from hier.controllers.checkpoint import add_member, find_member
from hier.envs.errors import RunFolderError
from hier.envs.tensors import pack, unpack
from hier.feedback.lessons import read_lessons
from hier.feedback.saved import MEMBER, lessons_state, restored_lessons
from hier.guidance.critic import Features, SubgoalCritic
from hier.planners.language.pictures import as_png
from hier.run.folder import RunFolder
from hier.run.setup import Setup
from tests.hier.feedback.test_feedback import lesson

SMALL = [
    "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=4", "total_timesteps=256", "checkpoint_every=128",
    "eval.episodes=2", "eval.videos=0", "torch_threads=1", "controller.options.n_steps=32",
    "controller.options.batch_size=64", "controller.options.n_epochs=1",
    "feedback.objective=inverse_rl", "feedback.every=64", "feedback.warmup=4",
    "feedback.updates=2", "feedback.batch_size=4", "feedback.anchors=4", "feedback.max_share=1",
    "feedback.store=true", "guidance.soft_choice=true",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SubgoalCritic, "say", 1.0)  # in so few steps it has none
        folder = tmp_path_factory.mktemp("runs") / "run"
        return RunFolder(
            train(HierConfig.load("demo", SMALL), folder=folder, progress=False).folder
        )


@pytest.fixture
def run(trained, tmp_path):
    return RunFolder(shutil.copytree(trained.path, tmp_path / "run"))


def equal(one, other):
    """Whether two states are the same, bit by bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other or (one != one and other != other)


@pytest.mark.slow
def test_killed_at_the_last_evaluation(run):
    """All is learned and saved, and only the evaluation is missing."""
    *before, _ = run.evaluations_file.read_text().splitlines(keepends=True)
    run.evaluations_file.write_text("".join(before))
    assert resume(run.path, progress=False).evaluation is not None
    assert run.evaluations()[-1]["env_steps"] == 256


def test_lessons_come_back():
    rng = np.random.default_rng(0)
    picture = as_png(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    features = Features(rng.random((2, 3), np.float32), rng.random(5, np.float32))
    some = [
        lesson(pictures=(picture, picture), features=features, half=1, advantage=0.5),
        lesson(candidates=("explore",), log_probs=(0.0,), choice=0, behavior=0.0),
        lesson(reference=rng.random(2, np.float32), group="a"),
    ]
    again = restored_lessons(unpack(pack(lessons_state(some))))
    assert equal(lessons_state(again), lessons_state(some))
    assert again[0].pictures == some[0].pictures and again[2].reference is not None
    assert np.array_equal(again[0].features.candidates, features.candidates)
    assert restored_lessons(unpack(pack(lessons_state([])))) == []


@pytest.mark.slow
def test_all_of_it_is_restored(run):
    (checkpoint,) = run.checkpoint_files()[-1:]
    before = unpack(find_member(checkpoint, MEMBER))
    assert before["learner"]["optimizer"]["state"] and before["learner"]["discriminator"]
    assert before["version"] > 0 and before["lessons"]["written"]
    setup = Setup.resume(run, run.config(), checkpoint)
    again = run.save_checkpoint(setup.model, setup.checkpointed)
    after = unpack(find_member(again, MEMBER))
    before["seconds"].pop(), after["seconds"].pop()  # wall time
    assert equal(before, after)
    stored = [one.question for one in read_lessons(run.lessons)]
    assert stored == [one.question for one in setup.feedback.buffer]
    assert setup.feedback.planner.version == before["version"]


@pytest.mark.slow
def test_a_lesson_after_the_checkpoint_is_dropped_and_the_planner_goes_back(run):
    first = len(read_lessons(run.lessons))
    *_, older, newest = run.checkpoint_files()
    known = len(unpack(find_member(older, MEMBER))["lessons"]["written"])
    newest.unlink()
    resume(run.path, progress=False)
    (newest,) = run.checkpoint_files()[-1:]
    state = unpack(find_member(newest, MEMBER))
    stored = read_lessons(run.lessons)
    assert len(stored) == len(state["lessons"]["written"]) > known and first
    assert [one.question for one in stored] == [
        values["question"] for values in state["lessons"]["written"]
    ]


@pytest.mark.slow
def test_damage_is_named_with_the_remedy(run):
    (checkpoint,) = run.checkpoint_files()[-1:]
    content = find_member(checkpoint, MEMBER)

    def damaged(change):
        state = unpack(content)
        change(state)
        with pytest.warns(UserWarning, match="Duplicate name"):
            add_member(checkpoint, MEMBER, pack(state))
        with pytest.raises(RunFolderError, match=r"feedback in .*zip cannot be read .*; delete"):
            Setup.resume(run, run.config(), checkpoint)

    damaged(lambda state: state["learner"]["weights"].pop())
    damaged(lambda state: state["lessons"]["written"][0].update(choice=10**6))
    damaged(lambda state: state["lessons"]["png"]["shapes"].append([5]))
    moments = next(iter(unpack(content)["learner"]["optimizer"]["state"]))
    damaged(
        lambda state: state["learner"]["optimizer"]["state"][moments].update(exp_avg=torch.ones(3))
    )
