"""Both forms of guidance reach the optimum known in closed form, and without weight do nothing."""

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.utils import LinearSchedule

from hier.controllers.guided import (
    REFERENCE,
    AnnealGuidance,
    GuidedPolicy,
    GuidedRolloutBuffer,
    kl_divergence,
    log_ratios,
    reference_space,
)
from hier.envs.errors import ConfigError, UnknownNameError
from tests.controllers.bandit import PI_REF, REWARDS, ContextualBandit

TOLERANCE = 0.02  # of each probability, after a training of seconds


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(form, lambda_a, *, algorithm=PPO, env=None, kind="forward", **options):
    """A controller with logits linear in the context, guided by ``reward``, ``loss`` or nothing."""
    policy, policy_kwargs = "MultiInputPolicy", {"net_arch": []}
    if form == "reward":
        options["rollout_buffer_class"] = GuidedRolloutBuffer
        options["rollout_buffer_kwargs"] = {"lambda_a": lambda_a}
    elif form == "loss":
        policy = GuidedPolicy
        policy_kwargs |= {"lambda_a": lambda_a, "divergence": kind}
    if algorithm is PPO:
        options = {"batch_size": 512, "n_epochs": 4, "normalize_advantage": False, **options}
    return algorithm(
        policy,
        env or ContextualBandit(),
        policy_kwargs=policy_kwargs,
        **{"seed": 0, "device": "cpu", "n_steps": 16, "learning_rate": 0.01, **options},
    )


def tensors_of(model):
    """Both contexts, as the policy takes them."""
    observation = {"context": np.eye(2, dtype=np.float32), REFERENCE: np.log(PI_REF)}
    return model.policy.obs_to_tensor(
        {key: observation[key].astype(np.float32) for key in model.observation_space.spaces}
    )[0]


def probabilities(model):
    """π(a | context), ``(contexts, actions)``."""
    with torch.no_grad():
        return model.policy.get_distribution(tensors_of(model)).distribution.probs.numpy()


def values(model):
    """What the critic expects in each context."""
    with torch.no_grad():
        return model.policy.predict_values(tensors_of(model)).squeeze(1).numpy()


def softmax(logits):
    unnormalized = np.exp(logits - logits.max(axis=1, keepdims=True))
    return unnormalized / unnormalized.sum(axis=1, keepdims=True)


def forward_optimum(lambda_a):
    """``λ π_ref / (μ - r)``, μ by bisection."""
    rows = []
    for reward, reference in zip(REWARDS, PI_REF, strict=True):
        low, high = reward.max(), reward.max() + lambda_a + 1.0
        for _ in range(100):
            middle = (low + high) / 2
            total = (lambda_a * reference / (middle - reward)).sum()
            low, high = (middle, high) if total > 1 else (low, middle)
        rows.append(lambda_a * reference / (high - reward))
    return np.array(rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "form", "kind", "ent_coef"),
    [
        (PPO, "reward", "", 0.0),
        (A2C, "reward", "", 0.0),
        (PPO, "loss", "reverse", 0.0),
        (PPO, "loss", "reverse", 0.25),
        (A2C, "loss", "forward", 0.0),
    ],
)
def test_guided_learning_reaches_the_closed_form_optimum(algorithm, form, kind, ent_coef):
    lambda_a = 0.5
    if kind == "forward":
        expected = forward_optimum(lambda_a)
    else:  # beside an entropy bonus c: max E[r] - λ KL + c H
        expected = softmax((REWARDS + lambda_a * np.log(PI_REF)) / (lambda_a + ent_coef))
    model = build(
        form, lambda_a, kind=kind, algorithm=algorithm, ent_coef=ent_coef,
        learning_rate=LinearSchedule(0.05, 0.0, 1.0),
    )  # fmt: skip
    found = probabilities(model.learn(80_000))
    assert np.abs(expected - PI_REF).max() > 0.15  # the optimum is neither the reference
    assert np.abs(expected - np.eye(3)[REWARDS.argmax(1)]).max() > 0.15  # nor the greedy policy
    assert np.allclose(found, expected, atol=TOLERANCE)
    # The reward form's critic learns LINVIT's value λ log E_ref[exp(r/λ)], the loss form's E_π[r].
    soft = lambda_a * np.log((PI_REF * np.exp(REWARDS / lambda_a)).sum(1))
    plain = (expected * REWARDS).sum(1)
    assert np.abs(soft - plain).min() > 0.1
    assert np.allclose(values(model), soft if form == "reward" else plain, atol=0.05)


def test_the_loss_forms_gradient_is_that_of_the_summed_loss():
    model = build("loss", 3.0, kind="reverse")
    observation = {
        "context": torch.eye(2)[torch.arange(8) % 2],
        REFERENCE: torch.tensor(np.log(PI_REF), dtype=torch.float32)[torch.arange(8) % 2],
    }
    actions, weights = torch.arange(8) % 3, torch.linspace(-1, 1, 8)
    policy = model.policy

    def gradients(loss):
        policy.zero_grad()
        loss.backward()
        return [p.grad.clone() for p in policy.parameters() if p.grad is not None]

    _, log_prob, _ = policy.evaluate_actions(observation, actions)
    ours = gradients((weights * log_prob).mean())
    policy.lambda_a = 0.0
    _, plain, _ = policy.evaluate_actions(observation, actions)
    assert torch.equal(plain, log_prob)
    log_pi = policy.get_distribution(observation).distribution.probs.log()
    further = kl_divergence(log_pi, observation[REFERENCE], "reverse").mean()
    theirs = gradients((weights * plain).mean() + 3.0 * further)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_divergences_are_those_of_distributions_of_torch():
    torch.manual_seed(0)
    pi, reference = (torch.randn(5, 4).log_softmax(-1) for _ in range(2))
    p, q = (torch.distributions.Categorical(logits=x) for x in (pi, reference))
    kl = torch.distributions.kl_divergence
    torch.testing.assert_close(kl_divergence(pi, reference, "forward"), kl(q, p))
    torch.testing.assert_close(kl_divergence(pi, reference, "reverse"), kl(p, q))
    assert torch.equal(kl_divergence(pi, pi, "forward"), torch.zeros(5))


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_without_weight_training_is_sb3s_to_the_bit(algorithm):
    plain, *guided = (
        build(form, 0.0, algorithm=algorithm).learn(3 * 64 * 16).policy.state_dict()
        for form in (None, "reward", "loss")
    )
    untrained = build(None, 0.0, algorithm=algorithm).policy.state_dict()
    assert any(not torch.equal(plain[key], untrained[key]) for key in plain)
    for state in guided:
        assert all(torch.equal(plain[key], state[key]) for key in plain)


def test_the_buffer_pays_the_log_ratio_before_gae():
    plain, guided = (build(form, 2.0).rollout_buffer for form in (None, "reward"))
    rng, env = np.random.default_rng(0), ContextualBandit()
    for _ in range(16):
        observation, actions = env.reset(), rng.integers(3, size=64)
        ratios = rng.normal(size=64).astype(np.float32)
        log_probs = ratios + np.log(PI_REF)[env.context, actions]
        for buffer, charge in ((plain, 2.0), (guided, 0.0)):
            buffer.add(
                observation, actions, 1.0 - charge * ratios, np.zeros(64),
                torch.zeros(64), torch.as_tensor(log_probs),
            )  # fmt: skip
    assert np.allclose(log_ratios(guided)[-1], ratios, atol=1e-6)
    for buffer in (plain, guided):
        buffer.compute_returns_and_advantage(torch.ones(64), np.zeros(64))
    assert np.allclose(guided.rewards, plain.rewards, atol=1e-5)
    assert np.allclose(guided.advantages, plain.advantages, atol=1e-4)
    assert np.allclose(guided.returns, plain.returns, atol=1e-4)


@pytest.mark.parametrize("form", ["reward", "loss"])
def test_annealing_goes_from_start_to_end_and_is_logged(form):
    model = build(form, 10.0)
    part = model.rollout_buffer if form == "reward" else model.policy
    callback, seen = AnnealGuidance(10.0, 0.1, steps=3 * 1024), []

    def note():
        callback._on_rollout_end()
        logged = model.logger.name_to_value
        seen.append((part.lambda_a, logged["guidance/lambda_a"], logged["guidance/kl"]))

    callback.on_rollout_end = note
    model.learn(5 * 1024, callback=callback)
    weights, logged, kl = zip(*seen, strict=True)
    assert weights == logged == pytest.approx([10.0, 6.7, 3.4, 0.1, 0.1])
    uniform = np.full(3, 1 / 3)
    assert kl[0] == pytest.approx((uniform * np.log(uniform / PI_REF)).sum(1).mean(), abs=0.1)
    assert abs(kl[-1]) < kl[0]
    resumed = AnnealGuidance(10.0, 0.1, steps=10 * 1024)
    model.learn(1024, callback=resumed, reset_num_timesteps=False)
    assert part.lambda_a == pytest.approx(10.0 - 9.9 / 2)  # went on at step 5 * 1024


def test_saved_and_loaded_it_is_the_same_and_goes_on(tmp_path):
    for form in ("reward", "loss"):
        model = build(form, 0.5, kind="reverse").learn(1024)
        model.save(tmp_path / form)
        again = PPO.load(tmp_path / form, env=ContextualBandit())
        assert np.array_equal(probabilities(again), probabilities(model))
        part = again.rollout_buffer if form == "reward" else again.policy
        assert isinstance(part, GuidedRolloutBuffer if form == "reward" else GuidedPolicy)
        assert part.lambda_a == 0.5
        again.learn(1024, reset_num_timesteps=False)
        assert not np.array_equal(probabilities(again), probabilities(model))
    model.policy.save(tmp_path / "policy")
    policy = GuidedPolicy.load(tmp_path / "policy")
    assert (policy.lambda_a, policy.divergence) == (0.5, "reverse")


@pytest.mark.parametrize("form", ["reward", "loss"])
def test_what_cannot_be_guided_is_refused(form):
    missing = r"'reference_log_probs'.* is not among \['context'\].*shape \(3,\)"
    with pytest.raises(ConfigError, match=missing):
        build(form, 1.0, env=ContextualBandit(guided=False))
    env = ContextualBandit()
    env.observation_space.spaces[REFERENCE] = reference_space(4)
    with pytest.raises(ConfigError, match=r"has shape \(4,\)"):
        build(form, 1.0, env=env)
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"lambda_a is {weight}"):
            build(form, weight)


def test_a_reference_that_is_no_distribution_is_refused():
    wrong = np.array([[0.2, 0.5, 0.3], [0.9, 0.9, 0.9]])
    with pytest.raises(ConfigError, match=r"VecNormalize must leave alone\) holds .*sum to one"):
        build("reward", 1.0, env=ContextualBandit(reference=wrong)).learn(1024)


def test_an_unknown_divergence_and_an_unguided_algorithm_are_refused():
    with pytest.raises(UnknownNameError, match="unknown divergence 'foward'; did you mean"):
        build("loss", 1.0, kind="foward")
    with pytest.raises(ConfigError, match="PPO has neither GuidedRolloutBuffer nor GuidedPolicy"):
        build(None, 0.0).learn(1024, callback=AnnealGuidance(1.0, 0.0, 100))
    with pytest.raises(ConfigError, match="annealed over 0 steps"):
        AnnealGuidance(1.0, 0.0, 0)
