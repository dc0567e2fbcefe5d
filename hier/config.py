"""The configuration of a run: typed, from YAML presets and dotted overrides.

Every key is documented where it is declared; ``hier train --keys`` prints them all.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from envs.errors import ConfigError, UnknownNameError


class _Yaml(yaml.SafeLoader):
    """YAML in which ``7e-4`` is a number, as everybody but YAML 1.1 thinks."""


_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EnvConfig(_Section):
    """What is played."""

    id: str | list[str] = Field(
        "BabyAI-UnlockPickup-v0",
        description="environment id, or a list of ids of one domain dealt out over the n_envs",
    )
    n_envs: int = Field(16, ge=1, description="environments stepped together")
    max_steps: int | None = Field(None, ge=1, description="episode limit; the level's own if null")

    @field_validator("id")
    @classmethod
    def _registered(cls, value: str | list[str]) -> str | list[str]:
        from envs.registry import domain_of

        if not value:
            raise ConfigError("env.id is an empty list; name at least one environment")
        domains = {domain_of(name) for name in ([value] if isinstance(value, str) else value)}
        if len(domains) > 1:
            raise ConfigError(f"env.id mixes the domains {sorted(domains)}; one run plays one")
        return value

    @property
    def ids(self) -> list[str]:
        """The ids as a list."""
        return [self.id] if isinstance(self.id, str) else self.id


class PlannerConfig(_Section):
    """Who proposes subgoals."""

    type: str = Field(
        "oracle",
        description="oracle, noisy, random, vlm, llm, endpoint, none (flat RL), or a dotted path",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="the planner's own arguments, e.g. planner.options.accuracy=0.8 for noisy",
    )

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        from planners.registry import NONE, planner_class

        if value != NONE:
            planner_class(value)
        return value


class SubgoalConfig(_Section):
    """How long a subgoal is pursued and what it pays."""

    max_duration: int = Field(40, ge=1, description="environment steps before it times out")
    bonus: float = Field(
        0.5, ge=0, description="paid for completing a subgoal, once per episode each"
    )
    shaping: float = Field(
        0.05, ge=0, description="potential per step of walking distance to the grounded target"
    )


class ControllerConfig(_Section):
    """Who acts: an SB3 algorithm and its network."""

    algorithm: str = Field("ppo", description="ppo, a2c, dqn or recurrent_ppo")
    gamma: float = Field(0.97, gt=0, le=1, description="discount per environment step")
    reward_scale: float = Field(2.0, gt=0, description="factor on the environment's own reward")
    features_dim: int = Field(128, ge=1, description="width of the features")
    channels: int = Field(32, ge=1, description="width of the convolutions")
    net_arch: list[int] = Field([64], description="hidden layers of the policy and value heads")
    device: str = Field("cpu", description="torch device; cpu, cuda or auto")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="any argument of the SB3 algorithm, e.g. controller.options.n_steps=256",
    )

    @field_validator("algorithm")
    @classmethod
    def _known(cls, value: str) -> str:
        # The names only: the classes behind them import torch.
        known = ("ppo", "a2c", "dqn", "recurrent_ppo")
        if value not in known:
            raise UnknownNameError("algorithm", value, known)
        return value


class EvalConfig(_Section):
    """How a run is judged: on levels whose seeds training never draws."""

    every: int = Field(20_000, ge=0, description="steps between evaluations; 0 for the end alone")
    episodes: int = Field(100, ge=1, description="episodes of the final evaluation")
    episodes_during: int = Field(32, ge=1, description="episodes of an evaluation on the way")
    first_seed: int = Field(1_000_000, ge=0, description="seeds first_seed, first_seed + 1, ...")
    # A memoryless policy that is torn between left and right turns for ever; a draw ends that.
    deterministic: bool = Field(False, description="take the likeliest action instead of a draw")
    videos: int = Field(1, ge=0, description="episodes drawn as GIF at each evaluation")


class HierConfig(_Section):
    """A whole run."""

    name: str = Field("run", min_length=1, description="prefix of the run folder")
    seed: int = Field(0, ge=0, description="of everything random in training")
    total_timesteps: int = Field(100_000, ge=1, description="environment steps of training")
    checkpoint_every: int = Field(10_000, ge=1, description="steps between checkpoints")
    torch_threads: int = Field(2, ge=1, description="CPU threads for the networks")
    env: EnvConfig = EnvConfig()
    planner: PlannerConfig = PlannerConfig()
    subgoal: SubgoalConfig = SubgoalConfig()
    controller: ControllerConfig = ControllerConfig()
    eval: EvalConfig = EvalConfig()

    @property
    def greedy_evaluation(self) -> bool:
        """Whether evaluation takes the likeliest action; a value-based controller always does."""
        return self.eval.deterministic or self.controller.algorithm == "dqn"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, source: str = "configuration") -> HierConfig:
        """Build from nested mappings.

        Raises:
            ConfigError: for an unknown key (naming the nearest), or a value of the wrong type or
                range; the text gives key, value and remedy.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise ConfigError(f"{source}: {_explain(error)}") from None

    @classmethod
    def load(cls, preset: str | Path, overrides: Iterable[str] = ()) -> HierConfig:
        """Build from a preset's name or a YAML file, then apply overrides.

        Args:
            preset: a name listed by :func:`preset_names`, or the path of a YAML file.
            overrides: ``dotted.key=value`` strings; the value is read as YAML.

        Raises:
            ConfigError: for an unknown preset, key or value, naming the nearest.

        >>> HierConfig.load("demo", ["seed=3"]).seed
        3
        """
        data = _read_yaml(preset)
        for override in overrides:
            _apply(data, override)
        return cls.from_dict(data, source=str(preset))

    def override(self, *overrides: str) -> HierConfig:
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
        return dict(_flatten(self.model_dump()))


def preset_names() -> list[str]:
    """Presets that come with the package."""
    folder = resources.files("hier") / "presets"
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def key_table() -> list[tuple[str, Any, str]]:
    """``(dotted key, default, description)`` of every configuration key."""
    return list(_fields(HierConfig, ""))


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any, str]]:
    for name, info in model.model_fields.items():
        default = info.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from _fields(type(default), f"{prefix}{name}.")
        else:
            yield prefix + name, default, info.description or ""


def _read_yaml(preset: str | Path) -> dict[str, Any]:
    path = Path(preset)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"no configuration file {str(path)!r}; give an existing YAML file")
        text = path.read_text()
    else:
        if str(preset) not in preset_names():
            raise UnknownNameError("preset", str(preset), preset_names())
        text = (resources.files("hier") / "presets" / f"{preset}.yaml").read_text()
    try:
        data = yaml.load(text, _Yaml)
    except yaml.YAMLError as error:
        raise ConfigError(f"{preset} is not valid YAML: {' '.join(str(error).split())}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{preset} holds a {type(data).__name__}; write 'key: value' lines")
    return data


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"override {override!r} is not of the form dotted.key=value")
    try:
        value = yaml.load(text, _Yaml)
    except yaml.YAMLError:
        value = text
    *parents, last = key.strip().split(".")
    section = data
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise ConfigError(f"override {override!r}: {parent!r} is a value, not a section")
    section[last] = value


def _explain(error: ValidationError) -> str:
    """The first problem in one line, with the nearest known key where a key is unknown."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    cause = (first.get("ctx") or {}).get("error")
    if isinstance(cause, ConfigError):
        return f"{key}: {cause}"
    if first["type"] == "extra_forbidden":
        known = [name for name, _, _ in key_table()]
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
        close = close or [n for n in known if n.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]][:1]
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"unknown key {key!r}{hint} (hier train --keys lists all)"
    shown = first["input"]
    return f"{key} is {shown!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
