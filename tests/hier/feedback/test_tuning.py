"""A planner learns after the run, from files; alone and in two processes alike."""

import os
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from hier import HierConfig
from hier.cli import main
from hier.envs.errors import ConfigError, RunFolderError
from hier.feedback.lessons import read_lessons
from hier.planners.accuracy import measure_accuracy, states_of
from hier.planners.language.planner import LLMPlanner, VLMPlanner
from hier.planners.language.prompts import WHICH_SUBGOAL
from hier.run.folder import RunFolder
from hier.run.training import train
from hier.run.tuning import teach_planner, tune_planner
from tests.planners.language.families import build_checkpoint

GATHER = [
    "env.id=BabyAI-GoToObj-v0", "total_timesteps=768", "env.n_envs=8", "env.max_steps=24",
    "controller.options.n_steps=32", "eval.episodes=2", "eval.every=0", "eval.videos=0",
    "torch_threads=1", "subgoal.max_duration=8", "feedback.store=true", "checkpoint_every=256",
    "feedback.batch_size=16",
]  # fmt: skip


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    """A run that only keeps what its subgoals earned."""
    folder = tmp_path_factory.mktemp("tuning") / "run"
    train(HierConfig.load("demo", GATHER), folder=folder, progress=False)
    return folder


def weights(folder):
    return VLMPlanner(str(folder), device="cpu").loaded.module.state_dict()


@pytest.mark.slow
def test_a_run_may_gather_without_learning(gathered):
    lessons = read_lessons(gathered / "lessons")
    assert len(lessons) >= 40 and not (gathered / "planner").exists()
    assert {one.version for one in lessons} == {0}


@pytest.mark.slow
def test_the_planner_learns_from_many_runs(gathered, tmp_path):
    result = tune_planner([gathered, gathered], out=tmp_path / "p", updates=24, progress=False)
    assert result.lessons == 2 * len(read_lessons(gathered / "lessons"))
    assert [report["updates"] for report in result.reports] == [20, 24]
    before, after = weights("gridworld"), weights(tmp_path / "p")
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert VLMPlanner(str(tmp_path / "p")).version == 1
    assert "2 updates" not in (tmp_path / "p" / "README.md").read_text()


@pytest.mark.slow
def test_plain_transformers_load_it(gathered, tmp_path):
    tune_planner([gathered], out=tmp_path / "p", updates=2, progress=False)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "p")
    processor = AutoProcessor.from_pretrained(tmp_path / "p")
    assert model.num_parameters() > 1e6 and processor.tokenizer is not None


@pytest.mark.slow
def test_two_processes_make_the_update_of_one(gathered, tmp_path):
    """Each has half of every batch; the weights end where one process's end."""
    tune_planner([gathered], out=tmp_path / "one", updates=5, progress=False)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2",
              "--num_cpu_threads_per_process", "1", "--main_process_port", "0"]  # fmt: skip
    command = ["-m", "hier.cli", "tune-planner", str(gathered), "--updates", "5", "--quiet"]
    done = subprocess.run(
        [*launch, *command, "--out", str(tmp_path / "two")],
        capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    one, two, start = (weights(tmp_path / "one"), weights(tmp_path / "two"), weights("gridworld"))
    moved = max(float((one[key] - start[key]).abs().max()) for key in one)
    apart = max(float((one[key] - two[key]).abs().max()) for key in one)
    assert moved > 1e-4 and apart < 0.02 * moved


class TestWrongInput:
    def test_a_run_without_lessons(self, tmp_path):
        RunFolder.create(HierConfig.load("demo"), tmp_path / "run")
        with pytest.raises(RunFolderError, match=r"holds no lessons-\*\.tar"):
            tune_planner([tmp_path / "run"])

    @pytest.mark.slow
    def test_an_objective_that_files_cannot_serve(self, gathered):
        with pytest.raises(ConfigError, match="stored lessons do not have"):
            tune_planner([gathered], ["feedback.objective=inverse_rl"])

    @pytest.mark.slow
    def test_a_planner_without_weights(self, gathered):
        with pytest.raises(ConfigError, match="no weights to fine-tune"):
            tune_planner([gathered], ["planner.type=oracle"])

    @pytest.mark.slow
    def test_a_batch_that_cannot_be_shared(self, gathered):
        class Three:
            process_index, num_processes = 0, 3

        from hier.feedback.learner import PlannerLearner
        from hier.feedback.objectives import AWR

        with pytest.raises(ConfigError, match="3 processes cannot share evenly"):
            PlannerLearner(VLMPlanner(device="cpu"), AWR(), batch_size=16, accelerator=Three())

    @pytest.mark.slow
    def test_on_the_command_line(self, gathered, capsys):
        assert main(["tune-planner", "nowhere", "--quiet"]) == 2
        assert "is not a run folder" in capsys.readouterr().err
        assert main(["tune-planner", "feedback.kl_coef=1"]) == 2
        assert "name at least one run folder" in capsys.readouterr().err


class TestDemonstrations:
    CONFIG = (
        "env.id=BabyAI-GoToLocal-v0", "planner.type=llm", "torch_threads=1",
        "feedback.batch_size=8", "feedback.learning_rate=0.003",
    )  # fmt: skip

    @pytest.fixture(scope="class")
    def taught(self, tmp_path_factory):
        """A tiny language model that knows nothing, before and after the expert's answers."""
        root = tmp_path_factory.mktemp("taught")
        build_checkpoint("llama", root / "before")
        config = HierConfig.load("demo", [*self.CONFIG, f"planner.model={root / 'before'}"])
        teach_planner(config, 96, out=root / "after", updates=80, progress=False)
        return root

    def test_it_learns_the_answers(self, taught):
        before, after = (
            measure_accuracy(
                LLMPlanner(str(taught / name)), ["BabyAI-GoToLocal-v0"], 96, first_seed=0
            )
            for name in ("before", "after")
        )
        assert after.probability > before.probability + 0.15
        assert after.mean > before.mean

    def test_it_goes_on_being_asked_as_it_was_taught(self, taught):
        (query, *_), _ = states_of("BabyAI-GoToLocal-v0", 1, 0)
        asked = [
            LLMPlanner(str(taught / name)).prompt(query).question for name in ("before", "after")
        ]
        assert asked[0] == asked[1]
        assert asked[0].splitlines()[-2:] == [f"Mission: {query.percept.mission}", WHICH_SUBGOAL]
        settings = taught / "after" / "planner.json"
        settings.write_text('{"version": 1}')  # as older versions wrote it
        question = LLMPlanner(str(taught / "after")).prompt(query).question
        assert question.startswith(f"Mission: {query.percept.mission}\n")

    def test_from_the_command_line(self, taught, capsys):
        words = [*self.CONFIG, f"planner.model={taught / 'before'}", "planner.options.lora=2"]
        out = taught / "lora"
        demo = ["tune-planner", "demo", "--demonstrations", "8", "--quiet", *words]
        assert main(demo) == 2
        assert "--out FOLDER" in capsys.readouterr().err
        assert main([*demo, "--updates", "2", "--out", str(out)]) == 0
        assert "lessons         8" in capsys.readouterr().out
        assert "8 answers of the expert in 2 updates" in (out / "README.md").read_text()
        assert LLMPlanner(str(out)).loaded.adapted
