"""What a run logs that SB3 cannot know: subgoals, planner, safety, and where the time goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
from stable_baselines3.common.logger import HParam

from hier.config import HierConfig
from hier.controllers.callbacks import PeriodicCallback
from hier.controllers.logs import TENSORBOARD_ONLY
from hier.envs.subgoal import Outcome
from hier.hierarchy.records import SubgoalRecord
from hier.hierarchy.vec_env import HierarchicalVecEnv


class HierarchyLogger(PeriodicCallback):
    """Logs what SB3 cannot know: subgoals, planner and where the time goes.

    Args:
        env: the hierarchical environment being trained in.
        config: written once as TensorBoard hyper-parameters.
        every: steps between two log points.
    """

    def __init__(self, env: HierarchicalVecEnv, config: HierConfig, every: int = 2048):
        super().__init__(every)
        self.env = env
        self.config = config
        self.episodes = self.violations = 0
        self._records: list[SubgoalRecord] = []
        self._episodes: list[dict[str, Any]] = []
        self._clock = time.perf_counter()
        self._seconds: dict[str, float] = {}

    def _on_training_start(self) -> None:
        super()._on_training_start()
        values = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in self.config.flat().items()
        }
        metrics = {"eval/success_rate": 0.0, "rollout/ep_len_mean": 0.0}
        self.logger.record("hparams", HParam(values, metrics), exclude=TENSORBOARD_ONLY)
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
        if self.due():
            self._log_means()
            self._log_planner()
            self._log_time()
            self._records, self._episodes = [], []

    def _log_means(self) -> None:
        """Means over the subgoals and over the episodes that ended since the last time."""
        values: dict[str, list[Any]] = defaultdict(list)
        for record in self._records:
            done = record.outcome == Outcome.DONE
            values[f"subgoal/completion_rate/{record.subgoal.verb.replace(' ', '_')}"].append(done)
            values["subgoal/completion_rate"].append(done)
            values["subgoal/duration"].append(record.duration)
            values["subgoal/reward"].append(record.reward)
            entropy = -np.sum(np.exp(record.log_probs) * record.log_probs)
            values["planner/entropy"].append(entropy)
            values["planner/candidates"].append(len(record.candidates))
        for info in self._episodes:
            values["safety/violations"].append(info["violations"])
            values["safety/prevented"].append(info["prevented"])
            if self._records:  # flat control asks no planner
                values["planner/queries_per_episode"].append(info["planner_queries"])
        for name, some in values.items():
            self.logger.record(name, np.mean(some))
        self.logger.record("env/restarts", sum(self.env.get_attr("restarts")))

    def _log_planner(self) -> None:
        if not self._records:
            return
        stats = getattr(self.env.hierarchy.planner, "stats", None)
        for name, count in (stats() if stats else {}).items():
            self.logger.record(f"planner/{name}", count)
        if self._episodes:
            text = plans_as_text(self._episodes[-3:])
            self.logger.record("planner/plans", text, TENSORBOARD_ONLY)

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
