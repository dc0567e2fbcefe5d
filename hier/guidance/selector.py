"""Which candidate is pursued when planner and critic decide together (LINVIT, ReAd)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hier.envs.subgoal import Subgoal
from hier.guidance.critic import Advantages, SubgoalCritic
from hier.guidance.features import FeatureReader
from hier.guidance.soft_choice import divergence, moderated, smoothed_prior, soft_choice
from hier.hierarchy.selection import Decision
from hier.planners.protocol import Planner, PlannerQuery, ask, draw

DOUBT = 0.02  # share of chance mixed into the planner's distribution, so that it can be overruled
REJECTED = 1.0  # standard errors below the planner's mean at which a proposal is questioned


class GuidedSelector:
    """LINVIT's soft choice between planner and critic, with ReAd's re-queries.

    A subgoal is drawn from ``π ∝ p exp(A / λ)``, λ in standard deviations of the return and A
    shrunk for its error (:func:`.moderated`): what the critic is not sure of counts less. (Drawing
    one A from the posterior, Thompson sampling, was tried: while a controller still learns to walk
    it replaced up to half of the planner's choices by chance.)

    If the advantage of the subgoal drawn is negative by a standard error, the planner is asked anew
    without it; after the last round the best seen is taken (ReAd). Before the critic is ready
    subgoals are drawn from p.

    Args:
        critic: values subgoals.
        reader: of the features that it sees.
        kl_coef: λ; infinite leaves the first proposal to the planner.
        rounds: most further questions of one choice; 0 for none.
        seed: of the draws.
        training: leave the features with each decision.
    """

    def __init__(
        self,
        critic: SubgoalCritic,
        reader: FeatureReader,
        *,
        kl_coef: float = 0.1,
        rounds: int = 0,
        seed: int = 0,
        training: bool = False,
    ):
        self.critic = critic
        self.reader = reader
        self.kl_coef = kl_coef
        self.rounds = rounds
        self.training = training
        self._rng = np.random.default_rng(seed)

    def decide(self, planner: Planner, queries: Sequence[PlannerQuery]) -> list[Decision]:
        """See :class:`.SubgoalSelector`."""
        replies = ask(planner, queries)
        seen = self.reader.read(planner, queries, replies)
        states = []
        decides = self.critic.ready and not math.isinf(self.kl_coef)
        for query, reply, features in zip(queries, replies, seen, strict=True):
            prior = np.asarray(reply.log_probs, np.float64)
            if decides:
                prior = smoothed_prior(prior, DOUBT)
            known = self.critic.advantages(features.candidates, prior)
            policy = self._policy(prior, known) if decides else prior
            decision = Decision(
                draw(policy, self._rng),
                reply.log_probs,
                reply.value,
                advantages=known.mean if self.critic.ready else None,
                kl=divergence(policy, prior),
                features=features if self.training else None,
                policy=policy,
            )
            states.append(_Deliberation(query, decision, known))
        if self.critic.ready:
            self._ask_again(planner, states)
        return [state.decided() for state in states]

    def _policy(self, prior: NDArray, known: Advantages) -> NDArray[np.float64]:
        lam = self.kl_coef * self.critic.unit
        return soft_choice(prior, moderated(known.mean, known.error, lam), lam)

    def _ask_again(self, planner: Planner, states: Sequence[_Deliberation]) -> None:
        for _ in range(self.rounds):
            doubtful = [state for state in states if state.is_doubtful()]
            if not doubtful:
                return
            replies = ask(planner, [state.asked_again() for state in doubtful])
            for state, reply in zip(doubtful, replies, strict=True):
                left, policy = state.left(), np.asarray(reply.log_probs, np.float64)
                if not math.isinf(self.kl_coef):
                    some = Advantages(state.known.mean[left], state.known.error[left])
                    policy = self._policy(smoothed_prior(policy, DOUBT), some)
                state.proposed.append(left[draw(policy, self._rng)])


class _Deliberation:
    """One environment's proposals so far."""

    def __init__(self, query: PlannerQuery, decision: Decision, known: Advantages):
        self.query, self.decision, self.known = query, decision, known
        self.proposed = [decision.choice]

    @property
    def rejects(self) -> NDArray[np.bool_]:
        return self.known.mean < -REJECTED * self.known.error

    def is_doubtful(self) -> bool:
        return bool(self.rejects[self.proposed[-1]]) and bool(self.left())

    def left(self) -> list[int]:
        return [i for i in range(len(self.known.mean)) if i not in self.proposed]

    def proposals(self) -> list[tuple[Subgoal, float]]:
        return [(self.query.candidates[g], float(self.known.mean[g])) for g in self.proposed]

    def asked_again(self) -> PlannerQuery:
        return replace(
            self.query,
            candidates=[self.query.candidates[i] for i in self.left()],
            rejected=self.proposals(),
            offered=self.query.candidates,
        )

    def decided(self) -> Decision:
        decision = self.decision
        assert decision.policy is not None
        if len(self.proposed) > 1:
            last = self.proposed[-1]
            best = max(self.proposed, key=lambda g: self.known.mean[g])
            decision.choice = best if self.rejects[last] else last
            # Drawing until one is not rejected is drawing from those that are not.
            accepted = np.where(self.rejects, -np.inf, decision.policy)
            if not self.rejects.all():
                decision.policy = accepted - np.logaddexp.reduce(accepted)
        decision.queries = len(self.proposed)
        decision.proposals = self.proposals()
        decision.log_prob = float(decision.policy[decision.choice])
        return decision
