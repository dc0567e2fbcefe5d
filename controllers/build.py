"""Controllers: any Stable-Baselines3 algorithm by name, built from the configuration."""

from __future__ import annotations

import inspect
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from hier.controllers.features import INPUTS, SubgoalFeatures
from hier.controllers.guided import FORMS, Guidance, GuidedPolicy, GuidedRolloutBuffer
from hier.controllers.hindsight import Hindsight, HindsightReplayBuffer
from hier.envs.errors import ConfigError, UnknownNameError, in_one_line

# Name to (module, class, policy); imported when asked for.
ALGORITHMS: dict[str, tuple[str, str, str]] = {
    "ppo": ("stable_baselines3", "PPO", "MultiInputPolicy"),
    "a2c": ("stable_baselines3", "A2C", "MultiInputPolicy"),
    "dqn": ("stable_baselines3", "DQN", "MultiInputPolicy"),
    "recurrent_ppo": ("sb3_contrib", "RecurrentPPO", "MultiInputLstmPolicy"),
    "sac": ("stable_baselines3", "SAC", "MultiInputPolicy"),
    "td3": ("stable_baselines3", "TD3", "MultiInputPolicy"),
}
# What SB3 would only assert: the others take both kinds of actions.
ACTIONS: dict[str, type[spaces.Space]] = {
    "dqn": spaces.Discrete, "sac": spaces.Box, "td3": spaces.Box,
}  # fmt: skip

GUIDABLE = ("ppo", "a2c")  # their train() is what guidance was made for
REPLAYING = ("dqn", "sac", "td3")  # they keep transitions, which hindsight can relabel

# Settings found to work on the gridworld (docs/results), and for continuous actions SB3's own with
# a smaller buffer and fewer gradient steps; anything in ``controller.options`` wins.
_PPO = {
    "learning_rate": 1e-3, "n_steps": 128, "batch_size": 512, "n_epochs": 6, "ent_coef": 0.01,
}  # fmt: skip
_CONTINUOUS = {
    "learning_rate": 3e-4, "buffer_size": 200_000, "learning_starts": 2_000, "batch_size": 256,
    "train_freq": 1, "gradient_steps": 2,
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "ppo": _PPO,
    "a2c": {"learning_rate": 7e-4, "n_steps": 8, "ent_coef": 0.01, "gae_lambda": 0.95},
    "dqn": {
        "learning_rate": 3e-4, "buffer_size": 20_000, "learning_starts": 1_000, "batch_size": 128,
        "train_freq": 1, "gradient_steps": 2, "target_update_interval": 1_000,
        "exploration_fraction": 0.3,
    },
    "recurrent_ppo": _PPO,
    "sac": _CONTINUOUS,
    "td3": _CONTINUOUS,
}  # fmt: skip


def algorithm_class(name: str) -> Any:
    """The SB3 class behind a name (a subclass of ``BaseAlgorithm``).

    Raises:
        UnknownNameError: for an unknown name.
    """
    if name not in ALGORITHMS:
        raise UnknownNameError("algorithm", name, ALGORITHMS)
    module, attribute, _ = ALGORITHMS[name]
    return getattr(__import__(module, fromlist=[attribute]), attribute)


def as_schedule(value: Any, option: str) -> Any:
    """RL Zoo's ``lin_7e-4`` as a schedule that falls linearly to zero; anything else unchanged.

    Raises:
        ConfigError: for a text that is no such schedule.
    """
    if not isinstance(value, str) or option not in ("learning_rate", "clip_range"):
        return value
    try:
        start = float(value.removeprefix("lin_"))
    except ValueError:
        raise ConfigError(
            f"controller.options.{option} is {value!r}; write a number, or lin_7e-4 to let it "
            "fall linearly to zero"
        ) from None
    return LinearSchedule(start, 0.0, 1.0) if value.startswith("lin_") else start


def build_controller(
    name: str,
    env: VecEnv,
    *,
    gamma: float,
    seed: int,
    device: str = "auto",
    features: dict[str, Any] | None = None,
    net_arch: list[int] | None = None,
    options: dict[str, Any] | None = None,
    guidance: Guidance | None = None,
    hindsight: Hindsight | None = None,
) -> BaseAlgorithm:
    """Build an SB3 algorithm over a hierarchical environment.

    Args:
        name: one of :data:`ALGORITHMS`.
        env: the environment it acts in.
        gamma: discount per environment step.
        seed: of networks, exploration and environments.
        device: ``auto``, ``cpu`` or ``cuda``.
        features: keyword arguments of :class:`.SubgoalFeatures`, which reads
            cells and map planes; where there are none, SB3's own extractor joins the vectors.
        net_arch: hidden layers of policy and value heads after the features.
        options: further keyword arguments of the algorithm; they win over the defaults. A
            learning rate or clip range may be RL Zoo's ``lin_VALUE``, falling to zero.
        guidance: by a reference policy in the observation; ``ppo`` and ``a2c`` alone.
        hindsight: over subgoals; ``dqn``, ``sac`` and ``td3`` alone.

    Raises:
        UnknownNameError: for an unknown algorithm, form of guidance or divergence.
        ConfigError: for an option the algorithm does not take, actions it cannot choose, or
            guidance or hindsight it cannot have.
    """
    cls = algorithm_class(name)
    takes = inspect.signature(cls).parameters
    for option in options or {}:
        if option not in takes:
            raise ConfigError(
                f"algorithm {name!r} does not take {option!r} (controller.options); "
                f"it takes {', '.join(sorted(set(takes) - {'policy', 'env'}))}"
            )
    if not isinstance(env.action_space, ACTIONS.get(name, spaces.Space)):
        fitting = [
            other for other in ALGORITHMS
            if isinstance(env.action_space, ACTIONS.get(other, spaces.Space))
        ]  # fmt: skip
        raise ConfigError(
            f"algorithm {name!r} cannot choose among {env.action_space}; set controller.algorithm "
            f"to {', '.join(fitting)}"
        )
    policy: Any = ALGORITHMS[name][2]
    policy_kwargs: dict[str, Any] = {"net_arch": net_arch if net_arch is not None else [64]}
    if name in ("ppo", "recurrent_ppo"):  # SB3's own epsilon; fused takes half the time on a CPU
        policy_kwargs["optimizer_kwargs"] = {"eps": 1e-5, "fused": True}
    assert isinstance(env.observation_space, spaces.Dict)
    if set(INPUTS) <= set(env.observation_space.spaces):
        policy_kwargs["features_extractor_class"] = SubgoalFeatures
        policy_kwargs["features_extractor_kwargs"] = features or {}
    buffer: dict[str, Any] = {}
    if guidance is not None:
        if name not in GUIDABLE:
            raise ConfigError(
                f"algorithm {name!r} cannot be guided; use {' or '.join(GUIDABLE)}, or leave "
                "guidance out"
            )
        if guidance.form not in FORMS:
            raise UnknownNameError("form of guidance", guidance.form, FORMS)
        if guidance.form == "loss":
            policy = GuidedPolicy
            policy_kwargs["lambda_a"] = guidance.lambda_a
            policy_kwargs["divergence"] = guidance.divergence
        else:
            buffer["rollout_buffer_class"] = GuidedRolloutBuffer
            buffer["rollout_buffer_kwargs"] = {"lambda_a": guidance.lambda_a}
    if hindsight is not None:
        if name not in REPLAYING:
            raise ConfigError(
                f"algorithm {name!r} replays nothing, so it has no hindsight; set "
                f"controller.hindsight=0, or controller.algorithm to {', '.join(REPLAYING)}"
            )
        buffer["replay_buffer_class"] = HindsightReplayBuffer
        buffer["replay_buffer_kwargs"] = {"hindsight": hindsight}
    wanted = {**DEFAULTS[name], **buffer, **(options or {})}
    scheduled = {option: as_schedule(value, option) for option, value in wanted.items()}
    try:
        return cls(
            policy, env, gamma=gamma, seed=seed, device=device, policy_kwargs=policy_kwargs,
            **scheduled,
        )  # fmt: skip
    except (AssertionError, RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(
            f"algorithm {name!r} refuses net_arch={net_arch}, device={device!r} or the options "
            f"{options or {}} ({in_one_line(error)}); correct them under controller"
        ) from error
