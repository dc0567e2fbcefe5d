"""The charts of a run are of what it logs."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hier import HierConfig, train
from hier.run.dashboard import layout
from hier.run.folder import RunFolder

GUIDED = [
    "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=4", "total_timesteps=1024", "eval.episodes=2",
    "eval.every=0", "eval.videos=0", "torch_threads=1", "controller.options.n_steps=64",
    "guidance.soft_choice=true", "feedback.objective=grpo", "feedback.group=2", "feedback.every=64",
    "feedback.warmup=8", "feedback.max_share=1.0", "feedback.updates=1",
]  # fmt: skip


@pytest.mark.slow
def test_a_run_with_guidance_and_feedback_fills_its_charts(tmp_path, monkeypatch):
    monkeypatch.setattr("hier.guidance.critic.FIRST_EPISODES", 3)  # it is a short run
    config = HierConfig.load("demo", GUIDED)
    train(config, folder=tmp_path / "run", progress=False)
    events = EventAccumulator(str(RunFolder(tmp_path / "run").tensorboard))
    events.Reload()
    found = layout(config)
    assert list(found) == [
        "Outcome", "Share of the wall time", "Planner", "Guidance", "Feedback",
    ]  # fmt: skip
    tags = {tag for charts in found.values() for _, some in charts.values() for tag in some}
    assert tags <= set(events.Tags()["scalars"])


def test_a_run_has_no_chart_of_what_it_does_not_have():
    assert list(layout(HierConfig.load("demo", ["planner.type=none"]))) == [
        "Outcome", "Share of the wall time",
    ]  # fmt: skip
    assert "Feedback" not in layout(HierConfig.load("demo"))
