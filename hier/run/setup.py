"""From a configuration to the objects of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from hier.config import HierConfig
from hier.controllers.build import build_controller, load_controller, load_networks
from hier.controllers.guided import Guidance
from hier.controllers.hindsight import Hindsight
from hier.envs.domain import Domain
from hier.envs.errors import ConfigError, UnknownNameError
from hier.envs.registry import domain_of, make_env
from hier.guidance.actions import Indifferent, action_names
from hier.guidance.learning import SubgoalGuidance, build_guidance, build_selector
from hier.hierarchy.lanes import Hierarchy, Safety
from hier.hierarchy.vec_env import HierarchicalVecEnv, RewardWeights, experts_of
from hier.planners.protocol import Planner
from hier.planners.registry import build_planner
from hier.run.folder import RunFolder


class SharedLevels(gym.Wrapper):
    """Plays levels that others with the same seed play too: equal starts for group comparison.

    Args:
        env: any environment.
        seed: of the sequence of level seeds; these lie beyond those of evaluations.
    """

    def __init__(self, env: gym.Env, seed: Sequence[int]):
        super().__init__(env)
        self._levels = np.random.default_rng(seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start the sequence's next episode; an explicit ``seed`` is ignored."""
        chosen = int(self._levels.integers(10**9, 2**31 - 1))
        return self.env.reset(seed=chosen, options=options)


class SeededEpisodes(gym.Wrapper):
    """Plays given seeds, one episode each, and the last one again when they run out.

    Args:
        env: any environment.
        seeds: one per episode, at least one.
    """

    def __init__(self, env: gym.Env, seeds: Sequence[int]):
        super().__init__(env)
        self._seeds = list(seeds)
        self._next = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Start the next seed's episode; an explicit ``seed`` is ignored."""
        chosen = self._seeds[min(self._next, len(self._seeds) - 1)]
        self._next += 1
        return self.env.reset(seed=chosen, options=options)


def build_planner_of(config: HierConfig, seed: int | None = None) -> Planner | None:
    """The configured planner; ``None`` for flat reinforcement learning.

    Raises:
        ConfigError: for a look-ahead under a privileged planner.
    """
    seed = config.seed if seed is None else seed
    given = {"seed": seed, "domain": domain_of(config.env.ids[0])}
    planner = build_planner(config.planner.type, **{**given, **config.planner.arguments()})
    guidance = config.effective_guidance
    if planner is not None and planner.privileged and guidance.looks_ahead:
        raise ConfigError(
            f"guidance.lookahead is {guidance.lookahead}, but the planner {config.planner.type!r} "
            "reads its answers off the simulator and cannot judge imagined states; set "
            "guidance.lookahead=1 or choose planner.type=vlm, llm, endpoint or random"
        )
    return planner


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
        planner: who proposes; ``None`` for flat reinforcement learning.
        seed: of the choice among candidates.
        experts: see :class:`hier.hierarchy.lanes.Hierarchy`.
        guidance: what else decides; ``None`` leaves it to the planner.
        training: let a tuned temperature follow.
    """
    domain = domain_of(config.env.ids[0])
    hierarchy = Hierarchy(
        n,
        planner,
        domain.subgoal_space(),
        domain.tracker(n),
        max_duration=config.subgoal.max_duration,
        selector=build_selector(guidance, seed, training=training),
        safety=build_safety(config, domain),
        experts=experts,
    )
    if config.effective_guidance.actions != "none":
        hierarchy.reference = Indifferent(len(action_names(domain)))
    return hierarchy


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
    """The environment a controller trains or is judged in.

    Args:
        config: of the run.
        planner: who proposes; ``None`` for flat reinforcement learning.
        guidance: what else decides; ``None`` leaves it to the planner.
        env_id: play this id instead of the configured ones.
        seeds: for evaluation, each environment's episode seeds; their number is the number of
            environments. Training (``None``) draws levels from the run's own seed.
        seed: of the choice among candidates; the run's when omitted.

    Raises:
        UnknownNameError: for patterns of ``subgoal.bonuses`` or ``safety.forbid`` that begin like
            no subgoal of the domain.
    """
    ids = [env_id] if env_id else config.env.ids
    n = config.env.n_envs if seeds is None else len(seeds)
    share = config.feedback.levels_shared_by if seeds is None else 1
    makers: list[Any] = []
    for i in range(n):
        level = ids[(i // share) % len(ids)]
        make = partial(make_env, level, max_steps=config.env.max_steps)
        if seeds is not None:
            make = partial(_wrapped, SeededEpisodes, make, seeds[i])
        elif share > 1:
            make = partial(_wrapped, SharedLevels, make, [config.seed, i // share])
        makers.append(make)
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
        venv, hierarchy, rewards, config.controller.gamma, config.guidance.critic.gamma
    )


def _wrapped(wrapper: Any, make: Any, seeds: Sequence[int]) -> gym.Env:
    return wrapper(make(), seeds)


def build_hindsight(config: HierConfig) -> Hindsight | None:
    """How the controller's transitions are relabeled; ``None`` if they are not.

    Raises:
        ConfigError: if the domain cannot move targets, or rewards come from the planner's values.
    """
    if not config.controller.hindsight:
        return None
    if config.guidance.value_shaping:
        raise ConfigError(
            "controller.hindsight cannot tell the planner's values of targets it never saw; set it "
            "to 0, or guidance.value_shaping"
        )
    flat = config.planner.type == "none"  # and so paid for the mission alone
    return Hindsight(
        config.controller.hindsight,
        domain_of(config.env.ids[0]).relabeling(),
        config.shaping_gamma,
        config.controller.reward_scale,
        0.0 if flat else config.subgoal.shaping,
    )


def build_model(config: HierConfig, env: VecEnv) -> BaseAlgorithm:
    """The configured SB3 algorithm, untrained unless it begins as another run's.

    Raises:
        ConfigError: if algorithm or domain cannot do what is asked.
        RunFolderError: if ``controller.start`` is no run, or of another shape.
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
    if controller.start is not None:
        load_networks(model, RunFolder.open(controller.start).latest_checkpoint())
    return model


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run has learned, ready to act.

    Attributes:
        folder: the run.
        config: its configuration, with overrides.
        model: the SB3 controller.
        guidance: what guides the choice of subgoals; ``None`` where the planner alone decides.
    """

    folder: RunFolder
    config: HierConfig
    model: BaseAlgorithm
    guidance: SubgoalGuidance | None


def open_trained(
    run: str | Path, overrides: Sequence[str] = (), env_id: str | None = None
) -> Trained:
    """A run with ``overrides`` of its configuration, at its newest checkpoint.

    Where its planner learned from feedback, that is the planner, unless ``overrides`` name another.

    Args:
        run: its folder.
        overrides: dotted.
        env_id: a level to play instead of its own; planners that look see that level's domain.

    Raises:
        RunFolderError: if the folder is no run or has no readable checkpoint.
        ConfigError: for a wrong override.
    """
    folder = RunFolder.open(run)
    config = folder.config().override(*overrides)
    if env_id is not None:
        config = config.override(f"env.id={env_id}")
    if folder.planner.exists() and not any(line.startswith("planner.") for line in overrides):
        config = config.with_planner(folder.planner)
    controller = config.controller
    checkpoint = folder.latest_checkpoint()
    model = load_controller(controller.algorithm, checkpoint, device=controller.device)
    guidance = build_guidance(config)
    if guidance is not None:
        guidance.load(checkpoint)
    return Trained(folder, config, model, guidance)
