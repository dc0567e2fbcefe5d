"""Point mazes as a domain: MuJoCo and gymnasium-robotics with their perception."""

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
        from hier.envs.pointmaze.env import PointMazeEnv

        options = {} if max_steps is None else {"max_episode_steps": max_steps}
        level = env_id.removeprefix(self._prefix)
        env = build_simulator(level, continuing_task=False, **options)
        return PointMazeEnv(env, self.privileged)

    def subgoal_space(self) -> Any:
        """See :class:`hier.envs.pointmaze.subgoals.MazeSubgoals`."""
        from hier.envs.pointmaze.subgoals import MazeSubgoals

        return MazeSubgoals()

    def tracker(self, n: int) -> Any:
        """See :class:`hier.perception.pointmaze.tracker.MazeTracker`."""
        from hier.perception.pointmaze.tracker import MazeTracker

        return MazeTracker(n)

    def critic_state_sizes(self) -> tuple[int, int, int]:
        """See :meth:`hier.perception.pointmaze.tracker.MazeTracker.critic_state`."""
        from hier.perception.pointmaze.tracker import critic_state_sizes

        return critic_state_sizes()

    def relabeling(self) -> Any:
        """See :class:`hier.perception.pointmaze.relabeling.MazeRelabeling`."""
        from hier.perception.pointmaze.relabeling import MazeRelabeling

        return MazeRelabeling()

    def scripted_controller(self) -> Any:
        """See :class:`hier.perception.pointmaze.scripted_controller.MazeScriptedController`."""
        from hier.perception.pointmaze.scripted_controller import MazeScriptedController

        return MazeScriptedController()

    def variations(self) -> Variations:
        """None; every number of a row or column is known."""
        from hier.envs.pointmaze.maps import SIZE

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
        from hier.perception.pointmaze.drawing import draw_maze

        return draw_maze(percept, subgoal, candidates, log_probs, caption=caption, level=level)


class PrivilegedPointMaze(PointMaze):
    """The same told by the simulator instead of seen; for ablations and quick trials."""

    name = "pointmaze-privileged"
    source_levels: ClassVar[tuple[str, ...]] = ()
    planner = ""
    pictures = MappingProxyType({})
    privileged = True
    _prefix = "privileged/"
