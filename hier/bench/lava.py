"""Suite ``lava``: what the safety filter costs and saves where a wrong step ends the episode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from hier.bench.figures import short_name
from hier.config import HierConfig
from hier.run.evaluation import evaluate
from hier.run.sweep import Row, evaluation_row, kept_parent, side_by_side, train_all

LEVELS = ("MiniGrid-LavaGapS7-v0", "MiniGrid-LavaCrossingS9N2-v0")
STEPS = 40_960
TRAINED = {"no filter": [], "filter": ["safety.filter=true"]}
LATER = "filter in evaluation only"


def lava(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Lava levels, trained without the filter, with it, and without but judged with it."""
    base = HierConfig.load(
        "demo",
        ["torch_threads=1", "eval.every=0", "eval.videos=0", f"total_timesteps={STEPS}"],
    )
    levels = LEVELS[:1] if quick else LEVELS
    if quick:
        base = base.override("total_timesteps=1024", "controller.options.n_steps=64")
        base = base.override("eval.episodes=8", "env.max_steps=50")
    parent = kept_parent("lava", quick)
    jobs = []
    for level in levels:
        for variant, lines in TRAINED.items():
            for seed in seeds:
                config = base.override(f"env.id={level}", f"seed={seed}", *lines)
                name = f"{short_name(level)}-{variant.replace(' ', '-')}-seed-{seed}"
                jobs.append((config, variant, parent / name))
    rows = train_all(jobs)
    unguarded = [folder for config, _, folder in jobs if not config.safety.filter]
    rows += side_by_side(_judge, unguarded)
    figures: dict[str, Any] = {}
    for level in levels:
        for variant in (*TRAINED, LATER):
            some = [row for row in rows if (row["level"], row["variant"]) == (level, variant)]
            key = f"{short_name(level)}.{variant.replace(' ', '_')}"
            for name, worst in (("success", min), ("violations", max), ("train_violations", max)):
                values = [row[name] for row in some if name in row]
                if values:
                    figures |= {f"{key}.{name}": median(values)}
                    figures |= {f"{key}.{name}.worst": worst(values)}
    return figures, rows


def _judge(folder: Path) -> Row:
    import torch

    torch.set_num_threads(1)
    config = HierConfig.load(folder / "config.yaml")
    evaluation = evaluate(folder, overrides=["safety.filter=true"], progress=False)
    print(f"{LATER}, seed {config.seed}: {evaluation.success_rate:.0%}", flush=True)
    return {
        "level": config.env.ids[0],
        "variant": LATER,
        "seed": config.seed,
        **evaluation_row(evaluation),
    }
