"""Which candidate is pursued, and the plain rule: a draw from the planner's distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import CriticState
from hier.envs.subgoal import Subgoal
from hier.planners.protocol import Planner, PlannerQuery, PlannerReply, ask


@dataclass(slots=True)
class Decision:
    """A choice among candidates.

    Attributes:
        choice: index of the subgoal to pursue.
        log_probs: the planner's distribution over the candidates, ``(n,)``.
        value: the planner's value of the state, NaN if it has none.
        queries: questions put to the planner for this decision, imagined states included.
        log_prob: of the choice, under the distribution it was first drawn from.
        advantages: Q̂(s,g) - V(s) of every candidate, ``(n,)``; ``None`` without a critic.
        kl: KL(π ‖ p) of the distribution it was drawn from.
        proposals: the subgoals proposed in turn, each with its advantage.
        guided: whether the critic took part in it.
    """

    choice: int
    log_probs: NDArray[np.float32]
    value: float = float("nan")
    queries: int = 1
    log_prob: float = 0.0
    advantages: NDArray[np.float64] | None = None
    kl: float = 0.0
    proposals: list[tuple[Subgoal, float]] = field(default_factory=list)
    guided: bool = False

    @property
    def advantage(self) -> float:
        """Q̂(s,g) - V(s) of the choice, NaN without a critic."""
        return float("nan") if self.advantages is None else float(self.advantages[self.choice])


@dataclass(frozen=True, slots=True)
class Future:
    """The state in which a subgoal will probably have been achieved.

    Attributes:
        query: what the planner would be asked there.
        critic_state: the state as a critic sees it.
        duration: environment steps until then, τ.
    """

    query: PlannerQuery
    critic_state: CriticState
    duration: int


Imagine = Callable[[PlannerQuery, Subgoal], Future | None]


class SubgoalSelector(Protocol):
    """Decides among candidates, for all environments that need a plan at once."""

    @property
    def needs_critic_state(self) -> bool:
        """Whether :meth:`decide` reads ``critic_states``."""

    def guides(self) -> bool:
        """Whether the episode that begins is guided; in the others the planner alone decides."""

    def decide(
        self,
        planner: Planner,
        queries: Sequence[PlannerQuery],
        critic_states: Sequence[CriticState],
        imagine: Imagine | None = None,
        guided: Sequence[bool] | None = None,
    ) -> list[Decision]:
        """Ask the planner and choose.

        Args:
            planner: proposes subgoals.
            queries: one per environment.
            critic_states: each environment's state as a critic sees it; empty without a critic.
            imagine: what a subgoal will lead to; nothing is looked ahead without it.
            guided: what :meth:`guides` answered for each environment's episode; all are guided if
                omitted.

        Raises:
            PlannerError: if the planner's answer cannot be used.
        """


class PlannerSelector:
    """A draw from the planner's distribution.

    Args:
        seed: of the draws.
    """

    needs_critic_state = False

    def __init__(self, seed: int = 0):
        self._rng = np.random.default_rng(seed)

    def guides(self) -> bool:
        """Never."""
        return False

    def decide(
        self,
        planner: Planner,
        queries: Sequence[PlannerQuery],
        critic_states: Sequence[CriticState],
        imagine: Imagine | None = None,
        guided: Sequence[bool] | None = None,
    ) -> list[Decision]:
        """See :class:`SubgoalSelector`."""
        return [draw_decision(reply, self._rng) for reply in ask(planner, queries)]


def draw_decision(reply: PlannerReply, rng: np.random.Generator) -> Decision:
    """A draw from the planner's own distribution."""
    choice = draw(reply.log_probs, rng)
    return Decision(choice, reply.log_probs, reply.value, log_prob=float(reply.log_probs[choice]))


def draw(log_probs: NDArray, rng: np.random.Generator) -> int:
    """Index of a candidate, drawn by its probability (Gumbel-max)."""
    return int(np.argmax(log_probs + rng.gumbel(size=len(log_probs))))
