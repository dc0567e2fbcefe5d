"""Planners that were taught something wrong, for suites in which feedback must correct it."""

from __future__ import annotations

import math
from pathlib import Path

from hier.feedback.learner import PlannerLearner
from hier.feedback.lessons import Lesson
from hier.feedback.objectives import AWR
from planners.accuracy import states_of
from planners.language import LanguagePlanner, VLMPlanner
from planners.pictures import as_png
from planners.pretraining.demonstrations import Mistakes
from planners.protocol import PlannerQuery
from planners.simple import MistakenPlanner

_FIRST_SEED = 4_000_000  # levels that nothing else plays
_STATES, _UPDATES = 400, 150


def wrong_teacher(folder: Path, level: str, mistake: str = "order", *, quick: bool = False) -> Path:
    """The planner that ships, fine-tuned to make a mistake of :class:`MistakenPlanner`.

    It imitates the mistaken oracle on states of one level (AWR with all weights alike), also after
    slips, so that it insists. A folder that is there already is used as it is.

    Args:
        folder: where the planner goes.
        level: environment id.
        mistake: of :data:`planners.simple.MISTAKES`.
        quick: hardly teach it, to check that this works.
    """
    if (folder / "config.json").is_file():
        return folder
    planner, wrong = VLMPlanner(device="cpu"), MistakenPlanner(mistake)
    lessons = []
    for mistakes in (Mistakes(), Mistakes(impatience=0.5)):
        queries, answers = states_of(level, 8 if quick else _STATES, _FIRST_SEED, mistakes)
        lessons += [
            shown(planner, query, wrong.instead(query, right), level)
            for query, right in zip(queries, answers, strict=True)
        ]
    learner = PlannerLearner(planner, AWR(), kl_coef=0.0, learning_rate=3e-4)
    learner.learn(lessons, 2 if quick else _UPDATES)
    planner.version = 0  # taught before the run
    planner.save(folder, f"Taught the mistake `{mistake}` on {level}, for experiments.")
    return folder


def shown(planner: LanguagePlanner, query: PlannerQuery, choice: int, level: str) -> Lesson:
    """A lesson that says no more than what to choose."""
    prompt = planner.prompt(query)
    n = len(query.candidates)
    return Lesson(
        question=prompt.question,
        pictures=tuple(as_png(image) for image in prompt.images),
        candidates=tuple(map(str, query.candidates)),
        log_probs=(-math.log(n),) * n,
        choice=choice,
        behaviour=-math.log(n),
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
