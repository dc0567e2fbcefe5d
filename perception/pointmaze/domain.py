"""Point mazes as a domain: MuJoCo and gymnasium-robotics with their perception."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import LevelsDomain, Privileged, Scene
from hier.envs.pointmaze.env import PointMazeEnv
from hier.envs.pointmaze.maps import SIZE
from hier.envs.pointmaze.subgoals import MazeSubgoals
from hier.envs.robotics import build_simulator
from hier.envs.variations import Variations
from hier.perception.pointmaze.drawing import draw_maze
from hier.perception.pointmaze.relabeling import MazeRelabeling
from hier.perception.pointmaze.scripted_controller import MazeScriptedController
from hier.perception.pointmaze.tracker import MazeTracker


class PointMaze(LevelsDomain):
    """A ball in a maze, seen from above (:class:`hier.envs.pointmaze.env.PointMazeEnv`)."""

    name = "pointmaze"
    levels: ClassVar[tuple[str, ...]] = (
        "PointMaze_Large-v3",
        "PointMaze_Medium-v3",
        "PointMaze_UMaze-v3",
    )
    source_levels: ClassVar[tuple[str, ...]] = levels
    planner = "pointmaze"
    pictures: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"view": "the maze from above: the agent is green, the goal red"}
    )
    subgoal_space = MazeSubgoals
    tracker = MazeTracker
    scripted_controller = MazeScriptedController
    relabeling = MazeRelabeling

    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        """See :meth:`hier.envs.domain.Domain.make_env`; needs the extra ``mujoco``."""
        options = {} if max_steps is None else {"max_episode_steps": max_steps}
        env = build_simulator(self.level_of(env_id), continuing_task=False, **options)
        return PointMazeEnv(env, self.privileged)

    def variations(self) -> Variations:
        """None, but the numbers of rows and columns as words."""
        return Variations(words=tuple(map(str, range(SIZE))))

    def draw_scene(self, scene: Scene) -> NDArray[np.uint8]:
        return draw_maze(scene)


class PrivilegedPointMaze(Privileged, PointMaze):
    """As :class:`PointMaze`, but the simulator supplies what pictures would show; for ablations."""

    name = "pointmaze-privileged"
