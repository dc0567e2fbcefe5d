"""Evaluation and video while SB3 trains."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat

from hier.config import HierConfig
from hier.feedback.loop import FeedbackLearning
from hier.guidance.learning import SubgoalGuidance
from hier.perception.video import gif_bytes, write_gif
from hier.planners.protocol import Planner
from hier.run.evaluation import Evaluation, evaluate_model
from hier.run.folder import RunFolder
from hier.run.recording import record_episodes

GIF_FPS = 6


class Evaluations(BaseCallback):
    """Evaluates the agent every so many steps, between rollouts, and draws an episode.

    Args:
        folder: the run.
        config: of the run.
        planner: proposes subgoals, as in training.
        guidance: of the choice among subgoals, as in training.
        feedback: what fine-tunes the planner; it goes back to its best after a bad evaluation.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: HierConfig,
        planner: Planner | None,
        guidance: SubgoalGuidance | None = None,
        feedback: FeedbackLearning | None = None,
    ):
        super().__init__()
        self.folder = folder
        self.config = config
        self.planner = planner
        self.guidance = guidance
        self.feedback = feedback
        self._evaluated_at = 0

    def _on_training_start(self) -> None:
        self._evaluated_at = self.num_timesteps

    def _on_rollout_start(self) -> None:
        every = self.config.eval.every
        if every and self.num_timesteps - self._evaluated_at >= every:
            self._evaluated_at = self.num_timesteps
            evaluation = self.evaluate(self.config.eval.episodes_during)
            if self.feedback is not None:
                self.feedback.on_evaluation(evaluation.success_rate)

    def evaluate(self, episodes: int, progress: bool = False) -> Evaluation:
        """Evaluate now; log, store and draw the result."""
        evaluation = evaluate_model(
            self.model,
            self.config,
            planner=self.planner,
            guidance=self.guidance,
            episodes=episodes,
            progress=progress,
        )
        summary = evaluation.summary()
        self.folder.append_evaluation({"env_steps": self.num_timesteps, **summary})
        for name in (
            "success_rate", "mean_return", "mean_length", "queries_per_episode", "violations",
        ):  # fmt: skip
            self.logger.record(f"eval/{name}", summary[name])
        if self.feedback is not None:
            self.feedback.log_progress()
        self._draw()
        self.logger.dump(self.num_timesteps)
        return evaluation

    def _draw(self) -> None:
        seeds = range(
            self.config.eval.first_seed, self.config.eval.first_seed + self.config.eval.videos
        )
        videos = record_episodes(
            self.model, self.config, self.planner, guidance=self.guidance, seeds=list(seeds)
        )
        for video in videos:
            name = f"step-{self.num_timesteps:010d}-seed-{video.seed}.gif"
            write_gif(self.folder.videos / name, video.frames, GIF_FPS)
            add_gif(self.logger, f"eval/seed_{video.seed}", video.frames, self.num_timesteps)

    def _on_step(self) -> bool:
        return True


def add_gif(logger: Any, tag: str, frames: list[np.ndarray], step: int) -> None:
    """Show an animation in TensorBoard's image tab.

    SB3's ``Video`` goes through moviepy, which writes nothing since version 2; an image summary
    may hold a GIF as it is.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    height, width, _ = frames[0].shape
    image = Summary.Image(
        encoded_image_string=gif_bytes(frames, GIF_FPS), height=height, width=width, colorspace=3
    )
    summary = Summary(value=[Summary.Value(tag=tag, image=image)])
    for output in logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            output.writer._get_file_writer().add_summary(summary, step)
