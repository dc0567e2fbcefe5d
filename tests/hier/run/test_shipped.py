"""The agent that comes with the package plays and trains without a run."""

import numpy as np
import pytest
import torch

from hier import HierConfig, evaluate, load, make_env
from hier.envs.errors import ConfigError, RunFolderError
from hier.envs.registry import domain_named
from hier.run.build import build_env, build_model, build_planner_of
from hier.run.recording import record
from hier.run.shipped import find_run, is_shipped, shipped_run, start_of

LEVEL = "BabyAI-GoToLocal-v0"
GRIDWORLD = domain_named("gridworld")


def test_a_level_names_the_shipped_agent_and_is_what_it_plays():
    run, level = find_run("BabyAI-BossLevel-v0")
    assert is_shipped(run) and run.path == shipped_run(GRIDWORLD).path
    assert level == "BabyAI-BossLevel-v0"
    assert find_run("BabyAI-BossLevel-v0", LEVEL)[1] == LEVEL
    assert find_run("shipped")[1] is None


def test_it_plays_a_level_it_never_learned_on():
    evaluation = evaluate(
        "BabyAI-GoToObjDoor-v0", episodes=16, overrides=["torch_threads=1"], progress=False
    )
    assert evaluation.success_rate >= 0.8
    assert {episode.env_id for episode in evaluation.episodes} == {"BabyAI-GoToObjDoor-v0"}


def test_it_loads_as_an_agent():
    env = make_env(LEVEL)
    agent = load(LEVEL)
    observation, _ = env.reset(seed=7)
    action, state = agent.predict(observation)
    assert env.action_space.contains(np.asarray(action).item()) and state.hierarchy.lanes


def test_training_can_start_from_it():
    lines = [f"env.id={LEVEL}", "controller.start=shipped", "env.n_envs=2"]
    config = HierConfig.load("demo", lines)
    env = build_env(config, build_planner_of(config))
    model = build_model(config, env)
    other = HierConfig.load("demo", [f"env.id={LEVEL}", f"controller.start={LEVEL}"])
    again = build_model(other, env)
    for a, b in zip(model.policy.parameters(), again.policy.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    fresh = build_model(HierConfig.load("demo", [lines[0], "controller.start=null"]), env)
    weights = model.policy.state_dict()["action_net.weight"]
    assert not torch.equal(weights, fresh.policy.state_dict()["action_net.weight"])


@pytest.mark.parametrize(
    ("lines", "fits"),
    [
        ([], True),
        (["controller.options.learning_rate=0.001", "planner.type=oracle"], True),
        (["controller.net_arch=[32]"], False),
        (["controller.algorithm=a2c"], False),
        (["planner.type=none"], False),
        (["guidance.actions=loss"], False),
        (["env.id=PointMaze_UMaze-v3"], False),
        (["controller.start=null"], False),
    ],
)
def test_training_starts_from_it_where_it_fits(lines, fits):
    assert (start_of(HierConfig.load("demo", lines)) is not None) == fits


def test_videos_are_not_written_into_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = record(LEVEL, episodes=1, overrides=["env.max_steps=4"])
    assert {path.parent.name for path in found} == {"videos"} and all(p.exists() for p in found)
    assert not shipped_run(GRIDWORLD).videos.exists()


@pytest.mark.parametrize("level", ["PointMaze_Medium-v3"])
def test_a_domain_without_one_says_so(level):
    with pytest.raises(ConfigError, match="there is no built-in agent for the domain 'pointmaze'"):
        find_run(level)


def test_a_misspelled_level_is_no_run():
    with pytest.raises(RunFolderError, match="is not a run folder"):
        find_run("BabyAI-BosLevel-v0")
