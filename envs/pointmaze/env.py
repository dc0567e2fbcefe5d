"""PointMaze behind one interface: a slow camera from above and the agent's own motion."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hier.envs.pointmaze.camera import FRAME, FRAME_EVERY, camera_of
from hier.envs.pointmaze.expert import MazeExpert
from hier.envs.pointmaze.maps import SIZE, SPEED_LIMIT, as_map
from hier.envs.pointmaze.percept import MISSION, MISSION_CODEC
from hier.envs.pointmaze.plan import draw_plan
from hier.envs.robotics import RoboticsEnv

_SCALE = 32  # pixels a cell of the plan that people see


class PointMazeEnv(RoboticsEnv):
    """A ball that is pushed through a maze to a red goal; the episode ends there, with reward 1.

    The action is the force, ``(2,)`` float32 in [-1, 1] to the right and up. Places are those of
    :mod:`hier.envs.pointmaze.maps`. The observation is a dict of

    - ``image``: ``(120, 120, 3)`` uint8, the newest picture from above, taken every 20 steps and at
      the start (:class:`hier.envs.pointmaze.camera.Camera`);
    - ``frame_age``: ``(1,)`` int64 steps since then;
    - ``odometry``: ``(2,)`` float32, the agent's own motion since the last observation, in cells;
    - ``velocity``: ``(2,)`` float32, cells a second;
    - ``mission``: ``(4,)`` int64 word ids (:data:`hier.envs.pointmaze.percept.MISSION_CODEC`).

    The privileged variant has the simulator's state instead of pictures and odometry: ``state``,
    ``(6,)`` float32 position, velocity and goal, and ``walls``, ``(12, 12)`` int8.

    Args:
        env: a PointMaze with ``continuing_task=False``, under a time limit.
        privileged: show the state.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 100}  # noqa: RUF012  (Gymnasium's)

    def __init__(self, env: gym.Env, privileged: bool = False):
        super().__init__(env, privileged, FRAME, FRAME_EVERY)
        self._maze = self.simulator.maze
        self.walls = as_map(np.array([[v == 1 for v in row] for row in self._maze.maze_map]))
        speed = spaces.Box(-2 * SPEED_LIMIT, 2 * SPEED_LIMIT, (2,), np.float32)
        self.observation_space = spaces.Dict(
            {
                "mission": MISSION_CODEC.space,
                "state": spaces.Box(-np.inf, np.inf, (6,), np.float32),
                "walls": spaces.Box(0, 1, (SIZE, SIZE), np.int8),
            }
            if privileged
            else {
                "mission": MISSION_CODEC.space,
                "image": spaces.Box(0, 255, FRAME, np.uint8),
                "frame_age": spaces.Box(0, FRAME_EVERY, (1,), np.int64),
                "odometry": spaces.Box(-1.0, 1.0, (2,), np.float32),
                "velocity": speed,
            }
        )
        self._words = MISSION_CODEC.encode(MISSION)
        self._position = np.zeros(2)

    def step(
        self, action: NDArray[np.floating]
    ) -> tuple[dict[str, NDArray], float, bool, bool, dict[str, Any]]:
        """One simulator step; ``info["is_success"]`` is set when it ends the episode."""
        _, reward, terminated, truncated, _ = self.env.step(action)
        info = {"is_success": bool(terminated)} if terminated or truncated else {}
        return self._observation(), float(reward), bool(terminated), bool(truncated), info

    def render(self) -> NDArray[np.uint8]:
        """A plan of the maze drawn from the simulator's state; for people, not for agents."""
        rows, columns = np.array(self._maze.maze_map).shape
        return draw_plan(self.walls[:rows, :columns], self.position, self.goal, _SCALE)

    def expert(self) -> MazeExpert:
        """A privileged source of subgoals for the running episode."""
        return MazeExpert(self.walls, self.position, self.goal)

    @property
    def position(self) -> NDArray[np.float64]:
        """The agent's true place; privileged."""
        return self._place(self.simulator.data.qpos[:2])

    @property
    def goal(self) -> NDArray[np.float64]:
        """The goal's true place; privileged."""
        return self._place(self.simulator.goal)

    def _place(self, point: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.array([point[0] + self._maze.x_map_center, self._maze.y_map_center - point[1]])

    def _observation(self) -> dict[str, NDArray]:
        velocity = self.simulator.data.qvel[:2] * (1, -1)  # rows count downwards
        before = self.position if self._age < 0 else self._position  # at the start: no motion
        self._position = self.position
        if self.privileged:
            state = np.concatenate([self._position, velocity, self.goal]).astype(np.float32)
            return {
                "mission": self._words.copy(), "state": state, "walls": self.walls.astype(np.int8),
            }  # fmt: skip
        return {
            "mission": self._words.copy(),
            **self._newest_picture(),
            "odometry": (self._position - before).astype(np.float32),
            "velocity": velocity.astype(np.float32),
        }

    def _take_picture(self) -> NDArray[np.uint8]:
        camera = camera_of(self.simulator.spec.id)
        return camera.picture(self.simulator.data.qpos[:2], self.simulator.goal)
