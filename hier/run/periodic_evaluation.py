"""Evaluation and video while SB3 trains."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.logger import TensorBoardOutputFormat

from hier.controllers.callbacks import PeriodicCallback
from hier.perception.video import gif_bytes, write_gif
from hier.run.evaluation import Evaluation, evaluate_model
from hier.run.folder import RunFolder
from hier.run.logging import HierarchyLogger
from hier.run.recording import record_episodes
from hier.run.setup import Setup

GIF_FPS = 6


class Evaluations(PeriodicCallback):
    """Evaluates the agent every so many steps, between rollouts, and draws an episode.

    A planner that learns from feedback goes back to its best after a bad evaluation.

    Args:
        folder: of the run.
        run: what trains.
        log: counts the episodes of this sitting.
    """

    def __init__(self, folder: RunFolder, run: Setup, log: HierarchyLogger):
        super().__init__(run.config.eval.every)
        self.folder = folder
        self.run = run
        self.log = log
        # Of a resumed run, those since its last evaluation before are not known.
        earlier = folder.evaluations()
        self._earlier = earlier[-1].get("train_episodes", 0) if earlier else 0

    def _on_rollout_start(self) -> None:
        if self.due():
            evaluation = self.evaluate(self.run.config.eval.episodes_during)
            if self.run.feedback is not None:
                self.run.feedback.on_evaluation(evaluation.success_rate)

    def evaluate(self, episodes: int, progress: bool = False) -> Evaluation:
        """Evaluate now; log, store and draw the result."""
        run = self.run
        evaluation = evaluate_model(run, run.planner, episodes=episodes, progress=progress)
        summary = evaluation.summary()
        episodes_so_far = self._earlier + self.log.episodes
        self.folder.append_evaluation(
            {"env_steps": self.num_timesteps, "train_episodes": episodes_so_far, **summary}
        )
        for name in (
            "success_rate", "mean_return", "mean_length", "queries_per_episode", "violations",
        ):  # fmt: skip
            self.logger.record(f"eval/{name}", summary[name])
        if run.feedback is not None:
            run.feedback.log_progress()
        self._draw()
        self.logger.dump(self.num_timesteps)
        return evaluation

    def _draw(self) -> None:
        settings = self.run.config.eval
        seeds = range(settings.first_seed, settings.first_seed + settings.videos)
        for video in record_episodes(self.run, self.run.planner, seeds):
            name = f"step-{self.num_timesteps:010d}-seed-{video.seed}.gif"
            write_gif(self.folder.videos / name, video.frames, GIF_FPS)
            add_gif(self.logger, f"eval/seed_{video.seed}", video.frames, self.num_timesteps)


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
