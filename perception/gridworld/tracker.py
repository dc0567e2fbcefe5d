"""Perception of many environments at once: frames and odometry in, percepts and targets out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hier.envs.compiled import compiled
from hier.envs.domain import FAR, Imagined
from hier.envs.errors import PerceptionError
from hier.envs.gridworld.cells import ATTRIBUTE_MAX, ATTRIBUTES, KIND_OF, KINDS
from hier.envs.gridworld.missions import MISSION_CODEC
from hier.envs.gridworld.percept import GridPercept
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.envs.subgoal import Subgoal
from hier.perception.gridworld.decoding import as_words, decode_frame, tile_table, unknown_tile
from hier.perception.gridworld.grounding import ground, work_space
from hier.perception.gridworld.imagination import imagine
from hier.perception.gridworld.memory import extend_map, start_map

VIEW = 7
_FORWARD, _N_PLACE = 2, 4
MAP_SIZE = 80  # room for the largest registered level (25 cells) from any start, views included


class GridGrounding(NamedTuple):
    """Where the current subgoals are, for ``n`` environments.

    Attributes:
        planes: ``(n, 2, 7, 7)`` float32: target mask over the view, and relative walking distance
            per cell in [-1, 1] (see :func:`hier.perception.gridworld.grounding.ground`).
        place: ``(n, 4)`` float32: ahead and right of the nearest target in fifths of a cell,
            clipped to [-3, 3]; walking distance / 20 clipped to [0, 2]; 1 if there is a target.
        steps: ``(n,)`` int64 walking distance to it; ``FAR`` if no way is known.
        found: ``(n,)`` int64 number of target cells.
    """

    planes: NDArray[np.float32]
    place: NDArray[np.float32]
    steps: NDArray[np.int64]
    found: NDArray[np.int64]


@compiled
def _perceive_all(
    which, words, odometry, fresh, hashes, codes, tiles, maps, poses, bounds, views, discoveries,
):  # fmt: skip
    for i in which:
        unknown = decode_frame(words[i], hashes, codes, tiles, views[i])
        if unknown >= 0:
            return i, unknown
        if fresh:
            start_map(maps[i], poses[i], bounds[i])
            discoveries[i] = 0
        new = extend_map(maps[i], poses[i], bounds[i], odometry[i], views[i])
        if new < 0:
            return i, -1
        discoveries[i] += new
    return -1, 0


@compiled
def _put_place(n, far, ahead, right, place):
    if n == 0:
        place[:] = 0.0
    else:
        place[0] = min(3.0, max(-3.0, ahead / 5.0))
        place[1] = min(3.0, max(-3.0, right / 5.0))
        place[2] = min(2.0, far / 20.0)
        place[3] = 1.0


@compiled
def _ground_all(
    which, maps, bounds, poses, subgoals, targets, distance, queue, planes, place, steps, found,
):  # fmt: skip
    for i in which:
        if subgoals[i, 0] < 0:
            planes[i] = 0.0
            place[i] = 0.0
            steps[i] = FAR
            found[i] = 0
            continue
        n, far, ahead, right = ground(
            maps[i], bounds[i], poses[i], subgoals[i], targets, distance, queue, planes[i]
        )
        found[i] = n
        steps[i] = far
        _put_place(n, far, ahead, right, place[i])


@compiled
def _place_each(cells, bounds, pose, subgoals, targets, distance, queue, planes, places):
    for k in range(len(subgoals)):
        n, far, ahead, right = ground(
            cells, bounds, pose, subgoals[k], targets, distance, queue, planes
        )
        _put_place(n, far, ahead, right, places[k])


class GridTracker:
    """Keeps one memory map per environment and grounds one subgoal in each.

    Implements :class:`.Tracker`, by the frames and the agents' own motion alone.

    Args:
        n: number of environments.
        map_size: cells a side of each map; the agent starts in the middle.
    """

    wait_action = 6  # MiniGrid's "done"

    def __init__(self, n: int, map_size: int = MAP_SIZE):
        self._table = tile_table()
        self._frames = np.zeros((n, VIEW * 8, VIEW * 8, 3), np.uint8)
        self._missions = [""] * n
        self.maps = np.zeros((n, map_size, map_size), np.uint8)
        self.poses = np.zeros((n, 3), np.int64)
        self.views = np.zeros((n, VIEW, VIEW), np.uint8)
        self._bounds = np.zeros((n, 4), np.int64)
        self._discoveries = np.zeros(n, np.int64)
        self._subgoals = np.full((n, 4), -1, np.int64)
        self._work = work_space(map_size)
        self._subgoal_space = GridworldSubgoals()
        self.grounding = GridGrounding(
            np.zeros((n, 2, VIEW, VIEW), np.float32),
            np.zeros((n, _N_PLACE), np.float32),
            np.full(n, FAR, np.int64),
            np.zeros(n, np.int64),
        )
        self._all = np.arange(n)

    def reset(self, observation: dict[str, NDArray], which: Sequence[int] | None = None) -> None:
        """Begin episodes.

        Args:
            observation: batched ``image``, ``mission`` and ``odometry`` (first axis ``n``).
            which: environments that begin; all when omitted.

        Raises:
            PerceptionError: for a frame that is not the renderer's.
        """
        self._perceive(observation, self._all if which is None else np.asarray(which), fresh=True)

    def update(self, observation: dict[str, NDArray]) -> None:
        """Take in one more step of every environment; arguments and errors as :meth:`reset`."""
        self._perceive(observation, self._all, fresh=False)

    def _perceive(self, observation: dict[str, NDArray], which: NDArray, fresh: bool) -> None:
        self._frames = observation["image"]
        odometry = observation["odometry"]
        if fresh:
            odometry = np.zeros_like(odometry)
            for i in which:
                self._missions[i] = MISSION_CODEC.decode(observation["mission"][i])
        env, unknown = _perceive_all(
            which, as_words(self._frames), odometry, fresh, *self._table,
            self.maps, self.poses, self._bounds, self.views, self._discoveries,
        )  # fmt: skip
        if env >= 0 and unknown >= 0:
            raise unknown_tile(unknown, VIEW, env)
        if env >= 0:
            raise PerceptionError(
                f"environment {env} walked off its memory map of {self.maps.shape[1]} cells a "
                f"side, in whose middle it began; choose a level of at most "
                f"{self.maps.shape[1] // 2} cells a side"
            )

    def percept(self, i: int) -> GridPercept:
        """The latest percept of environment ``i``; its frame and map change with the next step."""
        x, y, heading = self.poses[i].tolist()
        view = self.views[i].copy()
        return GridPercept(
            frame=self._frames[i],
            mission=self._missions[i],
            view=view,
            carrying=int(view[-1, VIEW // 2]),
            map=self.maps[i],
            x=x,
            y=y,
            heading=heading,
            discoveries=int(self._discoveries[i]),
            bounds=tuple(self._bounds[i].tolist()),
        )

    def unsafe_actions(
        self, actions: NDArray[np.integer], kinds: Sequence[str]
    ) -> NDArray[np.bool_]:
        """Which actions would step onto a thing of these kinds, by the agents' views.

        Args:
            actions: ``(n,)``, one per environment.
            kinds: as the cells name them, such as ``lava``.
        """
        ahead = self.views[:, VIEW - 2, VIEW // 2]
        return (np.asarray(actions) == _FORWARD) & _of_kinds(tuple(kinds))[ahead]

    def pursue(self, i: int, subgoal: Subgoal | None) -> None:
        """Set the subgoal that :meth:`ground` places for environment ``i``; ``None`` for none."""
        self._subgoals[i] = -1 if subgoal is None else GridworldSubgoals.as_integers(subgoal)

    def ground(self, which: Sequence[int] | None = None) -> GridGrounding:
        """Place the subgoals of ``which`` (all when omitted) on the current maps.

        Returns:
            Live arrays over all environments; the next call overwrites them.
        """
        g = self.grounding
        _ground_all(
            self._all if which is None else np.asarray(which), self.maps, self._bounds, self.poses,
            self._subgoals, *self._work, g.planes, g.place, g.steps, g.found,
        )  # fmt: skip
        return g

    def controller_spaces(self, observation_space: spaces.Dict) -> dict[str, spaces.Space]:
        """``cells``, ``(7, 7, 3)`` kind, color and state as decoded; ``mission`` as observed; and
        ``target``, the grounding's planes.
        """
        return {
            "cells": spaces.Box(0, np.broadcast_to(ATTRIBUTE_MAX, (VIEW, VIEW, 3)), dtype=np.uint8),
            "mission": observation_space["mission"],
            "target": spaces.Box(-1.0, 1.0, self.grounding.planes.shape[1:], np.float32),
        }

    def controller_entries(self, observation: dict[str, NDArray]) -> dict[str, NDArray]:
        """The entries that :meth:`controller_spaces` names, batched."""
        return {
            "cells": ATTRIBUTES[self.views],
            "mission": observation["mission"],
            "target": self.grounding.planes.copy(),
        }

    def imagine(self, percept: GridPercept, subgoal: Subgoal) -> Imagined | None:
        """What achieving a subgoal will lead to, see :func:`.imagine`."""
        return imagine(percept, subgoal)


@lru_cache
def _of_kinds(kinds: tuple[str, ...]) -> NDArray[np.bool_]:
    """Per cell code, whether it shows one of ``kinds``."""
    return np.isin(KIND_OF, [KINDS.index(kind) for kind in kinds])
