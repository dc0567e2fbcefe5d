"""StepAgent's inverse reinforcement learning: a discriminator pays for each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from hier.feedback.objectives.base import LessonBatch, Objective


@dataclass(frozen=True)
class InverseRL(Objective):
    """``L = -E_s Σ_g p(g|s) (log D(s,g) - log(1 - D(s,g)))`` (arXiv 2411.03817; GAIL, 1606.03476).

    D tells subgoals of successful episodes from the planner's own; its logit is the reward, and the
    expectation over the closed set is exact.

    Attributes:
        most: largest reward, either way, in logits.
    """

    most: float = 5.0
    needs_critic: ClassVar[bool] = False

    def loss(self, lessons: LessonBatch) -> Tensor:
        """See the class."""
        return -lessons.mean(lessons.appeal.clamp(-self.most, self.most)).mean()


def discriminator_loss(successful: Tensor, own: Tensor) -> Tensor:
    """Logistic loss of a discriminator from its logits of both sides, ``(n,)`` and ``(k,)``.

    Where both sides are alike its minimum is D = 1/2 everywhere, that is log 2.
    """
    loss = functional.softplus(-successful).mean() + functional.softplus(own).mean()
    return loss / 2
