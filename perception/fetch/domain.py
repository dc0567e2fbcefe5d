"""Fetch's manipulation tasks as a domain: MuJoCo and gymnasium-robotics with their perception."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Domain
from hier.envs.robotics import build_simulator
from hier.envs.subgoal import Subgoal
from hier.envs.variations import Variations

_LEVELS = ("FetchPickAndPlace-v4", "FetchPush-v4", "FetchReach-v4")


class Fetch(Domain):
    """A robot's hand at a table, seen by three cameras (:class:`hier.envs.fetch.env.FetchEnv`)."""

    name = "fetch"
    source_levels: ClassVar[tuple[str, ...]] = _LEVELS
    planner = "fetch"
    pictures = MappingProxyType(
        {"view": "the table from three sides and, enlarged at the lower right, the robot's hand"}
    )
    privileged: ClassVar[bool] = False
    _prefix: ClassVar[str] = ""

    def env_ids(self) -> tuple[str, ...]:
        """The tasks, listed whether the simulator is installed or not."""
        return tuple(self._prefix + level for level in _LEVELS)

    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        """See :meth:`hier.envs.domain.Domain.make_env`; needs the extra ``mujoco``."""
        from hier.envs.fetch.env import FetchEnv

        options = {} if max_steps is None else {"max_episode_steps": max_steps}
        level = env_id.removeprefix(self._prefix)
        return FetchEnv(build_simulator(level, **options), self.privileged)

    def subgoal_space(self) -> Any:
        """See :class:`hier.envs.fetch.subgoals.FetchSubgoals`."""
        from hier.envs.fetch.subgoals import FetchSubgoals

        return FetchSubgoals()

    def tracker(self, n: int) -> Any:
        """See :class:`hier.perception.fetch.tracker.FetchTracker`."""
        from hier.perception.fetch.tracker import FetchTracker

        return FetchTracker(n)

    def critic_state_sizes(self) -> tuple[int, int, int]:
        """See :meth:`hier.perception.fetch.tracker.FetchTracker.critic_state`."""
        from hier.perception.fetch.tracker import critic_state_sizes

        return critic_state_sizes()

    def picture(self, percept: Any, name: str) -> NDArray[np.uint8]:
        """See :func:`hier.perception.fetch.collage.collage`."""
        from hier.perception.fetch.collage import collage

        return collage(percept)

    def scripted_controller(self) -> Any:
        """See :class:`hier.perception.fetch.scripted_controller.FetchScriptedController`."""
        from hier.perception.fetch.scripted_controller import FetchScriptedController

        return FetchScriptedController()

    def variations(self) -> Variations:
        """None; every subgoal is known, and numbers up to a meter."""
        from hier.envs.fetch.subgoals import ALL

        return Variations(words=(*map(str, ALL), *map(str, range(100))))

    def relabeling(self) -> Any:
        """See :class:`hier.perception.fetch.relabeling.FetchRelabeling`."""
        from hier.perception.fetch.relabeling import FetchRelabeling

        return FetchRelabeling()

    def draw_scene(
        self,
        percept: Any,
        subgoal: Subgoal | None,
        candidates: Sequence[Subgoal] = (),
        log_probs: NDArray[np.floating] | None = None,
        *,
        caption: str = "",
        level: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Camera pictures, plans of the percept with the subgoal's place, and the candidates."""
        from hier.perception.fetch.drawing import draw_table

        return draw_table(percept, subgoal, candidates, log_probs, caption=caption, level=level)


class PrivilegedFetch(Fetch):
    """The same told by the simulator instead of seen; for ablations and quick trials."""

    name = "fetch-privileged"
    source_levels: ClassVar[tuple[str, ...]] = ()
    planner = ""
    pictures = MappingProxyType({})
    privileged = True
    _prefix = "privileged/"
