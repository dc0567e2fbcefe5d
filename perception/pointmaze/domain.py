"""Point mazes as a domain: MuJoCo and gymnasium-robotics with their perception."""

from __future__ import annotations

from types import MappingProxyType
from typing import ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Domain, Scene
from hier.envs.pointmaze.env import PointMazeEnv
from hier.envs.pointmaze.maps import SIZE
from hier.envs.pointmaze.subgoals import MazeSubgoals
from hier.envs.robotics import build_simulator
from hier.envs.variations import Variations
from hier.perception.pointmaze.drawing import draw_maze
from hier.perception.pointmaze.relabeling import MazeRelabeling
from hier.perception.pointmaze.scripted_controller import MazeScriptedController
from hier.perception.pointmaze.tracker import MazeTracker

_LEVELS = ("PointMaze_Large-v3", "PointMaze_Medium-v3", "PointMaze_UMaze-v3")


class PointMaze(Domain):
    """A ball in a maze, seen from above (:class:`hier.envs.pointmaze.env.PointMazeEnv`)."""

    name = "pointmaze"
    source_levels: ClassVar[tuple[str, ...]] = _LEVELS
    planner = "pointmaze"
    pictures = MappingProxyType({"view": "the maze from above: the agent is green, the goal red"})
    privileged: ClassVar[bool] = False
    _prefix: ClassVar[str] = ""

    def env_ids(self) -> tuple[str, ...]:
        """The mazes, listed whether the simulator is installed or not."""
        return tuple(self._prefix + level for level in _LEVELS)

    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        """See :meth:`hier.envs.domain.Domain.make_env`; needs the extra ``mujoco``."""
        options = {} if max_steps is None else {"max_episode_steps": max_steps}
        level = env_id.removeprefix(self._prefix)
        env = build_simulator(level, continuing_task=False, **options)
        return PointMazeEnv(env, self.privileged)

    def subgoal_space(self) -> MazeSubgoals:
        return MazeSubgoals()

    def tracker(self, n: int) -> MazeTracker:
        return MazeTracker(n)

    def critic_state_sizes(self) -> tuple[int, int, int]:
        return MazeTracker.critic_state_sizes

    def relabeling(self) -> MazeRelabeling:
        return MazeRelabeling()

    def scripted_controller(self) -> MazeScriptedController:
        return MazeScriptedController()

    def variations(self) -> Variations:
        """None, but the numbers of rows and columns as words."""
        return Variations(words=tuple(map(str, range(SIZE))))

    def draw_scene(self, scene: Scene) -> NDArray[np.uint8]:
        return draw_maze(scene)


class PrivilegedPointMaze(PointMaze):
    """As :class:`PointMaze`, but the simulator supplies what pictures would show; for ablations."""

    name = "pointmaze-privileged"
    source_levels: ClassVar[tuple[str, ...]] = ()
    planner = ""
    pictures = MappingProxyType({})
    privileged = True
    _prefix = "privileged/"
