"""LINVIT at the level of subgoals: a planner as prior, a critic as evidence (arXiv 2402.16181).

With p(g|s) the planner's distribution over the candidates and Q̂(s,g) the critic's value of each,
the KL-regularized problem ``max_π E_π[Q̂] - λ KL(π ‖ p)`` has the optimum

    V(s) = λ log Σ_g p(g|s) exp(Q̂(s,g) / λ),    π(g|s) = p(g|s) exp((Q̂(s,g) - V(s)) / λ).

λ → ∞ follows the planner, λ → 0 the critic, and V is never below E_p[Q̂] (Jensen).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def soft_value(log_probs: NDArray, values: NDArray, kl_coef: float) -> NDArray[np.float64]:
    """V(s), in the units of ``values``; ``(..., n)`` twice to ``(...)``.

    It is right to 1e-9 for priors down to 1e-30 and λ from 1e-4 to 1e4.

    Args:
        log_probs: log p(g|s), normalized; minus infinity for what cannot be chosen, at least one
            finite.
        values: Q̂(s,g).
        kl_coef: λ in [0, ∞]; 0 gives the largest value that the planner does not rule out, infinity
            the planner's mean.
    """
    log_p = np.asarray(log_probs, np.float64)
    possible = np.isfinite(log_p)
    best = np.where(possible, values, -np.inf).max(axis=-1)
    if kl_coef == 0:
        return best
    log_p = log_p - _log_sum_exp(log_p)  # float32 sums to one only nearly, and λ multiplies that
    gaps = np.where(possible, values - best[..., None], 0.0)
    if math.isinf(kl_coef):
        return best + (np.exp(log_p) * gaps).sum(axis=-1)
    # Both forms are log Σ p exp(gap/λ). The first keeps its digits where that sum is nearly one, as
    # for large λ; the second where it is nearly zero, as for a planner that is sure and wrong.
    below_one = (np.exp(log_p) * np.expm1(gaps / kl_coef)).sum(axis=-1)
    near_one = np.log1p(np.maximum(below_one, -0.5))
    near_zero = _log_sum_exp(log_p + gaps / kl_coef)[..., 0]
    return best + kl_coef * np.where(below_one > -0.5, near_one, near_zero)


def _log_sum_exp(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    top = terms.max(axis=-1, keepdims=True)
    return top + np.log(np.exp(terms - top).sum(axis=-1, keepdims=True))


def soft_choice(log_probs: NDArray, values: NDArray, kl_coef: float) -> NDArray[np.float64]:
    """Log π(g|s), ``(n,)``, normalized; arguments as :func:`soft_value`.

    At λ = 0 all probability is on the best candidates, shared as the planner shares it.
    """
    log_p = np.asarray(log_probs, np.float64)
    if math.isinf(kl_coef):
        return log_p
    q = np.where(np.isfinite(log_p), values, -np.inf)
    best = q.max()
    evidence = np.where(q == best, 0.0, -np.inf) if kl_coef == 0 else (q - best) / kl_coef
    logits = log_p + evidence
    return logits - _log_sum_exp(logits)


def moderated(advantages: NDArray, errors: NDArray, kl_coef: float) -> NDArray[np.float64]:
    """Advantages shrunk for their standard errors; all ``(n,)``, in the units of ``kl_coef``.

    Evidence a with standard error s, both divided by λ, counts as ``a / √(1 + π s² / 8)``: the mean
    over the critic's posterior of a choice between two that the planner holds for equal (MacKay
    1992, The evidence framework applied to classification networks, eq. 10). The planner's odds are
    not shrunk, so that they stand where the critic knows nothing.
    """
    if kl_coef == 0 or math.isinf(kl_coef):
        return np.asarray(advantages, np.float64)
    return advantages / np.sqrt(1 + math.pi / 8 * np.square(errors / kl_coef))


def divergence(log_pi: NDArray, log_probs: NDArray) -> float:
    """KL(π ‖ p) in nats; both ``(n,)``, normalized."""
    taken = np.exp(log_pi)
    there = taken > 0
    return float(np.sum(taken[there] * (np.asarray(log_pi) - log_probs)[there]))


def smoothed_prior(log_probs: NDArray, doubt: float) -> NDArray[np.float64]:
    """``log((1 - doubt) p + doubt / n)``: a planner that is sure can still be overruled.

    Args:
        log_probs: log p, ``(n,)``, normalized.
        doubt: share of the uniform distribution, in [0, 1].
    """
    log_p = np.asarray(log_probs, np.float64)
    return np.log((1 - doubt) * np.exp(log_p) + doubt / len(log_p)) if doubt else log_p
