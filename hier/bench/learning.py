"""Suites that train: what is learned, from how many steps, under which planner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hier.bench.figures import success_figures
from hier.config import HierConfig
from hier.run.sweep import Row, new_parent, train_all


def demo(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """UnlockPickup under the built-in planner, beside its flat twin."""
    base = HierConfig.load("demo", ["torch_threads=1"])
    if quick:
        base = base.override("total_timesteps=4096", "eval.episodes=8", "eval.every=0")
    parent = new_parent("demo")
    jobs = []
    for seed in seeds:
        for variant, planner in ((base.planner.type, base.planner.type), ("flat", "none")):
            config = base.override(f"seed={seed}", f"planner.type={planner}")
            jobs.append((config, variant, parent / f"{variant}-seed-{seed}"))
    print(f"training {base.env.ids[0]} from pixels, with planner and flat; runs go to {parent}")
    rows = train_all(jobs)
    with_planner = [row for row in rows if row["variant"] != "flat"]
    flat = [row for row in rows if row["variant"] == "flat"]
    level = "UnlockPickup"
    figures = {
        **success_figures(with_planner, f"{level}.success"),
        **success_figures(flat, f"{level}.flat_success"),
        f"{level}.env_steps": with_planner[0]["env_steps"],
    }
    print(
        f"\nwith the {base.planner.type} planner's subgoals {figures[f'{level}.success']:.0%} of "
        f"{with_planner[0]['eval_episodes']} unseen levels, flat "
        f"{figures[f'{level}.flat_success']:.0%}, "
        f"after {with_planner[0]['env_steps']} steps each"
    )
    print(f"TensorBoard  tensorboard --logdir {parent}")
    for video in sorted((parent / f"{base.planner.type}-seed-{seeds[0]}" / "videos").glob("*.gif"))[
        -1:
    ]:
        print(f"GIF          {video}")
    print(f"more         hier record {parent}/{base.planner.type}-seed-{seeds[0]}\n")
    return figures, rows


def key_corridor(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """KeyCorridorS3R3 under the oracle planner, from percepts alone."""
    base = HierConfig.load("key-corridor", ["torch_threads=1", "planner.type=oracle"])
    if quick:
        base = base.override("total_timesteps=4096", "eval.episodes=8", "eval.every=0")
    parent = new_parent("key-corridor")
    jobs = [(base.override(f"seed={seed}"), "oracle", parent / f"seed-{seed}") for seed in seeds]
    rows = train_all(jobs)
    return success_figures(rows, "KeyCorridorS3R3.success"), rows


def planner_quality(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """UnlockPickup under planners of set accuracy."""
    base = HierConfig.load("demo", ["torch_threads=1", "eval.every=0"])
    if quick:
        base = base.override("total_timesteps=2048", "eval.episodes=8")
    parent = new_parent("planner-quality")
    variants = [("random", ["planner.type=random"])]
    for accuracy in (0.4, 0.6, 0.8, 1.0):
        variants.append(
            (f"noisy {accuracy}", ["planner.type=noisy", f"planner.options.accuracy={accuracy}"])
        )
    jobs = []
    for variant, overrides in variants:
        for seed in seeds:
            folder = parent / f"{variant.replace(' ', '-')}-seed-{seed}"
            jobs.append((base.override(f"seed={seed}", *overrides), variant, folder))
    rows = train_all(jobs)
    figures: dict[str, Any] = {}
    for variant, _ in variants:
        chosen = [row for row in rows if row["variant"] == variant]
        figures |= success_figures(chosen, f"UnlockPickup.{variant.replace(' ', '_')}.success")
    return figures, rows
