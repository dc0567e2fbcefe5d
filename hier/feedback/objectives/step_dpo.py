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

    The choice is the better of the two where its margin is positive, otherwise its rival is. A pair
    without a margin has no gradient.

    Attributes:
        beta: β, how many nats from the reference a preference is worth.
    """

    beta: float = 0.5

    def loss(self, lessons: LessonBatch) -> Tensor:
        """See the class."""
        gain = self._moved(lessons, lessons.choice) - self._moved(lessons, lessons.rival)
        return -functional.logsigmoid(self.beta * torch.sign(lessons.margin) * gain).mean()

    @staticmethod
    def _moved(lessons: LessonBatch, which: Tensor) -> Tensor:
        return lessons.of(which) - lessons.of(which, lessons.reference)
