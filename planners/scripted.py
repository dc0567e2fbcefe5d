"""Planners without weights: the oracle, the oracle made noisy or mistaken, and chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hier.envs.errors import ConfigError, UnknownNameError
from hier.planners.protocol import (
    PlannerError,
    PlannerQuery,
    PlannerReply,
    certain_of,
    uniform_over,
)


class OraclePlanner:
    """Gives the domain expert's subgoal; without preference where the expert knows none.

    It is privileged: an upper bound and a teacher, not a competitor.
    """

    privileged = True
    version = 0

    def score(self, queries: Sequence[PlannerQuery]) -> list[PlannerReply]:
        """See :class:`hier.planners.protocol.Planner`.

        Raises:
            PlannerError: if a query carries no expert.
        """
        replies = []
        for query in queries:
            right, n = _ask_expert(query), len(query.candidates)
            reply = uniform_over(n) if right is None else certain_of(self.instead(query, right), n)
            replies.append(reply)
        return replies

    def instead(self, query: PlannerQuery, right: int) -> int:
        """Index of the candidate given in place of ``right``, the expert's."""
        return right


class NoisyPlanner(OraclePlanner):
    """The oracle with a set probability, else any other candidate at random.

    A planner without weights for curves of success against planner quality, as in *Words as
    Beacons*.

    Args:
        accuracy: probability of the oracle's answer, in [0, 1].
        seed: of the planner's own randomness.

    Raises:
        ConfigError: for an accuracy outside [0, 1].
    """

    def __init__(self, accuracy: float = 0.8, seed: int = 0):
        if not 0.0 <= accuracy <= 1.0:
            raise ConfigError(f"planner.accuracy is {accuracy}; it must lie in [0, 1]")
        self.accuracy = accuracy
        self._rng = np.random.default_rng(seed)

    def for_evaluation(self, seed: int) -> NoisyPlanner:
        """The same planner with other randomness, so that evaluation does not affect training."""
        return NoisyPlanner(self.accuracy, seed)

    def instead(self, query: PlannerQuery, right: int) -> int:
        """Index of the expert's candidate or, by chance, of another one."""
        n = len(query.candidates)
        if n > 1 and self._rng.random() >= self.accuracy:
            return (right + 1 + int(self._rng.integers(n - 1))) % n
        return right


MISTAKES = ("color", "order")


class MistakenPlanner(OraclePlanner):
    """The oracle with one systematic mistake, made with full confidence.

    Args:
        mistake: ``color`` gives an object of another color wherever there is one, of the same kind
            if possible; ``order`` opens a door before fetching its key.

    Raises:
        UnknownNameError: for another mistake.
    """

    def __init__(self, mistake: str = "order"):
        if mistake not in MISTAKES:
            raise UnknownNameError("planner.options.mistake", mistake, MISTAKES)
        self.mistake = mistake

    def instead(self, query: PlannerQuery, right: int) -> int:
        """Index of the candidate given in place of ``right``, the expert's."""
        candidates = query.candidates
        meant = candidates[right]
        if self.mistake == "order":
            wrong = [g for g in candidates if g.verb == "open"]
            return candidates.index(wrong[0]) if wrong and meant.kind == "key" else right
        wrong = [g for g in candidates if g.verb == meant.verb and g.color not in (meant.color, "")]
        wrong.sort(key=lambda g: g.kind != meant.kind)  # stable: the same kind first
        return candidates.index(wrong[0]) if wrong else right


class RandomPlanner:
    """No preference among the candidates: shows what the controller achieves without a planner."""

    privileged = False
    version = 0

    def score(self, queries: Sequence[PlannerQuery]) -> list[PlannerReply]:
        """See :class:`hier.planners.protocol.Planner`."""
        return [uniform_over(len(query.candidates)) for query in queries]


def _ask_expert(query: PlannerQuery) -> int | None:
    if query.expert is None:
        raise PlannerError(
            "the oracle planner needs the simulator's expert; run it through hier.train or "
            "hier.evaluate, or pass env= to hier.load"
        )
    subgoal = query.expert.subgoal(query.percept, query.candidates)
    return None if subgoal is None else query.candidates.index(subgoal)
