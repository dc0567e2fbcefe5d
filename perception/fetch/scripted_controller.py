"""A scripted controller for Fetch: it moves the hand straight to the subgoal's place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hier.envs.fetch.percept import FetchPercept
from hier.envs.fetch.subgoals import CARRY, GET_BEHIND, GRASP, PUSH, FetchSubgoals, direction
from hier.envs.subgoal import Subgoal

_GAIN = 20.0  # actions per meter to go: a full one moves half that far
_OPEN, _CLOSE = 1.0, -1.0
_AT_BLOCK = 0.012  # meters from the block's center at which the fingers close


class FetchScriptedController:
    """Moves the hand by the places in the percept; implements :class:`.ScriptedController`."""

    actions: tuple[str, ...] = ()  # motions are no choice among a few
    patience = 25

    def action(
        self, percept: FetchPercept, subgoal: Subgoal, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """The next motion, ``(4,)`` float32 in [-1, 1]."""
        hand, block = percept.gripper, percept.block
        aim, fingers = FetchSubgoals.place(percept, subgoal), _OPEN
        move = aim - hand
        if block is not None:
            if subgoal == GRASP and np.linalg.norm(move) < _AT_BLOCK:
                fingers = _CLOSE
            elif subgoal == CARRY:
                move, fingers = aim - block, _CLOSE
            elif subgoal == GET_BEHIND:
                move = _over(hand, block, aim)
            elif subgoal == PUSH:
                move = _push(hand, block, percept.target)
        return np.clip(np.append(move * _GAIN, fingers), -1, 1).astype(np.float32)

    def random_action(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Any motion."""
        return rng.uniform(-1, 1, 4).astype(np.float32)


def _push(
    hand: NDArray[np.floating], block: NDArray[np.floating], target: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Onwards behind the block's middle, and slower the further the hand is off it."""
    left = (target - block) * np.array([1, 1, 0])
    ahead = direction(left)
    to_block = block - hand
    aside = to_block - (to_block @ ahead) * ahead
    off, far = float(np.linalg.norm(aside[:2])), float(np.linalg.norm(left))
    pace = min(0.02, 0.01 + far) * max(0.0, 1 - off / 0.015)
    return aside + ahead * pace


def _over(
    hand: NDArray[np.floating], block: NDArray[np.floating], aim: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Up, across and down, where the block may be in the way."""
    across = aim - hand
    if np.linalg.norm(across[:2]) < 0.02:
        return across
    high = block[2] + 0.08
    if hand[2] < high - 0.02 and np.linalg.norm((hand - block)[:2]) < 0.12:
        return np.array([0.0, 0.0, high - hand[2]])
    return np.array([across[0], across[1], high - hand[2]])
