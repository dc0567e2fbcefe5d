"""MiniGrid and BabyAI behind one interface: pixels, own motion and mission tokens."""

from __future__ import annotations

import contextlib
import io
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from minigrid.minigrid_env import MiniGridEnv
from numpy.typing import NDArray

from hier.envs.errors import SimulatorError
from hier.envs.gridworld.expert import GridExpert
from hier.envs.gridworld.missions import MISSION_CODEC
from hier.envs.gridworld.percept import HEADINGS
from hier.envs.gridworld.rendering import FrameRenderer

VIEW_SIZE = 7


class _OnDemand(dict[str, Any]):
    """MiniGrid's symbolic observation, made only if a level's own code reads it."""

    def __init__(self, simulator: Any):
        super().__init__()
        self._simulator = simulator

    def __missing__(self, key: str) -> Any:
        seen = type(self._simulator).gen_obs(self._simulator)
        self.update(seen)
        return seen[key]


class GridworldEnv(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """A MiniGrid level whose observations hold only what its agent perceives.

    The observation is a dict of

    - ``image``: ``(56, 56, 3)`` uint8, the very frame of ``RGBImgPartialObsWrapper(tile_size=8)``;
    - ``mission``: ``(80,)`` int64 word ids (:data:`hier.envs.gridworld.missions.MISSION_CODEC`);
    - ``odometry``: ``(3,)`` int8, the agent's own motion since the last observation in its frame
      then: cells ahead, cells to the right, quarter turns clockwise.

    The other outputs are the simulator's reward, the ends of episodes, and ``info["is_success"]``
    in an episode's last step: the simulator's own, else whether its reward was positive.
    :meth:`expert` is privileged; it serves the oracle planner, demonstrations and tests.

    Args:
        env: a MiniGrid environment with a view of seven cells; its own wrappers are left off.

    Raises:
        SimulatorError: if the view is of another size.

    >>> import gymnasium, minigrid
    >>> env = GridworldEnv(gymnasium.make("BabyAI-GoToRedBall-v0").unwrapped)
    >>> observation, info = env.reset(seed=0)
    >>> observation["image"].shape
    (56, 56, 3)
    """

    def __init__(self, env: gym.Env):
        # Lets Gymnasium make the environment anew from its spec, as its checker does.
        gym.utils.RecordConstructorArgs.__init__(self)
        simulator: Any = env.unwrapped
        super().__init__(simulator)
        if simulator.agent_view_size != VIEW_SIZE:
            raise SimulatorError(
                f"{type(simulator).__name__} has a view of {simulator.agent_view_size} cells; "
                f"the gridworld's perception expects {VIEW_SIZE}"
            )
        self.simulator: MiniGridEnv = simulator
        self.renderer = FrameRenderer(simulator)
        self.observation_space = spaces.Dict(
            {
                "image": spaces.Box(0, 255, self.renderer.frame_shape, np.uint8),
                "mission": MISSION_CODEC.space,
                "odometry": spaces.Box(-3, 3, (3,), np.int8),
            }
        )
        # The frame replaces MiniGrid's symbolic observation, which costs more than the step.
        simulator.gen_obs = partial(_OnDemand, simulator)
        self._pose = (0, 0, 0)
        self._mission = ""
        self._mission_tokens = MISSION_CODEC.encode("")
        self._positions_known: list[Any] = []
        if hasattr(simulator, "update_objs_poss"):
            simulator.update_objs_poss = self._update_object_positions

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray], dict[str, Any]]:
        """Start an episode; the same seed gives the same level as plain MiniGrid.

        Args:
            seed: of the level.
            options: ``vary`` is a function that may change the level; it gets the simulator
                before the first frame is rendered. The other options go to the simulator.

        Raises:
            SimulatorError: if the level needs files that are not installed.
        """
        try:
            # BabyAI prints every rejected sample.
            with contextlib.redirect_stdout(io.StringIO()):
                self.simulator.reset(seed=seed, options=options)
        except FileNotFoundError as error:
            raise SimulatorError(
                f"{getattr(self.simulator.spec, 'id', self.simulator)} needs pattern images that "
                f"the minigrid package on PyPI leaves out ({Path(error.filename).name}); install "
                "minigrid from its repository to use it"
            ) from error
        if options and "vary" in options:
            options["vary"](self.simulator)
        self._positions_known = list(self.simulator.grid.grid)
        self.renderer.reset()
        self._pose = self._read_pose()
        if self.simulator.mission != self._mission:
            self._mission = self.simulator.mission
            self._mission_tokens = MISSION_CODEC.encode(self._mission)
        return self._observation((0, 0, 0)), {}

    def step(self, action: int) -> tuple[dict[str, NDArray], float, bool, bool, dict[str, Any]]:
        """One simulator step; ``info["is_success"]`` is set when it ends the episode."""
        _, reward, terminated, truncated, about = self.simulator.step(action)
        self.renderer.update()
        before, self._pose = self._pose, self._read_pose()
        success = bool(about.get("is_success", float(reward) > 0))
        info = {"is_success": success} if terminated or truncated else {}
        observation = self._observation(_motion(before, self._pose))
        return observation, float(reward), bool(terminated), bool(truncated), info

    def see_changes(self) -> NDArray[np.uint8]:
        """Render the simulator anew after a wrapper changed it between two steps.

        Returns:
            The frame that shows the change.
        """
        if hasattr(self.simulator, "update_objs_poss"):
            self.simulator.update_objs_poss()
        self.renderer.reset()
        return self.renderer.render()

    def render(self) -> NDArray[np.uint8]:
        """The level from above, with the agent's view lit; for people, not for agents."""
        return self.simulator.get_full_render(highlight=True, tile_size=32)

    def expert(self) -> GridExpert:
        """A privileged source of subgoals for the running episode."""
        return GridExpert(self.simulator)

    def _observation(self, odometry: tuple[int, int, int]) -> dict[str, NDArray]:
        return {
            "image": self.renderer.render(),
            "mission": self._mission_tokens.copy(),
            "odometry": np.array(odometry, np.int8),
        }

    def _read_pose(self) -> tuple[int, int, int]:
        x, y = self.simulator.agent_pos
        return int(x), int(y), int(self.simulator.agent_dir)

    def _update_object_positions(self, instruction: Any = None) -> None:
        # BabyAI searches the whole grid at every drop action, also when nothing was dropped.
        if instruction is None:
            objects = self.simulator.grid.grid
            if objects == self._positions_known:
                return
            self._positions_known = list(objects)
        type(self.simulator).update_objs_poss(self.simulator, instruction)  # type: ignore[attr-defined]


def _motion(before: tuple[int, int, int], after: tuple[int, int, int]) -> tuple[int, int, int]:
    dx, dy = after[0] - before[0], after[1] - before[1]
    turn = (after[2] - before[2] + 1) % 4 - 1
    if not dx and not dy:
        return 0, 0, turn
    fx, fy = HEADINGS[before[2]]
    return dx * fx + dy * fy, -dx * fy + dy * fx, turn
