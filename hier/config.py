"""The configuration of a run.

Every key is documented where it is declared; ``hier train --keys`` prints them all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, field_validator

from hier.config_base import Section, Settings
from hier.envs.errors import ConfigError, UnknownNameError


class EnvConfig(Section):
    """What is played."""

    id: str | list[str] = Field(
        "BabyAI-UnlockPickup-v0",
        description="environment id, or a list of ids of one domain dealt out over the n_envs; "
        "module:Class/level for a domain of your own",
    )
    n_envs: int = Field(16, ge=1, description="environments stepped together")
    max_steps: int | None = Field(None, ge=1, description="episode limit; the level's own if null")

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
    """Who proposes subgoals."""

    type: str = Field(
        "vlm",
        description="vlm, llm, endpoint, oracle, noisy, mistaken, random, none (flat RL), or a "
        "dotted path",
    )
    model: str | None = Field(
        None,
        description="hub id or folder for vlm and llm, the server's name for endpoint; for vlm the "
        "planner that ships if null",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="the planner's other arguments, e.g. planner.options.lora=8 for vlm",
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

    def arguments(self) -> dict[str, Any]:
        """What the planner is built with."""
        return {**({} if self.model is None else {"model": self.model}), **self.options}


class SubgoalConfig(Section):
    """How long a subgoal is pursued and what it pays."""

    max_duration: int = Field(40, ge=1, description="environment steps before it times out")
    bonus: float = Field(
        0.5, ge=0, description="paid for completing a subgoal, once per episode each"
    )
    bonuses: dict[str, NonNegativeFloat] = Field(
        default_factory=dict,
        description="paid instead for subgoals that match a pattern, by the first that does, e.g. "
        "{'explore*': 0.05, 'put down*': 0}: what is done often or only mends is worth less",
    )
    shaping: float = Field(
        0.05, ge=0, description="potential per step of walking distance to the grounded target"
    )
    shaping_gamma: float | None = Field(
        None, gt=0, le=1,
        description="discount between the potentials of two steps, controller.gamma if null; below "
        "1 who stands still is paid (1 - gamma) * shaping per step of distance until the subgoal "
        "times out, which grows with the distance",
    )  # fmt: skip
    penalty: float = Field(
        0.0, ge=0,
        description="taken for a step that spoils the subgoal, as taking or dropping something "
        "unasked does; for levels where that is easily done",
    )  # fmt: skip


class CriticConfig(Section):
    """The critic of subgoals, made when guidance or feedback needs it."""

    gamma: float = Field(
        0.97, gt=0, le=1,
        description="discount per environment step of subgoals' values and of feedback's returns; "
        "0.99 for tasks of a hundred steps, which at 0.97 are worth less than the critic's error",
    )  # fmt: skip
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    updates: float = Field(0.2, ge=0, le=20, description="gradient steps per closed subgoal")
    batch_size: int = Field(256, ge=1, description="subgoals per gradient step")
    capacity: int = Field(20_000, ge=1, description="closed subgoals kept to learn from")
    warmup: int = Field(30_000, ge=0, description="environment steps before it has a say")
    warmup_rewards: int = Field(
        30, ge=0, description="closed subgoals that earned something, after which it has it sooner"
    )
    polyak: float = Field(0.01, gt=0, le=1, description="share of the target networks' update")
    monte_carlo: float = Field(
        0.0, ge=0, le=1,
        description="share of the return that followed in its targets, the rest being learned from "
        "its own values",
    )  # fmt: skip
    optimism: float = Field(
        -1.0, ge=-1, le=1,
        description="choose by the smaller twin (-1), their mean (0) or the larger (1)",
    )  # fmt: skip


class GuidanceConfig(Section):
    """How far planner and critic steer the choice of subgoals (LINVIT, ReAd)."""

    soft_choice: Literal["none", "fixed", "annealed", "tuned"] = Field(
        "none",
        description="draw subgoals by p exp(Q/kl_coef) instead of the planner's p, with kl_coef "
        "fixed, annealed, or tuned to target_kl",
    )
    kl_coef: float = Field(
        0.05, gt=0, le=100,
        description="weight of KL to the planner, in environment reward per nat; where an annealed "
        "one begins",
    )  # fmt: skip
    kl_coef_end: float = Field(0.001, gt=0, le=100, description="where an annealed kl_coef ends")
    kl_coef_steps: int = Field(80_000, ge=1, description="environment steps until it is there")
    target_kl: float = Field(0.2, gt=0, le=10, description="nats to which kl_coef is tuned")
    doubt: float = Field(
        0.2, ge=0, le=1,
        description="share of chance mixed into the planner's distribution where the critic has a "
        "say, times the share of training episodes that fail; a planner that is sure and wrong "
        "could not be overruled otherwise",
    )  # fmt: skip
    doubt_again: float = Field(
        0.8, ge=0, le=1,
        description="the same where the planner would repeat a subgoal that failed or timed out "
        "when last tried in this episode; at least doubt",
    )  # fmt: skip
    trust: Literal["tested", "full"] = Field(
        "tested",
        description="share training episodes between guidance and the planner alone by which of "
        "them succeeds, and be judged with the better (tested), or guide every one (full)",
    )
    requery_rounds: int = Field(
        0, ge=0, le=10, description="times the planner is asked again when the critic disagrees"
    )
    advantage_threshold: float = Field(
        -0.01, ge=-10, le=0, description="advantage below which it is; halves at each round"
    )
    lookahead: int = Field(
        1, ge=1, le=2,
        description="subgoals deep that soft_choice and re-queries look; 2 also asks the planner "
        "about the states that the likeliest candidates will lead to; not for oracle and noisy",
    )  # fmt: skip
    value_shaping: float = Field(
        0.0, ge=0, le=10,
        description="weight of potential-based shaping by the planner's value, which needs a value "
        "head",
    )  # fmt: skip
    actions: Literal["none", "reward", "loss"] = Field(
        "none",
        description="draw the controller to the planner's actions, through its reward or its loss; "
        "for ppo and a2c under vlm or llm",
    )
    action_coef: float = Field(
        1.0, ge=0, le=100,
        description="weight of KL to them at first; about 1 in loss form, 0.01 in reward form",
    )  # fmt: skip
    action_coef_end: float = Field(0.0, ge=0, le=100, description="its weight in the end")
    action_coef_steps: int = Field(30_000, ge=1, description="environment steps until then")
    action_answers: int = Field(
        4000, ge=2, description="most answers asked of the planner, to distil its actions from"
    )
    critic: CriticConfig = CriticConfig()

    @property
    def needs_critic(self) -> bool:
        """Whether anything here does."""
        return self.soft_choice != "none" or self.requery_rounds > 0

    @property
    def looks_ahead(self) -> bool:
        """Whether imagined states are judged; without a critic there is nobody to do it."""
        return self.needs_critic and self.lookahead > 1


class FeedbackConfig(Section):
    """How the planner learns from what its subgoals earned."""

    objective: Literal["none", "awr", "archer", "grpo", "step_dpo", "inverse_rl"] = Field(
        "none", description="what it learns by; none leaves the planner as it is"
    )
    every: int = Field(4096, ge=1, description="environment steps between two lessons' rounds")
    updates: int = Field(16, ge=1, le=1000, description="gradient steps in a round")
    warmup: int = Field(
        500,
        ge=1,
        description="closed subgoals before the first round; it also waits for the critic",
    )
    batch_size: int = Field(32, ge=2, description="closed subgoals per gradient step")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="of AdamW")
    kl_coef: float = Field(
        0.1, ge=0, le=1000, description="weight of KL to the planner as it was at first, per nat"
    )
    anchors: int = Field(
        396, ge=0,
        description="questions of other levels whose answers are to stay as they were; 0 for none",
    )  # fmt: skip
    anchor_levels: list[str] | None = Field(
        None,
        description="those levels, less the ones trained on; the domain's source levels if null",
    )
    anchor_coef: float = Field(
        1.0, ge=0, le=1000, description="weight of KL from the planner as it was, there, per nat"
    )
    capacity: int = Field(5000, ge=1, description="closed subgoals kept to learn from")
    staleness: int | None = Field(
        20, ge=0, description="rounds after which one is too old to learn from; null for never"
    )
    group: int = Field(
        4, ge=2, description="environments that play the same levels at a time, for grpo"
    )
    guard: float = Field(
        0.2, gt=0, le=1,
        description="fall of an evaluation's success below the best so far at which the planner "
        "goes back to its best; 1 for never",
    )  # fmt: skip
    store: bool = Field(
        False, description="keep every closed subgoal in RUN/lessons, for hier tune-planner"
    )
    max_share: float = Field(
        0.25, gt=0, le=1, description="most of the wall time; rounds wait until they fit"
    )

    @property
    def needs_critic_state(self) -> bool:
        """Whether it learns by a critic or a discriminator, which see states."""
        return self.objective in ("awr", "archer", "step_dpo", "inverse_rl")

    @property
    def levels_shared_by(self) -> int:
        """How many environments play the same levels in training."""
        return self.group if self.objective == "grpo" else 1


class SafetyConfig(Section):
    """What the agent must not do."""

    avoid: list[str] | None = Field(
        None,
        description="things not to step onto, such as lava; doing so is counted as a violation; "
        "all that the domain knows as hazards if null",
    )
    filter: bool = Field(False, description="wait instead of stepping onto them")
    forbid: list[str] = Field(
        [], description="subgoals never pursued, as patterns: 'open the red door', 'toggle *'"
    )


class ControllerConfig(Section):
    """Who acts: an SB3 algorithm and its network."""

    algorithm: str = Field(
        "ppo",
        description="ppo, a2c, recurrent_ppo; dqn for discrete actions, sac and td3 for continuous",
    )
    start: str | None = Field(
        None, description="run whose controller this one begins as; a new one if null"
    )
    gamma: float = Field(0.97, gt=0, le=1, description="discount per environment step")
    reward_scale: float = Field(2.0, gt=0, description="factor on the environment's own reward")
    features_dim: int = Field(128, ge=1, description="width of the features")
    channels: int = Field(32, ge=1, description="width of the convolutions")
    net_arch: list[int] = Field([64], description="hidden layers of the policy and value heads")
    hindsight: float = Field(
        0.0, ge=0, le=1,
        description="share of replayed transitions that are told the target had been where they "
        "led (HER); 0 for off; for dqn, sac and td3 in domains that can",
    )  # fmt: skip
    device: str = Field("cpu", description="torch device; cpu, cuda or auto")
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

    every: int = Field(20_000, ge=0, description="steps between evaluations; 0 for the end alone")
    episodes: int = Field(100, ge=1, description="episodes of the final evaluation")
    episodes_during: int = Field(32, ge=1, description="episodes of an evaluation on the way")
    first_seed: int = Field(1_000_000, ge=0, description="seeds first_seed, first_seed + 1, ...")
    # A memoryless policy that is torn between left and right turns for ever; a draw ends that.
    deterministic: bool = Field(False, description="take the likeliest action instead of a draw")
    videos: int = Field(1, ge=0, description="episodes drawn as GIF at each evaluation")


class HierConfig(Settings):
    """A whole run."""

    keys_command: ClassVar[str] = "hier train --keys"

    total_timesteps: int = Field(100_000, ge=1, description="environment steps of training")
    checkpoint_every: int = Field(10_000, ge=1, description="steps between checkpoints")
    torch_threads: int = Field(2, ge=1, description="CPU threads for the networks")
    env: EnvConfig = EnvConfig()
    planner: PlannerConfig = PlannerConfig()
    subgoal: SubgoalConfig = SubgoalConfig()
    guidance: GuidanceConfig = GuidanceConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    safety: SafetyConfig = SafetyConfig()
    controller: ControllerConfig = ControllerConfig()
    eval: EvalConfig = EvalConfig()

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
    def needs_critic(self) -> bool:
        """Whether a critic of subgoals is learned, for guidance or for feedback."""
        feedback = self.planner.type != "none" and self.feedback.needs_critic_state
        return self.effective_guidance.needs_critic or feedback

    @property
    def greedy_evaluation(self) -> bool:
        """Whether evaluation takes the likeliest action; a value-based controller always does."""
        return self.eval.deterministic or self.controller.algorithm == "dqn"
