"""One way to build any environment, and to find the subgoals it is played with."""

from __future__ import annotations

import warnings
from functools import lru_cache

import gymnasium as gym

from envs.errors import SimulatorError, UnknownNameError
from envs.subgoal import SubgoalSpace
from envs.variations import Variations

_PREFIXES = {"MiniGrid-": "gridworld", "BabyAI-": "gridworld"}


def register() -> None:
    """Register every simulator's ids with Gymnasium; calling it again changes nothing."""
    import minigrid  # noqa: F401  (registers on import)


@lru_cache(maxsize=1)
def env_ids() -> tuple[str, ...]:
    """All ids :func:`make_env` knows, sorted."""
    register()
    return tuple(sorted(name for name in gym.registry if name.startswith(tuple(_PREFIXES))))


def domain_of(env_id: str) -> str:
    """The domain an id belongs to, such as ``gridworld``.

    Raises:
        UnknownNameError: for an id no simulator registered.
    """
    if env_id not in env_ids():
        raise UnknownNameError("environment id", env_id, env_ids(), remedy="List them: hier envs")
    return next(domain for prefix, domain in _PREFIXES.items() if env_id.startswith(prefix))


def make_env(env_id: str, *, max_steps: int | None = None) -> gym.Env:
    """Build an environment with the observation every part of this project expects.

    Args:
        env_id: a registered id; :func:`env_ids` lists them.
        max_steps: episode limit in steps; the level's own when ``None``.

    Returns:
        A Gymnasium environment (see :class:`envs.gridworld.env.GridworldEnv`).

    Raises:
        UnknownNameError: for an unknown id, naming the nearest.
        SimulatorError: if the simulator cannot be built, with the reason. A level that lacks
            files raises it at the first reset, where MiniGrid looks for them.

    >>> env = make_env("BabyAI-UnlockPickup-v0")
    >>> sorted(env.reset(seed=1)[0])
    ['image', 'mission', 'odometry']
    """
    domain_of(env_id)
    from envs.gridworld.env import GridworldEnv

    options = {} if max_steps is None else {"max_steps": max_steps}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "out of date" notices: the user named the version
            env = gym.make(env_id, disable_env_checker=True, **options)
    except Exception as error:
        raise SimulatorError(f"{env_id} could not be built: {error!r}") from error
    return GridworldEnv(env.unwrapped)  # type: ignore[arg-type]


def subgoal_space(domain: str) -> SubgoalSpace:
    """The subgoal vocabulary of a domain.

    Raises:
        UnknownNameError: for an unknown domain.
    """
    if domain != "gridworld":
        raise UnknownNameError("domain", domain, ["gridworld"])
    from envs.gridworld.subgoals import GridworldSubgoals

    return GridworldSubgoals()


def variations(domain: str) -> Variations:
    """How a domain's levels and instructions may be changed for pre-training.

    Raises:
        UnknownNameError: for an unknown domain.
    """
    subgoal_space(domain)
    from envs.gridworld.missions import VOCABULARY
    from envs.gridworld.symmetry import draw_symmetry
    from envs.gridworld.variation import paraphrase, vary

    numbers = [str(cells) for cells in range(32)]
    return Variations(vary, paraphrase, draw_symmetry, (*VOCABULARY, *numbers))
