"""Suite ``swap``: one preset under one planner after another, changed by one line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hier.bench import Row
from hier.bench.learning import new_parent, success_figures, train_all
from hier.config import HierConfig
from planners.language import VLMPlanner

LINES = {
    "shipped": [],
    "local folder": ["planner.model={folder}"],
    "random": ["planner.type=random"],
    "oracle": ["planner.type=oracle"],
    "none": ["planner.type=none"],
}


def swap(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """The demo's preset with the planner swapped.

    The local folder is the planner that ships with a new LoRA adapter, saved by ``save``: other
    files, the same distribution.
    """
    base = HierConfig.load("demo", ["torch_threads=1", "eval.every=0", "eval.videos=0"])
    if quick:
        base = base.override("total_timesteps=2048", "eval.episodes=8")
    parent = new_parent("swap")
    folder = parent / "planner"
    VLMPlanner(device="cpu", lora=8).save(folder)
    rows = train_all(
        [
            (
                base.override(f"seed={seed}", *(line.format(folder=folder) for line in lines)),
                variant,
                parent / f"{variant.replace(' ', '-')}-seed-{seed}",
            )
            for variant, lines in LINES.items()
            for seed in seeds
        ]
    )
    figures: dict[str, Any] = {}
    for variant in LINES:
        chosen = [row for row in rows if row["variant"] == variant]
        figures |= success_figures(chosen, f"UnlockPickup.{variant.replace(' ', '_')}.success")
    return figures, rows
