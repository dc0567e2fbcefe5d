"""The gridworld as a domain: MiniGrid and BabyAI with their perception."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Domain, Scene
from hier.envs.errors import SimulatorError
from hier.envs.gridworld import generated
from hier.envs.gridworld.coverage import coverage, to_markdown
from hier.envs.gridworld.env import GridworldEnv
from hier.envs.gridworld.missions import MISSION_CODEC
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.envs.gridworld.symmetry import draw_symmetry
from hier.envs.gridworld.variation import paraphrase, vary
from hier.envs.variations import Variations
from hier.perception.gridworld.drawing import draw_scene
from hier.perception.gridworld.map_image import TileMaps, map_image
from hier.perception.gridworld.scripted_controller import GridScriptedController
from hier.perception.gridworld.tracker import GridTracker

_PREFIXES = ("BabyAI-", "MiniGrid-", generated.PREFIX)
generated.register()


@cache
def _env_ids() -> tuple[str, ...]:
    return tuple(sorted(name for name in gym.registry if name.startswith(_PREFIXES)))


class Gridworld(Domain):
    """Every registered MiniGrid and BabyAI level (:class:`.GridworldEnv`)."""

    name = "gridworld"
    hazards = ("lava",)
    source_levels = tuple(
        f"BabyAI-{name}-v0"
        for name in (
            *("GoToRedBallGrey", "GoToRedBall", "GoToObj", "GoToLocal", "PickupLoc"),
            *("PutNextLocal", "UnlockLocal", "Open", "OpenDoor", "UnlockPickup"),
            *("KeyCorridorS3R1", "KeyCorridorS3R2"),
        )
    )
    planner = "gridworld"
    pictures = MappingProxyType(
        {
            "map": "what it has seen so far, from above; it is in the middle, facing up",
            "view": "what the agent sees now",
        }
    )
    # MiniGrid's, by number; the last changes nothing.
    action_names = ("left", "right", "forward", "pick up", "drop", "toggle", "done")
    subgoal_space = GridworldSubgoals
    tracker = GridTracker
    scripted_controller = GridScriptedController

    def env_ids(self) -> tuple[str, ...]:
        """Every id of MiniGrid and BabyAI that was registered at the first call."""
        return _env_ids()

    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        """See :meth:`hier.envs.domain.Domain.make_env`.

        A level that lacks files raises at the first reset, where MiniGrid looks for them.
        """
        options = {} if max_steps is None else {"max_steps": max_steps}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "out of date": the user named the version
                env = gym.make(env_id, disable_env_checker=True, **options)
        except Exception as error:
            raise SimulatorError(f"{env_id} could not be built: {error!r}") from error
        return GridworldEnv(env.unwrapped)  # type: ignore[arg-type]

    def picture(self, percept: Any, name: str) -> NDArray[np.uint8]:
        """See :func:`.map_image`; the view is the frame itself."""
        return map_image(percept) if name == "map" else percept.frame

    def random_action(self, env: gym.Env, rng: np.random.Generator) -> int:
        """Turns and steps ahead."""
        return int(rng.integers(3))

    def variations(self) -> Variations:
        """Clutter, locks and other missions; other words for a mission; exchanged colors."""
        words = (*MISSION_CODEC.words, *map(str, range(32)))
        return Variations(vary, paraphrase, draw_symmetry, words, TileMaps())

    def draw_scene(self, scene: Scene) -> NDArray[np.uint8]:
        return draw_scene(scene)

    def coverage(self, env_ids: Sequence[str]) -> str:
        """See :func:`hier.envs.gridworld.coverage.coverage`."""
        return to_markdown(coverage(env_ids))
