"""SLINVIT's tree search over subgoals, two deep (arXiv 2402.16181).

The value of a candidate g in state s is the larger of the critic's value and the value of the state
s' that the agent imagines after it:

    max(Q̂(s,g), γ^τ V(s')),     V(s') = λ log Σ_g' p(g'|s') exp(Q̂(s',g') / λ).

The planner and the critic are asked about s' as if it had been reached. The second value leaves out
the reward on the way to s' and the possible end of the episode there. In that case Q̂, which learned
from that reward, is the larger of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hier.guidance.critic import SubgoalCritic
from hier.guidance.soft_choice import smoothed_prior, soft_choice, soft_value
from hier.hierarchy.selection import Imagine
from hier.planners.protocol import Planner, PlannerQuery, ask

LOOKAHEAD_WIDTH = 4


class LookAhead:
    """Values of candidates, one imagined subgoal deeper.

    Args:
        gamma: discount per environment step.
        width: candidates of a state that are expanded, the likeliest of the soft policy.
    """

    def __init__(self, gamma: float, width: int = LOOKAHEAD_WIDTH):
        self.gamma = gamma
        self.width = width

    def deepen(
        self,
        planner: Planner,
        critic: SubgoalCritic,
        queries: Sequence[PlannerQuery],
        priors: Sequence[NDArray[np.float64]],
        values: Sequence[NDArray[np.float32]],
        *,
        kl_coef: float,
        doubt: float,
        imagine: Imagine,
    ) -> tuple[list[NDArray[np.float32]], list[int]]:
        """The larger of Q̂ and what is imagined, for all environments at once.

        The planner is asked about all imagined states in one batch, the critic in one pass.

        Args:
            planner, critic: asked about the imagined states.
            queries: one per environment.
            priors: log p(g|s) of each, ``(n_i,)``.
            values: Q̂(s,g) of each, ``(n_i,)``; left as they are.
            kl_coef: λ.
            doubt: share of chance mixed into the planner's distribution in s'.
            imagine: the outcome of a subgoal; ``None`` where it is not known.

        Returns:
            Per environment its values, and how many states the planner was asked about.
        """
        branches = [
            (k, g, future)
            for k, (query, prior, q) in enumerate(zip(queries, priors, values, strict=True))
            for g in np.argsort(-soft_choice(prior, q, kl_coef), kind="stable")[: self.width]
            if (future := imagine(query, query.candidates[g])) is not None
        ]
        deeper, asked = [q.copy() for q in values], [0] * len(queries)
        if not branches:
            return deeper, asked
        replies = ask(planner, [future.query for *_, future in branches])
        later = critic.values([future.critic_state for *_, future in branches])
        for (k, g, future), reply, q in zip(branches, replies, later, strict=True):
            value = float(soft_value(smoothed_prior(reply.log_probs, doubt), q, kl_coef))
            deeper[k][g] = max(deeper[k][g], self.gamma**future.duration * value)
            asked[k] += 1
        return deeper, asked
