"""From a configuration to planner, hierarchy, environment and controller, one builder each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from hier.config import HierConfig
from hier.controllers.build import build_controller
from hier.controllers.guided import Guidance
from hier.controllers.hindsight import Hindsight
from hier.controllers.rewards import RewardWeights
from hier.controllers.saved import SavedController
from hier.envs.domain import Domain
from hier.envs.errors import ConfigError, UnknownNameError
from hier.envs.registry import domain_of, make_env
from hier.guidance.actions import Indifferent, action_names
from hier.guidance.learning import SubgoalGuidance, build_selector
from hier.hierarchy.lanes import Hierarchy, Safety
from hier.hierarchy.vec_env import HierarchicalVecEnv, experts_of
from hier.planners.protocol import KeepsStates, Planner
from hier.planners.registry import build_planner
from hier.run.levels import SeededEpisodes, VariedEpisodes, shared_seeds
from hier.run.restarting import RestartedEpisodes
from hier.run.shipped import start_of


def build_planner_of(config: HierConfig, seed: int | None = None) -> Planner | None:
    """The configured planner; ``None`` for flat reinforcement learning."""
    seed = config.seed if seed is None else seed
    given = {"seed": seed, "domain": config.domain}
    return build_planner(config.planner.type, **{**given, **config.planner.arguments()})


def build_hierarchy(
    config: HierConfig,
    n: int,
    planner: Planner | None,
    *,
    seed: int,
    experts: Any = None,
    guidance: SubgoalGuidance | None = None,
    training: bool = False,
) -> Hierarchy:
    """The hierarchy for ``n`` environments of the configured domain.

    Args:
        config: of the run.
        n: environments.
        planner: proposes subgoals; ``None`` for flat reinforcement learning.
        seed: of the choice among candidates.
        experts: see :class:`hier.hierarchy.lanes.Hierarchy`.
        guidance: of the choice among subgoals; ``None`` leaves it to the planner.
        training: explore, and keep what critic and feedback learn from.
    """
    domain = config.domain
    if guidance is not None and isinstance(planner, KeepsStates):
        planner.keeps_states = True  # the critic reads them
    guides_actions = config.effective_guidance.actions != "none"
    return Hierarchy(
        n,
        planner,
        domain.subgoal_space(),
        domain.tracker(n),
        max_duration=config.subgoal.max_duration,
        selector=build_selector(guidance, seed, training=training),
        safety=build_safety(config, domain),
        experts=experts,
        reference=Indifferent(len(action_names(domain))) if guides_actions else None,
        keep_prompts=training and config.keeps_lessons,
    )


def build_safety(config: HierConfig, domain: Domain) -> Safety:
    """What must not be done in ``domain``.

    Raises:
        UnknownNameError: if something in ``safety.avoid`` is none of the domain's hazards, or a
            pattern in ``safety.forbid`` begins like none of its subgoals.
    """
    avoid = domain.hazards if config.safety.avoid is None else config.safety.avoid
    for kind in avoid:
        if kind not in domain.hazards:
            raise UnknownNameError("thing in safety.avoid", kind, domain.hazards)
    _check_patterns("safety.forbid", config.safety.forbid, domain)
    return Safety(avoid, config.safety.filter, config.safety.forbid)


def _check_patterns(key: str, patterns: Iterable[str], domain: Domain) -> None:
    """A pattern over subgoals' sentences must begin like one: a misspelled one would do nothing.

    Raises:
        UnknownNameError: naming the nearest verb.
    """
    verbs = domain.subgoal_space().verbs
    words = [verb.partition(" ")[0] for verb in verbs]
    for pattern in patterns:
        literal = re.split(r"[*?[]", pattern)[0]
        begun = literal.partition(" ")[0]
        whole = begun != literal or literal == pattern  # and not the beginning of a word
        if not any(word == begun if whole else word.startswith(begun) for word in words):
            raise UnknownNameError(f"verb in {key}", pattern, verbs)


def build_env(
    config: HierConfig,
    planner: Planner | None,
    *,
    guidance: SubgoalGuidance | None = None,
    env_id: str | None = None,
    seeds: Sequence[Sequence[int]] | None = None,
    seed: int | None = None,
) -> HierarchicalVecEnv:
    """The environment in which a controller trains or is evaluated.

    Args:
        config: of the run.
        planner: proposes subgoals; ``None`` for flat reinforcement learning.
        guidance: of the choice among subgoals; ``None`` leaves it to the planner.
        env_id: play this id instead of the configured ones.
        seeds: for evaluation, each environment's episode seeds; their number is the number of
            environments. Training (``None``) draws levels from the run's own seed.
        seed: of the choice among candidates; the run's when omitted.

    Raises:
        UnknownNameError: for patterns of ``subgoal.bonuses`` or ``safety.forbid`` that begin like
            no subgoal of the domain.
        ConfigError: for ``env.variation`` in a domain whose levels cannot be varied.
    """
    ids = [env_id] if env_id else config.env.ids
    n = config.env.n_envs if seeds is None else len(seeds)
    share = config.feedback.levels_shared_by if seeds is None else 1
    vary = _variation(config) if seeds is None else None
    makers: list[Any] = []
    for i in range(n):
        level = ids[(i // share) % len(ids)]
        make = partial(make_env, level, max_steps=config.env.max_steps)
        if vary is not None:
            make = partial(_varied, make, vary, config.env.variation)
        if seeds is not None:
            make = partial(_seeded, make, iter(seeds[i]))
        elif share > 1:
            make = partial(_seeded, make, shared_seeds([config.seed, i // share]))
        makers.append(partial(RestartedEpisodes, make))
    venv: VecEnv = DummyVecEnv(makers)
    seed = config.seed if seed is None else seed
    hierarchy = build_hierarchy(
        config,
        n,
        planner,
        seed=seed,
        experts=experts_of(venv),
        guidance=guidance,
        training=seeds is None,
    )
    _check_patterns("subgoal.bonuses", config.subgoal.bonuses, domain_of(ids[0]))
    rewards = RewardWeights(
        environment=config.controller.reward_scale,
        bonus=config.subgoal.bonus,
        bonuses=config.subgoal.bonuses,
        shaping=config.subgoal.shaping,
        shaping_gamma=config.shaping_gamma,
        penalty=config.subgoal.penalty,
        value=config.effective_guidance.value_shaping if seeds is None else 0.0,
    )
    return HierarchicalVecEnv(
        venv, hierarchy, rewards, config.controller.gamma, math.exp(-1 / config.horizon)
    )


def _variation(config: HierConfig) -> Callable[..., None] | None:
    """How training levels are changed; ``None`` if they are not.

    Raises:
        ConfigError: if the domain cannot change levels.
    """
    if not config.env.variation:
        return None
    vary = config.domain.variations().vary
    if vary is None:
        raise ConfigError(
            f"env.variation is {config.env.variation}, but levels of the domain "
            f"{config.domain.name!r} cannot be varied; set it to 0"
        )
    return vary


def _varied(make: Callable[[], gym.Env], vary: Callable[..., None], share: float) -> gym.Env:
    return VariedEpisodes(make(), vary, share)


def _seeded(make: Callable[[], gym.Env], seeds: Iterator[int]) -> gym.Env:
    return SeededEpisodes(make(), seeds)


def build_hindsight(config: HierConfig) -> Hindsight | None:
    """How the controller's transitions are relabeled; ``None`` if they are not.

    Raises:
        ConfigError: if the domain cannot move targets, or rewards come from the planner's values.
    """
    if not config.controller.hindsight:
        return None
    if config.guidance.value_shaping:
        raise ConfigError(
            "controller.hindsight does not know the planner's values of moved targets; set it "
            "to 0, or guidance.value_shaping"
        )
    flat = config.planner.type == "none"  # and so paid for the mission alone
    return Hindsight(
        config.controller.hindsight,
        config.domain.relabeling(),
        config.shaping_gamma,
        config.controller.reward_scale,
        0.0 if flat else config.subgoal.shaping,
    )


def build_model(
    config: HierConfig, env: VecEnv, saved: SavedController | None = None
) -> BaseAlgorithm:
    """The configured SB3 algorithm, untrained unless it begins as another run's.

    Args:
        config: of the run.
        env: the environment it acts in.
        saved: its own state to go on from, instead of ``controller.start``.

    Raises:
        ConfigError: if algorithm or domain cannot do what is asked.
        RunFolderError: if ``saved`` does not fit the configuration; if ``controller.start`` is no
            run, or of another shape.
    """
    controller, guided = config.controller, config.effective_guidance
    model = build_controller(
        controller.algorithm,
        env,
        gamma=controller.gamma,
        seed=config.seed,
        device=controller.device,
        features={"features_dim": controller.features_dim, "channels": controller.channels},
        net_arch=controller.net_arch,
        options=controller.options,
        guidance=Guidance(guided.actions, guided.action_coef) if guided.actions != "none" else None,
        hindsight=build_hindsight(config),
    )
    if saved is not None:
        saved.restore(model)
    elif (start := start_of(config)) is not None:
        SavedController(start.latest_checkpoint()).give_networks(model)
    return model


def open_model(config: HierConfig, checkpoint: Path) -> BaseAlgorithm:
    """A saved controller that acts, but learns no more: it has no environment.

    Raises:
        RunFolderError: if the checkpoint is damaged or does not fit the configuration.
    """
    saved = SavedController(checkpoint)
    controller = config.controller.model_copy(update={"hindsight": 0.0})  # only for learning
    config = config.model_copy(update={"controller": controller})
    return build_model(config, saved.spaces_alone(config.env.n_envs), saved)
