"""Episodes of an agent as pictures, GIF and MP4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hier.config import evaluation_seeds
from hier.envs.domain import batched
from hier.envs.registry import make_env
from hier.envs.subgoal import Outcome
from hier.hierarchy.drawing import draw_lane
from hier.perception.video import write_gif, write_mp4
from hier.planners.protocol import Planner
from hier.run.agent import Agent
from hier.run.build import build_planner_of
from hier.run.setup import Setup, Trained, open_trained
from hier.run.shipped import is_shipped


@dataclass(frozen=True, slots=True)
class Video:
    """One drawn episode: ``frames`` are ``(height, width, 3)`` uint8, all of one size."""

    env_id: str
    seed: int
    success: bool
    frames: list[NDArray[np.uint8]]


def record_episodes(
    run: Setup | Trained, planner: Planner | None, seeds: Sequence[int]
) -> list[Video]:
    """Play and draw one episode of the run's level, the first of several, per seed.

    Args:
        run: configuration, controller, and guidance of the choice among subgoals.
        planner: proposes subgoals; ``None`` for flat control.
        seeds: of the levels.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds[0] if seeds else 0)
        return [_record(run, planner, seed) for seed in seeds]


def _record(run: Setup | Trained, planner: Planner | None, seed: int) -> Video:
    config = run.config
    env = make_env(config.env.ids[0], max_steps=config.env.max_steps)
    seeded = config.model_copy(update={"seed": seed})
    agent = Agent(run.model, seeded, planner, env, run.guidance)
    observation, _ = env.reset(seed=seed)
    state, ended, frames = None, False, list[NDArray[np.uint8]]()
    while not ended:
        action, state = agent.predict(observation, state, deterministic=config.greedy_evaluation)
        caption = f"step {len(frames)}"
        frames.append(draw_lane(config.domain, state.hierarchy, env, caption))
        observation, _, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
    assert state is not None
    outcome = state.hierarchy.advance(batched(observation))[0]
    state.hierarchy.close(0, outcome or Outcome.EPISODE_END)
    success = bool(info["is_success"])
    caption = f"step {len(frames)}: {'success' if success else 'no success'}"
    frames.append(draw_lane(config.domain, state.hierarchy, env, caption))
    return Video(config.env.ids[0], seed, success, frames)


def record(
    run: str | Path,
    *,
    episodes: int = 3,
    first_seed: int | None = None,
    env_id: str | None = None,
    out: str | Path | None = None,
    fps: int = 6,
    overrides: Sequence[str] = (),
    trust_code: bool = False,
) -> list[Path]:
    """Write episodes of a trained run as GIF and MP4.

    Args:
        run: its folder; or, for the built-in agent, a level's id, or ``shipped``.
        episodes: how many, from ``first_seed`` on (``eval.first_seed`` when omitted).
        env_id: another level than it was trained on.
        out: folder to write to; the run's ``videos`` when omitted; for the built-in agent, here.
        fps: frames per second.
        overrides: change the configuration, e.g. ``planner.type=random``.
        trust_code: run code that the run's configuration names.

    Returns:
        The files written.

    Raises:
        RunFolderError: if the folder is no run or has no readable checkpoint.
        UntrustedCodeError: if it names code that is not trusted.
    """
    trained = open_trained(run, overrides, env_id, trust_code=trust_code)
    config = trained.config
    first = config.eval.first_seed if first_seed is None else first_seed
    target = Path(out or ("videos" if is_shipped(trained.folder) else trained.folder.videos))
    written = []
    seeds = evaluation_seeds(first, episodes)
    for video in record_episodes(trained, build_planner_of(config), seeds):
        # The id of a user's own domain holds a path, which is no part of a file's name.
        name = f"{video.env_id.rpartition('/')[2]}-seed-{video.seed}"
        gif, mp4 = target / f"{name}.gif", target / f"{name}.mp4"
        write_gif(gif, video.frames, fps)
        write_mp4(mp4, video.frames, fps)
        written += [gif, mp4]
    return written
