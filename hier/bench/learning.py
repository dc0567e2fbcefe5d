"""Suites that train: what is learned, from how many steps, under which planner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hier.bench.figures import by_variant, rows_of, success_figures
from hier.bench.jobs import ALONE, budget, jobs_of
from hier.config import HierConfig
from hier.run.sweep import Row, new_parent, train_all


def demo(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """UnlockPickup under the built-in planner, beside its flat twin."""
    base = _config("demo", quick)
    parent, planner = new_parent("demo"), base.planner.type
    print(f"training {base.env.ids[0]} from pixels, with planner and flat; runs go to {parent}")
    jobs = jobs_of(parent, {"": base}, {planner: [], "flat": ["planner.type=none"]}, seeds)
    rows = train_all(jobs)
    first, level = rows[0], "UnlockPickup"
    figures = {
        **success_figures(rows_of(rows, variant=planner), f"{level}.success"),
        **success_figures(rows_of(rows, variant="flat"), f"{level}.flat_success"),
        f"{level}.env_steps": first["env_steps"],
    }
    print(
        f"\nwith the {planner} planner's subgoals {figures[f'{level}.success']:.0%} of "
        f"{first['eval_episodes']} unseen levels, flat {figures[f'{level}.flat_success']:.0%}, "
        f"after {first['env_steps']} steps each"
    )
    print(f"TensorBoard  tensorboard --logdir {parent}")
    folder = jobs[0][2]
    for video in sorted((folder / "videos").glob("*.gif"))[-1:]:
        print(f"GIF          {video}")
    print(f"more         hier record {folder}\n")
    return figures, rows


def key_corridor(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """KeyCorridorS3R3 under the oracle planner, from percepts alone."""
    base = _config("key-corridor", quick)
    variants = {"oracle": ["planner.type=oracle"]}
    rows = train_all(jobs_of(new_parent("key-corridor"), {"": base}, variants, seeds))
    return success_figures(rows, "KeyCorridorS3R3.success"), rows


def planner_quality(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """UnlockPickup under planners of set accuracy."""
    base = _config("demo", quick, "eval.every=0")
    variants = {"random": ["planner.type=random"]}
    for accuracy in (0.4, 0.6, 0.8, 1.0):
        noisy = ["planner.type=noisy", f"planner.options.accuracy={accuracy}"]
        variants[f"noisy {accuracy}"] = noisy
    rows = train_all(jobs_of(new_parent("planner-quality"), {"": base}, variants, seeds))
    figures: dict[str, Any] = {}
    for key, some in by_variant(rows, base.env.ids, variants):
        figures |= success_figures(some, f"{key}.success")
    return figures, rows


def _config(preset: str, quick: bool, *lines: str) -> HierConfig:
    base = HierConfig.load(preset, [*ALONE, *lines])
    return base.override(*budget(base.total_timesteps, quick))
