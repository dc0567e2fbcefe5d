"""Any Gymnasium environment as a domain, from the file that ``hier adapt`` writes."""

import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from hier import HierConfig
from hier.cli import main
from hier.envs import SimulatorError, Subgoal, SubgoalSyntaxError, make_env
from hier.perception.adapting import AdaptedEnv, AdaptedPercept, ListedSubgoals, module_name
from hier.run.training import train

SMALL = [
    "total_timesteps=512", "env.n_envs=4", "eval.every=0", "eval.episodes=2", "eval.videos=1",
    "torch_threads=1", "controller.options={n_steps: 32, batch_size: 64}",
]  # fmt: skip


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Where the files go, on Python's path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("adapted_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("env_id", "name", "planner"),
    [
        ("CartPole-v1", "Cartpole", "none"),
        ("CartPole-v1", "Cartpole", "random"),
        ("Pendulum-v1", "Pendulum", "random"),
        ("FrozenLake-v1", "Frozenlake", "none"),
    ],
)
def test_an_environment_is_trained_from_the_file_as_it_is_written(module, env_id, name, planner):
    file = f"adapted_{module_name(env_id)}_{planner}"
    assert main(["adapt", env_id, "--out", f"{file}.py"]) == 0
    level = f"{file}:{name}/{env_id}"
    config = HierConfig.load("goto", [f"env.id={level}", f"planner.type={planner}", *SMALL])
    result = train(config, folder=module / "run", progress=False)
    assert result.env_steps == 512 and result.evaluation is not None
    assert list((module / "run" / "videos").glob("*.gif"))


def test_success_is_what_the_environment_says_or_a_return():
    env = AdaptedEnv(gym.make("CartPole-v1", max_episode_steps=20), 20.0)
    env.reset(seed=0)
    for _ in range(20):
        angle = env.unwrapped.state[2] + env.unwrapped.state[3]
        observation, _, terminated, truncated, info = env.step(int(angle > 0))
        assert ("is_success" in info) == (terminated or truncated)
    assert truncated and info["is_success"]
    assert env.observation_space.contains(observation)


def test_observations_of_no_fixed_size_are_refused():
    class Sentences(gym.Env):
        observation_space = spaces.Sequence(spaces.Discrete(3))
        action_space = spaces.Discrete(2)

    with pytest.raises(SimulatorError, match="no fixed size"):
        AdaptedEnv(Sentences(), None)


def test_listed_subgoals_are_read_and_coded():
    class Two(ListedSubgoals):
        names = ("swing up", "stay up")

    space = Two()
    percept = AdaptedPercept(np.array([0.5, 1.0], np.float32), "balance")
    first, second = space.candidates(percept)
    assert space.parse("Stay up.") == second == Subgoal("stay up")
    assert space.encode(first).tolist() == [1, 0] and not space.encode(None).any()
    with pytest.raises(SubgoalSyntaxError, match="swing up, stay up"):
        space.parse("fall")


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (["adapt", "Nope-v1"], "Nope-v1 could not be built"),
        (["adapt", "BabyAI-GoTo-v0"], "needs no file"),
        (["adapt", "CartPole-v1", "--out", "a-b.py"], "no name for a Python module"),
        (["adapt", "CartPole-v1", "--out", "there.py"], "exists already"),
    ],
)
def test_wrong_input_is_answered_in_a_line(module, capsys, command, complaint):
    (module / "there.py").write_text("")
    assert main(command) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1


def test_names_of_files():
    assert module_name("ALE/Pong-v5") == "ale_pong_v5"
    with pytest.raises(Exception, match="environment id"):
        make_env("ALE/Pong-v5")
