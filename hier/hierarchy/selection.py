"""Which candidate is pursued, and the plain rule: a draw from the planner's distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hier.envs.subgoal import Subgoal
from hier.planners.protocol import Planner, PlannerQuery, PlannerReply, ask, draw

if TYPE_CHECKING:
    from hier.guidance.critic import Features


@dataclass(slots=True)
class Decision:
    """A choice among candidates.

    Attributes:
        choice: index of the subgoal to pursue.
        log_probs: the planner's distribution over the candidates, ``(n,)``.
        value: the planner's value of the state, NaN if it has none.
        queries: questions put to the planner for this decision.
        log_prob: of the choice.
        advantages: A(s,g) of every candidate, ``(n,)``; ``None`` without a critic that is ready.
        kl: KL(π ‖ p) of the distribution it was drawn from.
        proposals: the subgoals proposed in turn, each with its advantage.
        features: what the critic saw, in training; ``None`` without a critic.
        policy: ``(n,)`` log-probabilities with which each candidate was pursued; ``None`` without
            a critic.
    """

    choice: int
    log_probs: NDArray[np.float32]
    value: float = float("nan")
    queries: int = 1
    log_prob: float = 0.0
    advantages: NDArray[np.float64] | None = None
    kl: float = 0.0
    proposals: list[tuple[Subgoal, float]] = field(default_factory=list)
    features: Features | None = None
    policy: NDArray[np.float64] | None = None

    @property
    def advantage(self) -> float:
        """A(s,g) of the choice, NaN without a critic that is ready."""
        return float("nan") if self.advantages is None else float(self.advantages[self.choice])


class SubgoalSelector(Protocol):
    """Decides among candidates, for all environments that need a plan at once."""

    def decide(self, planner: Planner, queries: Sequence[PlannerQuery]) -> list[Decision]:
        """Ask the planner and choose.

        Args:
            planner: proposes subgoals.
            queries: one per environment.

        Raises:
            PlannerError: if the planner's answer cannot be used.
        """


class PlannerSelector:
    """A draw from the planner's distribution.

    Args:
        seed: of the draws.
    """

    def __init__(self, seed: int = 0):
        self._rng = np.random.default_rng(seed)

    def decide(self, planner: Planner, queries: Sequence[PlannerQuery]) -> list[Decision]:
        """See :class:`SubgoalSelector`."""
        return [draw_decision(reply, self._rng) for reply in ask(planner, queries)]


def draw_decision(reply: PlannerReply, rng: np.random.Generator) -> Decision:
    """A draw from the planner's own distribution."""
    choice = draw(reply.log_probs, rng)
    return Decision(choice, reply.log_probs, reply.value, log_prob=float(reply.log_probs[choice]))
