"""Point mazes as a domain: MuJoCo and gymnasium-robotics with their perception."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from envs.domain import Domain
from envs.robotics import build_simulator
from envs.subgoal import Subgoal
from envs.variations import Variations

_LEVELS = ("PointMaze_Large-v3", "PointMaze_Medium-v3", "PointMaze_UMaze-v3")


class PointMaze(Domain):
    """A ball in a maze, seen from above (:class:`envs.mujoco_maze.env.PointMazeEnv`)."""

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
        """See :meth:`envs.domain.Domain.make_env`; needs the extra ``mujoco``."""
        from envs.mujoco_maze.env import PointMazeEnv

        options = {} if max_steps is None else {"max_episode_steps": max_steps}
        level = env_id.removeprefix(self._prefix)
        env = build_simulator(level, continuing_task=False, **options)
        return PointMazeEnv(env, self.privileged)

    def subgoal_space(self) -> Any:
        """See :class:`envs.mujoco_maze.subgoals.MazeSubgoals`."""
        from envs.mujoco_maze.subgoals import MazeSubgoals

        return MazeSubgoals()

    def tracker(self, n: int) -> Any:
        """See :class:`perception.maze.tracker.MazeTracker`."""
        from perception.maze.tracker import MazeTracker

        return MazeTracker(n)

    def outlook_sizes(self) -> tuple[int, int, int]:
        """See :meth:`perception.maze.tracker.MazeTracker.outlook`."""
        from perception.maze.tracker import outlook_sizes

        return outlook_sizes()

    def relabelling(self) -> Any:
        """See :class:`perception.maze.hindsight.MazeRelabelling`."""
        from perception.maze.hindsight import MazeRelabelling

        return MazeRelabelling()

    def walker(self) -> Any:
        """See :class:`perception.maze.walker.MazeWalker`."""
        from perception.maze.walker import MazeWalker

        return MazeWalker()

    def variations(self) -> Variations:
        """None; every number of a row or column is known."""
        from envs.mujoco_maze.maps import SIZE

        return Variations(words=tuple(map(str, range(SIZE))))

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
        """Camera picture, the percept's map, the candidates and a plan of the level."""
        from perception.maze.drawing import draw_maze

        return draw_maze(percept, subgoal, candidates, log_probs, caption=caption, level=level)


class PrivilegedPointMaze(PointMaze):
    """The same told by the simulator instead of seen; for ablations and quick trials."""

    name = "pointmaze-privileged"
    source_levels: ClassVar[tuple[str, ...]] = ()
    planner = ""
    pictures = MappingProxyType({})
    privileged = True
    _prefix = "privileged/"
