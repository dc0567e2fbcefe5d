"""Advantage-weighted regression, as ReAd fine-tunes its planner."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hier.feedback.objectives.base import LessonBatch, Objective


@dataclass(frozen=True)
class AWR(Objective):
    """``L = -E[min(exp(A(s,g) / β), w) log p(g|s)]`` (arXiv 1910.00177, eq. 11; ReAd, 2405.14314).

    Where the pursued subgoals were drawn from μ its optimum is p ∝ μ exp(A / β).

    Attributes:
        beta: β, in the advantage's units (the learner's: standard deviations of the return); a
            smaller one is pickier.
        most: w, the largest weight.
    """

    beta: float = 0.3
    most: float = 20.0

    def loss(self, lessons: LessonBatch) -> Tensor:
        """See the class."""
        weight = (lessons.advantage / self.beta).exp().clamp(max=self.most)
        return -(weight * lessons.of(lessons.choice)).mean()
