"""An environment that fails is built again; its episode ends, and the run goes on."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from hier.envs.errors import SimulatorError, UserError, place_of
from hier.run.levels import shared_seeds

MOST_RESTARTS = 10  # of one environment; one that fails more often is broken


class RestartedEpisodes(gym.Wrapper):
    """Builds its environment again when that raises, or gives numbers that are not finite.

    The episode ends then as if a time limit had struck: with its last observation, no reward and
    no success. Episodes after a restart draw their levels from seeds of their own. An error that
    names its remedy (:class:`hier.envs.errors.UserError`) is passed on.

    Args:
        make: builds the environment.
        most: restarts after which the next fault is passed on.

    Attributes:
        restarts: how often the environment was built again.
    """

    def __init__(self, make: Callable[[], gym.Env], most: int = MOST_RESTARTS):
        super().__init__(make())
        self.restarts, self._make, self._most = 0, make, most
        self._fresh = False  # built again, and not yet reset
        self._last: Any = None
        self._seeds = shared_seeds([0])
        space = self.env.observation_space
        parts = space.spaces if isinstance(space, spaces.Dict) else {}
        self._floats = [
            key
            for key, part in parts.items()
            if isinstance(part, spaces.Box) and np.issubdtype(part.dtype, np.floating)
        ]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start an episode.

        Raises:
            SimulatorError: if the environment failed once more than it may.
        """
        if seed is not None:
            self._seeds = shared_seeds([seed])
        while True:
            if self._fresh:
                seed, self._fresh = next(self._seeds), False
            try:
                observation, info = self.env.reset(seed=seed, options=options)
                self._require_finite(observation)
            except UserError:
                raise
            except Exception as error:
                self._restart(error, "reset")
            else:
                self._last = observation
                return observation, info

    def step(self, action: Any) -> Any:
        """One step; raises like :meth:`reset`."""
        try:
            found = self.env.step(action)
            if not math.isfinite(found[1]):
                raise FloatingPointError(f"the reward {found[1]}")
            if self._floats:
                self._require_finite(found[0])
        except UserError:
            raise
        except Exception as error:
            self._restart(error, "step")
            if "odometry" in self._last:  # it stands still
                still = np.zeros_like(self._last["odometry"])
                self._last = {**self._last, "odometry": still}
            return self._last, 0.0, False, True, {"is_success": False}
        self._last = found[0]
        return found

    def _require_finite(self, observation: dict[str, Any]) -> None:
        for key in self._floats:
            # A sum is finite if its parts are, and faster than a test of each.
            if not math.isfinite(observation[key].sum()):
                raise FloatingPointError(f"an observation whose {key} is not finite")

    def _restart(self, error: Exception, call: str) -> None:
        fault = f"{type(error).__name__}: {error} ({place_of(error)})"
        if self.restarts >= self._most:
            raise SimulatorError(
                f"an environment was built again {self.restarts} times, and {call}() failed again "
                f"with {fault}; mend the simulator"
            ) from error
        warnings.warn(
            f"{call}() of an environment failed with {fault}; it is built again, and its episode "
            "is over (counted as env/restarts)",
            stacklevel=3,
        )
        with suppress(Exception):
            self.env.close()
        try:
            self.env, self._fresh = self._make(), True
        except UserError:
            raise
        except Exception as again:
            raise SimulatorError(
                f"an environment failed with {fault} and cannot be built again "
                f"({type(again).__name__}: {again}); mend the simulator"
            ) from again
        self.restarts += 1
