"""A critic that is certain only of what it has seen: Bayesian regression on hidden states.

The value of candidate g in state s is linear in the planner's hidden states φ(s,g) that scoring it
computes anyway (:attr:`.PlannerReply.states`). With the prior ``w ~ N(0, σ² I / ridge)`` and
independent errors of variance σ² the posterior is closed form (Bishop 2006, section 3.3):

    A = ridge I + Σ φ φᵀ,    mean w = A⁻¹ Σ φ y,    cov w = σ² A⁻¹.

Subgoals of one episode share its luck, so their errors are not independent; the covariance is
widened by :data:`WIDENING` for that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RIDGE = 30.0  # weight of the prior, in observations of standardized features
WIDENING = 2.0  # factor on the posterior's variance


class Values(NamedTuple):
    """Values of ``n`` candidates.

    Attributes:
        mean: ``(n,)`` in the units of the returns.
        covariance: ``(n, n)`` of their errors; the shared part of all candidates cancels in
            differences.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def error_beside(self, reference: int) -> NDArray[np.float64]:
        """Standard error of each candidate's value less that of ``reference``, ``(n,)``."""
        variance = np.diag(self.covariance)
        shared = self.covariance[reference]
        return np.sqrt(np.maximum(variance + variance[reference] - 2 * shared, 0.0))


class LinearCritic:
    """Bayesian linear regression from hidden states to returns.

    Args:
        features: ``(n, k)`` hidden states of the candidates that were pursued.
        returns: ``(n,)`` what followed each.

    Raises:
        ValueError: for no observations, or numbers that are not finite.
    """

    def __init__(self, features: NDArray[np.floating], returns: NDArray[np.floating]):
        x, y = np.asarray(features, np.float64), np.asarray(returns, np.float64)
        if not len(x) or not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise ValueError(f"{len(x)} observations, not all of them finite; give finite ones")
        self._center, self._scale = x.mean(axis=0), x.std(axis=0) + 1e-6
        self._mean_return = y.mean()
        x = (x - self._center) / self._scale
        precision = RIDGE * np.eye(x.shape[1]) + x.T @ x
        self.weights = np.linalg.solve(precision, x.T @ (y - self._mean_return))
        residual = y - self._mean_return - x @ self.weights
        # The effective number of weights (the trace of the hat matrix) is not free to explain.
        inverse = np.linalg.inv(precision)
        fitted = float((inverse * (x.T @ x)).sum())
        noise = float(residual @ residual) / max(len(y) - fitted, 1.0)
        self.covariance = WIDENING * noise * inverse

    def values(self, features: NDArray[np.floating]) -> Values:
        """Values of ``n`` candidates from their hidden states ``(n, k)``, with their errors."""
        x = (np.asarray(features, np.float64) - self._center) / self._scale
        return Values(self._mean_return + x @ self.weights, x @ self.covariance @ x.T)

    def draw(self, rng: np.random.Generator) -> LinearCritic:
        """A critic drawn from the posterior (Thompson sampling), without errors of its own."""
        drawn = object.__new__(LinearCritic)
        drawn.__dict__.update(self.__dict__)
        root = np.linalg.cholesky(self.covariance + 1e-12 * np.eye(len(self.weights)))
        drawn.weights = self.weights + root @ rng.normal(size=len(self.weights))
        drawn.covariance = np.zeros_like(self.covariance)
        return drawn
