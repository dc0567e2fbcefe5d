"""Fine-tuning after the run: a planner learns from the stored feedback of many runs."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hier.envs.errors import ConfigError
from hier.feedback.learner import build_learner
from hier.feedback.lessons import Lesson, read_lessons
from hier.feedback.objectives import objective_class
from hier.planners.language.planner import LanguagePlanner
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
    planner = build_planner_of(config)
    if not isinstance(planner, LanguagePlanner):
        raise ConfigError(
            f"planner.type is {config.planner.type!r}, which has no weights to fine-tune; choose "
            "vlm or llm"
        )
    accelerator = _accelerator(str(planner.loaded.device))
    main = accelerator is None or accelerator.is_main_process
    learner = build_learner(config, planner, objective_class(name)(), accelerator=accelerator)
    if updates is None:
        updates = math.ceil(_PASSES * len(lessons) / settings.batch_size)
    reports = []
    starts = range(0, updates, _AT_A_TIME)
    for start in tqdm(starts, desc="tune", disable=not (progress and main)):
        some = min(_AT_A_TIME, updates - start)
        reports.append({"updates": start + some, **learner.learn(lessons, some)})
    planner.weights_changed()
    target = Path(out) if out else RunFolder(runs[0]).path / "tuned"
    if main:
        planner.save(target, _card(name, runs, len(lessons), updates))
    return TuneResult(target, len(lessons), reports, main)


def _accelerator(device: str) -> Any:
    """The processes of ``accelerate launch``; ``None`` where this is the only one."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    from accelerate import Accelerator

    return Accelerator(cpu=device == "cpu")


def _card(objective: str, runs: Sequence[str | Path], lessons: int, updates: int) -> str:
    names = ", ".join(Path(run).name for run in runs)
    return (
        f"Fine-tuned by `hier tune-planner` with `{objective}`: {updates} updates on {lessons} "
        f"closed subgoals of {names}."
    )
