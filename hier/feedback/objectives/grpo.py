"""Group-relative policy optimization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hier.feedback.objectives.base import LessonBatch, Objective


@dataclass(frozen=True)
class GRPO(Objective):
    """``L = -E[min(ρ Â, clip(ρ, 1-ε, 1+ε) Â)]`` with ``ρ = p(g|s) / μ(g|s)`` and, within a group,
    ``Â = (G - mean G) / std G`` (arXiv 2402.03300, eq. 3; Agent-R1, 2511.14460).

    G is the discounted return of the whole episode, and a group are episodes of one level
    (``LessonBatch.gain`` is Â). Where Â > 0 and ρ < 1 the loss is ``-Â log p(g|s)`` instead (TOPR,
    arXiv 2503.14286). A group of one, or one with equal returns, has no gradient. The
    ratio is that of whole answers. No critic is needed.

    Attributes:
        clip: ε.
    """

    clip: float = 0.2
    needs_critic: ClassVar[bool] = False

    def loss(self, lessons: LessonBatch) -> Tensor:
        """See the class."""
        log_p = lessons.of(lessons.choice)
        ratio = (log_p - lessons.behavior).exp()
        held = ratio.clamp(1 - self.clip, 1 + self.clip)
        clipped = torch.minimum(ratio * lessons.gain, held * lessons.gain)
        # What guidance chose against the planner has a ratio near 0, and so no gradient.
        return -torch.where((lessons.gain > 0) & (ratio < 1), lessons.gain * log_p, clipped).mean()


def relative(outcome: Tensor, group: Tensor) -> Tensor:
    """``(n,)`` outcomes less their group's mean, over its standard deviation; 0 without one."""
    _, member = group.unique(return_inverse=True)
    size = torch.zeros_like(outcome).index_add(0, member, torch.ones_like(outcome))
    mean = torch.zeros_like(outcome).index_add(0, member, outcome)[member] / size[member]
    square = torch.zeros_like(outcome).index_add(0, member, (outcome - mean) ** 2)
    deviation = (square[member] / size[member]).sqrt()
    return torch.where(deviation > 1e-6, (outcome - mean) / deviation.clamp(min=1e-6), 0.0)
