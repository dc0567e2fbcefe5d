"""Which level each episode plays: shared or given seeds, and levels that are varied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from hier.config import TRAINING_SEEDS


class SeededEpisodes(gym.Wrapper):
    """Plays given seeds, one episode each, and then stands still.

    Beside environments that still play, one that has finished costs next to nothing so.

    Args:
        env: any environment.
        seeds: one per episode.
    """

    def __init__(self, env: gym.Env, seeds: Iterable[int]):
        super().__init__(env)
        self._seeds = iter(seeds)
        self._last = 0
        self._still: Any = None  # the only observation, once there are no more seeds

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start the next seed's episode; an explicit ``seed`` is ignored.

        After the last one its level is begun again, and stays as it begins.
        """
        following = next(self._seeds, None)
        self._last = self._last if following is None else following
        observation, info = self.env.reset(seed=self._last, options=options)
        self._still = deepcopy(observation) if following is None else None
        return observation, info

    def step(self, action: Any) -> Any:
        """A step of the episode, or none where all episodes are over."""
        if self._still is not None:
            return deepcopy(self._still), 0.0, False, False, {}
        return self.env.step(action)


class VariedEpisodes(gym.Wrapper):
    """Changes each level right after its reset, as pre-training does.

    Args:
        env: of a domain whose :meth:`.Domain.variations` can ``vary`` levels.
        vary: ``vary(simulator, rng, share)``.
        share: factor on the probability of each change, in [0, 1].
    """

    def __init__(self, env: gym.Env, vary: Callable[..., None], share: float):
        super().__init__(env)
        self._vary, self._share = vary, share
        self._rng = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode; with a ``seed``, it decides the changes of this and later ones."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        vary = partial(self._vary, rng=self._rng, share=self._share)
        return self.env.reset(seed=seed, options={**(options or {}), "vary": vary})


def shared_seeds(seed: Sequence[int]) -> Iterator[int]:
    """Level seeds without end, beyond those of evaluations.

    Environments with the same ``seed`` play the same levels: equal starts for group comparison.
    """
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(TRAINING_SEEDS, 2**31 - 1))
