"""The closed subgoal: what critics and planners learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hier.envs.subgoal import Outcome, Subgoal
from hier.hierarchy.selection import Decision

if TYPE_CHECKING:
    from hier.planners.language.prompts import Prompt  # which imports torch


SHORTEST = 4  # steps that a subgoal is charged at least


@dataclass(frozen=True, slots=True)
class SubgoalRecord:
    """A closed subgoal: the unit of experience of the upper level (an SMDP transition).

    Attributes:
        subgoal: what was pursued.
        candidates: what it was chosen from.
        decision: the choice, with the planner's opinion at the start.
        prompt: what the planner was asked; ``None`` unless it learns from feedback.
        duration: τ, environment steps.
        discount: γ^max(τ, 4), so that no subgoal is free; 0 if the episode ended with it.
        reward: R = Σ γ^i r_i over those steps, environment reward only.
        outcome: ``done``, ``failed``, ``timeout`` or ``episode end``.
        terminal: whether the episode ended with it.
        planner_version: the planner's version at the start.
        episode: how many episodes of its environment had ended before its own.
    """

    subgoal: Subgoal
    candidates: Sequence[Subgoal]
    decision: Decision
    prompt: Prompt | None
    duration: int
    discount: float
    reward: float
    outcome: Outcome
    terminal: bool
    planner_version: int
    episode: int

    @property
    def log_probs(self) -> NDArray[np.float32]:
        """The planner's opinion of the candidates at the start."""
        return self.decision.log_probs


def discount_of(duration: int, gamma: float) -> float:
    """What a reward after a subgoal of τ steps is worth at its start, ``γ^max(τ, SHORTEST)``."""
    return gamma ** max(duration, SHORTEST)


def discounted_returns(steps: Sequence[tuple[float, float]]) -> list[float]:
    """What followed each closed subgoal of an episode, itself included, up to the episode's end.

    Args:
        steps: ``(R, γ^τ)`` of each, in order.
    """
    found, followed = [], 0.0
    for reward, discount in reversed(steps):
        followed = reward + discount * followed
        found.append(followed)
    return found[::-1]
