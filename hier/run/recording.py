"""Episodes and single decisions as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.config import HierConfig
from hier.envs.domain import Domain
from hier.envs.errors import ConfigError, RunFolderError
from hier.envs.registry import domain_of, make_env
from hier.envs.subgoal import Outcome, Subgoal
from hier.guidance.learning import SubgoalGuidance
from hier.hierarchy.lanes import Hierarchy
from hier.perception.video import write_gif, write_mp4
from hier.planners.protocol import Planner, PlannerQuery, PlannerReply, ask
from hier.run.folder import RunFolder
from hier.run.setup import build_hierarchy, build_planner_of, open_trained

Observation = dict[str, NDArray]


@dataclass(frozen=True, slots=True)
class Video:
    """One drawn episode: ``frames`` are ``(height, width, 3)`` uint8, all of one size."""

    env_id: str
    seed: int
    success: bool
    frames: list[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a planner sees and proposes at one moment.

    Attributes:
        mission, scene: the instruction, and the percept in words.
        candidates, probabilities: the closed set and the planner's distribution.
        chosen: the subgoal taken.
        picture: ``(height, width, 3)`` uint8.
    """

    mission: str
    scene: str
    candidates: list[Subgoal]
    probabilities: NDArray[np.float64]
    chosen: Subgoal
    picture: NDArray[np.uint8]


def record_episodes(
    model: Any,
    config: HierConfig,
    planner: Planner | None,
    *,
    guidance: SubgoalGuidance | None = None,
    seeds: Sequence[int],
) -> list[Video]:
    """Play and draw one episode of the run's level, the first of several, per seed.

    Args:
        model: an SB3 algorithm.
        config: of the run.
        planner: who proposes; ``None`` for flat control.
        guidance: what else decides; ``None`` leaves it to the planner.
        seeds: of the levels.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds[0] if seeds else 0)
        return [_record(model, config, planner, guidance, seed) for seed in seeds]


def _record(
    model: Any,
    config: HierConfig,
    planner: Planner | None,
    guidance: SubgoalGuidance | None,
    seed: int,
) -> Video:
    env_id = config.env.ids[0]
    env = make_env(env_id, max_steps=config.env.max_steps)
    hierarchy, observation = _begin(config, planner, env, seed, guidance)
    domain = domain_of(env_id)
    frames = [_draw(domain, hierarchy, env, "step 0")]
    state, ended, step, success = None, False, 0, False
    while not ended:
        action, state = model.predict(
            hierarchy.controller_observation(_batch(observation)),
            state=state,
            episode_start=np.array([step == 0]),
            deterministic=config.greedy_evaluation,
        )
        action, _ = hierarchy.guard(action)
        observation, _, terminated, truncated, info = env.step(action[0])
        step, ended = step + 1, terminated or truncated
        outcome = hierarchy.advance(_batch(observation))[0]
        caption = f"step {step}"
        if ended:
            success = bool(info["is_success"])
            caption += ": success" if success else ": no success"
            hierarchy.close(0, outcome or Outcome.EPISODE_END)
        elif outcome:
            hierarchy.close(0, outcome)
            hierarchy.plan([0])
        frames.append(_draw(domain, hierarchy, env, caption))
    return Video(env_id, seed, success, frames)


def _begin(
    config: HierConfig,
    planner: Planner | None,
    env: Any,
    seed: int,
    guidance: SubgoalGuidance | None = None,
) -> tuple[Hierarchy, Observation]:
    """A hierarchy at the start of one environment's episode, and the first observation."""
    hierarchy = build_hierarchy(
        config,
        1,
        planner,
        seed=seed,
        experts=lambda i: env.get_wrapper_attr("expert")(),
        guidance=guidance,
    )
    observation, _ = env.reset(seed=seed)
    hierarchy.begin(_batch(observation))
    return hierarchy, observation


def _batch(observation: Observation) -> Observation:
    return {key: value[None] for key, value in observation.items()}


def _draw(domain: Domain, hierarchy: Hierarchy, env: Any, caption: str) -> NDArray[np.uint8]:
    active = hierarchy.lanes[0].active
    return domain.draw_scene(
        hierarchy.tracker.percept(0),
        active.subgoal,
        active.candidates,
        active.decision.log_probs if active.decision else None,
        caption=caption,
        level=env.render(),
    )


def record(
    run: str | Path,
    *,
    episodes: int = 3,
    first_seed: int | None = None,
    env_id: str | None = None,
    out: str | Path | None = None,
    fps: int = 6,
    overrides: Sequence[str] = (),
) -> list[Path]:
    """Write episodes of a trained run as GIF and MP4.

    Args:
        run: its folder.
        episodes: how many, from ``first_seed`` on (``eval.first_seed`` when omitted).
        env_id: another level than it was trained on.
        out: folder to write to; the run's ``videos`` when omitted.
        fps: frames per second.
        overrides: change the configuration, e.g. ``planner.type=random``.

    Returns:
        The files written.

    Raises:
        RunFolderError: if the folder is no run or has no readable checkpoint.
    """
    trained = open_trained(run, overrides, env_id)
    config = trained.config
    first = config.eval.first_seed if first_seed is None else first_seed
    target = Path(out) if out else trained.folder.videos
    written = []
    seeds = list(range(first, first + episodes))
    planner = build_planner_of(config)
    for video in record_episodes(
        trained.model, config, planner, guidance=trained.guidance, seeds=seeds
    ):
        # The id of a user's own domain holds a path, which is no part of a file's name.
        name = f"{video.env_id.rpartition('/')[2]}-seed-{video.seed}"
        gif, mp4 = target / f"{name}.gif", target / f"{name}.mp4"
        write_gif(gif, video.frames, fps)
        write_mp4(mp4, video.frames, fps)
        written += [gif, mp4]
    return written


@dataclass(frozen=True, slots=True)
class Comparison:
    """What several planners say to the same question.

    Attributes:
        mission, scene: the instruction, and the percept in words.
        candidates: the closed set.
        probabilities: ``(n_planners, n_candidates)``.
        picture: them side by side, ``(height, width, 3)`` uint8.
    """

    mission: str
    scene: str
    candidates: list[Subgoal]
    probabilities: NDArray[np.float64]
    picture: NDArray[np.uint8]


def compare(
    config: HierConfig, models: Sequence[str], *, seed: int = 0, steps: int = 0
) -> Comparison:
    """Show what several planner models propose on the same frame.

    Args:
        config: names the level, and the planner's type and options.
        models: hub ids, folders of planners, names of planners that ship, or run folders, which
            stand for the planner that feedback made there.
        seed: of the level.
        steps: random steps to take first.

    Raises:
        PlannerError: if a model cannot be loaded.
        RunFolderError: for a run whose planner did not learn.
    """
    planners = [
        build_planner_of(config.override(f"planner.model={_planner_of(model)}")) for model in models
    ]
    hierarchy, _ = _frame(config, planners[0], seed, steps)
    query = hierarchy.query(0)
    replies = [ask(planner, [query])[0] for planner in planners if planner is not None]
    return Comparison(
        mission=query.percept.mission,
        scene=query.space.describe(query.percept),
        candidates=list(query.candidates),
        probabilities=np.exp([reply.log_probs.astype(np.float64) for reply in replies]),
        picture=draw_side_by_side(
            domain_of(config.env.ids[0]), query, list(zip(models, replies, strict=True))
        ),
    )


def draw_side_by_side(
    domain: Domain, query: PlannerQuery, replies: Sequence[tuple[str, PlannerReply]]
) -> NDArray[np.uint8]:
    """What several planners say to one question, ``(height, width, 3)`` uint8, side by side.

    Args:
        domain: of the question.
        query: the question.
        replies: a caption and a reply each.
    """
    pictures = [
        domain.draw_scene(
            query.percept, query.candidates[int(np.argmax(reply.log_probs))],
            query.candidates, reply.log_probs, caption=caption,
        )
        for caption, reply in replies
    ]  # fmt: skip
    return np.concatenate(pictures, axis=1)


def _planner_of(model: str) -> str:
    run = RunFolder(model)
    if not run.config_file.is_file():
        return model
    if not run.planner.exists():
        raise RunFolderError(
            f"the run {model} keeps no planner, for it learned nothing (feedback.objective=none); "
            "name a planner's folder or hub id"
        )
    return str(run.planner)


def _frame(
    config: HierConfig, planner: Planner | None, seed: int, steps: int
) -> tuple[Hierarchy, Any]:
    """Hierarchy and simulator of one level after some random steps, about to plan."""
    if planner is None:
        raise ConfigError("planner.type=none proposes nothing; choose another planner to look at")
    env = make_env(config.env.ids[0], max_steps=config.env.max_steps)
    hierarchy, observation = _begin(config, planner, env, seed)
    domain, actions = domain_of(config.env.ids[0]), np.random.default_rng(seed)
    for _ in range(steps):
        observation, _, terminated, truncated, _ = env.step(domain.random_action(env, actions))
        if terminated or truncated:
            observation, _ = env.reset()
            hierarchy.begin(_batch(observation))
        else:
            hierarchy.advance(_batch(observation))
    return hierarchy, env


def propose(config: HierConfig, *, seed: int = 0, steps: int = 0) -> Proposal:
    """Show what the configured planner sees and proposes on one frame.

    Args:
        config: names the level and the planner, which must not be ``none``.
        seed: of the level.
        steps: random steps to take first, so that there is something to remember.

    Raises:
        ConfigError: for ``planner.type=none``.
    """
    hierarchy, env = _frame(config, build_planner_of(config), seed, steps)
    hierarchy.plan([0])
    lane = hierarchy.lanes[0]
    assert lane.active.subgoal is not None and lane.active.decision is not None
    percept = hierarchy.tracker.percept(0)
    return Proposal(
        mission=percept.mission,
        scene=hierarchy.space.describe(percept),
        candidates=list(lane.active.candidates),
        probabilities=np.exp(lane.active.decision.log_probs.astype(np.float64)),
        chosen=lane.active.subgoal,
        picture=_draw(
            domain_of(config.env.ids[0]),
            hierarchy,
            env,
            f"{config.planner.type} planner, seed {seed}",
        ),
    )
