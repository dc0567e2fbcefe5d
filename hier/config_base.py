"""Typed settings from YAML presets and dotted overrides, shared by all configurations.

Pydantic checks; presets and overrides are ours. OmegaConf merges them too, but it has a type system
of its own beside pydantic's; pydantic-settings and tyro name no nearest key among all sections.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from yaml.constructor import ConstructorError

from hier.envs.errors import ConfigError, UnknownNameError, UntrustedCodeError, in_one_line


class _Yaml(yaml.SafeLoader):
    """YAML in which ``7e-4`` is a number, as everybody but YAML 1.1 thinks."""


_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


class Section(BaseModel):
    """A group of keys; unknown keys and wrong types are errors, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, data: Any) -> Any:
        """``env:`` with nothing below it is an empty section."""
        if not isinstance(data, dict):
            return data
        sections = {
            k for k, field in cls.model_fields.items() if isinstance(field.default, Section)
        }
        return {k: {} if v is None and k in sections else v for k, v in data.items()}


class Settings(Section):
    """A whole configuration.

    Attributes:
        presets: folder of the package with this kind's presets.
        keys_command: what prints every key.
        code_keys: dotted keys whose values may name modules of the user's, to be imported.
    """

    presets: ClassVar[str] = "presets"
    keys_command: ClassVar[str] = ""
    code_keys: ClassVar[tuple[str, ...]] = ()

    name: str = Field("run", min_length=1, description="prefix of the run folder")
    seed: int = Field(0, ge=0, description="random seed of the whole run")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, source: str = "configuration") -> Self:
        """Build from nested mappings.

        Raises:
            ConfigError: for an unknown key (naming the nearest), or a value of the wrong type or
                range; the text gives key, value and remedy.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise ConfigError(f"{source}: {cls._explain(error)}") from None
        except (OverflowError, RecursionError) as error:
            raise ConfigError(f"{source} holds a value too large or too deep ({error})") from None

    @classmethod
    def load(cls, preset: str | Path, overrides: Iterable[str] = ()) -> Self:
        """Build from a preset's name or a YAML file, then apply overrides.

        Args:
            preset: a name listed by :meth:`preset_names`, or the path of a YAML file.
            overrides: ``dotted.key=value`` strings; the value is read as YAML.

        Raises:
            ConfigError: for an unknown preset, key or value, naming the nearest.

        >>> from hier import HierConfig
        >>> HierConfig.load("demo", ["seed=3"]).seed
        3
        """
        data = cls._read_yaml(preset)
        for override in overrides:
            _apply(data, override)
        return cls.from_dict(data, source=str(preset))

    @classmethod
    def of_run(cls, file: Path, overrides: Sequence[str] = (), *, trust_code: bool = False) -> Self:
        """The configuration that a run wrote, also one of an older version, with overrides.

        A run folder may come from elsewhere. So the modules that its configuration names are
        imported only where the user trusts them, or names them too.

        Args:
            file: its ``config.yaml``.
            overrides: see :meth:`load`; what they name is the user's own.
            trust_code: whether to import what the file names.

        Raises:
            UntrustedCodeError: if it names modules, or a server to be sent a key from the
                environment, that neither of the two permits.
            ConfigError: see :meth:`load`.
        """
        data = cls._of_now(cls._read_yaml(file))
        own: dict[str, Any] = {}
        for override in overrides:
            _apply(data, override)
            _apply(own, override)
        own_code = {path for _, path in cls._code_in(own)}
        foreign = [(key, path) for key, path in cls._code_in(data) if path not in own_code]
        if foreign and not trust_code:
            key, path = foreign[0]
            raise UntrustedCodeError(
                f"{file} names code to be run, {path!r} under {key}; if you trust it, add "
                f"--trust-code (in Python, trust_code=True), or choose another {key}"
            )
        permitted = dict(flatten(own))
        for variable, key, address in () if trust_code else cls._keys_sent(data):
            if permitted.get(key) == address:
                continue
            raise UntrustedCodeError(
                f"{file} names the server {address!r}, which would be sent the key in {variable}; "
                f"if you trust it, add {key}={address} or --trust-code (in Python, "
                f"trust_code=True), or unset {variable}"
            )
        return cls.from_dict(data, source=str(file))

    @classmethod
    def _keys_sent(cls, data: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
        """Which environment variable's key ``data`` sends to which server, and where it says so.

        Returns:
            For each, the variable, the dotted key and the server's address.
        """
        return ()

    @classmethod
    def _of_now(cls, data: dict[str, Any]) -> dict[str, Any]:
        """What an older version wrote, in the keys of this one."""
        return data

    @classmethod
    def _code_in(cls, data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """``(key, dotted path)`` of everything in ``data`` that would be imported.

        Names that come with the package hold neither a dot nor a colon; a path may be followed by
        the level of its domain.
        """
        for key, value in flatten(data):
            if key in cls.code_keys:
                for name in value if isinstance(value, list) else [value]:
                    path = str(name).partition("/")[0]
                    if "." in path or ":" in path:
                        yield key, path

    def override(self, *overrides: str) -> Self:
        """A copy with ``dotted.key=value`` overrides; raises like :meth:`load`."""
        data = self.model_dump()
        for item in overrides:
            _apply(data, item)
        return self.from_dict(data)

    def to_yaml(self) -> str:
        """The whole configuration as YAML that :meth:`load` reads back."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False)

    def flat(self) -> dict[str, Any]:
        """Dotted keys to values, for TensorBoard's hyper-parameter table."""
        return dict(flatten(self.model_dump()))

    @classmethod
    def preset_names(cls) -> list[str]:
        """Presets that come with the package."""
        folder = resources.files("hier") / cls.presets
        return sorted(
            f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
        )

    @classmethod
    def key_table(cls) -> list[tuple[str, Any, str]]:
        """``(dotted key, default, description)`` of every configuration key."""
        return list(_fields(cls, ""))

    @classmethod
    def _read_yaml(cls, preset: str | Path) -> dict[str, Any]:
        name, folder = str(preset), resources.files("hier") / cls.presets
        if name.endswith((".yaml", ".yml")):
            try:
                text = Path(name).read_bytes()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                raise ConfigError(
                    f"no configuration file {name!r} ({reason}); give an existing YAML file"
                ) from None
        elif name in cls.preset_names():
            text = (folder / f"{name}.yaml").read_bytes()
        elif os.sep in name or os.path.exists(name):
            raise ConfigError(
                f"{name!r} is neither a preset nor a YAML file; give a preset's name, or a file "
                "that ends in .yaml, such as a run's config.yaml"
            )
        else:
            raise UnknownNameError("preset", name, cls.preset_names())
        data = _parse(text, name)
        if data is None:
            return {}
        if not isinstance(data, dict):
            raise ConfigError(f"{preset} holds a {type(data).__name__}; write 'key: value' lines")
        return data

    @classmethod
    def _explain(cls, error: ValidationError) -> str:
        """The first problem in one line, with the nearest known key where a key is unknown."""
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        cause = (first.get("ctx") or {}).get("error")
        if isinstance(cause, ConfigError):
            return f"{key}: {cause}"
        if first["type"] == "extra_forbidden":
            known = [name for name, _, _ in cls.key_table()]
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
            leaf = key.rsplit(".", 1)[-1]
            close = close or [name for name in known if name.rsplit(".", 1)[-1] == leaf][:1]
            hint = f"; did you mean {close[0]!r}?" if close else ""
            return f"unknown key {key!r}{hint} ({cls.keys_command} lists all)"
        shown = first["input"]
        return f"{key} is {shown!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any, str]]:
    for name, info in model.model_fields.items():
        default = (
            "(required)" if info.is_required() else info.get_default(call_default_factory=True)
        )
        if isinstance(default, BaseModel):
            yield from _fields(type(default), f"{prefix}{name}.")
        else:
            yield prefix + name, default, info.description or ""


def _parse(text: str | bytes, source: str, *, plain: bool = False) -> Any:
    """The value of YAML, in UTF-8 if bytes; with ``plain``, text that is no YAML stands for itself.

    Raises:
        ConfigError: if it cannot be read.
    """
    try:
        return yaml.load(text, _Yaml)
    except Exception as error:  # tags and dates let through what their constructors raise
        syntax = isinstance(error, yaml.YAMLError) and not isinstance(error, ConstructorError)
        if plain and syntax:
            return text
        reason = in_one_line(error)
        raise ConfigError(
            f"{source} is not valid YAML: {reason}; write UTF-8, and quote what is text"
        ) from None


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"override {override!r} is not of the form dotted.key=value")
    value = _parse(text, f"override {override!r}", plain=True)
    *parents, last = key.strip().split(".")
    section = data
    for parent in parents:
        if section.get(parent) is None:
            section[parent] = {}
        section = section[parent]
        if not isinstance(section, dict):
            raise ConfigError(f"override {override!r}: {parent!r} is a value, not a section")
    section[last] = value


def flatten(data: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``(dotted key, value)`` of nested mappings."""
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
