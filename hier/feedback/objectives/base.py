"""What every objective is given, and what it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Lessons:
    """A batch of closed subgoals, for the planner to learn from.

    Attributes:
        log_probs: ``(n, m)`` log p(g|s) of the planner, with a graph; normalised over the
            candidates, minus infinity where a state has fewer than ``m``.
        reference: ``(n, m)`` the same of the frozen reference.
        choice: ``(n,)`` int64, the candidate that was pursued.
        behaviour: ``(n,)`` log-probability of the choice when it was made.
        advantage: ``(n,)`` what the choice earned beyond the state's value.
        outcome: ``(n,)`` discounted return from the choice to the episode's end.
        group: ``(n,)`` int64; lessons with the same number are about the same state or level.
        rival: ``(n,)`` int64, the candidate that the choice is compared with.
        appeal: ``(n, m)`` what a discriminator says for each candidate, in logits.
    """

    log_probs: Tensor
    reference: Tensor
    choice: Tensor
    behaviour: Tensor
    advantage: Tensor
    outcome: Tensor
    group: Tensor
    rival: Tensor
    appeal: Tensor

    def of(self, which: Tensor, log_probs: Tensor | None = None) -> Tensor:
        """Log-probability of one candidate per state, ``(n,)``; the planner's unless given."""
        table = self.log_probs if log_probs is None else log_probs
        return table.gather(1, which[:, None]).squeeze(1)


class Objective(ABC):
    """A loss whose descent makes the planner's better choices likelier."""

    @abstractmethod
    def loss(self, lessons: Lessons) -> Tensor:
        """A scalar, without the KL to the reference (:func:`kl_to_reference`)."""


def kl_to_reference(lessons: Lessons) -> Tensor:
    """Mean KL(p ‖ p_ref) in nats over the candidates, exact."""
    there = torch.isfinite(lessons.log_probs)
    log_p = lessons.log_probs.masked_fill(~there, 0.0)
    ratio = log_p - lessons.reference.masked_fill(~there, 0.0)
    return (there * log_p.exp() * ratio).sum(dim=1).mean()
