"""The critic of subgoals: Bayesian linear regression on the planner's own hidden states.

The return that follows subgoal g, chosen in state s from the distribution μ, is taken apart as in
direct advantage estimation (Pan et al., arXiv 2109.06093):

    G = V(s) + A(s, g) + noise,    V(s) = v·ψ(s),    A(s, g) = w·(φ(s, g) - Σ_h μ(h|s) φ(s, h)).

Centered under μ, the features of A are uncorrelated with everything that depends on the state
alone, so that A is estimated without bias however badly V fits. Centered under anything else, good
states are mistaken for good choices. The targets of A are generalized advantage estimates over the
closed subgoals of an episode (Schulman et al., arXiv 1506.02438). The posterior of w is Gaussian
and gives the error of every advantage; without data its mean is 0: the choice is the planner's.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hier.envs.errors import NotFiniteError
from hier.hierarchy.records import discounted_returns

GAE = 0.8
RIDGE = 300.0  # precision of the prior of V, in observations of features of scale 1
# Of these precisions of the prior of A, the one is taken with which each half of the episodes
# predicts the other best. Where nothing was learned yet, that is the highest: A is nearly 0.
RIDGES = 300.0 * 10.0 ** np.arange(0, 3.5, 0.5)
WINDOW = 10_000  # closed subgoals that it learns from: planner and controller change
FIRST_EPISODES = 20  # that its opinion has to rest on, see :func:`_carrying`
SIGNIFICANT = 2.0  # standard errors of the slope
NEGLIGIBLE = 1e-2  # of the returns' standard deviation: advantages that say nothing


class Features(NamedTuple):
    """A state and its candidates as the critic sees them.

    Attributes:
        candidates: ``(n, k)`` float32, φ.
        state: ``(m,)`` float32, ψ.
    """

    candidates: NDArray[np.float32]
    state: NDArray[np.float32]


class Advantages(NamedTuple):
    """Advantages of ``n`` candidates in environment reward.

    Attributes:
        mean: ``(n,)``, above the mean under the distribution that was given.
        error: ``(n,)`` standard errors.
    """

    mean: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """A closed subgoal.

    Attributes:
        chosen: ``(k,)`` float32, the centered features of what was pursued.
        state: ``(m,)`` float32.
        reward: R, discounted environment reward over its steps.
        discount: to the next choice; 0 if the episode ended with it.
    """

    chosen: NDArray[np.float32]
    state: NDArray[np.float32]
    reward: float
    discount: float


class SubgoalCritic:
    """V(s) and A(s, g), learned from the episodes that have ended.

    Attributes:
        episodes: ended so far.
        unit: standard deviation of returns around V, in environment reward; 0 before it is ready.
        slope, slope_error: regression of ``G - V`` on the advantages that the critic of the other
            half of the episodes gives, with its standard error over episodes. 1 is calibrated, 0
            useless.
    """

    def __init__(self) -> None:
        self.episodes = 0
        self.unit = self.slope = 0.0
        self.slope_error = math.inf
        self._kept: deque[list[Step]] = deque()
        self._half: deque[int] = deque()
        self._closed = 0
        self._new = 0
        self._state: tuple[NDArray, NDArray, NDArray, float]  # center, scale, weights, mean return
        self._all: _Posterior | None = None
        self._halves: list[_Posterior | None] = [None, None]

    @property
    def ready(self) -> bool:
        """Whether it has an opinion."""
        return self._all is not None and self.unit > 0

    @property
    def say(self) -> float:
        """1 once its advantages come true in episodes that it did not see, else 0.

        That is when the slope is positive by :data:`SIGNIFICANT` standard errors. The planner
        learns from it only then. Choices follow it all the time: once they do, they vary little,
        and what varies little has no significant slope.
        """
        return float(self.slope > SIGNIFICANT * self.slope_error)

    def value(self, state: NDArray[np.float32]) -> float:
        """V(s) in environment reward; NaN before it is ready."""
        return float(self._values(state[None])[0]) if self.ready else math.nan

    def advantages(
        self, candidates: NDArray[np.float32], log_probs: NDArray, half: int | None = None
    ) -> Advantages:
        """A of every candidate above its mean under ``log_probs``; zeros before it is ready.

        Args:
            candidates: ``(n, k)`` features.
            log_probs: ``(n,)`` normalized.
            half: 0 or 1 for what the episodes of that half alone say; all where it has none.
        """
        found = self._all if half is None else self._halves[half] or self._all
        if found is None or not self.ready:
            return Advantages(np.zeros(len(candidates)), np.zeros(len(candidates)))
        x = centered(candidates, log_probs)
        return Advantages(x @ found.weights, np.sqrt(np.square(x @ found.root).sum(axis=1)))

    def add(self, episode: Sequence[Step], half: int = 0) -> None:
        """Learn from an ended episode at the next :meth:`fit`.

        Args:
            episode: its closed subgoals in order.
            half: 0 or 1, the half of the episodes that it belongs to.

        Raises:
            NotFiniteError: for features or rewards that are not finite.
        """
        for step in episode:
            whole = (step.chosen.sum(), step.state.sum(), step.reward)
            if not np.isfinite(whole).all():
                raise NotFiniteError(
                    f"the critic was given numbers that are not finite (sums of the features and "
                    f"reward: {whole}); look at the planner's hidden states and at the simulator's "
                    "rewards"
                )
        self._kept.append(list(episode))
        self._half.append(half)
        self._closed += len(episode)
        self._new += 1
        while self._closed - len(self._kept[0]) >= WINDOW:
            self._closed -= len(self._kept.popleft())
            self._half.popleft()
        self.episodes += 1

    def fit(self) -> dict[str, float]:
        """Take in the episodes added since; what it knows, by name, if there were any.

        Returns:
            ``explained``, the share of the returns' variance that V explains; ``unit``, ``ridge``
            (the precision of A's prior), ``slope``, ``slope_error`` and ``say``.
        """
        if not self._new or self.episodes < FIRST_EPISODES:
            return {}
        self._new = 0
        returns = np.concatenate([_returns(episode) for episode in self._kept])
        states = np.stack([step.state for episode in self._kept for step in episode])
        x = states.astype(np.float64)
        center, scale, mean = x.mean(axis=0), x.std(axis=0) + 1e-3, float(returns.mean())
        x = (x - center) / scale
        gram = RIDGE * np.eye(x.shape[1]) + x.T @ x
        self._state = center, scale, np.linalg.solve(gram, x.T @ (returns - mean)), mean
        values = self._values(states)
        self.unit = float((returns - values).std())
        lengths = [len(episode) for episode in self._kept]
        if self.unit == 0 or _carrying(returns - values, lengths) < FIRST_EPISODES:
            self.unit = 0.0
            return {}
        chosen = np.stack([step.chosen for episode in self._kept for step in episode])
        by_episode = np.split(values, np.cumsum(lengths)[:-1])
        targets = np.concatenate(list(map(_targets, self._kept, by_episode)))
        half = np.repeat(self._half, lengths)
        ridge = _best_ridge(chosen, targets, half)
        self._all = _Posterior.of(chosen, targets, ridge)
        self._halves = [_Posterior.of(chosen[half == h], targets[half == h], ridge) for h in (0, 1)]
        self._judge(chosen, returns - values, half, lengths)
        explained = 1 - self.unit**2 / max(float(returns.var()), 1e-12)
        return {
            "explained": explained,
            "unit": self.unit,
            "ridge": ridge,
            "slope": self.slope,
            "slope_error": min(self.slope_error, 1e3),
            "say": self.say,
        }

    def _values(self, states: NDArray) -> NDArray[np.float64]:
        center, scale, weights, mean = self._state
        return mean + (states - center) / scale @ weights

    def _judge(
        self, chosen: NDArray, after: NDArray, half: NDArray, lengths: Sequence[int]
    ) -> None:
        """Regress ``G - V`` of each half's choices on the advantages that the other half gives."""
        self.slope, self.slope_error = 0.0, math.inf
        one, other = self._halves
        if one is None or other is None or len(lengths) < FIRST_EPISODES:
            return
        stated: NDArray = np.where(half == 0, chosen @ other.weights, chosen @ one.weights)
        starts = np.cumsum([0, *lengths[:-1]])
        squares = np.add.reduceat(stated**2, starts)
        if squares.sum() < len(chosen) * (NEGLIGIBLE * self.unit) ** 2:
            return
        crossed = np.add.reduceat(stated * after, starts)
        self.slope = float(crossed.sum() / squares.sum())
        error = crossed - self.slope * squares
        self.slope_error = float(np.sqrt((error**2).sum()) / squares.sum())

    def state_dict(self) -> dict[str, NDArray]:
        """Its episodes as arrays."""
        steps = [step for episode in self._kept for step in episode]
        return {
            "episodes": np.array([self.episodes]),
            "lengths": np.array([len(episode) for episode in self._kept], int),
            "half": np.array(self._half, int),
            "chosen": np.array([step.chosen for step in steps], np.float32),
            "state": np.array([step.state for step in steps], np.float32),
            "numbers": np.array([[s.reward, s.discount] for s in steps], np.float64),
        }

    def load_state_dict(self, state: dict[str, NDArray]) -> None:
        """Go on from :meth:`state_dict`."""
        steps = [
            Step(chosen, at, *map(float, numbers))
            for chosen, at, numbers in zip(
                state["chosen"], state["state"], state["numbers"], strict=True
            )
        ]
        self._kept.clear()
        self._half = deque(state["half"].tolist())
        start = 0
        for length in state["lengths"].tolist():
            self._kept.append(steps[start : start + length])
            start += length
        if not start == len(steps) == len(state["state"]) or len(self._kept) != len(self._half):
            raise ValueError(f"{len(steps)} closed subgoals for episodes of {start}")
        self.episodes, self._closed, self._new = int(state["episodes"][0]), start, 1
        self.fit()


class _Posterior(NamedTuple):
    """Of the weights of A: mean ``(k,)``, and a root of the covariance, ``(k, k)``."""

    weights: NDArray[np.float64]
    root: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray, targets: NDArray, ridge: float) -> _Posterior | None:
        if not len(targets):
            return None
        x = features.astype(np.float64)
        scale = np.sqrt(np.square(x).mean(axis=0)) + 1e-3
        x = x / scale
        lower = np.linalg.cholesky(ridge * np.eye(x.shape[1]) + x.T @ x)
        inverse = np.linalg.inv(lower)  # small: a hundred or two
        weights = inverse.T @ (inverse @ (x.T @ targets))
        noise = float(np.sqrt(np.square(targets - x @ weights).mean()))
        return cls(weights / scale, noise * inverse.T / scale[:, None])


def _best_ridge(features: NDArray, targets: NDArray, half: NDArray) -> float:
    """The prior's precision with which the halves of the episodes predict each other best."""
    x = features.astype(np.float64)
    x /= np.sqrt(np.square(x).mean(axis=0)) + 1e-3
    errors = np.zeros(len(RIDGES))
    for h in (0, 1):
        known, unknown = x[half == h], x[half != h]
        spectrum, axes = np.linalg.eigh(known.T @ known)
        seen, asked = axes.T @ (known.T @ targets[half == h]), unknown @ axes
        found = asked @ (seen[:, None] / (spectrum[:, None] + RIDGES))
        errors += np.square(targets[half != h][:, None] - found).sum(axis=0)
    return float(RIDGES[errors.argmin()])


def _carrying(residuals: NDArray, lengths: Sequence[int]) -> float:
    """On how many episodes the returns' variance rests, ``(Σ s)² / Σ s²`` of their shares s."""
    shares = np.add.reduceat(residuals**2, np.cumsum([0, *lengths[:-1]]))
    return float(shares.sum() ** 2 / np.square(shares).sum())


def centered(candidates: NDArray, log_probs: NDArray) -> NDArray[np.float64]:
    """Features less their mean under a distribution, ``(n, k)``."""
    p = np.exp(np.asarray(log_probs, np.float64))
    return candidates - (p / p.sum()) @ candidates.astype(np.float64)


def half_of(env: int, episode: int) -> int:
    """The half, 0 or 1, to which an environment's episode belongs; they take turns."""
    return (env + episode) % 2


def _returns(episode: Sequence[Step]) -> NDArray[np.float64]:
    return np.array(discounted_returns([(step.reward, step.discount) for step in episode]))


def _targets(episode: Sequence[Step], values: NDArray) -> NDArray[np.float64]:
    """Generalized advantage estimates of an episode, given V of its states; both ``(n,)``."""
    found, later, after = np.zeros(len(episode)), 0.0, 0.0
    for k in range(len(episode) - 1, -1, -1):
        step = episode[k]
        error = step.reward + step.discount * after - values[k]
        found[k] = later = error + step.discount * GAE * later
        after = values[k]
    return found
