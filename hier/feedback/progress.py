"""What feedback makes of a planner, seen on states that stay the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hier.envs.registry import domain_of
from hier.feedback.anchors import shared_states
from hier.hierarchy.drawing import draw_side_by_side
from hier.planners.protocol import Planner, PlannerReply


class PlannerProgress:
    """A planner before and after feedback, on the states in which an expert would be asked.

    The expert serves this measurement alone; the planner learns nothing from it.

    Args:
        planner: as it is before.
        levels: environment ids that the states are shared out over.
        states: how many.
        first_seed: of consecutive level seeds.
    """

    def __init__(self, planner: Planner, levels: Sequence[str], states: int, first_seed: int):
        self.planner = planner
        self._domain = domain_of(levels[0])
        found = list(shared_states(levels, states, first_seed))
        self._queries = [query for _, query, _ in found]
        self._answers = [answer for *_, answer in found]
        self._before = self._replies()

    def accuracy(self) -> dict[str, float]:
        """Now: ``accuracy``, how often its likeliest subgoal is the expert's, and ``probability``,
        the mean that it gives to the expert's; both in [0, 1].
        """
        pairs = list(zip(self._replies(), self._answers, strict=True))
        return {
            "accuracy": float(np.mean([np.argmax(r.log_probs) == a for r, a in pairs])),
            "probability": float(np.mean([np.exp(r.log_probs[a]) for r, a in pairs])),
        }

    def pictures(self, n: int = 2) -> list[NDArray[np.uint8]]:
        """Before beside now, ``(height, width, 3)`` uint8, where it changed its mind most."""
        now = self._replies()
        moved = [
            float(np.abs(np.exp(a.log_probs) - np.exp(b.log_probs)).sum())
            for a, b in zip(self._before, now, strict=True)
        ]
        return [
            draw_side_by_side(
                self._domain, self._queries[i], [("before", self._before[i]), ("now", now[i])]
            )
            for i in np.argsort(moved)[::-1][:n]
        ]

    def _replies(self) -> list[PlannerReply]:
        return self.planner.score(self._queries)
