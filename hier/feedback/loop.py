"""Feedback while the controller trains: lessons are gathered, and the planner learns in between."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Image
from torch import Tensor

from hier.config import HierConfig
from hier.controllers.checkpoint import add_member, read_member, reading
from hier.controllers.logs import TENSORBOARD_ONLY
from hier.envs.errors import ConfigError
from hier.envs.tensors import pack, unpack
from hier.feedback.discriminator import Discriminator
from hier.feedback.learner import PlannerLearner, build_learner
from hier.feedback.lessons import FeedbackBuffer, Lesson, drop_lessons, write_lessons
from hier.feedback.objectives import InverseRL, objective_class
from hier.feedback.progress import PlannerProgress
from hier.feedback.saved import (
    MEMBER,
    learner_state,
    lessons_state,
    require_alike,
    restore_learner,
    restored_lessons,
)
from hier.guidance.critic import SubgoalCritic, half_of
from hier.guidance.learning import SubgoalGuidance
from hier.hierarchy.records import SubgoalRecord
from hier.hierarchy.vec_env import HierarchicalVecEnv
from hier.planners.language.pictures import as_png
from hier.planners.language.planner import LanguagePlanner

if TYPE_CHECKING:
    from hier.run.folder import RunFolder

_STATES = 64  # on which accuracy is followed


class FeedbackLearning(BaseCallback):
    """Makes lessons of closed subgoals and lets the planner learn from them between rollouts.

    The first round waits for ``feedback.warmup`` lessons, for a reward among them and, where the
    objective learns from advantages, for a critic that has a say. Evaluations report success to
    :meth:`on_evaluation`: if it falls by more than ``feedback.guard`` below the best so far, the
    planner goes back to what it was at its best.

    Logs ``feedback/``: what :meth:`hier.feedback.learner.PlannerLearner.learn` reports,
    ``lessons`` held, ``version`` of the planner, ``return`` (mean discounted return of the
    lessons), ``advantage`` (histogram, by the critic of the time), ``rollbacks``, and ``share`` of
    the wall time so far.

    Args:
        config: of the run.
        env: trained in.
        planner: learns.
        guidance: has the critic; ``None`` without one.
    """

    def __init__(
        self,
        config: HierConfig,
        env: HierarchicalVecEnv,
        planner: LanguagePlanner,
        guidance: SubgoalGuidance | None = None,
    ):
        super().__init__()
        self.settings = settings = config.feedback
        self.env, self.planner = env, planner
        self.buffer = FeedbackBuffer(settings.capacity, settings.staleness)
        critic = guidance.critic if guidance is not None else None
        self.learner = None if settings.objective == "none" else self._learner(config, critic)
        ids, share = config.env.ids, settings.levels_shared_by
        self._levels = [ids[(i // share) % len(ids)] for i in range(env.num_envs)]
        self._learned_at, self._seconds, self._last = 0, 0.0, 0.0
        self._began, self._before = time.perf_counter(), 0.0  # wall time of earlier sittings
        self._unwritten: list[Lesson] = []
        self._saved_version = -1
        self._best, self._best_weights = 0.0, list[Tensor]()
        self.rollbacks = 0
        self.progress: PlannerProgress | None = None
        if self.learner is not None:
            first = config.eval.first_seed
            self.progress = PlannerProgress(planner, config.env.ids, _STATES, first)

    def _learner(self, config: HierConfig, critic: SubgoalCritic | None) -> PlannerLearner:
        objective = objective_class(self.settings.objective)()
        discriminator = None
        if isinstance(objective, InverseRL):
            discriminator = Discriminator(seed=config.seed)
        if not objective.needs_critic:
            critic = None
        return build_learner(
            config, self.planner, objective, critic=critic, discriminator=discriminator
        )

    def _on_training_start(self) -> None:
        self._began = time.perf_counter() - self._before

    def _on_step(self) -> bool:
        for i, info in enumerate(self.locals["infos"]):
            if "subgoal" in info:
                record: SubgoalRecord = info["subgoal"]
                lesson = self._lesson(i, record)
                success = bool(info["is_success"]) if record.terminal else None
                ended = self.buffer.add(i, lesson, success=success)
                if self.settings.store:
                    self._unwritten += ended
        return True

    def _lesson(self, i: int, record: SubgoalRecord) -> Lesson:
        assert record.prompt is not None
        size = self.settings.levels_shared_by
        return Lesson(
            question=record.prompt.question,
            pictures=tuple(as_png(image) for image in record.prompt.images),
            candidates=tuple(map(str, record.candidates)),
            log_probs=tuple(record.log_probs.tolist()),
            choice=record.decision.choice,
            behavior=record.decision.log_prob,
            reward=record.reward,
            discount=record.discount,
            duration=record.duration,
            outcome=record.outcome,
            version=record.planner_version,
            level=self._levels[i],
            group=f"{self._levels[i]} {i // size} {record.episode}" if size > 1 else "",
            advantage=record.decision.advantage,
            features=record.decision.features,
            half=half_of(i, record.episode),
        )

    def _on_rollout_end(self) -> None:
        wall = time.perf_counter() - self._began
        if self.learner is not None and self._due(wall):
            lessons = self.buffer.usable(self.planner.version)
            if self._ready(self.learner, lessons):
                self._round(self.learner, lessons)
        self.logger.record("feedback/lessons", len(self.buffer))
        self.logger.record("feedback/version", self.planner.version)
        self.logger.record("feedback/rollbacks", self.rollbacks)
        wall = time.perf_counter() - self._began  # with the round that has just ended
        self.logger.record("feedback/share", self._seconds / max(wall, 1e-9))

    def _due(self, wall: float) -> bool:
        due = self.num_timesteps - self._learned_at >= self.settings.every
        expected = self._seconds + self._last  # a round takes about as long as the last one
        return due and expected <= self.settings.max_share * (wall + self._last)

    def _ready(self, learner: PlannerLearner, lessons: list[Lesson]) -> bool:
        """Whether there is anything to learn from."""
        enough = len(lessons) >= self.settings.warmup and any(one.reward for one in lessons)
        return enough and (learner.critic is None or learner.critic.say > 0)

    def _round(self, learner: PlannerLearner, lessons: list[Lesson]) -> None:
        self._learned_at = self.num_timesteps
        started = time.perf_counter()
        report = learner.learn(lessons, self.settings.updates)
        self.planner.weights_changed()
        self._last = time.perf_counter() - started
        self._seconds += self._last
        for name, value in report.items():
            self.logger.record(f"feedback/{name}", value)
        self.logger.record("feedback/return", np.mean([one.returned for one in lessons]))
        advantage = torch.tensor([one.advantage for one in lessons])
        advantage = advantage[~advantage.isnan()]
        if len(advantage):
            self.logger.record("feedback/advantage", advantage, TENSORBOARD_ONLY)

    def on_evaluation(self, success: float) -> None:
        """Take in an evaluation; the planner goes back to its best if the agent got much worse.

        The bar then comes down half-way. Otherwise a lasting fall of the controller's own success
        would undo every later round of feedback.

        Args:
            success: share of successful episodes.
        """
        if self.learner is None:
            return
        if success >= self._best or not self._best_weights:
            self._best, self._best_weights = success, self.learner.weights()
        elif success < self._best - self.settings.guard:
            self.learner.restore(self._best_weights)
            self.planner.weights_changed()
            self.rollbacks += 1
            self._best = (self._best + success) / 2

    def log_progress(self) -> None:
        """Log ``eval/planner_accuracy`` and ``eval/planner_probability`` against the expert, and
        pictures of plans before and after feedback.
        """
        if self.progress is None:
            return
        for name, value in self.progress.accuracy().items():
            self.logger.record(f"eval/planner_{name}", value)
        for k, picture in enumerate(self.progress.pictures()):
            self.logger.record(f"feedback/plan_{k}", Image(picture, "HWC"), TENSORBOARD_ONLY)

    def save(self, run: RunFolder, checkpoint: Path) -> None:
        """Keep the planner and new lessons in folders of the run, and all else in the checkpoint.

        Lessons of episodes that are going on are left out: a resumed run begins new ones.
        """
        if self.learner is not None and self.planner.version != self._saved_version:
            self.planner.save(run.planner)
            self._saved_version = self.planner.version
        shards, self._unwritten = write_lessons(self._unwritten, run.lessons), []
        state = {
            "shards": shards,
            "lessons": lessons_state(list(self.buffer)),
            "version": self.planner.version,
            "learner": None if self.learner is None else learner_state(self.learner),
            "best": self._best,
            "best_weights": self._best_weights,
            "rollbacks": self.rollbacks,
            "learned_at": self._learned_at,
            "seconds": [self._seconds, self._last, time.perf_counter() - self._began],
        }
        add_member(checkpoint, MEMBER, pack(state))

    def load(self, run: RunFolder, checkpoint: Path) -> None:
        """Go on from :meth:`save`; the reference stays as it is.

        A checkpoint of an older version has nothing of it; then the planner goes on from its
        folder, with a warning.

        Raises:
            RunFolderError: if it cannot be read, or is of another planner.
        """
        content = read_member(checkpoint, MEMBER, "lessons; feedback gathers new ones")
        if content is None:
            if run.planner.exists():
                self.planner.take_weights(run.planner)
            return
        with reading("the feedback", checkpoint):
            shards = self._restore(unpack(content))
        drop_lessons(run.lessons, shards)
        if self.learner is not None:  # a killed run may have left the folder a round ahead
            self.planner.save(run.planner)
            self._saved_version = self.planner.version

    def _restore(self, state: dict[str, Any]) -> int:
        self.buffer.extend(restored_lessons(state["lessons"]))
        self._best, self.rollbacks = float(state["best"]), int(state["rollbacks"])
        self._learned_at, shards = int(state["learned_at"]), int(state["shards"])
        self._seconds, self._last, self._before = map(float, state["seconds"])
        if self.learner is not None:
            restore_learner(self.learner, state["learner"])
            if state["best_weights"]:
                require_alike(state["best_weights"], self.learner.weights())
            self._best_weights = state["best_weights"]
            self.planner.version = int(state["version"])
        return shards


def build_feedback(
    config: HierConfig,
    env: HierarchicalVecEnv,
    planner: Any,
    guidance: SubgoalGuidance | None = None,
) -> FeedbackLearning | None:
    """What fine-tunes the planner; ``None`` where it does not learn and nothing is stored.

    Raises:
        ConfigError: if the planner has no weights to learn with.
    """
    if planner is None or not config.keeps_lessons:
        return None
    if not isinstance(planner, LanguagePlanner):
        raise ConfigError(
            f"the planner {type(planner).__name__} has no weights to fine-tune; choose "
            "planner.type=vlm or llm, or feedback.objective=none feedback.store=false"
        )
    return FeedbackLearning(config, env, planner, guidance)
