"""How many episodes it takes to know a level, beside BabyAI 1.1's learner from pixels."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from hier.bench.built_in import play
from hier.bench.figures import check_levels, rows_of, short_name
from hier.bench.jobs import jobs_of, plain_config
from hier.run.folder import RunFolder
from hier.run.pool import side_by_side
from hier.run.sweep import Row, keep_row, kept_parent, train_job

# Thousand episodes until 99 % of the episodes succeed (BabyAI 1.1, arXiv 2007.12770, pixels), and
# the environment steps that are given here.
LEVELS = {
    "BabyAI-GoToRedBallGrey-v0": (34, 40_960),
    "BabyAI-GoToRedBall-v0": (155, 61_440),
    "BabyAI-GoToLocal-v0": (242, 102_400),
    "BabyAI-PickupLoc-v0": (1_082, 102_400),
    "BabyAI-PutNextLocal-v0": (1_301, 204_800),
    "BabyAI-GoTo-v0": (845, 204_800),
}
KNOWN = 0.99
EPISODES, EVERY = 200, 4_096
SCRATCH, BUILT_IN = "controller from nothing", "built-in agent"


def sample_efficiency(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] = tuple(LEVELS)
) -> tuple[dict[str, Any], list[Row]]:
    """Episodes and steps until 99 % of 200 unseen episodes succeed, under the built-in planner.

    Once with a controller from nothing, and once going on from the built-in agent, which may know
    the level before its first episode there. The planner's own demonstrations are not counted: they
    are of other levels, or of source levels.

    Raises:
        UnknownNameError: for a level that is none of :data:`LEVELS`.
    """
    check_levels(levels, LEVELS)
    levels = list(levels)[:1] if quick else levels
    parent, jobs = kept_parent("sample-efficiency", quick), []
    for level in levels:
        steps = 4_096 if quick else LEVELS[level][1]
        config = plain_config(
            "demo",
            *(f"env.id={level}", "planner.type=vlm", f"total_timesteps={steps}"),
            *(f"eval.every={EVERY}", f"eval.episodes={4 if quick else EPISODES}"),
            f"eval.episodes_during={4 if quick else EPISODES}",
        )
        variants = {SCRATCH: [], BUILT_IN: ["controller.start=shipped"]}
        jobs += jobs_of(parent, {short_name(level): config}, variants, seeds)
    rows = side_by_side(_learn, jobs)
    figures: dict[str, Any] = {}
    for level in levels:
        for variant, key in ((SCRATCH, "scratch"), (BUILT_IN, "built_in")):
            some = [row["episodes_to_99"] for row in rows_of(rows, level=level, variant=variant)]
            known = [n for n in some if n is not None]
            name = f"{short_name(level)}.{key}"
            figures[f"{name}.reached"] = f"{len(known)} of {len(some)}"
            if len(known) == len(some):
                figures[f"{name}.episodes"] = median(known)
                figures[f"{name}.episodes.worst"] = max(known)
        figures[f"{short_name(level)}.babyai_1_1"] = 1_000 * LEVELS[level][0]
    return figures, rows


def _learn(job: tuple[Any, str, Any]) -> Row:
    """Train, and find the first evaluation at which the level is known."""
    config, variant, folder = job
    row = train_job(job)
    if "episodes_to_99" in row:
        return row
    entries = RunFolder.open(folder).evaluations()
    if variant == BUILT_IN:
        before = play(row["level"], config.eval.episodes)
        first = {"env_steps": 0, "train_episodes": 0, "success_rate": before.success_rate}
        entries = [first, *entries]
        row["before"] = before.success_rate
    known = next((entry for entry in entries if entry["success_rate"] >= KNOWN), None)
    row["episodes_to_99"] = known and known["train_episodes"]
    row["steps_to_99"] = known and known["env_steps"]
    keep_row(folder, row)
    return row
