"""Each objective of feedback on a bandit of two or three candidates, where the answer is known."""

import math

import pytest
import torch

from hier.envs.errors import UnknownNameError
from hier.feedback.objectives import (
    AWR,
    GRPO,
    OBJECTIVES,
    Archer,
    Improve,
    InverseRL,
    LessonBatch,
    StepDPO,
    kl_to_reference,
    objective_class,
)
from hier.feedback.objectives.grpo import relative
from hier.feedback.objectives.inverse_rl import discriminator_loss

LOGITS = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
ADVANTAGE = torch.tensor([0.4, -0.1, 0.2], dtype=torch.float64)


def lessons(logits, choices, **given):
    """One state, seen as often as there are choices."""
    n = len(choices)
    log_p = logits.log_softmax(0).expand(n, -1)
    choice = torch.tensor(choices)
    chosen = log_p.detach().gather(1, choice[:, None]).squeeze(1)
    defaults = {
        "reference": LOGITS[: logits.shape[0]].log_softmax(0).expand(n, -1),
        "behavior": chosen,
        "advantage": torch.zeros(n, dtype=logits.dtype),
        "gain": torch.zeros(n, dtype=logits.dtype),
        "margin": torch.zeros(n, dtype=logits.dtype),
        "rival": torch.zeros(n, dtype=torch.int64),
        "appeal": torch.zeros(n, logits.shape[0], dtype=logits.dtype),
    }
    return LessonBatch(log_probs=log_p, choice=choice, **{**defaults, **given})


def descend(make, steps=3000, rate=0.1, logits=LOGITS):
    """Where gradient descent on ``make(logits)`` ends, as probabilities."""
    free = logits.clone().requires_grad_()
    optimizer = torch.optim.Adam([free], rate)
    for _ in range(steps):
        optimizer.zero_grad()
        make(free).backward()
        optimizer.step()
    return free.detach().softmax(0)


def gradient(loss, logits):
    return torch.autograd.grad(loss, logits)[0]


@pytest.mark.slow
def test_awr_ends_at_the_behavior_weighed_by_the_advantage():
    """Subgoals drawn from μ = (1/2, 1/4, 1/4): p ∝ μ exp(A / β)."""
    choices, beta = [0, 0, 1, 2], 0.5
    advantage = ADVANTAGE[torch.tensor(choices)]
    found = descend(
        lambda x: AWR(beta=beta).loss(lessons(x, choices, advantage=advantage)), rate=0.03
    )
    mu = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    expected = mu * (ADVANTAGE / beta).exp()
    assert found.tolist() == pytest.approx((expected / expected.sum()).tolist(), abs=1e-3)


def test_awr_weights_are_bounded():
    one = lessons(LOGITS, [0], advantage=torch.tensor([1e6], dtype=torch.float64))
    assert AWR(most=3.0).loss(one) == pytest.approx(-3.0 * float(LOGITS.log_softmax(0)[0]))


def test_archers_gradient_is_that_of_the_expected_advantage():
    """Every candidate once, drawn from a uniform μ: the mean over μ of c A ∇log p is ∇E_p[A]."""
    logits = LOGITS.clone().requires_grad_()
    behavior = torch.full((3,), -math.log(3), dtype=torch.float64)
    batch = lessons(logits, [0, 1, 2], advantage=ADVANTAGE, behavior=behavior)
    found = gradient(Archer(most=100.0).loss(batch), logits)
    expected = gradient(-(logits.softmax(0) * ADVANTAGE).sum(), logits)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-9)


def test_with_a_critic_archers_expectation_is_exact():
    """Whatever was pursued, and whatever all values have in common."""
    logits = LOGITS.clone().requires_grad_()
    batch = lessons(logits, [1], values=ADVANTAGE[None] + 7.0)
    found = gradient(Archer().loss(batch), logits)
    expected = gradient(-(logits.softmax(0) * ADVANTAGE).sum(), logits)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-9)


def test_archers_correction_is_bounded():
    logits = LOGITS.clone().requires_grad_()
    rare = torch.tensor([-20.0], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    found = gradient(
        Archer(most=2.0).loss(lessons(logits, [1], advantage=one, behavior=rare)), logits
    )
    expected = gradient(-2.0 * logits.log_softmax(0)[1], logits)
    assert found.tolist() == pytest.approx(expected.tolist())


class TestGRPO:
    def test_advantages_are_relative_to_the_group(self):
        outcome = torch.tensor([1.0, 0.0, 3.0, 3.0, 5.0])
        found = relative(outcome, torch.tensor([7, 7, 2, 2, 9]))
        assert found.tolist() == pytest.approx([1, -1, 0, 0, 0])

    def test_on_policy_the_gradient_is_the_policy_gradient(self):
        logits = LOGITS.clone().requires_grad_()
        gain = torch.tensor([1.0, -1.0], dtype=torch.float64)
        found = gradient(GRPO().loss(lessons(logits, [0, 1], gain=gain)), logits)
        log_p = logits.log_softmax(0)
        expected = gradient(-(log_p[0] - log_p[1]) / 2, logits)
        assert found.tolist() == pytest.approx(expected.tolist())

    def test_beyond_the_clip_nothing_is_learned(self):
        logits = LOGITS.clone().requires_grad_()
        log_p = logits.detach().log_softmax(0)
        gain = torch.tensor([1.0, -1.0], dtype=torch.float64)
        # The better is already likelier than before by more than ε, the worse less likely.
        before = torch.stack([log_p[0] - 0.5, log_p[1] + 0.5])
        batch = lessons(logits, [0, 1], gain=gain, behavior=before)
        assert gradient(GRPO(clip=0.2).loss(batch), logits).abs().max() == 0

    def test_what_succeeded_against_the_planner_is_learned(self):
        """Guidance chose it; the ratio is near 0 and would leave no gradient."""
        logits = torch.tensor([6.0, 0.0, -1.0], dtype=torch.float64, requires_grad=True)
        gain, chosen = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        batch = lessons(logits, [1], gain=gain, behavior=chosen)
        expected = gradient(-logits.log_softmax(0)[1], logits)
        assert gradient(GRPO().loss(batch), logits).tolist() == pytest.approx(expected.tolist())


class TestImprove:
    def test_its_optimum_is_the_choice_of_guidance(self):
        """A planner that is sure and wrong comes back, and no sampling is needed."""
        logits = torch.tensor([7.0, 0.0, -1.0], dtype=torch.float64)
        values = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
        first = logits.clone().requires_grad_()
        found = gradient(Improve(beta=0.2).loss(lessons(first, [0], values=values)), first)
        p, doubt = logits.softmax(0), Improve().doubt
        prior = ((1 - doubt) * p + doubt / 3).log()
        target = (prior + values[0] / 0.2).softmax(0)
        assert found.tolist() == pytest.approx((p - target).tolist(), abs=1e-7)
        assert found[1] < -0.4

    def test_without_a_critic_it_learns_nothing(self):
        logits = LOGITS.clone().requires_grad_()
        assert gradient(Improve().loss(lessons(logits, [0])), logits).abs().max() == 0


class TestStepDPO:
    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_the_gradient_at_the_reference(self, sign):
        """There both sides are equal: σ(0) = 1/2 of β, along log p(g⁺) - log p(g⁻)."""
        logits = LOGITS.clone().requires_grad_()
        batch = lessons(
            logits, [0], rival=torch.tensor([2]),
            margin=torch.tensor([30.0 * sign], dtype=torch.float64),
        )  # fmt: skip
        found = gradient(StepDPO(beta=0.8).loss(batch), logits)
        log_p = logits.log_softmax(0)
        expected = gradient(-0.5 * 0.8 * sign * (log_p[0] - log_p[2]), logits)
        assert found.tolist() == pytest.approx(expected.tolist())

    @pytest.mark.slow
    def test_preferences_of_a_bandit_are_met_at_their_odds(self):
        """g⁺ wins w of n comparisons: β [Δ - Δ_ref] = log odds (Bradley and Terry)."""
        margin = torch.tensor([9.0, 9.0, 9.0, -9.0], dtype=torch.float64)
        beta, logits = 0.5, LOGITS[:2]
        found = descend(
            lambda x: StepDPO(beta).loss(
                lessons(x, [0] * 4, rival=torch.ones(4, dtype=torch.int64), margin=margin)
            ),
            logits=logits,
        )
        gained = math.log(found[0] / found[1]) - float(logits[0] - logits[1])
        assert beta * gained == pytest.approx(math.log(3), abs=1e-3)


class TestInverseRL:
    def test_the_gradient_is_that_of_the_expected_reward(self):
        logits = LOGITS.clone().requires_grad_()
        found = gradient(InverseRL().loss(lessons(logits, [0], appeal=ADVANTAGE[None])), logits)
        p = LOGITS.softmax(0)
        expected = -p * (ADVANTAGE - (p * ADVANTAGE).sum())
        assert found.tolist() == pytest.approx(expected.tolist())

    def test_a_discriminator_of_equal_sides_comes_to_one_half(self):
        appeal = torch.tensor([2.0, -1.0], requires_grad=True)
        optimizer = torch.optim.Adam([appeal], 0.1)
        both = torch.tensor([0, 1, 1])
        for _ in range(500):
            optimizer.zero_grad()
            loss = discriminator_loss(appeal[both], appeal[both])
            loss.backward()
            optimizer.step()
        assert appeal.sigmoid().tolist() == pytest.approx([0.5, 0.5], abs=1e-3)
        assert float(loss.detach()) == pytest.approx(math.log(2), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("coef", [0.1, 0.5])
def test_with_kl_the_optimum_is_the_softened_reference(coef):
    """``max E_p[r] - λ KL(p ‖ p_ref)`` has p ∝ p_ref exp(r / λ)."""

    def loss(x):
        batch = lessons(x, [0], appeal=ADVANTAGE[None])
        return InverseRL().loss(batch) + coef * kl_to_reference(batch)

    expected = (LOGITS + ADVANTAGE / coef).softmax(0)
    assert descend(loss, rate=0.03).tolist() == pytest.approx(expected.tolist(), abs=1e-3)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_states_with_fewer_candidates_are_masked(name):
    """A padded candidate changes neither loss nor gradient."""
    gain = torch.tensor([0.5, -0.5], dtype=torch.float64)
    losses, gradients = [], []
    for pad in (0, 2):
        logits = LOGITS[:2].clone().requires_grad_()
        batch = lessons(
            logits, [0, 1], advantage=gain, gain=gain, margin=gain,
            rival=torch.tensor([1, 0]), appeal=ADVANTAGE[:2].expand(2, -1),
            values=ADVANTAGE[:2].expand(2, -1),
        )  # fmt: skip
        wide = {
            key: torch.nn.functional.pad(getattr(batch, key), (0, pad), value=-math.inf)
            for key in ("log_probs", "reference")
        }
        for key in ("appeal", "values"):
            wide[key] = torch.nn.functional.pad(getattr(batch, key), (0, pad))
        rest = {
            key: getattr(batch, key)
            for key in ("choice", "behavior", "advantage", "gain", "margin", "rival")
        }
        padded = LessonBatch(**wide, **rest)
        loss = objective_class(name)().loss(padded) + kl_to_reference(padded)
        found = gradient(loss, logits).tolist()
        losses.append(float(loss.detach()))
        gradients.append(found)
    assert losses[0] == pytest.approx(losses[1])
    assert gradients[0] == pytest.approx(gradients[1])
    assert all(math.isfinite(value) for value in gradients[1])


def test_an_unknown_objective_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'grpo'"):
        objective_class("gpro")
