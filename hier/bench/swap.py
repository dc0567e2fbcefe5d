"""Suite ``swap``: one preset under one planner after another, changed by one line each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hier.bench.figures import success_figures
from hier.bench.serving import serving
from hier.config import HierConfig
from hier.planners.language.models import BUILT_IN
from hier.planners.language.planner import VLMPlanner
from hier.run.sweep import Row, new_parent, train_all

LINES = {
    "shipped": [],
    "local folder": ["planner.model={folder}"],
    "endpoint": [
        "planner.type=endpoint", "planner.model={shipped}", "planner.options.base_url={url}",
        "planner.options.images=map", "planner.options.scale=1", "planner.options.as_trained=true",
        "planner.options.logprobs=false",
    ],
    "random": ["planner.type=random"],
    "oracle": ["planner.type=oracle"],
    "none": ["planner.type=none"],
}  # fmt: skip


def swap(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """The demo's preset with the planner swapped.

    The local folder is the built-in planner with a new LoRA adapter, saved by ``save``: other
    files, the same distribution. The endpoint is ``transformers serve`` with the planner that
    ships; it writes its answers, greedily.
    """
    base = HierConfig.load("demo", ["torch_threads=1", "eval.every=0", "eval.videos=0"])
    if quick:
        base = base.override("total_timesteps=2048", "eval.episodes=8")
    parent = new_parent("swap")
    parent.mkdir(parents=True)
    places = {"folder": str(parent / "planner"), "shipped": str(BUILT_IN / "gridworld")}
    VLMPlanner(device="cpu", lora=8).save(places["folder"])
    with serving(parent / "server.log") as url:
        rows = train_all(_jobs(base, parent, seeds, {**places, "url": url}))
    figures: dict[str, Any] = {}
    for variant in LINES:
        chosen = [row for row in rows if row["variant"] == variant]
        figures |= success_figures(chosen, f"UnlockPickup.{variant.replace(' ', '_')}.success")
    return figures, rows


def _jobs(
    base: HierConfig, parent: Path, seeds: Sequence[int], places: dict[str, str]
) -> list[tuple[HierConfig, str, Path]]:
    jobs = []
    for variant, lines in LINES.items():
        named = base.override(*(line.format(**places) for line in lines))
        for seed in seeds:
            folder = parent / f"{variant.replace(' ', '-')}-seed-{seed}"
            jobs.append((named.override(f"seed={seed}"), variant, folder))
    return jobs
