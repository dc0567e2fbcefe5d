"""What a run logs that SB3 cannot know: subgoals, planner, safety, and where the time goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam

from hier.config import HierConfig
from hier.controllers.logs import TENSORBOARD_ONLY
from hier.envs.subgoal import Outcome
from hier.hierarchy.records import SubgoalRecord
from hier.hierarchy.vec_env import HierarchicalVecEnv


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
        self.logger.record("hparams", HParam(values, metrics), exclude=TENSORBOARD_ONLY)
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
            self.logger.record(
                "planner/plans", plans_as_text(self._episodes[-3:]), TENSORBOARD_ONLY
            )

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
