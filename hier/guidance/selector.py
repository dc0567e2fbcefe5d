"""Which candidate is pursued when planner and critic decide together (LINVIT, ReAd)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import CriticState
from hier.envs.subgoal import Outcome, Subgoal
from hier.guidance.critic import SubgoalCritic
from hier.guidance.lookahead import LookAhead
from hier.guidance.soft_choice import (
    PriorSmoothing,
    Temperature,
    divergence,
    smoothed_prior,
    soft_choice,
    soft_value,
)
from hier.hierarchy.selection import Decision, Imagine, draw, draw_decision
from hier.planners.protocol import Planner, PlannerQuery, PlannerReply, ask


@dataclass(frozen=True, slots=True)
class Requery:
    """ReAd's second thoughts (arXiv 2405.14314).

    Attributes:
        rounds: most further questions per choice; 0 for none.
        threshold: ε, advantage below which a proposal is questioned; it halves with each round.
    """

    rounds: int = 0
    threshold: float = -0.1


class GuidedSelector:
    """LINVIT's soft choice between planner and critic, with ReAd's re-queries.

    A subgoal is drawn from ``π ∝ p exp(Q̂/λ)``. If its advantage ``Q̂(s,g) - V(s)`` is below ε, the
    planner is asked again: the rejected subgoal is no longer among the candidates, and the query
    lists each rejected subgoal with its advantage. ε halves with each round; after the last one the
    best seen is taken. Until the critic is ready this is :class:`PlannerSelector`.

    Args:
        critic: values subgoals.
        temperature: λ; infinite for ReAd alone.
        requery: when to ask again.
        doubt: share of chance mixed into p once the critic is ready; none if omitted.
        seed: of the draws.
        tune: let a tuned λ follow these choices.
        lookahead: also values what subgoals will lead to; ``None`` for Q̂ alone.
        guides: decides for each episode whether it is guided; all are if omitted.
    """

    needs_critic_state = True

    def __init__(
        self,
        critic: SubgoalCritic,
        temperature: Temperature,
        requery: Requery | None = None,
        doubt: PriorSmoothing | None = None,
        seed: int = 0,
        tune: bool = False,
        lookahead: LookAhead | None = None,
        guides: Callable[[], bool] | None = None,
    ):
        self.critic = critic
        self.temperature = temperature
        self.requery = requery or Requery()
        self.doubt = doubt or PriorSmoothing(0.0)
        self.tune = tune
        self.lookahead = lookahead
        self._guides = guides
        self._rng = np.random.default_rng(seed)

    def guides(self) -> bool:
        """See :class:`.SubgoalSelector`."""
        return self._guides is None or self._guides()

    def decide(
        self,
        planner: Planner,
        queries: Sequence[PlannerQuery],
        critic_states: Sequence[CriticState],
        imagine: Imagine | None = None,
        guided: Sequence[bool] | None = None,
    ) -> list[Decision]:
        """See :class:`.SubgoalSelector`."""
        replies = ask(planner, queries)
        if not self.critic.ready:
            return [draw_decision(reply, self._rng) for reply in replies]
        values = self.critic.values(critic_states)
        kl_coef = self.temperature.value
        priors = [self._prior(*pair) for pair in zip(queries, replies, strict=True)]
        imagined = [0] * len(queries)
        if self.lookahead is not None and imagine is not None:
            values, imagined = self.lookahead.deepen(
                planner, self.critic, queries, priors, values,
                kl_coef=kl_coef, doubt=self.doubt.share(), imagine=imagine,
            )  # fmt: skip
        guided = [True] * len(queries) if guided is None else guided
        decisions, states = [], []
        for query, reply, prior, q, free in zip(
            queries, replies, priors, values, guided, strict=True
        ):
            # ReAd alone leaves proposing to the planner.
            planner_alone = math.isinf(kl_coef) or not free
            policy = reply.log_probs if planner_alone else soft_choice(prior, q, kl_coef)
            kl = divergence(policy, prior)
            if self.tune and free:
                self.temperature.update(kl)
            state = _Deliberation(query, q, float(soft_value(prior, q, kl_coef)), policy)
            state.propose(draw(policy, self._rng))
            states.append(state)
            decisions.append(Decision(-1, reply.log_probs, reply.value, kl=kl, guided=free))
        self._ask_again(
            planner, [s for s, d in zip(states, decisions, strict=True) if d.guided], kl_coef
        )
        for decision, state, extra in zip(decisions, states, imagined, strict=True):
            decision.choice = state.best()
            decision.log_prob = float(state.policy[decision.choice])
            decision.advantages = state.advantages
            decision.queries = len(state.proposed) + extra
            decision.proposals = state.proposals()
        return decisions

    def _prior(self, query: PlannerQuery, reply: PlannerReply) -> NDArray[np.float64]:
        """The planner's opinion, doubted."""
        favorite = query.candidates[int(np.argmax(reply.log_probs))]
        last = next((how for g, how in reversed(query.recent) if g == favorite), Outcome.DONE)
        return smoothed_prior(reply.log_probs, self.doubt.share(again=last != Outcome.DONE))

    def _ask_again(self, planner: Planner, states: Sequence[_Deliberation], kl_coef: float) -> None:
        threshold = self.requery.threshold
        for _ in range(self.requery.rounds):
            doubtful = [state for state in states if state.is_doubtful(threshold)]
            if not doubtful:
                return
            replies = ask(planner, [state.asked_again() for state in doubtful])
            for state, reply in zip(doubtful, replies, strict=True):
                left = state.left()
                policy: NDArray = reply.log_probs
                if not math.isinf(kl_coef):
                    prior = smoothed_prior(reply.log_probs, self.doubt.share())
                    policy = soft_choice(prior, state.values[left], kl_coef)
                state.propose(left[draw(policy, self._rng)])
            threshold /= 2


class _Deliberation:
    """One environment's proposals so far."""

    def __init__(
        self, query: PlannerQuery, values: NDArray[np.float32], value: float, policy: NDArray
    ):
        self.query, self.values, self.policy = query, values, policy
        self.advantages = values.astype(np.float64) - value
        self.proposed: list[int] = []

    def propose(self, choice: int) -> None:
        self.proposed.append(choice)

    def best(self) -> int:
        return max(self.proposed, key=lambda choice: self.advantages[choice])

    def left(self) -> list[int]:
        return [i for i in range(len(self.values)) if i not in self.proposed]

    def is_doubtful(self, threshold: float) -> bool:
        # A later proposal that stands ends the matter, even if an earlier one was better.
        return self.advantages[self.proposed[-1]] < threshold and bool(self.left())

    def proposals(self) -> list[tuple[Subgoal, float]]:
        return [(self.query.candidates[g], float(self.advantages[g])) for g in self.proposed]

    def asked_again(self) -> PlannerQuery:
        return replace(
            self.query,
            candidates=[self.query.candidates[i] for i in self.left()],
            rejected=self.proposals(),
            offered=self.query.candidates,
        )
