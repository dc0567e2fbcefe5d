"""The network reads what it is given; algorithms come by name and refuse what they do not take."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.vec_env import VecTransposeImage

from hier.config import HierConfig
from hier.controllers.build import ACTIONS, ALGORITHMS, DEFAULTS, algorithm_class, build_controller
from hier.controllers.features import SubgoalFeatures
from hier.envs.errors import ConfigError, UnknownNameError
from hier.run.build import build_env, build_planner_of


@pytest.fixture(scope="module")
def env():
    config = HierConfig.load("demo", ["env.n_envs=4"])
    return build_env(config, build_planner_of(config))


@pytest.fixture(scope="module")
def batch(env):
    transposed = VecTransposeImage(env)
    transposed.seed(0)
    tensors = {key: torch.as_tensor(value) for key, value in transposed.reset().items()}
    return transposed.observation_space, preprocess_obs(tensors, transposed.observation_space)


def test_every_input_reaches_the_features_and_gets_a_gradient(batch):
    torch.manual_seed(0)
    space, observation = batch
    network = SubgoalFeatures(space, features_dim=24, channels=8)
    features = network(observation)
    assert features.shape == (4, 24)
    for key in ("cells", "target", "subgoal", "mission"):
        changed = dict(observation)
        turned = torch.as_tensor(space[key].high) - observation[key]  # as far within its range
        changed[key] = turned if key == "cells" else observation[key] + 1
        assert not torch.allclose(network(changed), features), key
    features.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_rows_of_a_batch_do_not_touch_each_other(batch):
    space, observation = batch
    network = SubgoalFeatures(space)
    together = network(observation)
    for i in range(4):
        alone = network({key: value[i : i + 1] for key, value in observation.items()})
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-4)


def test_a_cell_is_the_sum_of_the_embeddings_of_its_attributes(batch):
    space, observation = batch
    network = SubgoalFeatures(space)
    kinds, colors, _ = space["cells"].high.max(axis=(0, 1)) + 1
    kind, color, state = observation["cells"][2, 4, 3].long()
    rows = torch.stack([kind, kinds + color, int(kinds) + int(colors) + state])
    expected = network.cells.weight[rows.long()].sum(0)
    torch.testing.assert_close(network.look(observation)[2, :, 4, 3], expected)


DISCRETE = [name for name in ALGORITHMS if ACTIONS.get(name) is not spaces.Box]


@pytest.mark.parametrize("name", DISCRETE)
def test_algorithms_are_built_by_name_with_options_over_defaults(name, env):
    option = {"ppo": ("n_steps", 32), "a2c": ("n_steps", 3), "dqn": ("batch_size", 7)}
    key, value = option.get(name, ("n_steps", 16))
    options = {key: value, **({"buffer_size": 100} if name == "dqn" else {})}
    model = build_controller(name, env, gamma=0.9, seed=1, device="cpu", options=options)
    assert isinstance(model, algorithm_class(name))
    assert getattr(model, key) == value and model.gamma == 0.9
    assert model.learning_rate == DEFAULTS[name]["learning_rate"]
    action, _ = model.predict(env.reset())
    assert np.asarray(action).shape == (4,)


def test_a_learning_rate_may_fall_linearly_to_zero(env):
    options = {"learning_rate": "lin_1e-3", "n_steps": 8}
    model = build_controller("ppo", env, gamma=0.9, seed=0, options=options)
    assert [model.lr_schedule(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([1e-3, 5e-4, 0.0])
    with pytest.raises(ConfigError, match="'slow'; write a number, or lin_7e-4"):
        build_controller("ppo", env, gamma=0.9, seed=0, options={"learning_rate": "slow"})


def test_the_same_seed_builds_the_same_network(env):
    a, b = (build_controller("ppo", env, gamma=0.9, seed=3).policy.state_dict() for _ in range(2))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_wrong_names_and_options_are_refused(env):
    with pytest.raises(UnknownNameError, match="unknown algorithm 'pp'; did you mean 'ppo'"):
        build_controller("pp", env, gamma=0.9, seed=0)
    with pytest.raises(ConfigError, match=r"'ppo' does not take 'learning_rat'.*learning_rate"):
        build_controller("ppo", env, gamma=0.9, seed=0, options={"learning_rat": 1})
    for name in ("sac", "td3"):
        with pytest.raises(ConfigError, match=rf"{name}.*Discrete\(7\).*ppo, a2c, dqn, recurrent"):
            build_controller(name, env, gamma=0.9, seed=0)
