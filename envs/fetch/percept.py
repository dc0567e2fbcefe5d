"""A manipulation percept: where gripper, block and target are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hier.envs.missions import MissionCodec

REACH_TASK = "reach the red target"
PUSH_TASK = "push the yellow block to the red target"
CARRY_TASK = "carry the yellow block to the red target"
TASKS = {"FetchReach": REACH_TASK, "FetchPush": PUSH_TASK, "FetchPickAndPlace": CARRY_TASK}
_WORDS = ("", "reach", "the", "red", "target", "push", "yellow", "block", "to", "carry")
MISSION_CODEC = MissionCodec(_WORDS, length=8)

SIDE = 0.05  # meters, of the block
GRASPED = (0.040, 0.053)  # meters that the fingers stand apart on a block, with their play


@dataclass(frozen=True, slots=True)
class FetchPercept:
    """What the agent knows, in meters of the simulator: x from the robot, y to its left, z up.

    Attributes:
        frame: ``(128, 384, 3)`` uint8, the newest pictures of the three cameras side by side; black
            in the privileged variant, which has none.
        gripper: ``(3,)`` float32 place between the finger tips.
        velocity: ``(3,)`` float32 of the gripper, meters per second.
        opening: meters between the fingers, about 0 to 0.1.
        block: ``(3,)`` float32 center of the block; ``None`` where there is none.
        block_velocity: ``(3,)`` float32, meters per second.
        target: ``(3,)`` float32 place of the red target.
        mission: the instruction.
    """

    frame: NDArray[np.uint8]
    gripper: NDArray[np.float32]
    velocity: NDArray[np.float32]
    opening: float
    block: NDArray[np.float32] | None
    block_velocity: NDArray[np.float32]
    target: NDArray[np.float32]
    mission: str

    @property
    def held(self) -> bool:
        """Whether the fingers stand a block's width apart with the block between them."""
        return (
            self.block is not None
            and GRASPED[0] <= self.opening <= GRASPED[1]
            and float(np.linalg.norm(self.block - self.gripper)) <= 0.7 * SIDE
        )

    def snapshot(self) -> FetchPercept:
        """A copy that later observations leave alone."""
        return replace(self, frame=self.frame.copy())
