"""A scripted hand: pursues Fetch's subgoals from what a percept tells, learning nothing."""

from __future__ import annotations

import numpy as np

from envs.fetch.percept import FetchPercept
from envs.fetch.subgoals import (
    CARRY,
    GET_BEHIND,
    GRASP,
    PUSH,
    REACH_TARGET,
    RELEASE,
    FetchSubgoals,
)
from envs.subgoal import Subgoal

_GAIN = 20.0  # actions per metre to go: a full one moves half that far


def action(percept: FetchPercept, subgoal: Subgoal) -> np.ndarray:
    """The next action, ``(4,)`` float32 in [-1, 1]."""
    hand, block = percept.gripper, percept.block
    aim, fingers = FetchSubgoals.place(percept, subgoal), 1.0
    if subgoal in (REACH_TARGET, RELEASE):
        move = aim - hand
    elif subgoal == GRASP:
        move = aim - hand
        fingers = -1.0 if np.linalg.norm(move) < 0.012 else 1.0
    elif subgoal == CARRY:
        move, fingers = aim - block, -1.0
    elif subgoal == GET_BEHIND:
        move = _over(hand, block, aim)
    elif subgoal == PUSH:
        move = _push(hand, block, percept.target)
    else:
        move = aim - hand
    return np.clip(np.append(move * _GAIN, fingers), -1, 1).astype(np.float32)


def _push(hand: np.ndarray, block: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Onwards behind the block's middle, and slower the further the hand is off it."""
    left = (target - block) * (1, 1, 0)
    ahead = left / max(np.linalg.norm(left), 1e-6)
    to_block = block - hand
    aside = to_block - (to_block @ ahead) * ahead
    off = np.linalg.norm(aside[:2])
    pace = min(0.02, 0.01 + np.linalg.norm(left)) * max(0.0, 1 - off / 0.015)
    return aside + ahead * pace


def _over(hand: np.ndarray, block: np.ndarray, aim: np.ndarray) -> np.ndarray:
    """Up, across and down, where the block may be in the way."""
    across = aim - hand
    if np.linalg.norm(across[:2]) < 0.02:
        return across
    high = block[2] + 0.08
    if hand[2] < high - 0.02 and np.linalg.norm((hand - block)[:2]) < 0.12:
        return np.array([0.0, 0.0, high - hand[2]])
    return np.array([across[0], across[1], high - hand[2]])
