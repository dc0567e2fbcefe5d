"""Experiment trackers: what they get, and what is said where one is missing."""

import numpy as np
import pytest

from hier import HierConfig
from hier.envs.errors import ConfigError
from hier.run.folder import RunFolder
from hier.run.resuming import resumed_config
from hier.run.trackers import ExperimentTracker
from hier.run.training import resume, train

SMALL = [
    "total_timesteps=1024", "env.n_envs=4", "planner.type=oracle", "eval.every=0",
    "eval.episodes=2", "eval.videos=0", "torch_threads=1",
]  # fmt: skip


def test_it_gets_the_numbers_and_nothing_else():
    sent = []
    tracker = ExperimentTracker(
        lambda numbers, step: sent.append((numbers, step)), lambda: sent.append("end")
    )
    tracker.write({"a": 1, "b": np.float32(2), "c": "text", "d": float("nan")}, {}, step=7)
    tracker.write({"c": "text"}, {}, step=8)
    tracker.close()
    assert sent == [({"a": 1.0, "b": 2.0}, 7), "end"]


def test_an_unknown_one_is_refused():
    with pytest.raises(ConfigError, match=r"trackers.*'wandb', 'mlflow' or 'trackio'"):
        HierConfig.load("demo", ["trackers=[wandbb]"])


def test_one_that_is_not_installed_is_named_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config = HierConfig.load("demo", [*SMALL, "trackers=[wandb]"])
    with pytest.raises(ConfigError, match="pip install wandb"):
        train(config, folder=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_a_run_is_tracked_and_goes_on_when_it_is_resumed(name, tmp_path, monkeypatch):
    pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    config = HierConfig.load("demo", [*SMALL, f"trackers=[{name}]"])
    run = train(config, folder=tmp_path / "run", progress=False)
    assert resume(run.folder, ["total_timesteps=2048"], progress=False).env_steps == 2048
    if name == "mlflow":
        import mlflow

        (one,) = mlflow.search_runs(experiment_names=["hier"], output_format="list")
        history = mlflow.MlflowClient().get_metric_history(one.info.run_id, "time/fps")
        steps = [point.step for point in history]
        assert steps == sorted(steps) and steps[-1] == 2048


@pytest.mark.slow
def test_a_tracker_may_be_added_when_a_run_is_resumed(tmp_path):
    run = train(HierConfig.load("demo", SMALL), folder=tmp_path / "run", progress=False)
    folder = RunFolder.open(run.folder)
    lines = ["total_timesteps=2048", "trackers=[mlflow]"]
    assert resumed_config(folder, 1024, lines).trackers == ["mlflow"]
