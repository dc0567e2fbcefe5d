"""Spaces as plain values, and environments that have nothing but spaces."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from hier.envs.errors import ConfigError

_LARGEST = 10**7  # actions, or bits


def describe_space(space: spaces.Space) -> dict[str, Any]:
    """A space that SB3 knows, as :func:`hier.envs.tensors.pack` takes it.

    Raises:
        ConfigError: for a space of another kind.
    """
    match space:
        case spaces.Dict():
            parts = [[key, describe_space(part)] for key, part in space.spaces.items()]
            return {"kind": "Dict", "spaces": parts}
        case spaces.Box():
            low, high = (torch.from_numpy(bound.copy()) for bound in (space.low, space.high))
            return {"kind": "Box", "low": low, "high": high}
        case spaces.Discrete():
            return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            return {"kind": "MultiDiscrete", "nvec": space.nvec.tolist()}
        case spaces.MultiBinary():
            n = space.n if isinstance(space.n, int) else list(space.n)
            return {"kind": "MultiBinary", "n": n}
    raise ConfigError(
        f"the space {space} cannot be saved; use Dict, Box, Discrete, MultiDiscrete or MultiBinary"
    )


def described_space(about: dict[str, Any]) -> spaces.Space:
    """The space that :func:`describe_space` described.

    Raises:
        ValueError: for a kind that it does not write, or a size that fills the memory.
    """
    match about["kind"]:
        case "Dict":
            return spaces.Dict([(key, described_space(part)) for key, part in about["spaces"]])
        case "Box":
            low, high = about["low"].numpy(), about["high"].numpy()
            return spaces.Box(low, high, dtype=low.dtype.type)
        case "Discrete":
            _moderate(about["n"])
            return spaces.Discrete(about["n"], start=about["start"])
        case "MultiDiscrete":
            _moderate(sum(about["nvec"]))
            return spaces.MultiDiscrete(about["nvec"])
        case "MultiBinary":
            _moderate(math.prod(about["n"]) if isinstance(about["n"], list) else about["n"])
            return spaces.MultiBinary(about["n"])
    raise ValueError(f"unknown kind of space {about['kind']!r}")


def _moderate(size: int) -> None:
    if size > _LARGEST:
        raise ValueError(f"a space of size {size}")


class _SpacesAlone(gym.Env):
    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space):
        self.observation_space, self.action_space = observation_space, action_space


def spaces_alone(
    observation_space: spaces.Space, action_space: spaces.Space, n_envs: int
) -> VecEnv:
    """Environments to build a controller for that only answers: they can be neither reset nor
    stepped.
    """
    return DummyVecEnv([lambda: _SpacesAlone(observation_space, action_space)] * n_envs)
