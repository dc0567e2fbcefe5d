"""Feedback while the controller trains: lessons are gathered, and the planner learns in between."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from envs.errors import ConfigError
from hier.config import HierConfig
from hier.feedback.learner import PlannerLearner
from hier.feedback.lessons import FeedbackBuffer, Lesson
from hier.feedback.objectives import objective_class
from hier.run_folder import RunFolder
from hier.vec_env import HierarchicalVecEnv, SubgoalRecord
from planners.language import LanguagePlanner
from planners.pictures import as_png


class FeedbackLearning(BaseCallback):
    """Makes lessons of closed subgoals and lets the planner learn from them between rollouts.

    Logs ``feedback/``: what :meth:`hier.feedback.learner.PlannerLearner.learn` reports,
    ``lessons`` held, ``version`` of the planner, ``return`` (mean discounted return of the
    lessons) and ``share`` of the wall time so far.

    Args:
        config: of the run.
        env: trained in.
        planner: learns.
    """

    def __init__(self, config: HierConfig, env: HierarchicalVecEnv, planner: LanguagePlanner):
        super().__init__()
        settings = config.feedback
        self.env, self.planner = env, planner
        self.every, self.updates = settings.every, settings.updates
        self.warmup, self.max_share = settings.warmup, settings.max_share
        self.buffer = FeedbackBuffer(settings.capacity, settings.staleness)
        self.learner = PlannerLearner(
            planner,
            objective_class(settings.objective)(),
            kl_coef=settings.kl_coef,
            learning_rate=settings.learning_rate,
            batch_size=settings.batch_size,
            seed=config.seed,
        )
        ids = config.env.ids
        self._levels = [ids[i % len(ids)] for i in range(env.num_envs)]
        env.hierarchy.prompts = planner.prompt
        self._learned_at, self._seconds = 0, 0.0
        self._began = time.perf_counter()

    def _on_training_start(self) -> None:
        self._learned_at, self._began = self.num_timesteps, time.perf_counter()

    def _on_step(self) -> bool:
        for i, info in enumerate(self.locals["infos"]):
            if "subgoal" in info:
                record: SubgoalRecord = info["subgoal"]
                success = bool(info["is_success"]) if record.terminal else None
                self.buffer.add(i, self._lesson(i, record), success=success)
        return True

    def _lesson(self, i: int, record: SubgoalRecord) -> Lesson:
        assert record.prompt is not None
        return Lesson(
            question=record.prompt.question,
            pictures=tuple(as_png(image) for image in record.prompt.images),
            candidates=tuple(map(str, record.candidates)),
            log_probs=tuple(record.log_probs.tolist()),
            choice=record.decision.choice,
            behaviour=record.decision.log_prob,
            reward=record.reward,
            discount=record.discount,
            duration=record.duration,
            outcome=record.outcome,
            version=record.planner_version,
            level=self._levels[i],
            advantage=record.decision.advantage,
        )

    def _on_rollout_end(self) -> None:
        lessons = self.buffer.usable(self.planner.version)
        wall = time.perf_counter() - self._began
        due = self.num_timesteps - self._learned_at >= self.every
        if due and len(lessons) >= self.warmup and self._seconds <= self.max_share * wall:
            self._learned_at = self.num_timesteps
            started = time.perf_counter()
            report = self.learner.learn(lessons, self.updates)
            self._seconds += time.perf_counter() - started
            for name, value in report.items():
                self.logger.record(f"feedback/{name}", value)
            self.logger.record("feedback/return", np.mean([one.returned for one in lessons]))
        self.logger.record("feedback/lessons", len(self.buffer))
        self.logger.record("feedback/version", self.planner.version)
        self.logger.record("feedback/share", self._seconds / max(wall, 1e-9))

    def save(self, checkpoint: Path) -> None:
        """Keep the planner in its own folder of the run, whole or not at all."""
        self.planner.save(_folder(checkpoint))

    def load(self, checkpoint: Path) -> None:
        """Give the planner the weights that it was saved with; the reference stays as it is."""
        if _folder(checkpoint).exists():
            self.planner.take_weights(_folder(checkpoint))


def _folder(checkpoint: Path) -> Path:
    return RunFolder(checkpoint.parent.parent).planner


def build_feedback(
    config: HierConfig, env: HierarchicalVecEnv, planner: Any
) -> FeedbackLearning | None:
    """What teaches the planner; ``None`` where it does not learn.

    Raises:
        ConfigError: if the planner has no weights to learn with.
    """
    if config.feedback.objective == "none" or planner is None:
        return None
    if not isinstance(planner, LanguagePlanner):
        raise ConfigError(
            f"the planner {type(planner).__name__} has no weights to fine-tune; choose "
            "planner.type=vlm or llm, or feedback.objective=none"
        )
    return FeedbackLearning(config, env, planner)
