"""The configuration of a pre-training; ``hier pretrain --keys`` prints every key."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from hier.config_base import Section, Settings
from hier.envs.domain import Domain
from hier.envs.registry import domain_of

ON_THE_WAY = 2_000_000  # first level seed of measurements during training


class SizesConfig(Section):
    """Sizes of a new model."""

    patch: int = Field(
        24, ge=8,
        description="side of an image patch in pixels; the model reads each patch as one token; in "
        "the gridworld 8, 24, 40 or 120",
    )  # fmt: skip
    vision_size: int = Field(128, ge=8, description="width of the vision encoder (SigLIP)")
    vision_layers: int = Field(2, ge=1, description="layers of the vision encoder")
    text_size: int = Field(128, ge=8, description="width of the text decoder (Llama)")
    text_layers: int = Field(3, ge=1, description="layers of the text decoder")
    heads: int = Field(4, ge=1, description="attention heads, in the encoder and in the decoder")


class PretrainConfig(Settings):
    """The configuration of a pre-training."""

    presets: ClassVar[str] = "presets/pretrain"
    keys_command: ClassVar[str] = "hier pretrain --keys"
    code_keys: ClassVar[tuple[str, ...]] = ("levels", "held_out")

    levels: list[str] = Field(
        min_length=1, description="ids of the levels whose expert gives the demonstrations"
    )
    held_out: list[str] = Field(
        [], description="ids of levels that only the final measurement plays; nothing learns there"
    )
    start: str | None = Field(
        None,
        description="planner whose weights training starts from; null = new random weights of the "
        "sizes under model, which otherwise have no effect",
    )
    episodes: int = Field(
        48_000, ge=1,
        description="episodes of demonstrations on varied levels; their level seeds begin at 0",
    )  # fmt: skip
    variation: float = Field(
        0.7, ge=0, le=1,
        description="factor on the odds that a varied level has clutter, another locked door or "
        "another mission; 0 = no variations",
    )  # fmt: skip
    plain_episodes: int = Field(
        48_000, ge=0,
        description="further episodes of demonstrations, on unvaried levels; their level seeds "
        "follow those of the varied levels",
    )  # fmt: skip
    own_episodes: int = Field(
        0, ge=0,
        description="further episodes, on varied levels, in which the planner under start pursues "
        "its own subgoals and the expert only answers, as in DAgger; their level seeds follow",
    )  # fmt: skip
    symmetries: int = Field(
        1024, ge=0,
        description="number of random exchanges of colors, kinds and sides that are applied to the "
        "demonstrations; 0 = none",
    )  # fmt: skip
    steps: int = Field(6400, ge=1, description="gradient steps in all, sight_steps included")
    sight_steps: int = Field(
        800, ge=0,
        description="gradient steps at the beginning in which only the vision encoder learns, to "
        "name what each patch of a map shows; 0 in domains whose pictures are not maps",
    )  # fmt: skip
    batch_size: int = Field(64, ge=1, description="examples in each gradient step")
    learning_rate: float = Field(
        3e-3, gt=0, description="highest learning rate; it rises over 2 % of the steps, then falls"
    )
    gamma: float = Field(
        0.97, gt=0, le=1,
        description="discount per environment step of the returns that the value head learns",
    )  # fmt: skip
    task_shares: list[float] = Field(
        [0.75, 0.1, 0.15], min_length=3, max_length=3,
        description="shares of the examples that ask for the subgoal, for the controller's action "
        "and for a description of the scene, in this order",
    )  # fmt: skip
    eval_every: int = Field(
        1600, ge=0,
        description="gradient steps between measurements of accuracy; 0 = measure at the end only",
    )  # fmt: skip
    eval_states: int = Field(
        300, ge=1, description="states, over all levels, of each measurement during training"
    )
    final_states: int = Field(
        2000, ge=1, description="states, over all levels, of the measurement at the end"
    )
    final_episodes: int = Field(
        0, ge=0,
        description="episodes of each level at the end, in which the scripted controller pursues "
        "the planner's subgoals and then the oracle's; 0 = none",
    )  # fmt: skip
    first_seed: int = Field(
        3_000_000, ge=ON_THE_WAY + 100_000,
        description="first level seed of the measurement at the end",
    )  # fmt: skip
    checkpoint_every: int = Field(200, ge=1, description="gradient steps between checkpoints")
    workers: int = Field(2, ge=1, description="processes that play demonstrations")
    torch_threads: int = Field(2, ge=1, description="CPU threads that torch uses for training")
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
