"""Which level each episode plays: seeds shared by several environments, or given ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import gymnasium as gym
import numpy as np


class SeededEpisodes(gym.Wrapper):
    """Plays given seeds, one episode each.

    Args:
        env: any environment.
        seeds: one per episode.
    """

    def __init__(self, env: gym.Env, seeds: Iterable[int]):
        super().__init__(env)
        self._seeds = iter(seeds)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start the next seed's episode; an explicit ``seed`` is ignored."""
        return self.env.reset(seed=next(self._seeds), options=options)


def shared_seeds(seed: Sequence[int]) -> Iterator[int]:
    """Level seeds without end, beyond those of evaluations.

    Environments with the same ``seed`` play the same levels: equal starts for group comparison.
    """
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(10**9, 2**31 - 1))


def given_seeds(seeds: Sequence[int]) -> Iterator[int]:
    """``seeds``, at least one, and the last one again when they run out."""
    return chain(seeds, repeat(seeds[-1]))
