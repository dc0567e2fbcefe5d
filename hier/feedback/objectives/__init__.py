"""Losses on the planner's distribution over candidates, weighted by the returns of subgoals.

The planner draws from a closed set, so its policy is log p(g|s), the scores of whole answers
normalized over the candidates, and every gradient below goes through that. Prompts and whatever
the environment says are never scored, so no gradient reaches their tokens as targets.

===============  ====================================================  =================
name             what it does                                          paper
===============  ====================================================  =================
``improve``      learns the choice of guidance, over all candidates    arXiv 1806.06920, 2402.16181
``awr``          imitates what turned out well, the more the better    arXiv 1910.00177, 2405.14314
``archer``       policy gradient with the critic's advantage           arXiv 2402.19446
``grpo``         clipped ratio, advantages relative to a group         arXiv 2402.03300
``step_dpo``     prefers the better of two subgoals of one state       arXiv 2411.03817
``inverse_rl``   rewards what looks like a successful episode          arXiv 2411.03817
===============  ====================================================  =================
"""

from __future__ import annotations

from hier.envs.errors import UnknownNameError
from hier.feedback.objectives.archer import Archer
from hier.feedback.objectives.awr import AWR
from hier.feedback.objectives.base import LessonBatch, Objective, kl_to_reference
from hier.feedback.objectives.grpo import GRPO
from hier.feedback.objectives.improve import Improve
from hier.feedback.objectives.inverse_rl import InverseRL
from hier.feedback.objectives.step_dpo import StepDPO

__all__ = ["OBJECTIVES", "LessonBatch", "Objective", "kl_to_reference", "objective_class"]

OBJECTIVES: dict[str, type[Objective]] = {
    "improve": Improve,
    "awr": AWR,
    "archer": Archer,
    "grpo": GRPO,
    "step_dpo": StepDPO,
    "inverse_rl": InverseRL,
}


def objective_class(name: str) -> type[Objective]:
    """The objective called ``name``.

    Raises:
        UnknownNameError: for an unknown name.
    """
    if name not in OBJECTIVES:
        raise UnknownNameError("feedback.objective", name, OBJECTIVES)
    return OBJECTIVES[name]
