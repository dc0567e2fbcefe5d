"""Which candidate is pursued: as the planner says, or as planner and critic say together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import CriticState
from hier.envs.subgoal import Outcome, Subgoal
from hier.guidance.critic import SubgoalCritic
from hier.guidance.lookahead import Imagine, LookAhead
from hier.guidance.soft_choice import (
    PriorSmoothing,
    Temperature,
    divergence,
    smoothed_prior,
    soft_choice,
    soft_value,
)
from hier.planners.protocol import Planner, PlannerQuery, PlannerReply, ask


@dataclass(slots=True)
class Decision:
    """A choice among candidates.

    Attributes:
        choice: index of the subgoal to pursue.
        log_probs: the planner's opinion, ``(n,)``.
        value: the planner's value of the state, NaN if it has none.
        queries: how often the planner was asked for it, imagined states included.
        log_prob: of the choice, under the distribution it was first drawn from.
        advantage: Q̂(s,g) - V(s) of the choice, NaN without a critic.
        kl: KL(π ‖ p) of the distribution it was drawn from.
        talk: what was proposed in turn, with each proposal's advantage.
        guided: whether anything but the planner had a say.
    """

    choice: int
    log_probs: NDArray[np.float32]
    value: float = float("nan")
    queries: int = 1
    log_prob: float = 0.0
    advantage: float = float("nan")
    kl: float = 0.0
    talk: list[tuple[Subgoal, float]] = field(default_factory=list)
    guided: bool = False


class SubgoalSelector(Protocol):
    """Decides among candidates, for all environments that need a plan at once."""

    critic: SubgoalCritic | None

    def guides(self) -> bool:
        """Whether the episode that begins is to be guided; else the planner is obeyed in it."""

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
            planner: who proposes.
            queries: one per environment.
            critic_states: what a critic sees of each; empty where there is no critic.
            imagine: what a subgoal will lead to; nothing is looked ahead without it.
            guided: what :meth:`guides` said for each environment's episode; all are if omitted.

        Raises:
            PlannerError: if the planner's answer cannot be used.
        """


class PlannerSelector:
    """A draw from the planner's distribution.

    Args:
        seed: of the draws.
    """

    critic: SubgoalCritic | None = None

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
        return [obey(reply, self._rng) for reply in ask(planner, queries)]


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
    says what was rejected for which advantage. ε halves with each round; after the last one the
    best seen is taken. Until the critic is ready this is :class:`PlannerSelector`.

    Args:
        critic: values subgoals.
        temperature: λ; infinite for ReAd alone.
        requery: when to ask again.
        doubt: share of chance mixed into p once the critic is ready; none if omitted.
        seed: of the draws.
        tune: let a tuned λ follow these choices.
        lookahead: also values what subgoals will lead to; ``None`` for Q̂ alone.
        guides: says for each episode whether it is guided; all are if omitted.
    """

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
        self.critic: SubgoalCritic | None = critic
        self.temperature = temperature
        self.requery = requery or Requery()
        self.doubt = doubt or PriorSmoothing(0.0)
        self.tune = tune
        self.lookahead = lookahead
        self._guides = guides
        self._rng = np.random.default_rng(seed)

    def guides(self) -> bool:
        """See :class:`SubgoalSelector`."""
        return self._guides is None or self._guides()

    def decide(
        self,
        planner: Planner,
        queries: Sequence[PlannerQuery],
        critic_states: Sequence[CriticState],
        imagine: Imagine | None = None,
        guided: Sequence[bool] | None = None,
    ) -> list[Decision]:
        """See :class:`SubgoalSelector`."""
        assert self.critic is not None
        replies = ask(planner, queries)
        if not self.critic.ready:
            return [obey(reply, self._rng) for reply in replies]
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
            obeyed = math.isinf(kl_coef) or not free
            policy = reply.log_probs if obeyed else soft_choice(prior, q, kl_coef)
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
            decision.advantage = state.advantage(decision.choice)
            decision.queries = len(state.proposed) + extra
            decision.talk = state.talk()
        return decisions

    def _prior(self, query: PlannerQuery, reply: PlannerReply) -> NDArray[np.float64]:
        """The planner's opinion, doubted."""
        favourite = query.candidates[int(np.argmax(reply.log_probs))]
        last = next((how for g, how in reversed(query.recent) if g == favourite), Outcome.DONE)
        return smoothed_prior(reply.log_probs, self.doubt.share(again=last != Outcome.DONE))

    def _ask_again(self, planner: Planner, states: Sequence[_Deliberation], kl_coef: float) -> None:
        threshold = self.requery.threshold
        for _ in range(self.requery.rounds):
            doubtful = [state for state in states if state.doubtful(threshold)]
            if not doubtful:
                return
            replies = ask(planner, [state.again() for state in doubtful])
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
        self.query, self.values, self.value, self.policy = query, values, value, policy
        self.proposed: list[int] = []

    def propose(self, choice: int) -> None:
        self.proposed.append(choice)

    def advantage(self, choice: int) -> float:
        return float(self.values[choice]) - self.value

    def best(self) -> int:
        return max(self.proposed, key=self.advantage)

    def left(self) -> list[int]:
        return [i for i in range(len(self.values)) if i not in self.proposed]

    def doubtful(self, threshold: float) -> bool:
        # A later proposal that stands ends the matter, even if an earlier one was better.
        return self.advantage(self.proposed[-1]) < threshold and bool(self.left())

    def talk(self) -> list[tuple[Subgoal, float]]:
        return [(self.query.candidates[g], self.advantage(g)) for g in self.proposed]

    def again(self) -> PlannerQuery:
        return replace(
            self.query,
            candidates=[self.query.candidates[i] for i in self.left()],
            rejected=self.talk(),
            offered=self.query.candidates,
        )


def obey(reply: PlannerReply, rng: np.random.Generator) -> Decision:
    """A draw from the planner's own distribution."""
    choice = draw(reply.log_probs, rng)
    return Decision(choice, reply.log_probs, reply.value, log_prob=float(reply.log_probs[choice]))


def draw(log_probs: NDArray, rng: np.random.Generator) -> int:
    """Index of a candidate, drawn by its probability (Gumbel-max)."""
    return int(np.argmax(log_probs + rng.gumbel(size=len(log_probs))))
