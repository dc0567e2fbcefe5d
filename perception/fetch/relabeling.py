"""Hindsight at the table, as if the target had been where the gripper or the block arrived."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Observation, Relabeled
from hier.envs.fetch.subgoals import CELL, REACH_TARGET, FetchSubgoals, is_behind, is_there
from hier.perception.fetch.tracker import SPEED, told_place

# Where these lie in the controller's ``state``; places and vectors in units of 10 cm.
_GRIPPER, _VELOCITY = slice(0, 3), slice(3, 6)
_TO_BLOCK, _BLOCK_VELOCITY, _TO_TARGET = slice(7, 10), slice(10, 13), slice(13, 16)
_BLOCK = slice(7, 13)  # zeros where there is none
_SIZE = FetchSubgoals.encoding_size
_REACH, _PUSH = (FetchSubgoals.verbs.index(verb) for verb in ("reach", "push"))
_TARGETED = int(FetchSubgoals().encode(REACH_TARGET).nonzero()[0][-1])


class FetchRelabeling:
    """Moves the red target; implements :class:`hier.envs.domain.Relabeling`.

    It applies to *reach the red target*, *push* and *carry*; the other subgoals are about the
    block, which it cannot move. A *push* needs a new target for which the gripper is behind the
    block. Flat control pursues the mission: the block is to be at the target, if there is one.
    """

    def relabel(
        self, observation: Observation, next_observation: Observation, reached: Observation
    ) -> Relabeled:
        """See :meth:`hier.envs.domain.Relabeling.relabel`; of ``state`` and ``subgoal``."""
        goals, states = observation["subgoal"], reached["state"]
        flat = ~goals.any(axis=1)
        no_block = ~observation["state"][:, _BLOCK].any(axis=1)
        own = (goals[:, _REACH] == 1) | (flat & no_block)  # the gripper is to be there
        target = states[:, _GRIPPER] + np.where(own[:, None], 0, states[:, _TO_BLOCK])
        before, after = (
            _Moved(seen["state"], goals, own, target) for seen in (observation, next_observation)
        )
        possible = (goals[:, _PUSH] == 0) | (before.behind & after.behind)
        return Relabeled(
            valid=(flat | (goals[:, _TARGETED] == 1)) & possible & ~before.there,
            observation=before.seen,
            next_observation=after.seen,
            steps=before.steps,
            next_steps=after.steps,
            done=after.there,
            reward=after.there.astype(np.float64),
            terminal=after.there,
        )


class _Moved:
    """Observations with the target elsewhere: what is seen, how far it is, what holds there.

    Args:
        states: ``(b, 16)``.
        goals: ``(b, 13)`` the pursued subgoals, which stay; zeros in flat control.
        own: ``(b,)`` whether the gripper is to be at the target, not the block.
        target: ``(b, 3)`` in units of 10 cm.
    """

    def __init__(
        self,
        states: NDArray[np.float32],
        goals: NDArray[np.float32],
        own: NDArray[np.bool_],
        target: NDArray[np.float32],
    ):
        to_target = target - states[:, _GRIPPER]
        left = to_target - np.where(own[:, None], 0, states[:, _TO_BLOCK])
        velocity = np.where(own[:, None], states[:, _VELOCITY], states[:, _BLOCK_VELOCITY])
        states, goals = states.copy(), goals.copy()
        states[:, _TO_TARGET] = to_target
        self.steps = np.linalg.norm(left, axis=1).astype(np.float64)
        pursuing = goals.any(axis=1)
        goals[pursuing, _SIZE:] = told_place(to_target, self.steps)[pursuing]
        self.seen: Observation = {"state": states, "subgoal": goals}
        self.there = is_there(left * CELL, velocity * SPEED)
        self.behind = is_behind(states[:, _TO_BLOCK] * CELL, left * CELL)
