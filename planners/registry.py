"""Planners by name or dotted path."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from hier.envs.errors import ConfigError, UnknownNameError
from hier.planners.protocol import Planner

NONE = "none"  # flat reinforcement learning: no planner, everything else unchanged
PLANNERS: dict[str, str] = {
    "endpoint": "hier.planners.endpoint.planner.EndpointPlanner",
    "llm": "hier.planners.language.planner.LLMPlanner",
    "mistaken": "hier.planners.scripted.MistakenPlanner",
    "noisy": "hier.planners.scripted.NoisyPlanner",
    "oracle": "hier.planners.scripted.OraclePlanner",
    "random": "hier.planners.scripted.RandomPlanner",
    "vlm": "hier.planners.language.planner.VLMPlanner",
}
_GIVEN = ("seed", "domain")  # options that a run adds for planners that take them


def planner_names() -> list[str]:
    """The names ``planner.type`` accepts besides dotted paths."""
    return sorted([*PLANNERS, NONE])


def planner_class(name: str) -> type[Any]:
    """The class of a registered name or a dotted path ``package.module.Class``.

    Raises:
        UnknownNameError: for an unknown name.
        ConfigError: for a dotted path that does not lead to a class.
    """
    if "." not in name and name not in PLANNERS:
        raise UnknownNameError(
            "planner", name, planner_names(), remedy=f"Known: {', '.join(planner_names())}, "
            "or the dotted path of your own class"
        )  # fmt: skip
    path = PLANNERS.get(name, name)
    module, _, attribute = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever that module raises
        raise ConfigError(
            f"planner {path!r} cannot be imported ({error}); give the dotted path of a class on "
            "the Python path"
        ) from error
    if not inspect.isclass(found):
        raise ConfigError(f"planner {path!r} is not a class; name one with a score() method")
    return found


def build_planner(name: str, **options: Any) -> Planner | None:
    """Build the planner called ``name``; ``None`` for ``none``.

    Args:
        name: a registered name or a dotted path.
        options: the constructor's keyword arguments; ``seed`` and ``domain`` (an
            :class:`hier.envs.domain.Domain`) are dropped where it takes none.

    Raises:
        UnknownNameError, ConfigError: see :func:`planner_class`.
        ConfigError: for an option the planner does not take, naming those it takes, or one that
            is missing.
    """
    if name == NONE:
        return None
    cls = planner_class(name)
    takes = inspect.signature(cls).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        for given in _GIVEN:
            if given not in takes:
                options.pop(given, None)
        for option in options:
            if option not in takes:
                known = ", ".join(sorted(set(takes) - {*_GIVEN})) or "no options"
                raise ConfigError(
                    f"planner {name!r} does not take {option!r}; it takes {known} (planner.options)"
                )
    for option, parameter in takes.items():
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if named and parameter.default is parameter.empty and option not in options:
            place = "planner.model" if option == "model" else f"planner.options.{option}"
            raise ConfigError(f"planner {name!r} needs {place}")
    planner = cls(**options)
    if not isinstance(planner, Planner):
        raise ConfigError(
            f"planner {name!r} lacks one of: score(), privileged, version (planners/protocol.py)"
        )
    return planner
