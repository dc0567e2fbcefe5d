"""The gridworld as a domain: MiniGrid and BabyAI with their perception."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Domain
from hier.envs.errors import SimulatorError
from hier.envs.subgoal import Subgoal
from hier.envs.variations import Variations

_PREFIXES = ("BabyAI-", "MiniGrid-")


@lru_cache(maxsize=1)
def _env_ids() -> tuple[str, ...]:
    import minigrid  # noqa: F401  (registers on import)

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

    def env_ids(self) -> tuple[str, ...]:
        """Every id with one of their prefixes that was registered at the first call."""
        return _env_ids()

    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        """See :meth:`hier.envs.domain.Domain.make_env`.

        A level that lacks files raises at the first reset, where MiniGrid looks for them.
        """
        from hier.envs.gridworld.env import GridworldEnv

        options = {} if max_steps is None else {"max_steps": max_steps}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "out of date": the user named the version
                env = gym.make(env_id, disable_env_checker=True, **options)
        except Exception as error:
            raise SimulatorError(f"{env_id} could not be built: {error!r}") from error
        return GridworldEnv(env.unwrapped)  # type: ignore[arg-type]

    def subgoal_space(self) -> Any:
        """See :class:`hier.envs.gridworld.subgoals.GridworldSubgoals`."""
        from hier.envs.gridworld.subgoals import GridworldSubgoals

        return GridworldSubgoals()

    def tracker(self, n: int) -> Any:
        """See :class:`hier.perception.gridworld.tracker.GridTracker`."""
        from hier.perception.gridworld.tracker import GridTracker

        return GridTracker(n)

    def picture(self, percept: Any, name: str) -> NDArray[np.uint8]:
        """See :func:`.map_image`; the view is the frame itself."""
        from hier.perception.gridworld.map_image import map_image

        return map_image(percept) if name == "map" else percept.frame

    def random_action(self, env: gym.Env, rng: np.random.Generator) -> int:
        """Turns and steps ahead."""
        return int(rng.integers(3))

    def critic_state_sizes(self) -> tuple[int, int, int]:
        """See :meth:`hier.perception.gridworld.tracker.GridTracker.critic_state`."""
        from hier.perception.gridworld.tracker import critic_state_sizes

        return critic_state_sizes()

    def scripted_controller(self) -> Any:
        """See :class:`hier.perception.gridworld.scripted_controller.GridScriptedController`."""
        from hier.perception.gridworld.scripted_controller import GridScriptedController
        from hier.perception.gridworld.tracker import MAP_SIZE

        return GridScriptedController(MAP_SIZE)

    def variations(self) -> Variations:
        """Clutter, locks and other missions; other words for a mission; exchanged colors."""
        from hier.envs.gridworld.missions import VOCABULARY
        from hier.envs.gridworld.symmetry import draw_symmetry
        from hier.envs.gridworld.variation import paraphrase, vary
        from hier.perception.gridworld.map_image import TileMaps

        numbers = [str(cells) for cells in range(32)]
        return Variations(vary, paraphrase, draw_symmetry, (*VOCABULARY, *numbers), TileMaps())

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
        """View, memory map, the planner's choice and the level."""
        from hier.perception.gridworld.drawing import draw_scene

        return draw_scene(
            percept, self.subgoal_space(), subgoal, candidates, log_probs, caption=caption,
            level=level,
        )  # fmt: skip

    def coverage(self, env_ids: Sequence[str]) -> str:
        """See :func:`hier.envs.gridworld.coverage.coverage`."""
        from hier.envs.gridworld.coverage import coverage, to_markdown

        return to_markdown(coverage(env_ids))
