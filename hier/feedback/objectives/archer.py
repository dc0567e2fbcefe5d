"""ArCHer's actor: policy gradient under an off-policy critic of subgoals."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hier.feedback.objectives.base import LessonBatch, Objective


@dataclass(frozen=True)
class Archer(Objective):
    """``L = -E_s E_{g~p}[A(s,g)]`` with ``A = Q(s,g) - V(s)`` (arXiv 2402.19446, eq. 5).

    ArCHer draws subgoals afresh from its actor. Ours form a closed set, so where the critic is at
    hand the expectation is exact: every candidate is weighed, also those never pursued. Stored
    lessons have the advantage of what was pursued alone, under the behavior μ; there
    ``L = -E[c A(s,g) log p(g|s)]`` with ``c = min(p / μ, most)`` held constant, which has the same
    gradient where c is not cut.

    Attributes:
        most: largest correction.
    """

    most: float = 5.0

    def loss(self, lessons: LessonBatch) -> Tensor:
        """See the class."""
        if lessons.values is not None:
            # What is subtracted from Q alike for all candidates has no gradient.
            return -lessons.mean(lessons.values).mean()
        log_p = lessons.of(lessons.choice)
        correction = (log_p.detach() - lessons.behavior).exp().clamp(max=self.most)
        return -(correction * lessons.advantage * log_p).mean()
