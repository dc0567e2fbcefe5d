"""The configuration of a run.

Every key is documented where it is declared; ``hier train --keys`` prints them all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator

from hier.config_base import Section, Settings, flatten
from hier.envs.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from hier.envs.domain import Domain


TRAINING_SEEDS = 10**9  # the first level seed of trainings; evaluations stay below it
# Where a configuration says which planner: its own section, and the two parts of a gated one.
_PLANNERS = ("planner", "planner.options.big", "planner.options.slim")
DEFAULT_KEY = "OPENAI_API_KEY"  # environment variable with the key of the endpoint planner


def evaluation_seeds(first: int, episodes: int) -> range:
    """Consecutive level seeds for an evaluation, none of which training draws.

    Raises:
        ConfigError: if they reach those of training.
    """
    if first + episodes > TRAINING_SEEDS:
        raise ConfigError(
            f"the level seeds from {first} on, for {episodes} episodes, reach those of training "
            f"({TRAINING_SEEDS} and more); lower eval.first_seed"
        )
    return range(first, first + episodes)


class EnvConfig(Section):
    """What is played."""

    id: str | list[str] = Field(
        "BabyAI-UnlockPickup-v0",
        description="environment id, or a list of ids of one domain that are dealt out over the "
        "n_envs environments; module:Class/level names a level of your own domain",
    )
    n_envs: int = Field(16, ge=1, description="number of environments that step together")
    max_steps: int | None = Field(
        None, ge=1, description="episode limit in environment steps; null = the level's own"
    )
    variation: float = Field(
        0.0, ge=0, le=1,
        description="how much training levels are varied: factor on the probability of clutter, "
        "locked doors and other missions; 0 = levels as they are; for the gridworld",
    )  # fmt: skip

    @field_validator("id")
    @classmethod
    def _registered(cls, value: str | list[str]) -> str | list[str]:
        from hier.envs.registry import domain_of

        if not value:
            raise ConfigError("env.id is an empty list; name at least one environment")
        domains = {domain_of(name) for name in ([value] if isinstance(value, str) else value)}
        if len(domains) > 1:
            names = sorted(domain.name for domain in domains)
            raise ConfigError(f"env.id mixes the domains {names}; one run plays one")
        return value

    @property
    def ids(self) -> list[str]:
        """The ids as a list."""
        return [self.id] if isinstance(self.id, str) else self.id


class PlannerConfig(Section):
    """Which planner proposes subgoals."""

    type: str = Field(
        "vlm",
        description="planner that proposes subgoals: vlm, llm, endpoint, gated (a slim one before "
        "a big one), oracle, noisy, mistaken, random, none (flat RL), or the dotted path of your "
        "own class",
    )
    model: str | None = Field(
        None,
        description="hub id or folder for vlm and llm, the server's model name for endpoint; null "
        "= the built-in planner of the level's domain, for vlm",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="further arguments of the planner, e.g. planner.options.lora=8 for vlm",
    )

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        from hier.planners.registry import NONE, planner_class

        if value != NONE:
            planner_class(value)
        return value

    @field_validator("options")
    @classmethod
    def _without_model(cls, value: dict[str, Any]) -> dict[str, Any]:
        if "model" in value:
            raise ConfigError(f"the model is a key of its own: planner.model={value['model']}")
        return value

    @model_validator(mode="after")
    def _whole_parts(self) -> Self:
        from hier.planners.registry import GATED, PARTS, part_arguments

        for part in PARTS if self.type == GATED else ():
            if self.options.get(part) is not None:
                part_arguments(part, self.options[part])
        return self

    def arguments(self) -> dict[str, Any]:
        """What the planner is built with."""
        return {**({} if self.model is None else {"model": self.model}), **self.options}


class SubgoalConfig(Section):
    """How long a subgoal is pursued and what it pays."""

    max_duration: int = Field(
        40, ge=1, description="environment steps after which a subgoal times out"
    )
    bonus: float = Field(
        0.5, ge=0, description="reward for completing a subgoal, once per episode for each subgoal"
    )
    bonuses: dict[str, NonNegativeFloat] = Field(
        default_factory=dict,
        description="rewards that replace subgoal.bonus for subgoals that match a shell pattern, "
        "e.g. {'explore*': 0.05, 'put down*': 0}; the first matching pattern counts",
    )
    shaping: float = Field(
        0.05,
        ge=0,
        description="weight of potential-based shaping, per cell of the way to the subgoal's "
        "target",
    )
    shaping_gamma: float | None = Field(
        None, gt=0, le=1,
        description="discount between the shaping potentials of two consecutive steps; null = "
        "controller.gamma; below 1, an agent that stands still receives (1 - gamma) * shaping per "
        "cell of distance at every step until the subgoal times out",
    )  # fmt: skip
    penalty: float = Field(
        0.0, ge=0,
        description="reward taken away for a step that spoils the subgoal, such as picking up or "
        "dropping an object that the subgoal does not name",
    )  # fmt: skip


class GuidanceConfig(Section):
    """How far planner and critic steer the choice of subgoals (LINVIT, ReAd)."""

    soft_choice: bool = Field(
        False,
        description="draw subgoals from p exp(A / kl_coef), with p the planner's distribution and "
        "A the critic's advantage; false = draw from p",
    )
    kl_coef: float = Field(
        0.1, gt=0, le=100,
        description="weight of the KL divergence to the planner, per nat, in standard deviations "
        "of the return",
    )  # fmt: skip
    requery_rounds: int = Field(
        0, ge=0, le=10,
        description="most times the planner is asked again for one choice, where the critic finds "
        "the proposal worse than the planner's mean by a standard error (ReAd); 0 = never",
    )  # fmt: skip
    value_shaping: float = Field(
        0.0, ge=0, le=10,
        description="weight of potential-based shaping by the planner's value; needs a planner "
        "with a value head",
    )  # fmt: skip
    actions: Literal["none", "reward", "loss"] = Field(
        "none",
        description="pull the controller toward the actions that the planner names, by a term in "
        "its reward or in its loss; for ppo and a2c with vlm or llm",
    )
    action_coef: float = Field(
        1.0, ge=0, le=100,
        description="initial weight of the KL divergence between the controller and the planner's "
        "actions; about 1 for actions=loss, 0.01 for actions=reward",
    )  # fmt: skip
    action_coef_steps: int = Field(
        30_000, ge=1, description="environment steps over which action_coef is annealed to 0"
    )
    action_answers: int = Field(
        4000, ge=2,
        description="largest number of answers about actions that the planner is asked for in a "
        "run; a small network is trained on them",
    )  # fmt: skip

    @property
    def needs_critic(self) -> bool:
        """Whether anything here does."""
        return self.soft_choice or self.requery_rounds > 0


class FeedbackConfig(Section):
    """How the planner learns from what its subgoals earned."""

    objective: Literal["none", "improve", "awr", "archer", "grpo", "step_dpo", "inverse_rl"] = (
        Field("none", description="loss for fine-tuning the planner; none = frozen")
    )
    every: int = Field(
        4096, ge=1, description="environment steps between two rounds of fine-tuning"
    )
    updates: int = Field(16, ge=1, le=1000, description="gradient steps of the planner in a round")
    warmup: int = Field(
        500,
        ge=1,
        description="ended subgoals before the first round; it also waits for a reward and a "
        "critic",
    )
    batch_size: int = Field(32, ge=2, description="ended subgoals per gradient step of the planner")
    learning_rate: float = Field(
        1e-4, gt=0, le=1, description="learning rate of the planner (AdamW)"
    )
    kl_coef: float = Field(
        0.1, ge=0, le=1000,
        description="weight per nat of the KL divergence between the planner and the planner at "
        "the start of the run",
    )  # fmt: skip
    anchors: int = Field(
        396, ge=0,
        description="number of anchor questions, on which the planner should keep its first "
        "answers; 0 = none",
    )  # fmt: skip
    anchor_levels: list[str] | None = Field(
        None,
        description="levels the anchor questions are drawn from (training levels excluded); null = "
        "the domain's source levels",
    )
    anchor_coef: float = Field(
        1.0, ge=0, le=1000, description="weight of the KL term on anchor questions, per nat"
    )
    capacity: int = Field(
        5000, ge=1, description="ended subgoals kept as the planner's training examples"
    )
    staleness: int | None = Field(
        20, ge=0, description="discard examples older than this many rounds; null = never"
    )
    group: int = Field(
        4, ge=2, description="for grpo, environments that play the same levels at the same time"
    )
    guard: float = Field(
        0.2, gt=0, le=1,
        description="restore the planner's best weights when an evaluation's success falls this "
        "far below the best so far; 1 = never",
    )  # fmt: skip
    store: bool = Field(
        False, description="keep every ended subgoal in RUN/lessons, for hier tune-planner"
    )
    max_share: float = Field(
        0.25, gt=0, le=1,
        description="largest share of the wall time that fine-tuning takes; rounds wait until they "
        "fit",
    )  # fmt: skip

    @property
    def needs_critic(self) -> bool:
        """Whether the objective uses a critic, or a discriminator, which reads its features."""
        return self.objective in ("improve", "awr", "archer", "step_dpo", "inverse_rl")

    @property
    def levels_shared_by(self) -> int:
        """How many environments play the same levels in training."""
        return self.group if self.objective == "grpo" else 1


class SafetyConfig(Section):
    """What the agent must not do."""

    avoid: list[str] | None = Field(
        None,
        description="hazards that the agent must not step onto, such as lava; each such step is "
        "counted as a violation; null = all hazards of the domain",
    )
    filter: bool = Field(
        False, description="replace an action that would step onto a hazard by waiting"
    )
    forbid: list[str] = Field(
        [],
        description="subgoals that are never pursued, as shell patterns such as 'open the red "
        "door' or 'toggle *'",
    )


FITTING = "fitting"  # the agent that comes with this package, where it fits


class ControllerConfig(Section):
    """The controller: an SB3 algorithm and its network."""

    algorithm: str = Field(
        "ppo",
        description="SB3 algorithm: ppo, a2c, recurrent_ppo; dqn for discrete actions; sac and td3 "
        "for continuous actions",
    )
    start: str | None = Field(
        FITTING,
        description="run whose controller training starts from; shipped = the agent that comes "
        "with this package; fitting = that agent where its network and domain are the run's; "
        "null = new weights",
    )
    gamma: float = Field(
        0.97, gt=0, le=1, description="discount of the controller per environment step"
    )
    reward_scale: float = Field(2.0, gt=0, description="factor on the environment's own reward")
    features_dim: int = Field(128, ge=1, description="width of the features extractor's output")
    channels: int = Field(
        16, ge=1, description="width of the cells' embeddings and of the convolutions"
    )
    net_arch: list[PositiveInt] = Field([64], description="hidden layers of policy and value")
    hindsight: float = Field(
        0.0, ge=0, le=1,
        description="share of replayed transitions whose target is moved to a place that was "
        "reached later (HER); for dqn, sac and td3, in domains that support it; 0 = off",
    )  # fmt: skip
    device: str = Field(
        "cpu",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="torch device; cpu, cuda or auto",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="any argument of the SB3 algorithm, e.g. controller.options.n_steps=256",
    )

    @field_validator("algorithm")
    @classmethod
    def _known(cls, value: str) -> str:
        # The names only: the classes behind them import torch.
        known = ("ppo", "a2c", "dqn", "recurrent_ppo", "sac", "td3")
        if value not in known:
            raise UnknownNameError("algorithm", value, known)
        return value


class EvalConfig(Section):
    """How a run is judged: on levels whose seeds training never draws."""

    every: int = Field(
        20_000, ge=0, description="environment steps between evaluations; 0 = at the end only"
    )
    episodes: int = Field(100, ge=1, description="episodes of the final evaluation")
    episodes_during: int = Field(32, ge=1, description="episodes of an evaluation during training")
    first_seed: int = Field(
        1_000_000, ge=0, description="level seed of the first episode; each next one is 1 higher"
    )
    # A memoryless policy that is torn between left and right would keep turning; a draw ends that.
    deterministic: bool = Field(
        False, description="take the likeliest action instead of drawing one"
    )
    videos: int = Field(1, ge=0, description="episodes drawn as GIF at each evaluation")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        evaluation_seeds(self.first_seed, max(self.episodes, self.episodes_during, self.videos))
        return self


class HierConfig(Settings):
    """A whole run."""

    keys_command: ClassVar[str] = "hier train --keys"
    code_keys: ClassVar[tuple[str, ...]] = (
        *(f"{planner}.type" for planner in _PLANNERS),
        *("env.id", "feedback.anchor_levels"),
    )
    # What decides how a run is watched and stored, not what it learns.
    bookkeeping_keys: ClassVar[tuple[str, ...]] = (
        *("checkpoint_every", "torch_threads", "trackers"),
        *("eval.every", "eval.episodes", "eval.episodes_during", "eval.videos"),
    )

    total_timesteps: int = Field(
        100_000, ge=1, description="environment steps of training, over all environments"
    )
    checkpoint_every: int = Field(10_000, ge=1, description="environment steps between checkpoints")
    torch_threads: int = Field(2, ge=1, description="CPU threads for the networks")
    trackers: list[Literal["wandb", "mlflow", "trackio"]] = Field(
        [], description="experiment trackers that get the numbers too; TensorBoard always does"
    )
    env: EnvConfig = EnvConfig()
    planner: PlannerConfig = PlannerConfig()
    subgoal: SubgoalConfig = SubgoalConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    safety: SafetyConfig = SafetyConfig()
    controller: ControllerConfig = ControllerConfig()
    eval: EvalConfig = EvalConfig()

    @classmethod
    def _of_now(cls, data: dict[str, Any]) -> dict[str, Any]:
        return _without_retired_keys(data)

    @classmethod
    def _keys_sent(cls, data: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        flat = dict(flatten(data))
        for planner in _PLANNERS:
            place = f"{planner}.options.base_url"
            variable = str(flat.get(f"{planner}.options.api_key_env", DEFAULT_KEY))
            if flat.get(f"{planner}.type") == "endpoint" and os.environ.get(variable):
                yield variable, place, str(flat.get(place))

    def with_planner(self, folder: Path) -> HierConfig:
        """The same with the planner saved in ``folder``."""
        options = {key: value for key, value in self.planner.options.items() if key != "lora"}
        planner = self.planner.model_copy(update={"model": str(folder), "options": options})
        return self.model_copy(update={"planner": planner})

    @property
    def effective_guidance(self) -> GuidanceConfig:
        """Guidance as configured; all off without a planner, so that a flat twin is one flag."""
        return GuidanceConfig() if self.planner.type == "none" else self.guidance

    @property
    def shaping_gamma(self) -> float:
        """Discount between the shaping's potentials."""
        own = self.subgoal.shaping_gamma
        return self.controller.gamma if own is None else own

    @property
    def domain(self) -> Domain:
        """The domain of the levels."""
        from hier.envs.registry import domain_of

        return domain_of(self.env.ids[0])

    @property
    def keeps_lessons(self) -> bool:
        """Whether closed subgoals become examples that a planner learns from, now or later."""
        return self.feedback.objective != "none" or self.feedback.store

    @property
    def needs_critic(self) -> bool:
        """Whether a critic of subgoals is learned, for guidance or for feedback."""
        feedback = self.planner.type != "none" and self.feedback.needs_critic
        return self.effective_guidance.needs_critic or feedback

    @property
    def horizon(self) -> float:
        """Environment steps over which the upper level's rewards lose all but 1/e of their value.

        It is the time limit of the levels, the longest of several; 500 where there is none.
        """
        return max(map(self._limit, self.env.ids))

    def _limit(self, level: str) -> float:
        from hier.envs.registry import max_steps_of

        return float(self.env.max_steps or max_steps_of(level) or 500)

    @property
    def greedy_evaluation(self) -> bool:
        """Whether evaluation takes the likeliest action; a value-based controller always does."""
        return self.eval.deterministic or self.controller.algorithm == "dqn"


_RETIRED = {  # keys that older runs wrote
    "guidance": (
        *("kl_coef_end", "kl_coef_steps", "target_kl", "doubt", "doubt_again", "trust"),
        *("advantage_threshold", "lookahead", "action_coef_end", "critic"),
    )
}


def _without_retired_keys(data: dict[str, Any]) -> dict[str, Any]:
    """A run's configuration of an older version as this one reads it."""
    data = {k: dict(v) if isinstance(v, dict) else v for k, v in data.items()}
    for section, names in _RETIRED.items():
        keys = data.get(section)
        if not isinstance(keys, dict):
            continue
        old = [name for name in names if keys.pop(name, None) is not None]
        if isinstance(keys.get("soft_choice"), str):
            keys["soft_choice"] = keys["soft_choice"] != "none"
        if old:
            keys.pop("kl_coef", None)  # its unit has changed
    return data
