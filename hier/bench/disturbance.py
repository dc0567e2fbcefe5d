"""Suite ``disturbance``: what re-planning is worth when the level changes during the episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from hier.bench.figures import rows_of, success_figures
from hier.bench.jobs import budget, jobs_of, plain_config
from hier.envs.gridworld.disturbance import DISTURBANCES, Disturbed
from hier.envs.registry import make_env
from hier.envs.subgoal import Outcome, Subgoal
from hier.planners.protocol import (
    Planner,
    PlannerQuery,
    PlannerReply,
    certain_of,
    uniform_over,
)
from hier.run.agent import Agent
from hier.run.build import build_planner_of
from hier.run.pool import side_by_side
from hier.run.setup import Trained, open_trained
from hier.run.sweep import Row, kept_parent, train_all

NONE = "none"
RE_PLANNING, PLAN_FIXED = "re-planning", "plan fixed"


class FixedPlan:
    """A plan followed as it was made.

    A subgoal is pursued until it is done, and again when it failed while it still is a candidate;
    else comes the next that is one, and after the last the last. Where nothing that is left of the
    plan can be pursued, there is no preference.

    Args:
        plan: the subgoals of one episode, at least one.
    """

    privileged = False
    version = 0

    def __init__(self, plan: Sequence[Subgoal]):
        self.plan = list(plan)
        self._now = 0

    def score(self, queries: Sequence[PlannerQuery]) -> list[PlannerReply]:
        """See :class:`hier.planners.protocol.Planner`; for one environment and one episode."""
        (query,) = queries
        last = len(self.plan) - 1
        if query.recent and query.recent[-1] == (self.plan[self._now], Outcome.DONE):
            self._now = min(self._now + 1, last)
        left = [i for i in range(self._now, last + 1) if self.plan[i] in query.candidates]
        if not left:
            return [uniform_over(len(query.candidates))]
        self._now = left[0]
        choice = query.candidates.index(self.plan[self._now])
        return [certain_of(choice, len(query.candidates))]


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode played.

    Attributes:
        success: the mission was achieved.
        disturbed: the disturbance took place.
        length: environment steps.
        queries: how often the planner was asked.
        plan: the subgoals pursued, in order.
    """

    success: bool
    disturbed: bool
    length: int
    queries: int
    plan: list[Subgoal]


def play(trained: Trained, planner: Planner, kind: str, seed: int) -> Episode:
    """Play one episode of the run's level.

    Until the disturbance all episodes of a seed are the same, if the planner proposes the same.

    Args:
        trained: the controller.
        planner: who proposes.
        kind: the disturbance, or ``none``.
        seed: of the level, of the disturbance and of all draws.
    """
    import torch

    config = trained.config.override(f"seed={seed}")
    env = make_env(config.env.ids[0], max_steps=config.env.max_steps)
    if kind != NONE:
        env = Disturbed(env, kind)  # type: ignore[arg-type]
    agent = Agent(trained.model, config, planner)
    observation, _ = env.reset(seed=seed)
    state, ended, length = None, False, 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        while not ended:
            action, state = agent.predict(
                observation, state, deterministic=config.greedy_evaluation
            )
            observation, _, terminated, truncated, info = env.step(int(action))
            ended, length = terminated or truncated, length + 1
    assert state is not None
    lane = state.hierarchy.lanes[0]
    assert lane.active.subgoal is not None
    return Episode(
        success=bool(info["is_success"]),
        disturbed=bool(info.get("disturbed")),
        length=length,
        queries=lane.queries,
        plan=[*(subgoal for subgoal, _ in lane.history), lane.active.subgoal],
    )


def disturbance(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """UnlockPickup with an object moved, a door closed or the key taken away on the way.

    One controller per seed learns on undisturbed levels. ``re-planning`` asks the planner whenever
    a subgoal ends; ``plan fixed`` follows the subgoals of the same level's undisturbed episode.
    Success is that of the episodes in which the disturbance took place.
    """
    base = plain_config("demo")
    base = base.override(*budget(base.total_timesteps, quick))
    trainings = jobs_of(kept_parent("disturbance", quick), {"": base}, {"vlm": []}, seeds)
    train_all(trainings)
    kinds, variants = (NONE, *DISTURBANCES), (RE_PLANNING, PLAN_FIXED)
    folders = [folder for *_, folder in trainings]
    rows = side_by_side(_judge, list(product(folders, kinds, variants)))
    figures: dict[str, Any] = {}
    for kind in kinds:
        for variant in variants:
            some = rows_of(rows, disturbance=kind, variant=variant)
            key = f"UnlockPickup.{kind}.{variant}".replace(" ", "_")
            if counted := [row for row in some if row["success"] is not None]:
                figures |= success_figures(counted, f"{key}.success")
            if kind != NONE:
                figures[f"{key}.disturbed"] = sum(row["disturbed"] for row in some)
    return figures, rows


def _judge(job: tuple[Path, str, str]) -> Row:
    folder, kind, variant = job
    trained = open_trained(folder)
    config = trained.config
    planner = build_planner_of(config)
    assert planner is not None
    first, count = config.eval.first_seed, config.eval.episodes
    episodes, queries = [], []
    for seed in range(first, first + count):
        fixed = variant == PLAN_FIXED
        made = play(trained, planner, NONE if fixed else kind, seed)
        queries.append(made.queries)  # a fixed plan is what it was asked for
        episodes.append(play(trained, FixedPlan(made.plan), kind, seed) if fixed else made)
    counted = [i for i, episode in enumerate(episodes) if kind == NONE or episode.disturbed]
    row = {
        "level": config.env.ids[0],
        "variant": variant,
        "disturbance": kind,
        "seed": config.seed,
        "success": _mean([episodes[i].success for i in counted]),
        "eval_episodes": count,
        "disturbed": sum(episode.disturbed for episode in episodes),
        "mean_length": _mean([episodes[i].length for i in counted]),
        "queries_per_episode": _mean([queries[i] for i in counted]),
    }
    success = "-" if row["success"] is None else f"{row['success']:.0%}"
    print(
        f"{kind}, {variant}, controller {config.seed}: {success} of {len(counted)} episodes",
        flush=True,
    )
    return row


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
