"""A simulator that fails now and then costs an episode; one that keeps failing ends the run."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from hier import HierConfig, evaluate, resume, train
from hier.envs import make_env
from hier.envs.errors import SimulatorError
from hier.run.folder import RunFolder
from hier.run.restarting import RestartedEpisodes
from hier.run.training import TrainingError
from tests.hier.run.test_resuming import SMALL, logged


class Shaky(gym.Env):
    """Counts its steps; what happens in them is said in advance, over all that are built."""

    observation_space = spaces.Dict(
        {"x": spaces.Box(-9, 9, (2,), np.float32), "odometry": spaces.Box(-1, 1, (1,), np.float32)}
    )
    action_space = spaces.Discrete(2)

    def __init__(self, script):
        self.script, self.steps = script, 0

    def _observe(self, x):
        return {"x": np.full(2, x, np.float32), "odometry": np.ones(1, np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.steps = seed, 0
        if self.script and self.script[0] == "bad reset":
            self.script.pop(0)
            raise OSError("no display")
        return self._observe(0), {}

    def step(self, action):
        self.steps += 1
        what = self.script.pop(0) if self.script else "good"
        if what == "raise":
            raise ZeroDivisionError("of shaky")
        reward = np.nan if what == "reward" else 1.0
        return self._observe(np.inf if what == "see" else self.steps), reward, False, False, {}

    def close(self):
        raise RuntimeError("cannot even close")


@pytest.mark.parametrize("fault", ["raise", "reward", "see"])
def test_the_episode_ends_where_it_was_without_success(fault):
    script = ["good", fault]
    env = RestartedEpisodes(lambda: Shaky(script))
    first = env.env
    env.reset(seed=3)
    before = env.step(0)
    with pytest.warns(UserWarning, match=r"step\(\) of an environment failed .* built again"):
        observation, reward, terminated, truncated, info = env.step(0)
    assert np.array_equal(observation["x"], before[0]["x"]) and not observation["odometry"].any()
    assert (reward, terminated, truncated, info) == (0.0, False, True, {"is_success": False})
    assert env.env is not first and env.restarts == 1
    env.reset()
    assert env.env.seed >= 10**9, "a level of its own, which no evaluation plays"
    assert env.step(0)[1] == 1.0 and env.restarts == 1


def test_the_levels_after_a_restart_follow_from_the_seed():
    seeds = []
    for _ in range(2):
        script = ["bad reset", "bad reset"]
        env = RestartedEpisodes(partial(Shaky, script))
        with pytest.warns(UserWarning, match=r"reset\(\) .* failed with OSError: no display"):
            env.reset(seed=5)
        seeds.append(env.env.seed)
        assert env.restarts == 2
    assert seeds[0] == seeds[1]


@pytest.mark.filterwarnings("ignore:.*built again")
def test_too_many_faults_are_an_error():
    env = RestartedEpisodes(lambda: Shaky(["raise"]), most=3)
    for _ in range(3):
        env.reset()
        env.step(0)
    env.reset()
    with pytest.raises(SimulatorError, match=r"built again 3 times.*ZeroDivisionError: of shaky"):
        env.step(0)


class Failing(gym.Wrapper):
    """Fails at every ``period``-th step of all environments together."""

    count, period = 0, 0

    def step(self, action):
        Failing.count += 1
        if Failing.count % Failing.period == 0:
            raise OSError("the simulator is gone")
        return self.env.step(action)


@pytest.fixture
def failing(monkeypatch):
    def wrapped(*args, **kwargs):
        return Failing(make_env(*args, **kwargs))

    monkeypatch.setattr("hier.run.build.make_env", wrapped)
    Failing.count = 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*built again")
def test_training_goes_on_and_counts(failing, tmp_path):
    Failing.period = 100
    folder = train(HierConfig.load("demo", SMALL), folder=tmp_path / "run", progress=False).folder
    assert {step for tag, step in logged(RunFolder(folder)) if tag == "env/restarts"}
    assert Failing.count > 256 and evaluate(folder, progress=False).episodes


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*built again")
def test_a_broken_simulator_ends_the_run_with_its_checkpoint(failing, tmp_path):
    Failing.period = 3
    few = HierConfig.load("demo", [*SMALL, "eval.every=0"])
    with pytest.raises(TrainingError, match=r"built again 10 times.* hier train --resume") as seen:
        train(few, folder=tmp_path / "run", progress=False)
    assert "\n" not in str(seen.value)
    assert RunFolder(tmp_path / "run").checkpoint_files()
    Failing.period = 10**6
    assert resume(tmp_path / "run", progress=False).env_steps >= 256
