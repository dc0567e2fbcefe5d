"""Perception of many tables at once: pictures and the hand's own sense in, percepts out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hier.envs.domain import Imagined
from hier.envs.errors import PerceptionError
from hier.envs.fetch.camera import FRAME, FRAME_SECONDS
from hier.envs.fetch.percept import GRASPED, MISSION_CODEC, FetchPercept
from hier.envs.fetch.subgoals import (
    CARRY,
    CELL,
    GRASP,
    OPEN,
    PUSH,
    REACH_BLOCK,
    RELEASE,
    WIDE,
    FetchSubgoals,
)
from hier.envs.subgoal import Subgoal
from hier.perception.fetch.vision import locate, see_block, see_target
from hier.perception.places import PlaceTracker

CENTER = np.array([1.3, 0.75, 0.5], np.float32)  # of the space over the table
SPEED = 0.5  # meters a second that are 1 in the controller's observation
N_STATE, N_PLACE = 16, 5
LYING = 0.425  # meters of the block's center on the table
# Weights of what is expected, along x, y and z, beside a picture's 1: of a held block that it moves
# with the hand, of any other that it lies on the table; between fingers that it stayed there, too.
_HELD, _FREE, _BETWEEN = (0.3, 0.01, 0.01), (0.001, 0.001, 1.0), (0.1, 0.001, 1.0)
_PAST_HAND = np.array([1.0, 0.0, 0.0])  # views: palm and fingers hide part of a block in the others
_HAND = 0.06  # meters from the gripper within which they do


class FetchTracker(PlaceTracker):
    """Follows one table per environment; implements :class:`hier.envs.domain.Tracker`.

    The target is seen once it is wholly in sight of two cameras, the block in every new picture;
    between pictures the block moves with a hand that holds it. In the privileged
    variant both are part of the observation.

    A subgoal's place is from the gripper there in units of 10 cm, clipped to [-3, 3]; the way that
    is left / 10, clipped to [0, 2]; and 1.

    Args:
        n: number of environments.
    """

    def __init__(self, n: int):
        self.wait_action = np.zeros(4, np.float32)  # stay
        self._space = FetchSubgoals()
        super().__init__(n, N_PLACE)
        self._frames = np.zeros((n, *FRAME), np.uint8)
        self._hands = np.zeros((n, 7), np.float32)
        self._blocks = np.zeros((n, 3), np.float32)
        self._block_velocities = np.zeros((n, 3), np.float32)
        self._targets = np.zeros((n, 3), np.float32)
        self._sights = np.zeros(n, np.int64)  # pictures that the target was wholly seen in
        self._seen = np.zeros((n, 3), np.float32)  # block in the last picture
        self._missions = [""] * n

    def reset(self, observation: dict[str, NDArray], which: Sequence[int] | None = None) -> None:
        """Begin episodes; see :meth:`hier.envs.domain.Tracker.reset`.

        Raises:
            PerceptionError: for a first picture without the block.
        """
        which = range(len(self._hands)) if which is None else which
        for i in which:
            self._missions[i] = MISSION_CODEC.decode(observation["mission"][i])
            self._hands[i] = observation["hand"][i]
            if "poses" in observation:
                self._tell(i, observation["poses"][i])
                continue
            frame = observation["image"][i]
            self._block_velocities[i] = 0
            if self._has_block(i):
                sight = see_block(frame)
                if not sight.weights.any():
                    raise PerceptionError(
                        f"the first picture of environment {i} shows no yellow block; the cameras "
                        "must see the whole table"
                    )
                self._blocks[i] = self._seen[i] = locate(sight, [*CENTER[:2], LYING], _FREE)
            # A target that no camera sees is inside the block, or in the hand.
            self._targets[i] = self._blocks[i] if self._has_block(i) else self._hands[i, :3]
            self._sights[i] = -1
            self._see_target(i, frame)
        self._frames = observation.get("image", self._frames)
        self._changed(which)

    def update(self, observation: dict[str, NDArray]) -> None:
        """Take in one more step of every environment."""
        for i, hand in enumerate(observation["hand"]):
            moved = hand[:3] - self._hands[i, :3]
            held = self._has_block(i) and self.percept(i).held
            self._hands[i] = hand
            if "poses" in observation:
                self._tell(i, observation["poses"][i])
                continue
            if held:
                self._blocks[i] += moved
                self._block_velocities[i] = hand[3:6]
            if observation["frame_age"][i, 0] == 0:
                self._look(i, observation["image"][i], held)
        self._frames = observation.get("image", self._frames)
        self._changed(range(len(self._hands)))

    def _tell(self, i: int, poses: NDArray[np.float32]) -> None:
        self._blocks[i], self._block_velocities[i], self._targets[i] = poses.reshape(3, 3)

    def _look(self, i: int, frame: NDArray[np.uint8], held: bool) -> None:
        if self._sights[i] < 2:
            self._see_target(i, frame)
        if self._has_block(i):
            sight, expected = see_block(frame), self._blocks[i].copy()
            away = np.linalg.norm(expected - self._hands[i, :3])
            between = self._hands[i, 6] > GRASPED[0] and away < _HAND
            if between:
                sight = sight._replace(weights=sight.weights * _PAST_HAND)
            if not held:
                expected[2] = LYING
            trust = _HELD if held else _BETWEEN if between else _FREE
            self._blocks[i] = locate(sight, expected, trust)
            if not held:
                moved = self._blocks[i] - self._seen[i]
                self._block_velocities[i] = moved / FRAME_SECONDS
            self._seen[i] = self._blocks[i]

    def _see_target(self, i: int, frame: NDArray[np.uint8]) -> None:
        sight = see_target(frame)
        if sight.whole > self._sights[i]:
            self._sights[i] = sight.whole
            self._targets[i] = locate(sight, self._targets[i])

    def _has_block(self, i: int) -> bool:
        return "block" in self._missions[i]

    def _new_percept(self, i: int) -> FetchPercept:
        hand = self._hands[i].copy()
        return FetchPercept(
            frame=self._frames[i],
            gripper=hand[:3],
            velocity=hand[3:6],
            opening=float(hand[6]),
            block=self._blocks[i].copy() if self._has_block(i) else None,
            block_velocity=self._block_velocities[i].copy(),
            target=self._targets[i].copy(),
            mission=self._missions[i],
        )

    def _place(self, percept: FetchPercept, subgoal: Subgoal) -> tuple[NDArray[np.float32], float]:
        steps = self._space.steps(percept, subgoal)
        ahead = (self._space.place(percept, subgoal) - percept.gripper) / CELL
        return told_place(ahead[None], np.array([steps]))[0], steps

    def controller_spaces(self, observation_space: spaces.Dict) -> dict[str, spaces.Space]:
        """``state`` ``(16,)``, in units of 10 cm and 0.5 m/s.

        Place of the gripper from the middle of the space over the table, its velocity, the fingers'
        opening (1 around a block); from the gripper to the block, and the block's velocity, zeros
        where there is none; from the gripper to the target.
        """
        return {"state": spaces.Box(-20.0, 20.0, (N_STATE,), np.float32)}

    def controller_entries(self, observation: dict[str, NDArray]) -> dict[str, NDArray]:
        """The entries that :meth:`controller_spaces` names, batched."""
        grippers = self._hands[:, :3]
        there = np.array([[self._has_block(i)] for i in range(len(grippers))])
        parts = (
            (grippers - CENTER) / CELL,
            self._hands[:, 3:6] / SPEED,
            self._hands[:, 6:] / OPEN,
            there * (self._blocks - grippers) / CELL,
            there * self._block_velocities / SPEED,
            (self._targets - grippers) / CELL,
        )
        return {"state": np.clip(np.concatenate(parts, axis=1), -20, 20).astype(np.float32)}

    def imagine(self, percept: FetchPercept, subgoal: Subgoal) -> Imagined | None:
        """The scene with the subgoal done and everything at rest."""
        place, rest = self._space.place(percept, subgoal).copy(), np.zeros(3, np.float32)
        after = replace(percept.snapshot(), velocity=rest, block_velocity=rest)
        if subgoal in (CARRY, PUSH):
            assert percept.block is not None
            after = replace(after, block=place, gripper=place + percept.gripper - percept.block)
        elif subgoal == RELEASE:
            after = replace(after, opening=WIDE)
        else:
            after = replace(after, gripper=place)
        if subgoal in (GRASP, REACH_BLOCK):
            after = replace(after, opening=0.048 if subgoal == GRASP else OPEN)
        return Imagined(after, round(self._space.steps(percept, subgoal)))


def told_place(ahead: NDArray[np.floating], steps: NDArray[np.floating]) -> NDArray[np.float32]:
    """A grounding's ``place`` ``(b, 5)`` from vectors ``(b, 3)`` and ways ``(b,)`` in 10 cm."""
    ahead, way = np.clip(ahead, -3.0, 3.0), np.minimum(steps / 10, 2.0)
    return np.concatenate([ahead, way[:, None], np.ones((len(ahead), 1))], axis=1, dtype=np.float32)
