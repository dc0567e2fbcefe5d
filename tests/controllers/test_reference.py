"""A small network learns what the planner answers, within its budget, and survives a file."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from hier.controllers.build import build_controller
from hier.controllers.features import SubgoalFeatures
from hier.controllers.guided import (
    REFERENCE,
    Guidance,
    GuidedPolicy,
    GuidedRolloutBuffer,
    reference_space,
)
from hier.controllers.reference import ReferencePolicy
from hier.envs.errors import ConfigError, RunFolderError, UnknownNameError
from tests.controllers.bandit import ContextualBandit

SPACE = spaces.Dict(
    {
        "cells": spaces.Box(0, 9, (7, 7, 3), np.uint8),
        "mission": spaces.Box(0, 50, (80,), np.int64),
        "target": spaces.Box(-1.0, 1.0, (2, 7, 7), np.float32),
        "subgoal": spaces.Box(-3.0, 3.0, (27,), np.float32),
    }
)
SMALL = {"features_dim": 16, "channels": 4}
# What the planner answers for each of three subgoals.
PLANNER = np.array([[0.9, 0.05, 0.05, 0.0], [0.1, 0.2, 0.3, 0.4], [0.25] * 4]) * 0.96 + 0.01


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def asked(n, seed=0):
    """Observations and the planner's log-probabilities for them."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=n)
    observation = {
        "cells": rng.integers(0, 10, (n, 7, 7, 3), np.uint8),
        "mission": rng.integers(0, 51, (n, 80)),
        "target": rng.uniform(-1, 1, (n, 2, 7, 7)).astype(np.float32),
        "subgoal": np.eye(27, dtype=np.float32)[kind],
    }
    return observation, np.log(PLANNER[kind]).astype(np.float32)


def make(budget=300, **options):
    return ReferencePolicy(SPACE, 4, budget=budget, features=SMALL, device="cpu", **options)


def kl(policy, observation, log_probs):
    return (np.exp(log_probs) * (log_probs - policy.log_probs(observation))).sum(1).mean()


@pytest.fixture(scope="module")
def taught():
    policy = make()
    policy.add(*asked(300))
    return policy, policy.fit(learning_rate=5e-3, batch_size=32, max_epochs=40)


def test_it_learns_the_planners_answers_and_says_how_well(taught):
    policy, result = taught
    fresh = asked(60, seed=1)
    assert kl(make(), *fresh) > 0.2
    assert kl(policy, *fresh) < 0.05
    assert result.kl < 0.05 and result.agreement > 0.6  # a third of the answers prefer nothing
    assert policy.log_probs(fresh[0]).shape == (60, 4)
    assert policy.log_probs(fresh[0]).dtype == np.float32
    assert np.allclose(np.exp(policy.log_probs(fresh[0])).sum(1), 1.0, atol=1e-5)


def test_the_weights_kept_are_the_best_on_answers_held_out(taught):
    policy, result = taught
    observation, log_probs = asked(300)
    held = np.arange(300) % 10 == 0
    held_out = {key: value[held] for key, value in observation.items()}
    assert kl(policy, held_out, log_probs[held]) == pytest.approx(result.kl, abs=1e-4)


def test_it_stops_when_the_answers_held_out_no_longer_improve():
    policy = make(40)
    observation, _ = asked(40)
    noise = np.log(np.random.default_rng(0).dirichlet(np.full(4, 0.5), 40) * 0.96 + 0.01)
    policy.add(observation, noise)
    before = policy.log_probs(observation)
    result = policy.fit(learning_rate=0.01, batch_size=8, max_epochs=1000, patience=3)
    assert result.epochs < 100
    held = np.arange(40) % 10 == 0
    assert result.kl <= (np.exp(noise) * (noise - before)).sum(1)[held].mean() + 1e-5


def test_the_same_seed_learns_the_same():
    pair = [make(30, seed=3), make(30, seed=3)]
    for policy in pair:
        policy.add(*asked(30))
        policy.fit(max_epochs=2)
    a, b = (policy.state_dict() for policy in pair)
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_answers_are_counted_and_the_budget_is_kept():
    policy = make(10)
    policy.add(*asked(6))
    assert (policy.answers, policy.remaining) == (6, 4)
    with pytest.raises(ConfigError, match=r"5 more planner answers exceed .* of 10, 6 of which"):
        policy.add(*asked(5))
    assert policy.answers == 6
    policy.add(*asked(4))
    assert policy.remaining == 0


def test_further_keys_are_ignored():
    policy, (observation, _) = make(), asked(3)
    more = {**observation, "image": None, REFERENCE: None}
    assert np.array_equal(policy.log_probs(more), policy.log_probs(observation))


def test_wrong_answers_are_refused():
    policy, (observation, log_probs) = make(), asked(3)
    with pytest.raises(ConfigError, match=r"shape \(3, 3\); the reference policy takes \(n, 4\)"):
        policy.add(observation, log_probs[:, :3])
    with pytest.raises(ConfigError, match="exponentials sum to one"):
        policy.add(observation, log_probs + 1)
    with pytest.raises(ConfigError, match="0 planner answers; add at least 2"):
        policy.fit()
    with pytest.raises(ConfigError, match="budget is 1; give at least 2"):
        make(1)


def test_saved_and_loaded_it_answers_the_same_and_counts_on(taught, tmp_path):
    policy, result = taught
    policy.save(tmp_path / "reference.safetensors")
    again = ReferencePolicy.load(tmp_path / "reference.safetensors", SPACE, "cpu")
    observation, _ = asked(5, seed=2)
    assert np.array_equal(again.log_probs(observation), policy.log_probs(observation))
    assert (again.answers, again.remaining, again.fitted) == (300, 0, 300)
    assert again.fit(max_epochs=0).kl == pytest.approx(result.kl, abs=1e-6)  # the same answers
    make(5).save(tmp_path / "empty.safetensors")
    assert ReferencePolicy.load(tmp_path / "empty.safetensors", SPACE, "cpu").remaining == 5


def test_files_that_are_missing_damaged_or_for_others_are_refused(tmp_path):
    file = tmp_path / "reference.safetensors"
    with pytest.raises(RunFolderError, match="no readable reference policy"):
        ReferencePolicy.load(file, SPACE)
    make().save(file)
    other = spaces.Dict({**SPACE.spaces, "subgoal": spaces.Box(-3.0, 3.0, (5,), np.float32)})
    with pytest.raises(RunFolderError, match="size mismatch"):
        ReferencePolicy.load(file, other)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RunFolderError, match="delete it to distill anew"):
        ReferencePolicy.load(file, SPACE)


class GridworldLike(ContextualBandit):
    """A bandit with the controller's observation, and a reference beside it."""

    def __init__(self):
        super().__init__(n_envs=2)
        self.observation_space = spaces.Dict({**SPACE.spaces, REFERENCE: reference_space(3)})

    def _observe(self):
        reference = super()._observe()[REFERENCE]
        return {**asked(2)[0], REFERENCE: reference}


@pytest.mark.parametrize(("name", "form"), [("ppo", "reward"), ("ppo", "loss"), ("a2c", "loss")])
def test_a_guided_controller_is_built_and_its_network_ignores_the_reference(name, form):
    model = build_controller(
        name, GridworldLike(), gamma=0.9, seed=0, device="cpu", features=SMALL,
        guidance=Guidance(form, 2.0, "reverse"),
        options={"n_steps": 4, **({"batch_size": 8} if name == "ppo" else {})},
    )  # fmt: skip
    part = model.rollout_buffer if form == "reward" else model.policy
    assert isinstance(part, GuidedRolloutBuffer if form == "reward" else GuidedPolicy)
    assert part.lambda_a == 2.0 and isinstance(model.policy.features_extractor, SubgoalFeatures)
    observation = model.env.reset()
    changed = {**observation, REFERENCE: observation[REFERENCE][:, ::-1].copy()}
    without = {key: value for key, value in observation.items() if key != REFERENCE}

    def probs(seen):
        tensors, _ = model.policy.obs_to_tensor(seen)
        return model.policy.get_distribution(tensors).distribution.probs.detach().clone()

    before = probs(observation)
    assert torch.equal(probs(changed), before) and torch.equal(probs(without), before)
    model.learn(8)
    assert not torch.equal(probs(observation), before)


def test_guidance_that_cannot_be_is_refused():
    env = GridworldLike()
    with pytest.raises(ConfigError, match="'dqn' cannot be guided; use ppo or a2c"):
        build_controller("dqn", env, gamma=0.9, seed=0, guidance=Guidance("loss", 1.0))
    with pytest.raises(UnknownNameError, match="form of guidance 'los'; did you mean 'loss'"):
        build_controller("ppo", env, gamma=0.9, seed=0, guidance=Guidance("los", 1.0))
