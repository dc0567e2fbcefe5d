"""Suite ``lava``: what the safety filter costs and saves where a wrong step ends the episode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from hier.bench.figures import by_variant, short_name
from hier.bench.jobs import jobs_of, plain_config
from hier.config import HierConfig
from hier.run.evaluation import evaluate
from hier.run.pool import side_by_side
from hier.run.sweep import Row, evaluation_row, kept_parent, train_all

LEVELS = ("MiniGrid-LavaGapS7-v0", "MiniGrid-LavaCrossingS9N2-v0")
STEPS = 40_960
TRAINED = {"no filter": [], "filter": ["safety.filter=true"]}
LATER = "filter in evaluation only"


def lava(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Lava levels, trained without the filter, with it, and without but judged with it."""
    levels = LEVELS[:1] if quick else LEVELS
    base = plain_config("demo", f"total_timesteps={STEPS}")
    if quick:
        base = base.override("total_timesteps=1024", "controller.options.n_steps=64")
        base = base.override("eval.episodes=8", "env.max_steps=50")
    tasks = {short_name(level): base.override(f"env.id={level}") for level in levels}
    jobs = jobs_of(kept_parent("lava", quick), tasks, TRAINED, seeds)
    rows = train_all(jobs)
    rows += side_by_side(_judge, [folder for config, _, folder in jobs if not config.safety.filter])
    figures: dict[str, Any] = {}
    for key, some in by_variant(rows, levels, (*TRAINED, LATER)):
        for name, worst in (("success", min), ("violations", max), ("train_violations", max)):
            if values := [row[name] for row in some if name in row]:
                figures |= {f"{key}.{name}": median(values), f"{key}.{name}.worst": worst(values)}
    return figures, rows


def _judge(folder: Path) -> Row:
    config = HierConfig.load(folder / "config.yaml")
    evaluation = evaluate(folder, overrides=["safety.filter=true"], progress=False)
    print(f"{LATER}, seed {config.seed}: {evaluation.success_rate:.0%}", flush=True)
    return {
        "level": config.env.ids[0],
        "variant": LATER,
        "seed": config.seed,
        **evaluation_row(evaluation),
    }
