"""The configuration of a pre-training; ``hier pretrain --keys`` prints every key."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from hier.config import CriticConfig
from hier.config_base import Section, Settings
from hier.envs.domain import Domain
from hier.envs.registry import domain_of

ON_THE_WAY = 2_000_000  # first level seed of measurements that may steer a choice


class SizesConfig(Section):
    """The model."""

    patch: int = Field(
        24,
        ge=8,
        description="side of a patch in pixels, one token each; in the gridworld 8, 24, 40 or 120",
    )
    vision_size: int = Field(128, ge=8, description="width of the SigLIP encoder")
    vision_layers: int = Field(2, ge=1, description="its layers")
    text_size: int = Field(128, ge=8, description="width of the Llama decoder")
    text_layers: int = Field(3, ge=1, description="its layers")
    heads: int = Field(4, ge=1, description="attention heads of both")


class PretrainConfig(Settings):
    """A pre-training."""

    presets: ClassVar[str] = "presets/pretrain"
    keys_command: ClassVar[str] = "hier pretrain --keys"

    levels: list[str] = Field(min_length=1, description="levels whose expert is asked")
    held_out: list[str] = Field([], description="levels for the report alone")
    start: str | None = Field(
        None, description="planner to go on from instead of random weights; its sizes are kept"
    )
    episodes: int = Field(48_000, ge=1, description="demonstration episodes, seeds 0, 1, 2, ...")
    variation: float = Field(
        0.7, ge=0, le=1, description="odds of clutter, more locked doors, and other missions"
    )
    plain_episodes: int = Field(
        48_000, ge=0, description="further episodes, of levels as they are; the seeds after those"
    )
    symmetries: int = Field(1024, ge=0, description="ways to exchange colors, kinds and sides")
    steps: int = Field(6400, ge=1, description="gradient steps")
    sight_steps: int = Field(
        800,
        ge=0,
        description="the first of them, which only learn to tell what the map shows; "
        "0 where pictures are none of maps",
    )
    batch_size: int = Field(64, ge=1, description="examples per step")
    learning_rate: float = Field(3e-3, gt=0, description="the highest of its schedule")
    gamma: float = Field(
        CriticConfig().gamma, gt=0, le=1,
        description="discount per environment step of the returns that the value head learns",
    )  # fmt: skip
    task_shares: list[float] = Field(
        [0.75, 0.1, 0.15], min_length=3, max_length=3,
        description="examples that ask for the subgoal, the action, the scene",
    )  # fmt: skip
    eval_every: int = Field(1600, ge=0, description="steps between measurements; 0 for the end")
    eval_states: int = Field(300, ge=1, description="states of a measurement on the way")
    final_states: int = Field(2000, ge=1, description="states of the last one, over all levels")
    final_episodes: int = Field(
        0, ge=0, description="episodes a level that the planner and a scripted controller play at "
        "the end, and the oracle with it; 0 for none",
    )  # fmt: skip
    first_seed: int = Field(
        3_000_000, ge=ON_THE_WAY + 100_000, description="level seeds of the last measurement"
    )
    checkpoint_every: int = Field(200, ge=1, description="steps between checkpoints")
    workers: int = Field(2, ge=1, description="processes that play demonstrations")
    torch_threads: int = Field(2, ge=1, description="CPU threads for the networks")
    model: SizesConfig = SizesConfig()

    @field_validator("levels", "held_out")
    @classmethod
    def _registered(cls, value: list[str]) -> list[str]:
        for name in value:
            domain_of(name)
        return value

    @property
    def domain(self) -> Domain:
        """The domain of the levels."""
        return domain_of(self.levels[0])
