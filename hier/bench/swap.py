"""Suite ``swap``: one preset under one planner after another, changed by one line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hier.bench.figures import by_variant, success_figures
from hier.bench.jobs import budget, jobs_of, plain_config
from hier.bench.serving import serving
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
    base = plain_config("demo")
    base = base.override(*budget(base.total_timesteps, quick))
    parent = new_parent("swap")
    parent.mkdir(parents=True)
    places = {"folder": str(parent / "planner"), "shipped": str(BUILT_IN / "gridworld")}
    VLMPlanner(device="cpu", lora=8).save(places["folder"])
    with serving(parent / "server.log") as url:
        places["url"] = url
        variants = {
            name: [line.format(**places) for line in lines] for name, lines in LINES.items()
        }
        rows = train_all(jobs_of(parent, {"": base}, variants, seeds))
    figures: dict[str, Any] = {}
    for key, some in by_variant(rows, base.env.ids, LINES):
        figures |= success_figures(some, f"{key}.success")
    return figures, rows
