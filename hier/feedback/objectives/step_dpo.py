"""StepAgent's implicit reward: preferences between two subgoals of one state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hier.feedback.objectives.base import LessonBatch, Objective


@dataclass(frozen=True)
class StepDPO(Objective):
    """``L = -E[log σ(β [log p(g⁺)/p_ref(g⁺) - log p(g⁻)/p_ref(g⁻)])]`` (arXiv 2411.03817, eq. 9).

    The choice is the better of the two with probability ``σ(margin / unit)``, and both orders are
    weighed by that: the margin is an estimate. Without a margin both stay as likely as before.

    Attributes:
        beta: β, how many nats from the reference a preference is worth.
        unit: margin that makes a preference likely, in standard deviations of the return.
    """

    beta: float = 0.5
    unit: float = 0.1

    def loss(self, lessons: LessonBatch) -> Tensor:
        """See the class."""
        gain = self._moved(lessons, lessons.choice) - self._moved(lessons, lessons.rival)
        preferred = torch.sigmoid(lessons.margin / self.unit)
        won, lost = (functional.logsigmoid(sign * self.beta * gain) for sign in (1, -1))
        return -(preferred * won + (1 - preferred) * lost).mean()

    @staticmethod
    def _moved(lessons: LessonBatch, which: Tensor) -> Tensor:
        return lessons.of(which) - lessons.of(which, lessons.reference)
