"""Single decisions: what planners propose on one frame, as tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.config import HierConfig
from hier.envs.domain import batched
from hier.envs.errors import ConfigError, RunFolderError
from hier.envs.registry import make_env
from hier.envs.subgoal import Subgoal
from hier.guidance.learning import SubgoalGuidance
from hier.hierarchy.drawing import draw_lane, draw_side_by_side
from hier.hierarchy.lanes import Hierarchy
from hier.planners.protocol import Planner, ask
from hier.run.build import build_hierarchy, build_planner_of
from hier.run.folder import RunFolder


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a planner sees and proposes at one moment.

    Attributes:
        mission, scene: the instruction, and the percept in words.
        candidates, probabilities: the closed set and the planner's distribution.
        advantages: the critic's, one per candidate; ``None`` without guidance.
        chosen: the subgoal taken.
        picture: ``(height, width, 3)`` uint8.
    """

    mission: str
    scene: str
    candidates: list[Subgoal]
    probabilities: NDArray[np.float64]
    advantages: NDArray[np.float64] | None
    chosen: Subgoal
    picture: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several planners' replies to the same question.

    Attributes:
        mission, scene: the instruction, and the percept in words.
        candidates: the closed set.
        probabilities: ``(n_planners, n_candidates)``.
        picture: them side by side, ``(height, width, 3)`` uint8.
    """

    mission: str
    scene: str
    candidates: list[Subgoal]
    probabilities: NDArray[np.float64]
    picture: NDArray[np.uint8]


def compare(
    config: HierConfig, models: Sequence[str], *, seed: int = 0, steps: int = 0
) -> Comparison:
    """Show what several planner models propose on the same frame.

    Args:
        config: names the level, and the planner's type and options.
        models: hub ids, folders of planners, names of built-in planners, or run folders, which
            stand for the planner that feedback made there.
        seed: of the level.
        steps: random steps to take first.

    Raises:
        PlannerError: if a model cannot be loaded.
        RunFolderError: for a run whose planner did not learn.
    """
    planners = [
        build_planner_of(config.override(f"planner.model={_planner_of(model)}")) for model in models
    ]
    hierarchy, _ = _frame(config, planners[0], seed, steps)
    query = hierarchy.query(0)
    replies = [ask(planner, [query])[0] for planner in planners if planner is not None]
    return Comparison(
        mission=query.percept.mission,
        scene=query.space.describe(query.percept),
        candidates=list(query.candidates),
        probabilities=np.exp([reply.log_probs.astype(np.float64) for reply in replies]),
        picture=draw_side_by_side(config.domain, query, list(zip(models, replies, strict=True))),
    )


def _planner_of(model: str) -> str:
    run = RunFolder(model)
    if not run.config_file.is_file():
        return model
    if not run.planner.exists():
        raise RunFolderError(
            f"the run {model} keeps no planner, because none was fine-tuned "
            "(feedback.objective=none); name a planner's folder or hub id"
        )
    return str(run.planner)


def _frame(
    config: HierConfig,
    planner: Planner | None,
    seed: int,
    steps: int,
    guidance: SubgoalGuidance | None = None,
) -> tuple[Hierarchy, Any]:
    """Hierarchy and simulator of one level after some random steps, about to plan."""
    if planner is None:
        raise ConfigError("planner.type=none proposes nothing; choose another planner to look at")
    env = make_env(config.env.ids[0], max_steps=config.env.max_steps)
    hierarchy = build_hierarchy(
        config,
        1,
        planner,
        seed=seed,
        experts=lambda _: env.get_wrapper_attr("expert")(),
        guidance=guidance,
    )
    observation, _ = env.reset(seed=seed)
    hierarchy.begin(batched(observation))
    actions = np.random.default_rng(seed)
    for _ in range(steps):
        observation, _, terminated, truncated, _ = env.step(
            config.domain.random_action(env, actions)
        )
        if terminated or truncated:
            observation, _ = env.reset()
            hierarchy.begin(batched(observation))
        else:
            hierarchy.advance(batched(observation))
    return hierarchy, env


def propose(
    config: HierConfig,
    *,
    seed: int = 0,
    steps: int = 0,
    guidance: SubgoalGuidance | None = None,
) -> Proposal:
    """Show what the configured planner sees and proposes on one frame.

    Args:
        config: names the level and the planner, which must not be ``none``.
        seed: of the level.
        steps: random steps to take first, so that there is something to remember.
        guidance: of the choice among subgoals, see :func:`hier.run.setup.open_guidance`.

    Raises:
        ConfigError: for ``planner.type=none``.
    """
    hierarchy, env = _frame(config, build_planner_of(config), seed, steps, guidance)
    hierarchy.plan([0])
    lane = hierarchy.lanes[0]
    assert lane.active.subgoal is not None and lane.active.decision is not None
    percept = hierarchy.tracker.percept(0)
    caption = f"{config.planner.type} planner, seed {seed}"
    return Proposal(
        mission=percept.mission,
        scene=hierarchy.space.describe(percept),
        candidates=list(lane.active.candidates),
        probabilities=np.exp(lane.active.decision.log_probs.astype(np.float64)),
        chosen=lane.active.subgoal,
        advantages=lane.active.decision.advantages,
        picture=draw_lane(config.domain, hierarchy, env, caption),
    )
