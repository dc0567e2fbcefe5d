"""Judging a controller and its planner on levels that training never drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hier.config import evaluation_seeds
from hier.envs.errors import ConfigError
from hier.envs.subgoal import Outcome
from hier.planners.protocol import Planner
from hier.run.build import build_env, build_planner_of
from hier.run.setup import Setup, Trained, open_trained

LANES = 50  # evaluation episodes played side by side


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """One evaluation episode.

    Attributes:
        env_id, seed: the level.
        success: the environment's own reward at the end was positive.
        episode_return: sum of the environment's own rewards.
        length: environment steps.
        planner_queries: how often the planner was asked.
        plan: ``(subgoal, duration, outcome)`` of every subgoal, in order.
        violations: unsafe steps taken.
        prevented: unsafe steps filtered.
    """

    env_id: str
    seed: int
    success: bool
    episode_return: float
    length: int
    planner_queries: int
    plan: list[tuple[str, int, str]]
    violations: int = 0
    prevented: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A set of evaluation episodes and their summary."""

    episodes: list[EpisodeResult]

    @property
    def success_rate(self) -> float:
        """Share of successful episodes, in [0, 1]."""
        return float(np.mean([e.success for e in self.episodes]))

    @property
    def completion_rate(self) -> float:
        """Share of subgoals that were completed, NaN without a planner."""
        outcomes = [outcome == Outcome.DONE for e in self.episodes for *_, outcome in e.plan]
        return float(np.mean(outcomes)) if outcomes else float("nan")

    def summary(self) -> dict[str, float]:
        """Headline figures by name."""
        return {
            "success_rate": self.success_rate,
            "mean_return": float(np.mean([e.episode_return for e in self.episodes])),
            "mean_length": float(np.mean([e.length for e in self.episodes])),
            "queries_per_episode": float(np.mean([e.planner_queries for e in self.episodes])),
            "subgoals_done": self.completion_rate,
            "violations": float(np.mean([e.violations for e in self.episodes])),
            "prevented": float(np.mean([e.prevented for e in self.episodes])),
            "episodes": float(len(self.episodes)),
        }


def play_episodes(
    run: Setup | Trained,
    planner: Planner | None,
    *,
    env_id: str,
    seeds: Sequence[int],
    progress: bool = False,
) -> list[EpisodeResult]:
    """Play one episode per seed, several at a time.

    Args:
        run: configuration, controller, and guidance of the choice among subgoals.
        planner: proposes subgoals; ``None`` for flat control.
        env_id: the level.
        seeds: of the episodes.
        progress: show a bar on a terminal.

    Returns:
        Results in the order of ``seeds``. They depend on the seeds and the model alone.
    """
    config, guidance = run.config, run.guidance
    lanes = min(LANES, len(seeds))
    deals = [list(seeds[i::lanes]) for i in range(lanes)]
    env = build_env(config, planner, guidance=guidance, env_id=env_id, seeds=deals, seed=seeds[0])
    found: dict[int, EpisodeResult] = {}
    observation = env.reset()
    state: Any = None
    starts = np.ones(lanes, bool)
    with tqdm(
        total=len(seeds), desc=f"evaluate {env_id}", disable=None if progress else True
    ) as bar:
        while len(found) < len(seeds):
            actions, state = run.model.predict(
                observation,
                state=state,
                episode_start=starts,
                deterministic=config.greedy_evaluation,
            )
            observation, _, starts, infos = env.step(actions)  # type: ignore[assignment]
            for lane in np.flatnonzero(starts):
                if deals[lane]:
                    seed = deals[lane].pop(0)
                    found[seed] = _result(env_id, seed, infos[lane])
                    bar.update()
    env.close()
    return [found[seed] for seed in seeds]


def _result(env_id: str, seed: int, info: dict[str, Any]) -> EpisodeResult:
    return EpisodeResult(
        env_id=env_id,
        seed=seed,
        success=bool(info["is_success"]),
        episode_return=float(info["episode"]["r"]),
        length=int(info["episode"]["l"]),
        planner_queries=int(info["planner_queries"]),
        plan=info["plan"],
        violations=info["violations"],
        prevented=info["prevented"],
    )


def evaluate_model(
    run: Setup | Trained,
    planner: Planner | None = None,
    *,
    episodes: int | None = None,
    first_seed: int | None = None,
    progress: bool = False,
) -> Evaluation:
    """Judge a run in memory; see :func:`evaluate` for the arguments.

    All randomness is set apart from training's, so that judging a model does not change it.
    """
    import torch

    config = run.config
    episodes = episodes or config.eval.episodes
    first = config.eval.first_seed if first_seed is None else first_seed
    if planner is None:
        planner = build_planner_of(config, seed=first)
    elif hasattr(planner, "for_evaluation"):
        planner = planner.for_evaluation(first)
    ids = config.env.ids
    share = [episodes // len(ids) + (i < episodes % len(ids)) for i in range(len(ids))]
    results: list[EpisodeResult] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(first)
        for name, count in zip(ids, share, strict=True):
            if count:
                seeds = evaluation_seeds(first, count)
                results += play_episodes(run, planner, env_id=name, seeds=seeds, progress=progress)
    return Evaluation(results)


def evaluate(
    run: str | Path,
    *,
    env_id: str | None = None,
    episodes: int | None = None,
    first_seed: int | None = None,
    overrides: Sequence[str] = (),
    progress: bool = True,
    trust_code: bool = False,
) -> Evaluation:
    """Judge a trained run.

    Args:
        run: its folder; or, for the built-in agent, a level's id, or ``shipped``.
        env_id: another level than it was trained on (zero-shot).
        episodes: how many; the run's ``eval.episodes`` when omitted.
        first_seed: of consecutive level seeds; ``eval.first_seed`` when omitted.
        overrides: change the configuration for this evaluation, e.g. ``planner.type=random``.
        progress: show a bar.
        trust_code: run code that the run's configuration names.

    Raises:
        RunFolderError: if the folder is no run or has no readable checkpoint.
        UntrustedCodeError: if it names code that is not trusted.
        ConfigError: for a wrong override.
    """
    if episodes is not None and episodes < 1:
        raise ConfigError(f"episodes is {episodes}; play at least 1")
    trained = open_trained(run, overrides, env_id, trust_code=trust_code)
    return evaluate_model(trained, episodes=episodes, first_seed=first_seed, progress=progress)
