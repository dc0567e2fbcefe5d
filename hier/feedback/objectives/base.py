"""What every objective is given, and what it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LessonBatch:
    """A batch of closed subgoals, for the planner to learn from.

    Attributes:
        log_probs: ``(n, m)`` log p(g|s) of the planner, with a graph; normalized over the
            candidates, minus infinity where a state has fewer than ``m``.
        reference: ``(n, m)`` the same of the frozen reference.
        choice: ``(n,)`` int64, the candidate that was pursued.
        behavior: ``(n,)`` log-probability of the choice when it was made.
        advantage: ``(n,)`` return of the choice above the state's value.
        gain: ``(n,)`` its episode's return relative to the others of its group, in their standard
            deviations, see :func:`hier.feedback.objectives.grpo.relative`.
        rival: ``(n,)`` int64, the candidate that the choice is compared with.
        margin: ``(n,)`` by how much the choice is better than its rival.
        values: ``(n, m)`` a critic's opinion of every candidate; ``None`` without one.
        appeal: ``(n, m)`` the discriminator's logit of each candidate.
    """

    log_probs: Tensor
    reference: Tensor
    choice: Tensor
    behavior: Tensor
    advantage: Tensor
    gain: Tensor
    rival: Tensor
    margin: Tensor
    appeal: Tensor
    values: Tensor | None = None

    @property
    def there(self) -> Tensor:
        """``(n, m)`` whether a state has the candidate."""
        return torch.isfinite(self.log_probs)

    def mean(self, table: Tensor) -> Tensor:
        """``E_{g~p(.|s)}`` of a table over the candidates, ``(n,)``, with p's gradient."""
        return (self.log_probs.exp() * table.masked_fill(~self.there, 0.0)).sum(dim=1)

    def of(self, which: Tensor, log_probs: Tensor | None = None) -> Tensor:
        """Log-probability of one candidate per state, ``(n,)``; the planner's unless given."""
        table = self.log_probs if log_probs is None else log_probs
        return table.gather(1, which[:, None]).squeeze(1)


class Objective(ABC):
    """A loss whose descent makes the planner's better choices likelier."""

    needs_critic: ClassVar[bool] = True
    """Whether it learns from advantages."""

    @abstractmethod
    def loss(self, lessons: LessonBatch) -> Tensor:
        """A scalar, without the KL to the reference (:func:`kl_to_reference`)."""


def kl_to_reference(lessons: LessonBatch) -> Tensor:
    """Mean KL(p ‖ p_ref) in nats over the candidates, exact."""
    absent = ~lessons.there
    log_p = lessons.log_probs.masked_fill(absent, 0.0)
    return lessons.mean(log_p - lessons.reference.masked_fill(absent, 0.0)).mean()
