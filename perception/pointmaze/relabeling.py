"""Hindsight in a maze, as if the goal had been where the agent arrived."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Observation, Relabeled
from hier.envs.pointmaze.maps import GOAL_RADIUS, SIZE

# Where these lie in the controller's ``state``.
_POSITION, _TO_GOAL = slice(0, 2), slice(4, 6)
_TENTH = 10  # the state holds a tenth of the cells to the goal


class MazeRelabeling:
    """Moves the red goal, for flat control; implements :class:`hier.envs.domain.Relabeling`.

    A subgoal's way depends on walls that are not in the controller's observation, so no transition
    under a planner is valid. Bonuses and shaping make hindsight unnecessary there.
    """

    def relabel(
        self, observation: Observation, next_observation: Observation, reached: Observation
    ) -> Relabeled:
        """See :meth:`hier.envs.domain.Relabeling.relabel`; of ``state`` and ``subgoal``."""
        goals = reached["state"][:, _POSITION]
        before, way = _moved(observation, goals)
        after, next_way = _moved(next_observation, goals)
        there, arrives = way <= GOAL_RADIUS, next_way <= GOAL_RADIUS
        return Relabeled(
            valid=~observation["subgoal"].any(axis=1) & ~there,
            observation=before,
            next_observation=after,
            steps=way,
            next_steps=next_way,
            done=arrives,
            reward=arrives.astype(np.float64),
            terminal=arrives,
        )


def _moved(
    seen: Observation, goals: NDArray[np.float32]
) -> tuple[Observation, NDArray[np.float64]]:
    """What is seen with the goals elsewhere, and the cells that they are away."""
    state = seen["state"].copy()
    ahead = (goals - state[:, _POSITION]) * (SIZE / 2)
    state[:, _TO_GOAL] = ahead / _TENTH
    way = np.linalg.norm(ahead, axis=1).astype(np.float64)
    return {"state": state, "subgoal": seen["subgoal"].copy()}, way
