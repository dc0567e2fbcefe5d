"""What the training suites keep, count and draw."""

import json
import time

import pytest
from PIL import Image

from hier.bench.bad_planners import wrong_teacher
from hier.bench.feedback import train_and_compare
from hier.bench.figures import steps_to
from hier.bench.guidance import OBEYED
from hier.bench.plots import plot_panels
from hier.bench.world_speed import Stopwatch
from hier.config import HierConfig
from hier.envs.errors import RunFolderError
from hier.planners.language.planner import VLMPlanner
from hier.run.sweep import train_job


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    config = HierConfig.load(
        "demo",
        [
            "env.id=BabyAI-GoToLocal-v0", "planner.type=oracle", "total_timesteps=3072",
            "eval.episodes=4", "eval.every=0", "eval.videos=0", "torch_threads=1",
        ],
    )  # fmt: skip
    return config, OBEYED, tmp_path_factory.mktemp("suite") / "run"


@pytest.fixture(scope="module")
def row(job):
    return train_job(job)


@pytest.mark.slow
def test_a_row_tells_what_was_learned_and_what_it_cost(row):
    assert row["planner"] == "oracle" and row["env_steps"] >= 3072
    assert 0 < row["planner_share"] < 1
    steps, successes = zip(*row["training_curve"], strict=True)
    assert steps[-1] == row["env_steps"] and all(0 <= value <= 1 for value in successes)


def test_a_stopwatch_counts_inner_calls_for_their_own_part_and_leaves_no_trace():
    class Simulator:
        def step(self):
            time.sleep(0.02)
            self.draw()

        def draw(self):
            time.sleep(0.04)

    simulator = Simulator()
    with Stopwatch() as watch:
        watch.times(simulator, "step", "simulation")
        watch.times(Simulator, "draw", "rendering")
        watch.begin()
        simulator.step()
        time.sleep(0.02)
        shares = watch.shares()
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["rendering"] > shares["simulation"] > 0 and shares["rest"] > 0
    assert watch.seconds["simulation"] < 0.04 <= watch.seconds["rendering"]
    assert "step" not in vars(simulator) and Simulator.draw.__name__ == "draw"


@pytest.mark.slow
def test_a_finished_run_is_not_made_again(job, row):
    folder = job[2]
    before = (folder / "config.yaml").stat().st_mtime_ns
    assert train_job(job) == json.loads(json.dumps(row))
    assert (folder / "config.yaml").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_run_that_was_cut_off_is_made_anew(job, row):
    (job[2] / "row.json").unlink()
    again = train_job(job)
    assert again["success"] == row["success"] and again["curve"] == row["curve"]


def test_steps_to_a_success():
    curve = [[10, 0.2], [20, 0.9], [30, 0.8], [40, 1.0]]
    assert steps_to(0.9, curve) == 20 and steps_to(0.95, curve) == 40
    assert steps_to(0.9, []) == float("inf")


def test_panels_are_drawn_though_seeds_begin_at_different_steps(tmp_path):
    rows = [
        {"level": level, "variant": variant, "training_curve": [[10 * (1 + s), 0.1], [40, 0.9]]}
        for level in ("BabyAI-A-v0", "BabyAI-B-v0")
        for variant in ("one", "two")
        for s in range(3)
    ]
    plot_panels({"rows": rows}, tmp_path / "panels.png")
    assert Image.open(tmp_path / "panels.png").width > 800


@pytest.mark.slow
def test_a_run_of_another_configuration_is_left_alone(job, row):
    config, variant, folder = job
    with pytest.raises(RunFolderError, match="already holds a run"):
        train_job((config.override("seed=7"), variant, folder))
    assert train_job(job)["success"] == row["success"]


@pytest.mark.slow
class TestFeedback:
    def test_a_taught_planner_is_judged_alone_and_elsewhere(self, tmp_path):
        config = HierConfig.load(
            "demo",
            [
                "env.id=BabyAI-GoToObj-v0", "env.n_envs=8", "env.max_steps=40",
                "controller.options.n_steps=32", "total_timesteps=1024", "eval.episodes=2",
                "eval.every=0", "eval.videos=0", "torch_threads=1", "subgoal.max_duration=8",
                "feedback.objective=grpo", "feedback.every=256", "feedback.warmup=20",
                "feedback.updates=2", "feedback.max_share=1",
            ],
        )  # fmt: skip
        job = (config, "awr", tmp_path / "run", True)
        row = train_and_compare(job)
        for name in ("alone", "as_it_was", "accuracy", "source_accuracy", "feedback_share"):
            assert 0 <= row[name] <= 1
        assert row["feedback_share"] > 0 and row["memory_mb"][-1][1] > 100
        assert train_and_compare(job) == json.loads(json.dumps(row))

    def test_a_wrong_teacher_is_taught_once(self, tmp_path):
        folder = wrong_teacher(tmp_path / "wrong", "BabyAI-UnlockPickup-v0", quick=True)
        made = (folder / "model.safetensors").stat().st_mtime_ns
        assert VLMPlanner(str(folder)).version == 0
        assert wrong_teacher(folder, "BabyAI-UnlockPickup-v0") == folder
        assert (folder / "model.safetensors").stat().st_mtime_ns == made
