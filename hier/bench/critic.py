"""The critic at work, without a controller to train: guidance learned while episodes are played.

The built-in planner proposes, the domain's scripted controller pursues, and the critic learns from
each episode that ends, as in a training. Nothing else learns, so a question takes minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from hier.bench.figures import check_levels, short_name
from hier.config import HierConfig
from hier.planners.protocol import Planner, PlannerQuery, PlannerReply
from hier.run.pool import side_by_side
from hier.run.sweep import Row

LEVELS = (
    "BabyAI-KeyCorridorS3R3-v0",
    "BabyAI-BlockedUnlockPickup-v0",
    "PointMaze_Medium-v3",
    "MiniWorld-PutNext-v0",
)
EPISODES, BLOCK, PLAYED = 300, 50, 50
FIT_EVERY = 5  # episodes
FIRST_LEARNED, FIRST_PLAYED = 600_000, 800_000  # level seeds that nothing else plays
SHORT = 2  # steps of a subgoal that may be a loop
ALONE, LEARNING, GUIDED = "planner alone", "guided, learning", "guided, evaluated"


def critic(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] | None = None
) -> tuple[dict[str, Any], list[Row]]:
    """Guidance as the critic learns, and on new levels afterward, beside the planner alone.

    Args:
        quick: a handful of episodes.
        seeds: of levels and choices.
        levels: these of :data:`LEVELS` alone.
    """
    check_levels(levels or (), LEVELS)
    jobs = [(level, seed, quick) for level in levels or LEVELS for seed in seeds]
    rows = [row for rows in side_by_side(play_level, jobs) for row in rows]
    figures: dict[str, Any] = {}
    for level in dict.fromkeys(row["level"] for row in rows):
        for variant, key in ((ALONE, "alone"), (GUIDED, "guided")):
            some = [row for row in rows if (row["level"], row["variant"]) == (level, variant)]
            name = f"{short_name(level)}.{key}"
            figures[f"{name}.success"] = median(row["success"] for row in some)
            figures[f"{name}.success.worst"] = min(row["success"] for row in some)
            figures[f"{name}.subgoals"] = median(row["subgoals"] for row in some)
        figures[f"{short_name(level)}.slope"] = median(row["slope"] for row in some)
    return figures, rows


def play_level(job: tuple[str, int, bool]) -> list[Row]:
    """All rows of one level and seed."""
    import torch

    from hier.guidance.critic import SubgoalCritic, half_of
    from hier.guidance.features import FeatureReader
    from hier.guidance.selector import GuidedSelector
    from hier.hierarchy.selection import PlannerSelector
    from hier.planners.language.planner import VLMPlanner
    from hier.planners.play import Player

    torch.set_num_threads(1)
    level, seed, quick = job
    player = Player(level)
    planner = VLMPlanner(device="cpu", domain=player.domain)
    planner.keeps_states = True
    horizon = HierConfig().override(f"env.id={level}").horizon
    gamma = math.exp(-1 / horizon)
    found, reader = SubgoalCritic(), FeatureReader(player.domain, horizon)
    learning = GuidedSelector(found, reader, seed=seed, training=True)
    variants = {
        ALONE: PlannerSelector(seed),
        GUIDED: GuidedSelector(found, reader, seed=seed),
    }
    rows: list[Row] = []

    def note(variant: str, episodes: int, played: Sequence[dict[str, float]]) -> None:
        means = {
            name: round(float(np.mean([one[name] for one in played])), 3) for name in played[0]
        }
        known = {
            "slope": round(found.slope, 3),
            "slope_error": round(min(found.slope_error, 99), 3),
        }
        about = {"level": level, "seed": seed, "variant": variant, "episodes": episodes}
        rows.append({**about, **means, **known, "unit": round(found.unit, 3)})
        print(f"{level} seed {seed}, {variant}, {episodes} episodes: {means['success']:.0%}")

    n, block = (24, 12) if quick else (EPISODES, BLOCK)
    played: list[dict[str, float]] = []
    for k in range(n):
        level_seed = FIRST_LEARNED + EPISODES * seed + k
        played.append(_play(player, planner, level_seed, learning, found, half_of(0, k), gamma))
        if k % FIT_EVERY == FIT_EVERY - 1:
            found.fit()
        if len(played) == block:
            note(LEARNING, k + 1, played)
            played = []
    for variant, selector in variants.items():
        seeds = range(FIRST_PLAYED, FIRST_PLAYED + (3 if quick else PLAYED))
        note(variant, n, [_play(player, planner, one, selector) for one in seeds])
    return rows


def _play(
    player: Any,
    planner: Planner,
    seed: int,
    selector: Any,
    critic: Any = None,
    half: int = 0,
    gamma: float = 1.0,
) -> dict[str, float]:
    """One episode; ``critic``, if any, learns from it at its next fit."""
    from hier.guidance.learning import step_of
    from hier.hierarchy.records import discount_of
    from hier.hierarchy.selection import Decision

    decisions: list[Decision] = []

    def choose(query: PlannerQuery, reply: PlannerReply) -> int:
        decisions.extend(selector.decide(planner, [query]))
        return decisions[-1].choice

    durations = [ended.duration for ended in player.pursue(planner, seed, choose)]
    reward = player.reward if player.success else 0.0
    if critic is not None:
        steps = []
        for k, (decision, duration) in enumerate(zip(decisions, durations, strict=True)):
            last = k == len(durations) - 1
            paid = reward * gamma**duration if last else 0.0
            discount = 0.0 if last else discount_of(duration, gamma)
            steps.append(step_of(decision, paid, discount))
        critic.add([step for step in steps if step is not None], half)
    return {
        "success": float(player.success),
        "reward": reward,
        "subgoals": len(durations),
        "short": float(np.mean([duration <= SHORT for duration in durations])),
        "overruled": float(np.mean([d.choice != int(np.argmax(d.log_probs)) for d in decisions])),
    }
