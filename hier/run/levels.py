"""Which level each episode plays: seeds shared by several environments, or given ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np


class SharedLevels(gym.Wrapper):
    """Plays levels that others with the same seed play too: equal starts for group comparison.

    Args:
        env: any environment.
        seed: of the sequence of level seeds; these lie beyond those of evaluations.
    """

    def __init__(self, env: gym.Env, seed: Sequence[int]):
        super().__init__(env)
        self._levels = np.random.default_rng(seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start the sequence's next episode; an explicit ``seed`` is ignored."""
        chosen = int(self._levels.integers(10**9, 2**31 - 1))
        return self.env.reset(seed=chosen, options=options)


class SeededEpisodes(gym.Wrapper):
    """Plays given seeds, one episode each, and the last one again when they run out.

    Args:
        env: any environment.
        seeds: one per episode, at least one.
    """

    def __init__(self, env: gym.Env, seeds: Sequence[int]):
        super().__init__(env)
        self._seeds = list(seeds)
        self._next = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start the next seed's episode; an explicit ``seed`` is ignored."""
        chosen = self._seeds[min(self._next, len(self._seeds) - 1)]
        self._next += 1
        return self.env.reset(seed=chosen, options=options)
