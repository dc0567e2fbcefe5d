"""Fetch's manipulation tasks as a domain: MuJoCo and gymnasium-robotics with their perception."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import LevelsDomain, Privileged, Scene
from hier.envs.fetch.env import FetchEnv
from hier.envs.fetch.subgoals import ALL, FetchSubgoals
from hier.envs.robotics import build_simulator
from hier.envs.variations import Variations
from hier.perception.fetch.collage import collage
from hier.perception.fetch.drawing import draw_table
from hier.perception.fetch.relabeling import FetchRelabeling
from hier.perception.fetch.scripted_controller import FetchScriptedController
from hier.perception.fetch.tracker import FetchTracker


class Fetch(LevelsDomain):
    """A robot's hand at a table, seen by three cameras (:class:`hier.envs.fetch.env.FetchEnv`)."""

    name = "fetch"
    levels: ClassVar[tuple[str, ...]] = ("FetchPickAndPlace-v4", "FetchPush-v4", "FetchReach-v4")
    source_levels: ClassVar[tuple[str, ...]] = levels
    planner = "fetch"
    pictures: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"view": "the table from three sides and, enlarged at the lower right, the robot's hand"}
    )
    subgoal_space = FetchSubgoals
    tracker = FetchTracker
    scripted_controller = FetchScriptedController
    relabeling = FetchRelabeling

    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        """See :meth:`hier.envs.domain.Domain.make_env`; needs the extra ``mujoco``."""
        options = {} if max_steps is None else {"max_episode_steps": max_steps}
        return FetchEnv(build_simulator(self.level_of(env_id), **options), self.privileged)

    def picture(self, percept: Any, name: str) -> NDArray[np.uint8]:
        """See :func:`hier.perception.fetch.collage.collage`."""
        return collage(percept)

    def variations(self) -> Variations:
        """None, but the words of every subgoal and the numbers below 100."""
        return Variations(words=(*map(str, ALL), *map(str, range(100))))

    def draw_scene(self, scene: Scene) -> NDArray[np.uint8]:
        return draw_table(scene)


class PrivilegedFetch(Privileged, Fetch):
    """As :class:`Fetch`, but the simulator supplies what pictures would show; for ablations."""

    name = "fetch-privileged"
