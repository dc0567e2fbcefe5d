"""Planners by name or dotted path."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from hier.envs.errors import ConfigError, UnknownNameError
from hier.planners.protocol import Planner

NONE = "none"  # flat reinforcement learning: no planner, everything else unchanged
GATED = "gated"  # a planner made of two others
PARTS = ("big", "slim")  # its options that name them
PLANNERS: dict[str, str] = {
    "endpoint": "hier.planners.endpoint.planner.EndpointPlanner",
    "gated": "hier.planners.gate.GatedPlanner",
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


def part_arguments(part: str, given: Any) -> tuple[str, dict[str, Any]]:
    """Name and constructor arguments of one of the two planners of :data:`GATED`.

    Args:
        part: which one, of :data:`PARTS`.
        given: a mapping with ``type`` and perhaps ``model`` and ``options``, like the section
            ``planner`` of a configuration.

    Raises:
        ConfigError: if it is none, has other keys, or names no planner that can be a part.
    """
    place = f"planner.options.{part}"
    if not isinstance(given, Mapping) or "type" not in given:
        raise ConfigError(
            f"{place} is {given!r}; name the planner, such as {place}.type=oracle, or "
            f"{place}.type=llm {place}.model=smollm2-135m"
        )
    keys = ("type", "model", "options")
    for key in given:
        if key not in keys:
            raise UnknownNameError(f"key in {place}", str(key), keys)
    name, model, options = str(given["type"]), given.get("model"), given.get("options") or {}
    if name in (NONE, GATED):
        raise ConfigError(f"{place}.type is {name!r}, which cannot be a part of a gated planner")
    if not isinstance(options, Mapping):
        raise ConfigError(f"{place}.options is {options!r}; write options by name, as in a mapping")
    planner_class(name)
    return name, {**({} if model is None else {"model": model}), **options}


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
