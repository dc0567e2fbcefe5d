"""Fine-tuning outside a run: from the stored feedback of many runs, or from demonstrations."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hier.config import HierConfig
from hier.envs.errors import ConfigError
from hier.feedback.learner import PlannerLearner, build_learner
from hier.feedback.lessons import Lesson, read_lessons
from hier.feedback.objectives import AWR, objective_class
from hier.planners.language.pictures import as_png
from hier.planners.language.planner import LanguagePlanner
from hier.planners.play import Player
from hier.run.build import build_planner_of
from hier.run.folder import RunFolder

_AT_A_TIME = 20  # updates between two lines of the report
_PASSES = 2  # over the lessons, unless said otherwise


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What a fine-tuning left behind.

    Attributes:
        planner: its folder.
        lessons: learned from.
        reports: every few updates, what :meth:`hier.feedback.learner.PlannerLearner.learn` says,
            with ``updates`` so far.
        main: whether this is the process that wrote the folder.
    """

    planner: Path
    lessons: int
    reports: list[dict[str, float]]
    main: bool


def tune_planner(
    runs: Sequence[str | Path],
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None = None,
    updates: int | None = None,
    progress: bool = True,
    trust_code: bool = False,
) -> TuneResult:
    """Fine-tune a planner on the lessons that runs with ``feedback.store=true`` have kept.

    The first run's configuration says which planner and how (``feedback.*``); ``overrides`` change
    it. A run without an objective is learned from by ``awr``. Under ``accelerate launch`` the
    processes share each batch.

    Args:
        runs: folders, at least one.
        overrides: such as ``planner.model=DIR`` or ``feedback.objective=archer``.
        out: the planner's folder; ``tuned`` in the first run when omitted. It is replaced.
        updates: gradient steps; twice through the lessons when omitted.
        progress: show a bar.
        trust_code: run code that the first run's configuration names.

    Raises:
        RunFolderError: if a folder is no run, or has no lessons.
        UntrustedCodeError: if the first one names code that is not trusted.
        ConfigError: if the planner has no weights, or the objective cannot learn from files.
    """
    config = RunFolder.open(runs[0]).config(overrides, trust_code=trust_code)
    settings = config.feedback
    name = "awr" if settings.objective == "none" else settings.objective
    lessons: list[Lesson] = []
    for run in runs:
        lessons += read_lessons(RunFolder.open(run).lessons)
    planner = _language_planner(config)
    accelerator = _accelerator(str(planner.loaded.device))
    learner = build_learner(config, planner, objective_class(name)(), accelerator=accelerator)
    names = ", ".join(Path(run).name for run in runs)
    card = f"with `{name}`: {{updates}} updates on {len(lessons)} closed subgoals of {names}."
    target = Path(out) if out else RunFolder(runs[0]).path / "tuned"
    return _tune(learner, lessons, updates, target, card, progress)


def teach_planner(
    config: HierConfig,
    demonstrations: int,
    *,
    out: str | Path,
    updates: int | None = None,
    progress: bool = True,
) -> TuneResult:
    """Fine-tune a planner on what the expert answers in the levels of a configuration.

    The loss is the cross-entropy over each closed set (behavior cloning), in the planner's own
    question. The scripted controller plays the levels with mistakes, as in pre-training, from
    seed 0 on.

    Args:
        config: says which planner, which levels (``env.id``), ``feedback.learning_rate`` and
            ``feedback.batch_size``; its objective, KL and anchors are not used, for the answers
            are to change.
        demonstrations: questions with the expert's answers, at least one.
        out: the planner's folder. It is replaced.
        updates: gradient steps; twice through the demonstrations when omitted.
        progress: show a bar.

    Raises:
        ConfigError: if the planner has no weights.
    """
    planner = _language_planner(config)
    lessons = demonstrated_lessons(planner, config.env.ids, demonstrations)
    settings = config.feedback
    learner = PlannerLearner(
        planner,
        AWR(),
        kl_coef=0.0,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        seed=config.seed,
        accelerator=_accelerator(str(planner.loaded.device)),
    )
    levels = ", ".join(config.env.ids)
    card = f"on {len(lessons)} answers of the expert in {{updates}} updates; levels: {levels}."
    return _tune(learner, lessons, updates, Path(out), card, progress)


def demonstrated_lessons(
    planner: LanguagePlanner, levels: Sequence[str], n: int, *, first_seed: int = 0
) -> list[Lesson]:
    """``n`` of a planner's questions with the expert's answers, the levels in turn.

    All advantages are zero, so that ``awr`` gives each answer the same weight.
    """
    players = [Player(level) for level in levels]
    lessons: list[Lesson] = []
    seed = first_seed
    while len(lessons) < n:
        player = players[seed % len(players)]
        for asked in player.play(seed):
            prompt = planner.prompt(asked.query)
            candidates = tuple(map(str, asked.query.candidates))
            lessons.append(
                Lesson(
                    question=prompt.question,
                    pictures=tuple(as_png(image) for image in prompt.images),
                    candidates=candidates,
                    log_probs=(-math.log(len(candidates)),) * len(candidates),
                    choice=asked.answer,
                    behavior=0.0,
                    reward=0.0,
                    discount=0.0,
                    duration=0,
                    outcome="",
                    version=planner.version,
                    level=player.level,
                    returned=0.0,
                    score=0.0,
                    advantage=0.0,
                )
            )
        seed += 1
    return lessons[:n]


def _language_planner(config: HierConfig) -> LanguagePlanner:
    planner = build_planner_of(config)
    if not isinstance(planner, LanguagePlanner):
        raise ConfigError(
            f"planner.type is {config.planner.type!r}, which has no weights to fine-tune; choose "
            "vlm or llm"
        )
    return planner


def _tune(
    learner: PlannerLearner,
    lessons: Sequence[Lesson],
    updates: int | None,
    target: Path,
    card: str,
    progress: bool,
) -> TuneResult:
    """Learn, and write the planner with ``card``, in which the number of updates is filled in."""
    planner = learner.planner
    main = learner.accelerator is None or learner.accelerator.is_main_process
    if updates is None:
        updates = math.ceil(_PASSES * len(lessons) / learner.batch_size)
    reports = []
    starts = range(0, updates, _AT_A_TIME)
    for start in tqdm(starts, desc="tune", disable=not (progress and main)):
        some = min(_AT_A_TIME, updates - start)
        reports.append({"updates": start + some, **learner.learn(lessons, some)})
    planner.weights_changed()
    if main:
        card = card.format(updates=updates)
        planner.save(target, f"Fine-tuned by `hier tune-planner` {card}")
    return TuneResult(target, len(lessons), reports, main)


def _accelerator(device: str) -> Any:
    """The processes of ``accelerate launch``; ``None`` where this is the only one."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    from accelerate import Accelerator

    return Accelerator(cpu=device == "cpu")
