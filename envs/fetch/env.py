"""Fetch's tasks behind one interface: slow cameras across the table and the hand's own sense."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hier.envs.fetch.camera import FRAME, FRAME_EVERY, camera_of
from hier.envs.fetch.expert import FetchExpert
from hier.envs.fetch.percept import MISSION_CODEC, TASKS
from hier.envs.fetch.plan import draw_plan
from hier.envs.fetch.subgoals import is_there
from hier.envs.robotics import RoboticsEnv

_FINGERS = ("robot0:l_gripper_finger_link", "robot0:r_gripper_finger_link")  # geoms
_NOTHING = np.zeros(3)


class FetchEnv(RoboticsEnv):
    """A robot's hand over a table, a block on it, and a red target in space.

    The episode ends with reward 1 when the block (in FetchReach the gripper) is within 5 cm of the
    target and slower than 0.15 m/s, so that it stays there; the original goes on and rewards it
    while it is within 5 cm. The action is gymnasium-robotics' own: ``(4,)`` float32 in [-1, 1], how
    far to move along x, y and z, in units of 5 cm, and to open (1) or close (-1) the fingers.
    Places are in meters, as in :mod:`hier.envs.fetch.percept`. The observation is a dict of

    - ``image``: ``(128, 384, 3)`` uint8, the newest pictures, taken every 2 steps and at the start
      (:class:`hier.envs.fetch.camera.Camera`);
    - ``frame_age``: ``(1,)`` int64 steps since then;
    - ``hand``: ``(7,)`` float32 place and velocity of the gripper, and the fingers' opening;
    - ``mission``: ``(8,)`` int64 word ids (:data:`hier.envs.fetch.percept.MISSION_CODEC`).

    The privileged variant has instead of pictures ``poses``, ``(9,)`` float32: place and velocity
    of the block, zeros where there is none, and place of the target.

    Args:
        env: a Fetch task of gymnasium-robotics, under a time limit.
        privileged: show the poses.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012  (Gymnasium's)

    def __init__(self, env: gym.Env, privileged: bool = False):
        super().__init__(env, privileged, FRAME, FRAME_EVERY)
        self.mission = TASKS[self.simulator.spec.id.partition("-")[0]]
        self._words = MISSION_CODEC.encode(self.mission)
        joints = [f"robot0:{side}_gripper_finger_joint" for side in "lr"]
        self._fingers = [self.simulator.model.joint(joint).qposadr[0] for joint in joints]
        seen: dict[str, spaces.Space] = {
            "mission": MISSION_CODEC.space,
            "hand": spaces.Box(-np.inf, np.inf, (7,), np.float32),
        }
        if privileged:
            seen["poses"] = spaces.Box(-np.inf, np.inf, (9,), np.float32)
        else:
            seen["image"] = spaces.Box(0, 255, FRAME, np.uint8)
            seen["frame_age"] = spaces.Box(0, FRAME_EVERY, (1,), np.int64)
        self.observation_space = spaces.Dict(seen)

    def step(
        self, action: NDArray[np.floating]
    ) -> tuple[dict[str, NDArray], float, bool, bool, dict[str, Any]]:
        """One control step; ``info["is_success"]`` is set when it ends the episode."""
        _, _, _, truncated, _ = self.env.step(action)
        place, velocity = self.block or self.gripper
        done = bool(is_there(self.target - place, velocity))
        info = {"is_success": done} if done or truncated else {}
        return self._observation(), float(done), done, bool(truncated), info

    def render(self) -> NDArray[np.uint8]:
        """Two plans of the scene drawn from the simulator's state; for people, not for agents."""
        block = None if self.block is None else self.block[0]
        return draw_plan(self.gripper[0], self.opening, block, self.target)

    def expert(self) -> FetchExpert:
        """A privileged source of subgoals for the running episode."""
        return FetchExpert(self.held)

    @property
    def gripper(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Place and velocity of the gripper, ``(3,)`` each: the hand's own sense."""
        return self._site("robot0:grip")

    @property
    def opening(self) -> float:
        """Meters between the fingers."""
        return float(self.simulator.data.qpos[self._fingers].sum())

    @property
    def block(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """True place and velocity of the block, ``(3,)`` each; ``None`` for none; privileged."""
        return self._site("object0") if self.simulator.has_object else None

    @property
    def target(self) -> NDArray[np.float64]:
        """The target's true place, ``(3,)``; privileged."""
        return self.simulator.goal

    @property
    def held(self) -> bool:
        """Whether both fingers touch the block; privileged."""
        if not self.simulator.has_object:
            return False
        data = self.simulator.data
        names = self.simulator._model_names.geom_name2id
        block, touching = names["object0"], set()
        for contact in data.contact[: data.ncon]:
            pair = {int(contact.geom1), int(contact.geom2)}
            if block in pair:
                touching |= pair
        return all(names[finger] in touching for finger in _FINGERS)

    def _site(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        simulator = self.simulator
        find = simulator._utils
        place = find.get_site_xpos(simulator.model, simulator.data, name)
        return place.copy(), find.get_site_xvelp(simulator.model, simulator.data, name).copy()

    def _observation(self) -> dict[str, NDArray]:
        place, velocity = self.gripper
        hand = np.concatenate([place, velocity, [self.opening]]).astype(np.float32)
        seen: dict[str, NDArray] = {"mission": self._words.copy(), "hand": hand}
        if self.privileged:
            block = self.block or (_NOTHING, _NOTHING)
            return {**seen, "poses": np.concatenate([*block, self.target]).astype(np.float32)}
        return {**seen, **self._newest_picture()}

    def _take_picture(self) -> NDArray[np.uint8]:
        return camera_of(self.simulator.spec.id).picture(self.simulator.data.qpos, self.target)
