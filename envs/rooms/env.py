"""MiniWorld behind one interface: a first-person picture, own motion and a sense of touch."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hier.envs.rooms.camera import FARTHEST, FRAME, MAX_SIGHTINGS
from hier.envs.rooms.expert import RoomsExpert
from hier.envs.rooms.percept import GO_TO, MISSION_CODEC, MOTIONS, PICK_UP, PUT_NEXT, RAYS
from hier.envs.rooms.simulator import build, mute, picture, plan
from hier.envs.rooms.truth import RoomsTruth, turned

TASKS = {
    "MiniWorld-FourRooms-v0": GO_TO,
    "MiniWorld-OneRoom-v0": GO_TO,
    "MiniWorld-PickupObjects-v0": PICK_UP,
    "MiniWorld-PutNext-v0": PUT_NEXT,
}


class RoomsEnv(gym.Env):
    """An agent that walks through rooms, turning by 15 degrees and stepping by 15 cm.

    The actions are MiniWorld's own, by number: left, right, forward, back, pick up, drop, as far as
    the level has them; the two after them do nothing. The observation is a dict of

    - ``image``: ``(60, 80, 3)`` uint8, the first-person picture, 60 degrees high;
    - ``odometry``: ``(3,)`` float32, own motion since the last observation: meters forward and
      left of the pose before, and radians turned to the left;
    - ``touch``: ``(3,)`` int64, whether in this step the hand closed on something, whether it holds
      something now, and which motion was stopped: 1 + an index into
      :data:`hier.envs.rooms.percept.MOTIONS`, 0 for none;
    - ``mission``: ``(9,)`` int64 word ids (:data:`hier.envs.rooms.percept.MISSION_CODEC`).

    The privileged variant draws no pictures. In place of ``image`` it has the exact values of what
    perception would find in it: ``sightings``, ``(8, 5)`` float32, and ``reach``,
    ``(16,)`` float32 (:class:`hier.envs.rooms.truth.RoomsTruth`).

    Args:
        level: one of :data:`TASKS`.
        privileged: whether it is the privileged variant.
        max_steps: episode limit in steps; the level's own when ``None``.

    Raises:
        SimulatorError: if the level cannot be built on this machine.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012  (Gymnasium's)
    render_mode = "rgb_array"

    def __init__(self, level: str, privileged: bool = False, max_steps: int | None = None):
        self.level, self.privileged = level, privileged
        self.simulator = build(level)
        mute(self.simulator)
        if max_steps is not None:
            self.simulator.max_episode_steps = max_steps
        self.action_space = self.simulator.action_space
        sight: dict[str, spaces.Space] = {"image": spaces.Box(0, 255, FRAME, np.uint8)}
        if privileged:
            sight = {
                "sightings": spaces.Box(-FARTHEST, FARTHEST, (MAX_SIGHTINGS, 5), np.float32),
                "reach": spaces.Box(0.0, FARTHEST, (RAYS,), np.float32),
            }
        self.observation_space = spaces.Dict(
            {
                "mission": MISSION_CODEC.space,
                "odometry": spaces.Box(-np.pi, np.pi, (3,), np.float32),
                "touch": spaces.Box(
                    np.zeros(3, int), np.array([1, 1, len(MOTIONS)]), dtype=np.int64
                ),
                **sight,
            }
        )
        self._mission = MISSION_CODEC.encode(TASKS[level])
        self.truth = RoomsTruth(self.simulator)
        self._holds = self._took = False
        self._stopped = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray], dict[str, Any]]:
        """Start an episode; the same seed gives the same room as plain MiniWorld."""
        super().reset(seed=seed)
        self.simulator.reset(seed=seed, options=options)
        self.truth = RoomsTruth(self.simulator)
        self._holds = self._took = False
        self._stopped = 0
        return self._observation(np.zeros(3)), {}

    def step(self, action: Any) -> tuple[dict[str, NDArray], float, bool, bool, dict[str, Any]]:
        """One action; ``is_success`` in the last step's info says whether the task was done."""
        truth = self.truth
        position, heading, count = truth.position, truth.heading, len(self.simulator.entities)
        held = self._holds
        _, reward, terminated, truncated, _ = self.simulator.step(int(action))
        self._holds = self.simulator.agent.carrying is not None
        # In some levels objects vanish when they are picked up; the hand feels them all the same.
        self._took = (self._holds and not held) or len(self.simulator.entities) < count
        moved = turned(truth.position - position, -heading)
        still = not moved.any() and truth.heading == heading
        self._stopped = int(action) + 1 if still and int(action) < len(MOTIONS) else 0
        info = {"is_success": bool(terminated)} if terminated or truncated else {}
        observation = self._observation(np.array([*moved, truth.heading - heading]))
        return observation, float(reward), bool(terminated), bool(truncated), info

    def render(self) -> NDArray[np.uint8]:
        """The level from above, ``(240, 320, 3)`` uint8; for people, not for agents."""
        return plan(self.simulator, self.level)

    def close(self) -> None:
        """Close the simulator."""
        self.simulator.close()

    def expert(self) -> RoomsExpert:
        """A privileged source of subgoals for the running episode."""
        return RoomsExpert(self.truth)

    def teacher(self) -> RoomsExpert:
        """As :meth:`expert`, but it searches for things that the percept does not show."""
        return RoomsExpert(self.truth, searches=True)

    @property
    def max_steps(self) -> int:
        """Steps after which an episode ends."""
        return int(self.simulator.max_episode_steps)

    def _observation(self, odometry: NDArray[np.floating]) -> dict[str, NDArray]:
        seen: dict[str, NDArray] = {
            "mission": self._mission.copy(),
            "odometry": odometry.astype(np.float32),
            "touch": np.array([self._took, self._holds, self._stopped], np.int64),
        }
        if self.privileged:
            return {**seen, "sightings": self.truth.sightings(), "reach": self.truth.reach()}
        return {**seen, "image": picture(self.simulator, self.level)}
