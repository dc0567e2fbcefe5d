"""Rooms in three dimensions as a domain: MiniWorld with its perception."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Domain
from hier.envs.subgoal import Subgoal
from hier.envs.variations import Variations

_LEVELS = (
    "MiniWorld-FourRooms-v0",
    "MiniWorld-OneRoom-v0",
    "MiniWorld-PickupObjects-v0",
    "MiniWorld-PutNext-v0",
)


class Rooms(Domain):
    """Rooms seen in the first person (:class:`hier.envs.rooms.env.RoomsEnv`)."""

    name = "rooms"
    source_levels: ClassVar[tuple[str, ...]] = _LEVELS
    planner = "rooms"
    pictures = MappingProxyType(
        {
            "map": "what it has seen so far, from above, north up: it is the black arrow and began "
            "at the cross; pink dots are places to explore, a framed thing ahead of it is held",
            "view": "what the agent sees now",
        }
    )
    privileged: ClassVar[bool] = False
    _prefix: ClassVar[str] = ""

    def env_ids(self) -> tuple[str, ...]:
        """The levels, listed whether the simulator is installed or not."""
        return tuple(self._prefix + level for level in _LEVELS)

    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        """See :meth:`hier.envs.domain.Domain.make_env`; needs the extra ``miniworld``."""
        from hier.envs.rooms.env import RoomsEnv

        return RoomsEnv(env_id.removeprefix(self._prefix), self.privileged, max_steps)

    def subgoal_space(self) -> Any:
        """See :class:`hier.envs.rooms.subgoals.RoomsSubgoals`."""
        from hier.envs.rooms.subgoals import RoomsSubgoals

        return RoomsSubgoals()

    def tracker(self, n: int) -> Any:
        """See :class:`hier.perception.rooms.tracker.RoomsTracker`."""
        from hier.perception.rooms.tracker import RoomsTracker

        return RoomsTracker(n)

    def critic_state_sizes(self) -> tuple[int, int, int]:
        """See :meth:`hier.perception.rooms.tracker.RoomsTracker.critic_state`."""
        from hier.perception.rooms.tracker import critic_state_sizes

        return critic_state_sizes()

    def variations(self) -> Variations:
        """None; every thing and side is known, and numbers of meters and their fractions."""
        from hier.envs.rooms.percept import COLORS, KINDS, WORDS

        others = ["explore", "m", "north", "south", "west", "east", "down"]
        return Variations(words=(*WORDS, *COLORS, *KINDS, *others, *map(str, range(100))))

    def scripted_controller(self) -> Any:
        """See :class:`hier.perception.rooms.scripted_controller.RoomsScriptedController`."""
        from hier.perception.rooms.scripted_controller import RoomsScriptedController

        return RoomsScriptedController()

    def picture(self, percept: Any, name: str) -> NDArray[np.uint8]:
        """See :func:`hier.perception.rooms.drawing.draw_map`; the view is the frame itself."""
        from hier.perception.rooms.drawing import draw_map

        return draw_map(percept) if name == "map" else percept.frame

    def draw_scene(
        self,
        percept: Any,
        subgoal: Subgoal | None,
        candidates: Sequence[Subgoal] = (),
        log_probs: NDArray[np.floating] | None = None,
        *,
        caption: str = "",
        level: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """First-person picture, the percept's map, the candidates and a plan of the level."""
        from hier.perception.rooms.drawing import draw_rooms

        return draw_rooms(percept, subgoal, candidates, log_probs, caption=caption, level=level)


class PrivilegedRooms(Rooms):
    """The same with what a picture would show told by the simulator; for ablations and trials."""

    name = "rooms-privileged"
    source_levels: ClassVar[tuple[str, ...]] = ()
    planner = ""
    pictures = MappingProxyType({})
    privileged = True
    _prefix = "privileged/"
