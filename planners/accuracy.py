"""How often a planner names the subgoal that the domain's expert would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hier.planners.pretraining.demonstrations import Demonstrator, Mistakes
from hier.planners.protocol import Planner, PlannerQuery


@dataclass(frozen=True, slots=True)
class LevelAccuracy:
    """A planner on the states of one level.

    Attributes:
        level: environment id.
        states: how many.
        accuracy: share in which its likeliest subgoal is the expert's.
        probability: mean probability it gives the expert's.
    """

    level: str
    states: int
    accuracy: float
    probability: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A planner on several levels; means count every level alike."""

    levels: list[LevelAccuracy]

    @property
    def mean(self) -> float:
        """Mean accuracy over the levels, in [0, 1]."""
        return float(np.mean([level.accuracy for level in self.levels]))

    @property
    def probability(self) -> float:
        """Mean probability of the expert's subgoal over the levels, in [0, 1]."""
        return float(np.mean([level.probability for level in self.levels]))


NO_MISTAKES = Mistakes(subgoal=0.0, random_action=0.0, start=0.0, impatience=0.0, midway=0.0)


def measure(
    planner: Planner,
    levels: Sequence[str],
    states: int,
    *,
    first_seed: int,
    mistakes: Mistakes = NO_MISTAKES,
    batch: int = 64,
) -> Accuracy:
    """Ask planner and expert the same questions.

    The states are those in which a planner is asked while a perfect controller plays the levels, as
    they are, on the expert's subgoals. They do not depend on the planner.

    Args:
        planner: one without privileges.
        levels: environment ids.
        states: per level.
        first_seed: of consecutive level seeds.
        mistakes: what goes wrong on the way; nothing, unless said otherwise.
        batch: queries per call of ``score``.
    """
    assert not planner.privileged
    return Accuracy(
        [
            _measure(planner, level, *states_of(level, states, first_seed, mistakes), batch)
            for level in levels
        ]
    )


def success_rate(planner: Planner, level: str, episodes: int, *, first_seed: int) -> float:
    """Share of a level's episodes that a planner and the domain's scripted controller succeed in.

    Args:
        planner: takes its likeliest candidates; the oracle gives what the controller allows.
        level: environment id, played as it is.
        episodes: how many.
        first_seed: of consecutive level seeds.
    """
    player = Demonstrator(level, NO_MISTAKES)
    seeds = range(first_seed, first_seed + episodes)
    return float(np.mean([player.solve(planner, seed) for seed in seeds]))


def _measure(
    planner: Planner,
    level: str,
    queries: Sequence[PlannerQuery],
    answers: Sequence[int],
    batch: int,
) -> LevelAccuracy:
    given: list[float] = []
    right, n = 0, len(queries)
    for start in range(0, n, batch):
        replies = planner.score(queries[start : start + batch])
        for reply, answer in zip(replies, answers[start : start + batch], strict=True):
            given.append(float(np.exp(reply.log_probs[answer])))
            right += int(np.argmax(reply.log_probs)) == answer
    return LevelAccuracy(level, n, right / n, float(np.mean(given)))


def states_of(
    level: str, n: int, first_seed: int, mistakes: Mistakes = NO_MISTAKES
) -> tuple[list[PlannerQuery], list[int]]:
    """``n`` questions of one level and the expert's answers, see :func:`measure`."""
    player = Demonstrator(level, mistakes)
    queries: list[PlannerQuery] = []
    answers: list[int] = []
    seed = first_seed
    while len(queries) < n:
        for query, answer in player.play(seed):
            queries.append(replace(query, percept=query.percept.snapshot()))
            answers.append(answer)
        seed += 1
    return queries[:n], answers[:n]
