"""Suites that measure speed: always a ratio against the named peer, in one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from minigrid.wrappers import RGBImgPartialObsWrapper
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from hier.bench.figures import rows_of, spread
from hier.config import HierConfig
from hier.controllers.build import DEFAULTS
from hier.controllers.features import SubgoalFeatures
from hier.envs.gridworld.missions import MISSION_CODEC
from hier.envs.registry import make_env
from hier.run.build import build_env, build_model
from hier.run.setup import Setup
from hier.run.sweep import Row

RENDER_LEVELS = (
    "BabyAI-GoToRedBall-v0", "BabyAI-GoToLocal-v0", "BabyAI-PickupLoc-v0", "BabyAI-PutNextLocal-v0",
    "BabyAI-UnlockLocal-v0", "BabyAI-OpenDoor-v0", "BabyAI-UnlockPickup-v0",
    "BabyAI-BlockedUnlockPickup-v0", "BabyAI-KeyCorridorS3R3-v0", "BabyAI-UnlockToUnlock-v0",
    "BabyAI-GoToSeqS5R2-v0", "BabyAI-MiniBossLevel-v0", "BabyAI-BossLevel-v0", "BabyAI-GoTo-v0",
    "MiniGrid-DoorKey-8x8-v0", "MiniGrid-LavaCrossingS9N2-v0", "MiniGrid-MultiRoom-N6-v0",
    "MiniGrid-Dynamic-Obstacles-8x8-v0", "MiniGrid-ObstructedMaze-1Dlhb-v0",
    "MiniGrid-FourRooms-v0",
)  # fmt: skip


def official_env(env_id: str) -> gym.Env:
    """MiniGrid's own way to frames of 8-pixel tiles."""
    return RGBImgPartialObsWrapper(gym.make(env_id, disable_env_checker=True), tile_size=8)


def render(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Steps per second with frames, one core, and whether the frames are the same."""
    compared, timed = (100, 200) if quick else (2_500, 2_500)
    rows: list[Row] = []
    for env_id in RENDER_LEVELS:
        identical = _identical_frames(env_id, compared, seeds[0])
        envs = {"ours": make_env(env_id), "official": official_env(env_id)}
        envs["raw"] = gym.make(env_id, disable_env_checker=True)
        rates = {name: _steps_per_second(env, timed, seeds[0]) for name, env in envs.items()}
        rows.append(
            {
                "level": env_id,
                "variant": "random actions",
                "seed": seeds[0],
                "env_steps": compared,
                "identical": identical,
                **{f"{name}_per_s": round(rate) for name, rate in rates.items()},
                "ratio": rates["ours"] / rates["official"],
            }
        )
        print(f"{env_id}: {rows[-1]['ratio']:.1f} times, identical {identical}", flush=True)
    ratios = [row["ratio"] for row in rows]
    figures = {
        **spread(ratios, "ratio"),
        "ratio.best": max(ratios),
        "identical": all(row["identical"] for row in rows),
        "frames_compared": sum(row["env_steps"] for row in rows),
    }
    return figures, rows


def _identical_frames(env_id: str, steps: int, seed: int) -> bool:
    pair = make_env(env_id), official_env(env_id)
    actions, episode = np.random.default_rng(seed), seed
    frames = [env.reset(seed=episode)[0]["image"] for env in pair]
    for _ in range(steps):
        action = int(actions.integers(pair[0].action_space.n))  # type: ignore[attr-defined]
        same = np.array_equal(*frames)
        (ours, *outcome, _), (official, *expected, _) = (env.step(action) for env in pair)
        frames = [ours["image"], official["image"]]
        if not same or outcome != [float(expected[0]), *expected[1:]]:
            return False
        if outcome[1] or outcome[2]:
            if not np.array_equal(*frames):
                return False
            episode += 1
            frames = [env.reset(seed=episode)[0]["image"] for env in pair]
    return True


def _steps_per_second(env: gym.Env, steps: int, seed: int) -> float:
    actions = np.random.default_rng(seed).integers(env.action_space.n, size=steps)  # type: ignore[attr-defined]
    env.reset(seed=seed)
    env.step(actions[0])
    env.reset(seed=seed)
    started = time.perf_counter()
    for action in actions:
        *_, terminated, truncated, _ = env.step(int(action))
        if terminated or truncated:
            env.reset()
    return steps / (time.perf_counter() - started)


class OfficialObservation(gym.ObservationWrapper):
    """The official frames and the mission, and as zeros what a planner would set.

    Args:
        env: :func:`official_env`.
        space: the hierarchical environment's observation space.
    """

    def __init__(self, env: gym.Env, space: spaces.Dict):
        super().__init__(env)
        assert isinstance(env.observation_space, spaces.Dict)
        kept = {key: space[key] for key in ("mission", "target", "subgoal")}
        self.observation_space = spaces.Dict({"image": env.observation_space["image"], **kept})
        self._empty = {
            key: np.zeros(space[key].shape or (), np.float32) for key in ("target", "subgoal")
        }

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """The frame and the mission's word ids; no target and no subgoal."""
        return {
            "image": observation["image"],
            "mission": MISSION_CODEC.encode(observation["mission"]),
            **self._empty,
        }


class FrameFeatures(SubgoalFeatures):
    """Our network on frames, which the peer does not decode: a convolution reads each tile.

    Args:
        observation_space: Dict of ``image`` ``(3, 56, 56)`` and the inputs of
            :class:`.SubgoalFeatures` other than ``cells``.
        channels: width of all convolutions.
    """

    def __init__(self, observation_space: spaces.Dict, channels: int):
        without = spaces.Dict({**observation_space.spaces, "cells": spaces.Box(0, 1, (7, 7, 1))})
        super().__init__(without, channels=channels)
        self.cells = nn.Conv2d(3, channels, 8, stride=8)  # type: ignore[assignment]

    def look(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """``(batch, channels, 7, 7)``: the tiles, each by itself."""
        return self.cells(observations["image"])


PLAIN = "plain SB3 PPO"
GUIDED = ["guidance.soft_choice=true", "guidance.requery_rounds=3"]
SPEED_VARIANTS: dict[str, list[str]] = {
    "hierarchical": ["planner.type=oracle"],
    "with LINVIT and ReAd": ["planner.type=oracle", *GUIDED],
    "with the built-in planner": [],
    "with the built-in planner, LINVIT, ReAd and feedback": [
        *GUIDED, "feedback.objective=improve",
    ],
}  # fmt: skip


def train_speed(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Training steps per second: the whole hierarchical loop against plain SB3 PPO.

    Same level, ``n_envs``, width of the network and update settings; the peer has no planner and
    convolves the frames of MiniGrid's own wrapper. All take turns; medians over the repeats.
    """
    steps, repeats = (2_048, 1) if quick else (8_192, 3)
    rows: list[Row] = []
    for preset in ("demo",) if quick else ("demo", "key-corridor"):
        base = HierConfig.load(preset, ["controller.start=null", f"seed={seeds[0]}"])
        for repeat in range(repeats):
            for variant, lines in {**SPEED_VARIANTS, PLAIN: ["planner.type=none"]}.items():
                config = base.override(*lines)
                model, callbacks = _plain(config) if variant == PLAIN else _ours(config)
                rate = _training_rate(model, callbacks, steps, config.torch_threads)
                rows.append(
                    {
                        "level": config.env.ids[0],
                        "variant": variant,
                        "seed": seeds[0],
                        "repeat": repeat,
                        "env_steps": steps,
                        "steps_per_s": rate,
                    }
                )
                print(f"{config.env.ids[0]} {variant}: {rate:.0f} steps/s", flush=True)
    figures: dict[str, Any] = {}
    for variant in SPEED_VARIANTS:
        key = "ratio" if variant == "hierarchical" else f"{variant.replace(' ', '_')}.ratio"
        pairs = {level: _pairs(rows, level, variant) for level in {row["level"] for row in rows}}
        every = [pair for some in pairs.values() for pair in some]
        figures |= spread(every, key)
        for level, some in pairs.items():
            figures |= spread(some, f"{level}.{key}")
    return figures, rows


def _pairs(rows: Sequence[Row], level: str, variant: str) -> list[float]:
    """Steps per second of ``variant`` over those of the peer, turn by turn."""
    ours, peer = (rows_of(rows, level=level, variant=name) for name in (variant, PLAIN))
    return [a["steps_per_s"] / b["steps_per_s"] for a, b in zip(ours, peer, strict=True)]


def _ours(config: HierConfig) -> tuple[BaseAlgorithm, list[BaseCallback]]:
    setup = Setup.build(config)
    return build_model(config, setup.env), setup.callbacks(every=2048)


def _plain(config: HierConfig) -> tuple[BaseAlgorithm, list[BaseCallback]]:
    space = build_env(config, None).observation_space
    assert isinstance(space, spaces.Dict)
    env_id, controller = config.env.ids[0], config.controller
    make = lambda: Monitor(OfficialObservation(official_env(env_id), space))  # noqa: E731
    network = {
        "net_arch": controller.net_arch,
        "features_extractor_class": FrameFeatures,
        "features_extractor_kwargs": {"channels": controller.channels},
    }
    env, options = DummyVecEnv([make] * config.env.n_envs), DEFAULTS[controller.algorithm]
    return PPO("MultiInputPolicy", env, policy_kwargs=network, seed=config.seed, **options), []


def _training_rate(
    model: BaseAlgorithm, callbacks: list[BaseCallback], steps: int, threads: int
) -> float:
    torch.set_num_threads(threads)
    # Warm up: compiled code, caches, allocator, and the critic, which then has its say.
    model.learn(model.n_envs * 128, callback=CallbackList(callbacks))
    started = time.perf_counter()
    model.learn(steps, callback=CallbackList(callbacks), reset_num_timesteps=False)
    return steps / (time.perf_counter() - started)
