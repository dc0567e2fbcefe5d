"""LINVIT's soft value and choice against their closed forms."""

import decimal
import math
from decimal import Decimal

import numpy as np
import pytest

from hier.guidance.soft_choice import (
    divergence,
    moderated,
    smoothed_prior,
    soft_choice,
    soft_value,
)

RNG = np.random.default_rng(0)
CASES = [
    (np.log(RNG.dirichlet(np.ones(n))), RNG.normal(scale=scale, size=n))
    for n in (1, 2, 5, 12)
    for scale in (0.01, 1.0, 50.0)
]
COEFS = (0.001, 0.05, 1.0, 100.0)


@pytest.mark.parametrize(("log_p", "q"), CASES)
class TestSoftChoice:
    def test_it_maximizes_value_minus_divergence(self, log_p, q):
        for kl_coef in COEFS:
            log_pi = soft_choice(log_p, q, kl_coef)
            assert np.exp(log_pi).sum() == pytest.approx(1)

            def objective(log_pi, kl_coef=kl_coef):
                return np.exp(log_pi) @ q - kl_coef * divergence(log_pi, log_p)

            best = objective(log_pi)
            # The optimum's own value is V (Donsker and Varadhan).
            assert best == pytest.approx(soft_value(log_p, q, kl_coef), abs=1e-6)
            for _ in range(20):
                other = log_pi + 0.1 * RNG.normal(size=len(q))
                other -= np.log(np.exp(other).sum())
                assert objective(other) <= best + 1e-9

    def test_a_large_coefficient_follows_the_planner(self, log_p, q):
        assert soft_choice(log_p, q, math.inf) == pytest.approx(log_p)
        assert soft_choice(log_p, q, 1e9) == pytest.approx(log_p, abs=1e-6)
        mean = np.exp(log_p) @ q
        assert soft_value(log_p, q, math.inf) == pytest.approx(mean)
        assert soft_value(log_p, q, 1e6) == pytest.approx(mean, abs=2e-3)

    def test_a_small_one_follows_the_critic(self, log_p, q):
        assert np.argmax(soft_choice(log_p, q, 0)) == np.argmax(q)
        assert soft_choice(log_p, q, 0).max() == pytest.approx(0)
        assert soft_value(log_p, q, 0) == q.max()
        assert soft_value(log_p, q, 1e-9) == pytest.approx(q.max(), abs=1e-6)

    def test_the_value_lies_between_mean_and_best_and_falls_with_the_coefficient(self, log_p, q):
        values = [soft_value(log_p, q, kl_coef) for kl_coef in COEFS]
        assert all(np.exp(log_p) @ q - 1e-9 <= v <= q.max() + 1e-9 for v in values)
        assert values == sorted(values, reverse=True)

    def test_batches_give_the_same(self, log_p, q):
        wide = np.full((1, 20), -np.inf), np.full((1, 20), 7.0)
        wide[0][0, : len(q)], wide[1][0, : len(q)] = log_p, q
        for kl_coef in (0.0, *COEFS, math.inf):
            (found,) = soft_value(*wide, kl_coef)
            assert found == pytest.approx(soft_value(log_p, q, kl_coef), rel=1e-4, abs=1e-4)


def precise_value(log_p, q, kl_coef):
    """λ log Σ p exp(Q/λ) with 80 digits, p normalized."""
    with decimal.localcontext(prec=80):
        p = [Decimal(float(one)).exp() for one in log_p]
        λ = Decimal(float(kl_coef))
        odds = [a * (Decimal(float(b)) / λ).exp() for a, b in zip(p, q, strict=True)]
        return float(λ * (sum(odds) / sum(p)).ln())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kl_coef", [1e-4, 1e-3, 0.01, 1.0, 100.0, 1e4])
def test_the_value_is_precise_for_sure_planners_and_any_coefficient(kl_coef, dtype):
    rng = np.random.default_rng(1)
    for least in (1e-30, 1e-9, 1e-3, 0.2):
        for scale in (0.001, 0.1, 1.0):
            p = np.maximum(rng.dirichlet(np.full(5, 0.2)), least)
            log_p, q = np.log(p / p.sum()).astype(dtype), rng.normal(scale=scale, size=5)
            expected = precise_value(log_p, q, kl_coef)
            assert soft_value(log_p, q, kl_coef) == pytest.approx(expected, abs=1e-9, rel=1e-9)


def test_the_value_is_finite_for_every_sure_planner():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(4, 0.05), size=200_000).astype(np.float32) + np.float32(1e-30)
    log_p, q = np.log(p / p.sum(axis=1, keepdims=True)), rng.random((200_000, 4))
    values = soft_value(log_p, q, 0.001)
    assert (values <= q.max(axis=1)).all() and (values >= q.min(axis=1) - 0.001 * 70).all()


def test_what_the_planner_rules_out_is_never_chosen():
    log_p, q = np.array([0.0, -np.inf]), np.array([0.0, 100.0])
    for kl_coef in (0.0, 0.1, math.inf):
        assert np.exp(soft_choice(log_p, q, kl_coef)).tolist() == [1, 0]
        assert soft_value(log_p, q, kl_coef) == 0


def test_doubt_lets_a_sure_planner_be_overruled():
    log_p, q = np.log([1 - 3e-9, 1e-9, 1e-9, 1e-9]), np.array([0.0, 0.0, 0.1, 0.0])
    assert np.exp(soft_choice(log_p, q, 0.01))[2] < 1e-4
    assert np.exp(soft_choice(smoothed_prior(log_p, 0.1), q, 0.01))[2] > 0.99
    assert np.exp(smoothed_prior(log_p, 0.1)) == pytest.approx([0.925, 0.025, 0.025, 0.025])
    assert smoothed_prior(log_p, 0.0) == pytest.approx(log_p)
    assert np.exp(smoothed_prior(log_p, 1.0)) == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("error", [0.0, 0.05, 0.3])
def test_a_moderated_choice_is_nearly_the_mean_over_the_posterior(error):
    rng = np.random.default_rng(0)
    log_p, kl_coef, mean = np.log([0.5, 0.5]), 0.1, 0.1
    drawn = rng.normal(mean, error, 20_000)
    each = [np.exp(soft_choice(log_p, np.array([0, a]), kl_coef))[1] for a in drawn]
    values = moderated(np.array([0, mean]), np.array([0, error]), kl_coef)
    assert np.exp(soft_choice(log_p, values, kl_coef))[1] == pytest.approx(np.mean(each), abs=0.03)


def test_where_the_critic_knows_nothing_the_planners_odds_stand():
    log_p = np.log([0.8, 0.2])
    values = moderated(np.array([0, 0.25]), np.array([0, 1e3]), 0.1)
    assert soft_choice(log_p, values, 0.1) == pytest.approx(log_p, abs=1e-2)


def test_without_an_error_or_a_temperature_nothing_is_moderated():
    values = np.array([0.3, -0.1])
    assert moderated(values, np.zeros(2), 0.1) == pytest.approx(values)
    for kl_coef in (0, math.inf):
        assert moderated(values, np.ones(2), kl_coef) == pytest.approx(values)
