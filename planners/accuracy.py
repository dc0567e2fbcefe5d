"""How often a planner names the subgoal that the domain's expert would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hier.planners.play import NO_MISTAKES, Mistakes, Player
from hier.planners.protocol import Planner, PlannerQuery


@dataclass(frozen=True, slots=True)
class LevelAccuracy:
    """How well a planner agrees with the expert on the states of one level.

    Attributes:
        level: environment id.
        states: number of states.
        accuracy: share of states in which the planner's likeliest subgoal is the expert's.
        probability: mean probability that the planner gives the expert's subgoal.
        confidence: ``(states, 2)``: the probability of the planner's likeliest subgoal, and 1 where
            that is the expert's, else 0.
    """

    level: str
    states: int
    accuracy: float
    probability: float
    confidence: NDArray[np.float64] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well a planner agrees with the expert on several levels; each level counts the same."""

    levels: list[LevelAccuracy]

    @property
    def mean(self) -> float:
        """Mean accuracy over the levels, in [0, 1]."""
        return float(np.mean([level.accuracy for level in self.levels]))

    @property
    def probability(self) -> float:
        """Mean probability of the expert's subgoal over the levels, in [0, 1]."""
        return float(np.mean([level.probability for level in self.levels]))

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over all states, see :func:`calibration_error`."""
        return calibration_error(np.concatenate([level.confidence for level in self.levels]))


def calibration_error(confidence: NDArray[np.float64], bins: int = 10) -> float:
    """How far confidence is from accuracy (ECE; Guo et al., arXiv 1706.04599), in [0, 1].

    Args:
        confidence: ``(n, 2)``, see :class:`LevelAccuracy`.
        bins: of equal width; within each, mean confidence is compared with accuracy.
    """
    which = np.minimum((confidence[:, 0] * bins).astype(int), bins - 1)
    gaps = np.bincount(which, confidence[:, 0] - confidence[:, 1], minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def measure_accuracy(
    planner: Planner,
    levels: Sequence[str],
    states: int,
    *,
    first_seed: int,
    mistakes: Mistakes = NO_MISTAKES,
    batch: int = 64,
) -> Accuracy:
    """Ask a planner and the expert the same questions.

    The questions are those that a planner is asked while the scripted controller plays the levels,
    without variations, on the expert's subgoals. They do not depend on the planner.

    Args:
        planner: one without privileges.
        levels: environment ids.
        states: number of states of each level.
        first_seed: of consecutive level seeds.
        mistakes: what goes wrong while the levels are played; nothing by default.
        batch: queries per call of ``score``.
    """
    assert not planner.privileged
    return Accuracy(
        [
            _measure_level(planner, level, *states_of(level, states, first_seed, mistakes), batch)
            for level in levels
        ]
    )


def success_rate(planner: Planner, level: str, episodes: int, *, first_seed: int) -> float:
    """Share of episodes that end in success when a planner's subgoals are pursued.

    The scripted controller pursues them.

    Args:
        planner: its likeliest candidates are pursued; the oracle shows what the controller allows.
        level: environment id, played without variations.
        episodes: number of episodes.
        first_seed: of consecutive level seeds.
    """
    player = Player(level, NO_MISTAKES)
    seeds = range(first_seed, first_seed + episodes)
    return float(np.mean([player.solve(planner, seed) for seed in seeds]))


def _measure_level(
    planner: Planner,
    level: str,
    queries: Sequence[PlannerQuery],
    answers: Sequence[int],
    batch: int,
) -> LevelAccuracy:
    given: list[float] = []  # probabilities of the expert's answers
    sure: list[tuple[float, bool]] = []
    for start in range(0, len(queries), batch):
        replies = planner.score(queries[start : start + batch])
        for reply, answer in zip(replies, answers[start : start + batch], strict=True):
            p = np.exp(reply.log_probs.astype(np.float64))
            given.append(float(p[answer]))
            sure.append((p.max(), int(np.argmax(p)) == answer))
    confidence = np.array(sure, np.float64)
    right = float(confidence[:, 1].mean())
    return LevelAccuracy(level, len(queries), right, float(np.mean(given)), confidence)


def states_of(
    level: str, n: int, first_seed: int, mistakes: Mistakes = NO_MISTAKES
) -> tuple[list[PlannerQuery], list[int]]:
    """``n`` questions of one level and the expert's answers, see :func:`measure_accuracy`."""
    player = Player(level, mistakes)
    queries: list[PlannerQuery] = []
    answers: list[int] = []
    seed = first_seed
    while len(queries) < n:
        for asked in player.play(seed):
            queries.append(replace(asked.query, percept=asked.query.percept.snapshot()))
            answers.append(asked.answer)
        seed += 1
    return queries[:n], answers[:n]
