"""The improved policy of guidance, projected onto the planner."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hier.feedback.objectives.base import LessonBatch, Objective


@dataclass(frozen=True)
class Improve(Objective):
    """``L = -E_s Σ_g π(g|s) log p(g|s)`` with ``π ∝ p̃ exp(A(s,g) / β)`` (MPO, arXiv 1806.06920).

    π is LINVIT's choice: the best policy within reach of the planner, known exactly over a closed
    set. p̃ is the planner as it is, with a share of chance, so that candidates that it rules out can
    come back; a policy gradient, proportional to p, would never raise them. Without a critic it
    learns nothing.

    Attributes:
        beta: β, in standard deviations of the return.
        doubt: share of chance in p̃.
    """

    beta: float = 0.25
    doubt: float = 0.02

    def loss(self, lessons: LessonBatch) -> Tensor:
        """See the class."""
        log_p, there = lessons.log_probs, lessons.there
        if lessons.values is None:
            return 0.0 * lessons.of(lessons.choice).sum()
        p = log_p.detach().exp()
        chance = self.doubt * there / there.sum(dim=1, keepdim=True)
        logits = ((1 - self.doubt) * p + chance).log() + lessons.values / self.beta
        target = torch.softmax(logits.masked_fill(~there, -torch.inf), dim=1)
        return -(target * log_p.masked_fill(~there, 0.0)).sum(dim=1).mean()
