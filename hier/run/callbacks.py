"""What is watched, kept and judged while SB3 trains."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import psutil
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam, TensorBoardOutputFormat

from hier.config import HierConfig
from hier.envs.subgoal import Outcome
from hier.guidance.learning import NOT_TEXT_LOGS, SubgoalGuidance
from hier.hierarchy.vec_env import HierarchicalVecEnv, SubgoalRecord
from hier.perception.video import gif_bytes, write_gif
from hier.planners.protocol import Planner
from hier.run.evaluation import Evaluation, evaluate_model
from hier.run.folder import Checkpointed, RunFolder
from hier.run.recording import record_episodes

GIF_FPS = 6


class HierarchyLogger(BaseCallback):
    """Logs what SB3 cannot know: subgoals, planner and where the time goes.

    Args:
        env: the hierarchical environment being trained in.
        config: written once as TensorBoard hyper-parameters.
        every: steps between two log points.
    """

    def __init__(self, env: HierarchicalVecEnv, config: HierConfig, every: int = 2048):
        super().__init__()
        self.env = env
        self.config = config
        self.every = every
        self.episodes = self.violations = 0
        self._records: list[SubgoalRecord] = []
        self._episodes: list[dict[str, Any]] = []
        self._logged_at = 0
        self._clock = time.perf_counter()
        self._seconds: dict[str, float] = {}

    def _on_training_start(self) -> None:
        values = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in self.config.flat().items()
        }
        metrics = {"eval/success_rate": 0.0, "rollout/ep_len_mean": 0.0}
        self.logger.record("hparams", HParam(values, metrics), exclude=NOT_TEXT_LOGS)
        self._logged_at = self.num_timesteps
        self._clock = time.perf_counter()
        self._seconds = self._spent()

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "subgoal" in info:
                self._records.append(info["subgoal"])
            if "episode" in info:
                self._episodes.append(info)
                self.episodes += 1
                self.violations += info["violations"]
        return True

    def _on_rollout_end(self) -> None:
        if self.num_timesteps - self._logged_at >= self.every:
            self._logged_at = self.num_timesteps
            self._log_subgoals()
            self._log_planner()
            self._log_safety()
            self._log_time()
            self._records, self._episodes = [], []

    def _log_subgoals(self) -> None:
        by_verb: dict[str, list[SubgoalRecord]] = defaultdict(list)
        for record in self._records:
            by_verb[record.subgoal.verb].append(record)
        for verb, records in by_verb.items():
            done = np.mean([record.outcome == Outcome.DONE for record in records])
            self.logger.record(f"subgoal/completion_rate/{verb.replace(' ', '_')}", done)
        if self._records:
            done = np.mean([record.outcome == Outcome.DONE for record in self._records])
            self.logger.record("subgoal/completion_rate", done)
            self.logger.record("subgoal/duration", np.mean([r.duration for r in self._records]))
            self.logger.record(
                "subgoal/reward", np.mean([record.reward for record in self._records])
            )

    def _log_planner(self) -> None:
        if not self._records:
            return
        entropy = [-np.sum(np.exp(r.log_probs) * r.log_probs) for r in self._records]
        self.logger.record("planner/entropy", np.mean(entropy))
        self.logger.record(
            "planner/candidates", np.mean([len(r.candidates) for r in self._records])
        )
        stats = getattr(self.env.hierarchy.planner, "stats", None)
        for name, count in (stats() if stats else {}).items():
            self.logger.record(f"planner/{name}", count)
        if self._episodes:
            queries = np.mean([info["planner_queries"] for info in self._episodes])
            self.logger.record("planner/queries_per_episode", queries)
            self.logger.record("planner/plans", plans_as_text(self._episodes[-3:]), NOT_TEXT_LOGS)

    def _log_safety(self) -> None:
        for name in ("violations", "prevented"):
            counts = [info[name] for info in self._episodes]
            if counts:
                self.logger.record(f"safety/{name}", np.mean(counts))

    def _log_time(self) -> None:
        now, spent = time.perf_counter(), self._spent()
        wall = max(now - self._clock, 1e-9)
        shares = {name: (spent[name] - self._seconds.get(name, 0.0)) / wall for name in spent}
        for name, share in shares.items():
            self.logger.record(f"time/share_{name}", share)
        self.logger.record("time/share_learning", max(0.0, 1.0 - sum(shares.values())))
        self.logger.record("time/memory_mb", psutil.Process().memory_info().rss / 2**20)
        self._clock, self._seconds = now, spent

    def _spent(self) -> dict[str, float]:
        return {**self.env.seconds, **self.env.hierarchy.seconds}


def plans_as_text(infos: Sequence[dict[str, Any]]) -> str:
    """Whole episodes' plans as Markdown, for TensorBoard's text tab."""
    parts = []
    for info in infos:
        verdict = "success" if info["is_success"] else "no success"
        lines = [
            f"{number}. {text} ({duration} steps, {outcome})"
            for number, (text, duration, outcome) in enumerate(info["plan"], start=1)
        ]
        heading = f"**{verdict}, {info['episode']['l']} steps**"
        parts.append("\n".join([heading, "", *lines]))
    return "\n\n".join(parts)


class Checkpoints(BaseCallback):
    """Saves the controller every so many steps, between rollouts.

    Args:
        folder: the run.
        every: steps.
        parts: kept beside the controller.
    """

    def __init__(self, folder: RunFolder, every: int, parts: Sequence[Checkpointed] = ()):
        super().__init__()
        self.folder = folder
        self.every = every
        self.parts = parts
        self._saved_at = 0

    def _on_training_start(self) -> None:
        self._saved_at = self.num_timesteps

    def _on_rollout_start(self) -> None:
        if self.num_timesteps - self._saved_at >= self.every:
            self._saved_at = self.num_timesteps
            self.folder.save_checkpoint(self.model, self.parts)

    def _on_step(self) -> bool:
        return True


class Judged(Protocol):
    """What wants to know of evaluations."""

    def show(self) -> None:
        """Log what an evaluation is to show beside its own figures."""

    def judged(self, success: float) -> None:
        """Take in the share of successful episodes of an evaluation on the way."""


class Evaluations(BaseCallback):
    """Judges the controller every so many steps, between rollouts, and draws an episode.

    Args:
        folder: the run.
        config: of the run.
        planner: who proposes, as in training.
        guidance: what else decides, as in training.
        student: told of evaluations; what learns from feedback.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: HierConfig,
        planner: Planner | None,
        guidance: SubgoalGuidance | None = None,
        student: Judged | None = None,
    ):
        super().__init__()
        self.folder = folder
        self.config = config
        self.planner = planner
        self.guidance = guidance
        self.student = student
        self._judged_at = 0

    def _on_training_start(self) -> None:
        self._judged_at = self.num_timesteps

    def _on_rollout_start(self) -> None:
        every = self.config.eval.every
        if every and self.num_timesteps - self._judged_at >= every:
            self._judged_at = self.num_timesteps
            found = self.judge(self.config.eval.episodes_during)
            if self.student is not None:
                self.student.judged(found.success_rate)

    def judge(self, episodes: int, progress: bool = False) -> Evaluation:
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
        if self.student is not None:
            self.student.show()
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


class StopOnSignal(BaseCallback):
    """Ends training at the next step after SIGINT or SIGTERM, so that a checkpoint is whole."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the signals inside the block; a second SIGINT interrupts at once."""
        try:
            before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: a notebook's or sweep's own business
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True

    def _on_step(self) -> bool:
        return not self.stopped
