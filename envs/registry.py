"""One way to build any environment, and to find the domain it belongs to.

An environment is named by its simulator's own id, such as ``BabyAI-UnlockPickup-v0``, or, for a
domain that does not come with this package, by ``module:Class/level``, such as
``my_worlds:Crafter/survival``: the dotted path of a :class:`.Domain` and one of its ids.
"""

from __future__ import annotations

import importlib
import inspect
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

import gymnasium as gym

from hier.envs.domain import Domain
from hier.envs.errors import ConfigError, UnknownNameError


class _Entry(NamedTuple):
    ids: str  # pattern of its environments' ids
    path: str  # imported on demand, because a domain imports perception, which lies above


# An id belongs to the first domain whose pattern it fits.
_DOMAINS = {
    "rooms": _Entry("MiniWorld-*", "hier.perception.rooms.domain:Rooms"),
    "rooms-privileged": _Entry(
        "privileged/MiniWorld-*", "hier.perception.rooms.domain:PrivilegedRooms"
    ),
    "pointmaze": _Entry("PointMaze_*", "hier.perception.pointmaze.domain:PointMaze"),
    "pointmaze-privileged": _Entry(
        "privileged/PointMaze_*", "hier.perception.pointmaze.domain:PrivilegedPointMaze"
    ),
    "fetch": _Entry("Fetch*", "hier.perception.fetch.domain:Fetch"),
    "fetch-privileged": _Entry("privileged/Fetch*", "hier.perception.fetch.domain:PrivilegedFetch"),
    "gridworld": _Entry("*", "hier.perception.gridworld.domain:Gridworld"),
}


def domain_named(name: str) -> Domain:
    """The domain called ``name``, or at the path ``module:Class``; the same object at every call.

    Raises:
        UnknownNameError: for an unknown name.
        ConfigError: for a path that does not lead to a :class:`hier.envs.domain.Domain`.
    """
    if ":" in name:
        return _import(name)
    if name not in _DOMAINS:
        raise UnknownNameError("domain", name, _DOMAINS)
    return _import(_DOMAINS[name].path)


@lru_cache
def _import(path: str) -> Domain:
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever that module raises
        raise ConfigError(
            f"domain {path!r} cannot be imported ({error}); write module:Class/level with a module "
            "on the Python path"
        ) from error
    if not (inspect.isclass(found) and issubclass(found, Domain)):
        raise ConfigError(
            f"domain {path!r} is no domain; name a subclass of Domain (envs/domain.py)"
        )
    if inspect.isabstract(found):
        lacking = ", ".join(sorted(found.__abstractmethods__))
        raise ConfigError(f"domain {path!r} lacks {lacking}; add what envs/domain.py describes")
    return found()


def default_domain() -> Domain:
    """The domain of planners that are built without one."""
    return domain_named("gridworld")


def env_ids() -> tuple[str, ...]:
    """All ids of the domains that come with this package, sorted."""
    return tuple(sorted(name for domain in _DOMAINS for name in domain_named(domain).env_ids()))


def domain_of(env_id: str) -> Domain:
    """The domain an environment id belongs to.

    Raises:
        UnknownNameError: for an id that no domain has, naming the nearest.
        ConfigError: see :func:`domain_named`.
    """
    return _resolve(env_id)[0]


def make_env(env_id: str, *, max_steps: int | None = None) -> gym.Env:
    """Build an environment with the observation every part of this project expects.

    Args:
        env_id: one of :func:`env_ids`, or ``module:Class/level`` for a domain of your own.
        max_steps: episode limit in steps; the level's own when ``None``.

    Returns:
        A Gymnasium environment (see :class:`hier.envs.domain.Domain`).

    Raises:
        UnknownNameError: for an unknown id, naming the nearest.
        ConfigError: for a path that leads to no domain.
        SimulatorError: if the simulator cannot be built, with the reason.

    >>> env = make_env("BabyAI-UnlockPickup-v0")
    >>> sorted(env.reset(seed=1)[0])
    ['image', 'mission', 'odometry']
    """
    domain, level = _resolve(env_id)
    return domain.make_env(level, max_steps=max_steps)


def _resolve(env_id: str) -> tuple[Domain, str]:
    """The domain of an id, and the id under which the domain knows it."""
    path, _, level = env_id.partition("/")
    if ":" in path:
        domain = domain_named(path)
        if level not in domain.env_ids():
            raise UnknownNameError(f"level of {path}", level, domain.env_ids())
        return domain, level
    name = next(name for name, entry in _DOMAINS.items() if fnmatchcase(env_id, entry.ids))
    domain = domain_named(name)
    if env_id not in domain.env_ids():
        raise UnknownNameError("environment id", env_id, env_ids(), remedy="List them: hier envs")
    return domain, env_id


@lru_cache
def max_steps_of(env_id: str) -> int | None:
    """The episode limit of a level in environment steps; ``None`` where it has none.

    Args:
        env_id: see :func:`make_env`; the level is built once to read it.
    """
    env = make_env(env_id)
    try:
        env.reset(seed=0)  # BabyAI decides with the mission
        return int(env.get_wrapper_attr("max_steps")) if env.has_wrapper_attr("max_steps") else None
    finally:
        env.close()
