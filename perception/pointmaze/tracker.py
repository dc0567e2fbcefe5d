"""Perception of many mazes at once: pictures and own motion in, percepts and targets out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hier.envs.domain import FAR, Imagined
from hier.envs.errors import PerceptionError
from hier.envs.pointmaze.camera import FRAME
from hier.envs.pointmaze.maps import SIZE, SPEED_LIMIT, way_to
from hier.envs.pointmaze.percept import MazePercept
from hier.envs.pointmaze.subgoals import MazeSubgoals
from hier.envs.subgoal import Subgoal
from hier.perception.places import PlaceTracker
from hier.perception.pointmaze.vision import see_agent, see_scene

_N_PLACE = 4  # numbers that place a target


class MazeTracker(PlaceTracker):
    """Follows one agent per environment; implements :class:`hier.envs.domain.Tracker`.

    Walls and goal are seen once an episode, the agent in every new picture; between two pictures
    its own motion is added up. In the privileged variant the observation holds all of this.

    A subgoal's place is cells to the right and down to the target, clipped to [-3, 3]; length of
    the way / 10, clipped to [0, 2]; and 1.

    Args:
        n: number of environments.
    """

    def __init__(self, n: int):
        self._space = MazeSubgoals()
        super().__init__(n, _N_PLACE)
        self.wait_action = np.zeros(2, np.float32)  # no force
        self._frames = np.zeros((n, *FRAME), np.uint8)
        self._walls = np.ones((n, SIZE, SIZE), np.bool_)
        self._corners = np.zeros((n, 2), np.float32)
        self._goals = np.zeros((n, 2), np.float32)
        self._positions = np.zeros((n, 2), np.float32)
        self._velocities = np.zeros((n, 2), np.float32)

    def reset(self, observation: dict[str, NDArray], which: Sequence[int] | None = None) -> None:
        """Begin episodes; see :meth:`hier.envs.domain.Tracker.reset`.

        Raises:
            PerceptionError: for a first picture without a maze, a goal or an agent.
        """
        which = range(len(self._positions)) if which is None else which
        for i in which:
            if "state" in observation:
                self._walls[i] = observation["walls"][i].astype(bool)
                continue
            frame = observation["image"][i]
            self._walls[i], self._corners[i], self._goals[i] = see_scene(frame)
            seen = see_agent(frame, self._corners[i])
            if seen is None:
                raise PerceptionError(
                    f"the first picture of environment {i} shows no green agent; the camera must "
                    "see the whole maze"
                )
            self._positions[i] = seen
        self._take(observation, which)

    def update(self, observation: dict[str, NDArray]) -> None:
        """Take in one more step of every environment."""
        if "state" not in observation:
            self._positions += observation["odometry"]
            for i in np.flatnonzero(observation["frame_age"][:, 0] == 0):
                seen = see_agent(observation["image"][i], self._corners[i])
                if seen is not None:  # the goal may hide it
                    self._positions[i] = seen
        self._take(observation, range(len(self._positions)))

    def _take(self, observation: dict[str, NDArray], which: Sequence[int]) -> None:
        """What needs no seeing."""
        which = list(which)
        if "state" in observation:
            state = observation["state"][which]
            self._positions[which], self._velocities[which] = state[:, :2], state[:, 2:4]
            self._goals[which] = state[:, 4:]
        else:
            self._frames = observation["image"]
            self._velocities[which] = observation["velocity"][which]
        self._changed(which)

    def _new_percept(self, i: int) -> MazePercept:
        return MazePercept(
            frame=self._frames[i],
            walls=self._walls[i].copy(),
            position=self._positions[i].copy(),
            velocity=self._velocities[i].copy(),
            goal=self._goals[i].copy(),
        )

    def _place(self, percept: MazePercept, subgoal: Subgoal) -> tuple[NDArray[np.float32], float]:
        target = self._space.place(percept, subgoal)
        way = way_to(percept.walls, percept.position, target)
        ahead = np.clip(target - percept.position, -3.0, 3.0)
        return np.array([*ahead, min(way / 10, 2.0), 1.0], np.float32), way

    def controller_spaces(self, observation_space: spaces.Dict) -> dict[str, spaces.Space]:
        """``state`` ``(6,)``: position in [-1, 1], velocity in shares of the highest, and a tenth
        of the cells to the right and down to the goal.
        """
        return {"state": spaces.Box(-3.0, 3.0, (6,), np.float32)}

    def controller_entries(self, observation: dict[str, NDArray]) -> dict[str, NDArray]:
        """The entries that :meth:`controller_spaces` names, batched."""
        parts = (
            self._positions * (2 / SIZE) - 1,
            self._velocities / SPEED_LIMIT,
            (self._goals - self._positions) / 10,
        )
        return {"state": np.clip(np.concatenate(parts, axis=1), -3.0, 3.0)}

    def imagine(self, percept: MazePercept, subgoal: Subgoal) -> Imagined | None:
        """The agent at rest where the subgoal points; ``None`` where no way leads."""
        target = self._space.place(percept, subgoal)
        way = way_to(percept.walls, percept.position, target)
        if way >= FAR:
            return None
        there = replace(percept, position=target.copy(), velocity=np.zeros(2, np.float32))
        return Imagined(there.snapshot(), round(way))
