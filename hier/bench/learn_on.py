"""The built-in agent on levels that it never saw: as it comes, and after it has learned there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hier.bench.built_in import play
from hier.bench.figures import check_levels, rows_of, short_name, success_figures
from hier.bench.guidance import LINVIT, READ
from hier.bench.jobs import budget, jobs_of, plain_config
from hier.run.pool import side_by_side
from hier.run.sweep import Row, evaluation_row, new_parent, train_all

# Environment steps on each level: a minute or two.
LEVELS = {"BabyAI-BlockedUnlockPickup-v0": 40_960}
BEFORE, AFTER, FLAT = "built-in agent", "after learning there", "flat PPO"


def learn_on(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] = tuple(LEVELS)
) -> tuple[dict[str, Any], list[Row]]:
    """Success zero-shot, after learning with guidance and feedback, and of flat PPO.

    Nothing demonstrates the levels, and flat PPO begins from nothing.

    Raises:
        UnknownNameError: for a level that is none of :data:`LEVELS`.
    """
    check_levels(levels, LEVELS)
    parent = new_parent("learn-on")
    tasks = {
        short_name(level): plain_config(
            "demo", f"env.id={level}", "eval.videos=1", *budget(LEVELS[level], quick)
        )
        for level in levels
    }
    variants = {
        AFTER: ["controller.start=shipped", "feedback.objective=improve", *LINVIT, *READ],
        FLAT: ["planner.type=none"],
    }
    print(f"{', '.join(levels)}: the built-in agent as it comes and after learning there, beside "
          f"flat PPO; runs go to {parent}", flush=True)  # fmt: skip
    rows = [
        *side_by_side(_before, [(level, 4 if quick else 100) for level in levels]),
        *train_all(jobs_of(parent, tasks, variants, seeds)),
    ]
    figures: dict[str, Any] = {}
    for level in levels:
        for variant in (BEFORE, AFTER, FLAT):
            key = f"{short_name(level)}.{variant.replace(' ', '_')}"
            figures |= success_figures(rows_of(rows, level=level, variant=variant), key)
            print(f"{level:32} {variant:22} {figures[key]:>4.0%} of unseen episodes")
    videos = sorted(Path(parent).glob(f"*after*{seeds[0]}/videos/*.gif"))
    print(f"\nTensorBoard  tensorboard --logdir {parent}")
    if videos:
        print(f"GIF          {videos[-1]}")
    print("play         hier record BabyAI-BossLevel-v0\n")
    return figures, rows


def _before(job: tuple[str, int]) -> Row:
    level, episodes = job
    about = {"level": level, "variant": BEFORE, "seed": 0, "env_steps": 0}
    return {**about, **evaluation_row(play(level, episodes))}
