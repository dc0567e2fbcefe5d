"""Rooms in three dimensions as a domain: MiniWorld with its perception."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import LevelsDomain, Privileged, Scene
from hier.envs.rooms.env import TASKS, RoomsEnv
from hier.envs.rooms.percept import COLORS, KINDS, MISSION_CODEC
from hier.envs.rooms.subgoals import RoomsSubgoals
from hier.envs.variations import Variations
from hier.perception.rooms.drawing import draw_map, draw_rooms
from hier.perception.rooms.scripted_controller import RoomsScriptedController
from hier.perception.rooms.tracker import RoomsTracker


class Rooms(LevelsDomain):
    """Rooms seen in the first person (:class:`hier.envs.rooms.env.RoomsEnv`)."""

    name = "rooms"
    levels: ClassVar[tuple[str, ...]] = tuple(TASKS)
    source_levels: ClassVar[tuple[str, ...]] = levels
    planner = "rooms"
    pictures: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "map": "what it has seen so far, from above, north up: it is the black arrow and began "
            "at the cross; pink dots are places to explore, a framed thing ahead of it is held",
            "view": "what the agent sees now",
        }
    )
    subgoal_space = RoomsSubgoals
    tracker = RoomsTracker
    scripted_controller = RoomsScriptedController

    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        """See :meth:`hier.envs.domain.Domain.make_env`; needs the extra ``miniworld``."""
        return RoomsEnv(self.level_of(env_id), self.privileged, max_steps)

    def variations(self) -> Variations:
        """None, but the words for every thing, every side, and meters with their fractions."""
        others = ["explore", "m", "north", "south", "west", "east", "down", *map(str, range(100))]
        return Variations(words=(*MISSION_CODEC.words, *COLORS, *KINDS, *others))

    def picture(self, percept: Any, name: str) -> NDArray[np.uint8]:
        """See :func:`hier.perception.rooms.drawing.draw_map`; the view is the frame itself."""
        return draw_map(percept) if name == "map" else percept.frame

    def draw_scene(self, scene: Scene) -> NDArray[np.uint8]:
        return draw_rooms(scene)


class PrivilegedRooms(Privileged, Rooms):
    """As :class:`Rooms`, but the simulator supplies what pictures would show; for ablations."""

    name = "rooms-privileged"
