"""What the critic sees of a choice: the planner's hidden states, and what was tried already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Domain
from hier.envs.errors import ConfigError
from hier.envs.subgoal import Outcome
from hier.guidance.critic import Features
from hier.planners.protocol import Planner, PlannerQuery, PlannerReply, ask

_LOWEST = -10.0  # log p below which a planner's opinion makes no more difference


class FeatureReader:
    """Features of choices, from the planner's scoring pass or from an encoder.

    A planner without hidden states, such as the oracle, an endpoint or a user's own class, is
    accompanied by the domain's built-in planner, which is asked the same questions for the sake of
    its hidden states alone.

    Args:
        domain: supplies the built-in planner.
        horizon: environment steps in which time is measured.

    Raises:
        ConfigError: on first use, if the planner has no hidden states and the domain no built-in
            planner.
    """

    def __init__(self, domain: Domain, horizon: float):
        self._domain = domain
        self._horizon = horizon
        self._encoder: Planner | None = None

    def read(
        self, planner: Planner, queries: Sequence[PlannerQuery], replies: Sequence[PlannerReply]
    ) -> list[Features]:
        """One for each question.

        Args:
            planner: answered.
            queries: were asked.
            replies: its answers.
        """
        states = [reply.states for reply in replies]
        if any(found is None for found in states):
            states = [reply.states for reply in ask(self._encode_with(planner), queries)]
        return [
            self._features(query, reply, found)
            for query, reply, found in zip(queries, replies, states, strict=True)
            if found is not None
        ]

    def _encode_with(self, planner: Planner) -> Planner:
        if self._encoder is None:
            from hier.planners.language.planner import VLMPlanner

            try:
                encoder = VLMPlanner(domain=self._domain, device="cpu")
            except ConfigError as error:
                raise ConfigError(
                    f"the planner {type(planner).__name__} has no hidden states for a critic to "
                    f"read, and nothing stands in for it ({error}); set guidance.soft_choice=false "
                    "guidance.requery_rounds=0, and feedback.objective=none or grpo"
                ) from error
            encoder.keeps_states = True
            self._encoder = encoder
        return self._encoder

    def _features(
        self, query: PlannerQuery, reply: PlannerReply, states: NDArray[np.float32]
    ) -> Features:
        log_p = np.maximum(reply.log_probs, _LOWEST)[:, None]
        tried = np.stack([_tried(query, k) for k in range(len(query.candidates))])
        candidates = np.hstack([states[:-1], tried, log_p, np.exp(log_p)]).astype(np.float32)
        p = np.exp(reply.log_probs)
        time = query.elapsed / self._horizon
        about = [time, time**2, np.log1p(len(query.recent))]
        # A prompt's last state says how the answer begins, and little more: what a state is worth
        # is seen better from what can be chosen there.
        pooled = [p / p.sum() @ candidates, candidates.mean(axis=0)]
        return Features(candidates, np.concatenate([states[-1], *pooled, about]).astype(np.float32))


def _tried(query: PlannerQuery, k: int) -> NDArray[np.float32]:
    """How candidate ``k`` fared: tried, tried again, how often, done, not done, just now."""
    candidate = query.candidates[k]
    ended = [how for subgoal, how in query.recent if subgoal == candidate]
    just_now = bool(query.recent) and query.recent[-1][0] == candidate
    done = bool(ended) and ended[-1] == Outcome.DONE
    return np.array(
        [bool(ended), len(ended) > 1, len(ended), done, bool(ended) and not done, just_now],
        np.float32,
    )
