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


class PriorSmoothing:
    """How much chance is mixed into a planner's opinion: the less, the more of its plans succeed.

    Args:
        most: share of chance while nothing succeeds; it falls in proportion to failure.
        again: the same where the planner would repeat what was not achieved when last tried.
        rate: weight of the newest episode in the running mean of success.
    """

    def __init__(self, most: float, again: float = 0.0, rate: float = 0.02):
        self.most, self.again, self.rate = most, max(most, again), rate
        self.success = 0.0

    def share(self, again: bool = False) -> float:
        """The share of chance now, in [0, 1]; ``again`` where the planner repeats itself."""
        return (self.again if again else self.most) * (1.0 - self.success)

    def update(self, success: bool) -> None:
        """Take in how a training episode ended."""
        self.success += self.rate * (float(success) - self.success)


class GuidanceBandit:
    """Decides for each episode whether it is guided, by which has succeeded more often of late.

    A critic can be wrong about states that it has not seen, and then guidance does worse than the
    planner alone. Training episodes are therefore shared between the two arms by Thompson sampling
    on their success (Thompson 1933), with forgetting because controller and critic go on learning.
    Evaluations use the better arm.

    Args:
        seed: of the draws.
        rate: share of what is known that each episode makes forgotten; 0.02 remembers about 50.
    """

    def __init__(self, seed: int = 0, rate: float = 0.02):
        self.rate = rate
        self.wins, self.losses = [0.0, 0.0], [0.0, 0.0]  # planner alone, guided
        self._rng = np.random.default_rng(seed)

    def draw(self) -> bool:
        """Whether the next training episode is guided."""
        alone, guided = (
            self._rng.beta(1 + won, 1 + lost)
            for won, lost in zip(self.wins, self.losses, strict=True)
        )
        return bool(guided >= alone)

    def best(self) -> bool:
        """Whether guidance does at least as well."""
        alone, guided = self.rates()
        return guided >= alone

    def rates(self) -> tuple[float, float]:
        """Recent success of the planner alone and of guided episodes, with one prior count each."""
        alone, guided = (
            (1 + won) / (2 + won + lost) for won, lost in zip(self.wins, self.losses, strict=True)
        )
        return alone, guided

    def update(self, guided: bool, success: bool) -> None:
        """Take in how a training episode ended."""
        for counts, new in ((self.wins, success), (self.losses, not success)):
            for arm in (0, 1):
                counts[arm] *= 1 - self.rate
            counts[guided] += new


class Temperature:
    """λ over the course of a training.

    Args:
        mode: ``fixed``; ``annealed``, geometrically from ``start`` to ``end`` over ``steps``
            environment steps, so that the critic gets its say as it learns; or ``tuned``, moved
            so that KL(π ‖ p) comes to ``target_kl``, by gradient steps on log λ as for SAC's α
            (arXiv 1812.05905).
        start: λ at first.
        end, steps: of ``annealed``.
        target_kl: of ``tuned``, nats.
        rate: of ``tuned``, step on log λ per nat of difference.
    """

    def __init__(
        self,
        mode: str,
        start: float,
        *,
        end: float = 0.0,
        steps: int = 1,
        target_kl: float = 0.0,
        rate: float = 0.01,
    ):
        self.mode = mode
        self.value = self.start = start
        self.end, self.steps = end, steps
        self.target_kl, self.rate = target_kl, rate

    def anneal(self, env_steps: int) -> None:
        """Move an annealed λ to where it is after ``env_steps``."""
        if self.mode == "annealed":
            share = min(1.0, env_steps / self.steps)
            self.value = self.start * (self.end / self.start) ** share

    def update(self, kl: float) -> None:
        """Move a tuned λ, given the KL of a choice just made."""
        if self.mode == "tuned":
            step = self.rate * float(np.clip(kl - self.target_kl, -1.0, 1.0))
            self.value = float(np.clip(self.value * math.exp(step), 1e-4, 1e4))
