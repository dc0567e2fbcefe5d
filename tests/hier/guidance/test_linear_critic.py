"""The Bayesian linear critic against closed forms."""

import numpy as np
import pytest

from hier.guidance.linear_critic import RIDGE, WIDENING, LinearCritic


def data(n, k=3, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    features, weights = rng.normal(size=(n, k)), np.arange(1.0, k + 1)
    return features, features @ weights + 2 + noise * rng.normal(size=n), weights


def test_many_observations_give_the_true_weights_and_small_errors():
    features, returns, weights = data(20_000)
    critic = LinearCritic(features, returns)
    new = np.random.default_rng(1).normal(size=(5, 3))
    found = critic.values(new)
    assert found.mean == pytest.approx(new @ weights + 2, abs=0.02)
    assert np.sqrt(np.diag(found.covariance)).max() < 0.01


def test_it_is_ridge_regression_on_standardized_features():
    features, returns, _ = data(40, noise=1.0)
    x = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    weights = np.linalg.inv(x.T @ x + RIDGE * np.eye(3)) @ x.T @ (returns - returns.mean())
    critic = LinearCritic(features, returns)
    assert critic.weights == pytest.approx(weights)
    assert critic.values(features).mean == pytest.approx(returns.mean() + x @ weights)


def test_the_stated_error_of_a_difference_is_the_error_seen():
    """Over many data sets, true differences lie within the error as often as a normal's do."""
    a, b = np.array([1.0, -1.0, 0.5]), np.array([-0.5, 1.0, 1.0])
    ratios = []
    for seed in range(400):
        features, returns, weights = data(300, noise=1.0, seed=seed)
        found = LinearCritic(features, returns).values(np.stack([a, b]))
        error = found.mean[0] - found.mean[1] - (a - b) @ weights
        ratios.append(error / found.error_beside(1)[0])
        assert found.error_beside(1)[1] == 0
    bias = np.mean(ratios)  # the prior draws weights toward zero
    assert np.std(ratios) == pytest.approx(1 / np.sqrt(WIDENING), rel=0.15) and abs(bias) < 2.5


def test_draws_have_the_posteriors_mean_and_spread():
    features, returns, _ = data(30, noise=1.0)
    critic, rng = LinearCritic(features, returns), np.random.default_rng(2)
    drawn = np.stack([critic.draw(rng).weights for _ in range(4000)])
    assert drawn.mean(axis=0) == pytest.approx(critic.weights, abs=0.05)
    assert np.cov(drawn.T) == pytest.approx(critic.covariance, abs=0.02)


def test_numbers_that_are_not_finite_are_refused():
    features, returns, _ = data(10)
    returns[3] = np.nan
    with pytest.raises(ValueError, match="10 observations, not all of them finite"):
        LinearCritic(features, returns)
    with pytest.raises(ValueError, match="0 observations"):
        LinearCritic(features[:0], returns[:0])
