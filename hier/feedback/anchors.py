"""Questions whose answers feedback is to leave as they are (learning without forgetting).

Fine-tuning on one level bends a planner's answers on others, and the KL on the lessons does not see
it. Anchors are questions of other levels: each update also descends on KL(p_ref ‖ p) there, p_ref
being the planner as it was at first (Li & Hoiem 2016, arXiv 1606.09282). No answer of an expert is
learned from; the expert only leads to states in which a planner would be asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hier.envs.registry import domain_of
from hier.feedback.lessons import Lesson
from hier.planners.accuracy import states_of
from hier.planners.language.pictures import as_png
from hier.planners.language.planner import LanguagePlanner
from hier.planners.protocol import PlannerQuery

_FIRST_SEED = 4_500_000  # levels that nothing else plays


def anchors_for(
    planner: LanguagePlanner, trained_on: Sequence[str], levels: Sequence[str] | None, states: int
) -> list[Lesson]:
    """Questions of levels that the planner does not learn on.

    Args:
        planner: is asked them.
        trained_on: environment ids; they are left out.
        levels: environment ids; the domain's :attr:`hier.envs.domain.Domain.source_levels` if
            ``None``.
        states: how many questions in all, shared out evenly.

    Returns:
        Lessons that say no more than the question; empty where there are no levels.
    """
    if levels is None:
        levels = domain_of(trained_on[0]).source_levels
    others = [level for level in levels if level not in trained_on]
    return [
        question_alone(planner, query, level)
        for level, query, _ in shared_states(others, states, _FIRST_SEED)
    ]


def shared_states(
    levels: Sequence[str], states: int, first_seed: int
) -> Iterator[tuple[str, PlannerQuery, int]]:
    """Questions shared out over levels, each with its level and the expert's answer.

    Args:
        levels: environment ids; with fewer states than levels, the first ones.
        states: how many in all.
        first_seed: of consecutive level seeds.
    """
    some = levels[:states]
    for k, level in enumerate(some):
        share = states // len(some) + (k < states % len(some))
        for query, answer in zip(*states_of(level, share, first_seed), strict=True):
            yield level, query, answer


def question_alone(
    planner: LanguagePlanner, query: PlannerQuery, level: str, choice: int = 0
) -> Lesson:
    """A lesson without reward.

    Args:
        planner: is asked ``query``.
        query: of a state on ``level``.
        level: environment id.
        choice: index of the candidate that counts as pursued.
    """
    prompt = planner.prompt(query)
    n = len(query.candidates)
    return Lesson(
        question=prompt.question,
        pictures=tuple(as_png(image) for image in prompt.images),
        candidates=tuple(map(str, query.candidates)),
        log_probs=(-math.log(n),) * n,
        choice=choice,
        behavior=-math.log(n),
        reward=0.0,
        discount=0.0,
        duration=1,
        outcome="",
        version=0,
        level=level,
        returned=0.0,
        score=0.0,
        advantage=0.0,
    )
