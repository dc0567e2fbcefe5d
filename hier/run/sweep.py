"""Many runs, some at a time: seeds and variants in processes of their own, a row for each.

>>> from hier import HierConfig
>>> from hier.run.sweep import train_all
>>> config = HierConfig.load("demo")
>>> jobs = [(config.override(f"seed={s}"), "demo", Path(f"runs/s{s}")) for s in range(3)]
>>> rows = train_all(jobs)  # doctest: +SKIP
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hier.config import HierConfig
from hier.envs.files import atomic_write
from hier.run.curves import training_curve
from hier.run.folder import RunFolder, commit
from hier.run.lock import locked
from hier.run.pool import side_by_side

if TYPE_CHECKING:
    from hier.run.evaluation import Evaluation  # which imports torch

Row = dict[str, Any]  # one line of a result file

ROW_FILE = "row.json"


def train_job(job: tuple[HierConfig, str, Path]) -> Row:
    """Train and evaluate one configuration; ``(config, variant, folder)`` to a result row.

    The row is kept in the folder, and a folder that has one of this configuration is not trained
    again. A run of another configuration is left alone.
    """
    import warnings

    from hier.run.training import TrainingError, train

    warnings.simplefilter("ignore")
    config, variant, folder = job
    kept = folder / ROW_FILE
    if (folder / "config.yaml").is_file() and _own_config(RunFolder.open(folder)) == config:
        if kept.exists():
            return json.loads(kept.read_text())
        with locked(folder):
            shutil.rmtree(folder)  # a run that was cut off
    result = train(config, folder=folder, progress=False)
    if result.evaluation is None:
        raise TrainingError(f"{folder} was stopped; the same command trains it anew")
    run = RunFolder.open(folder)
    curve = [[entry["env_steps"], entry["success_rate"]] for entry in run.evaluations()]
    row = {
        "level": "+".join(config.env.ids),
        "variant": variant,
        "planner": " ".join(map(str, [config.planner.type, *config.planner.options.values()])),
        "seed": config.seed,
        "env_steps": result.env_steps,
        "episodes": result.episodes,
        "demonstrations": 0,
        "planner_queries": result.planner_queries,
        "planner_share": round(result.planner_share, 3),
        **evaluation_row(result.evaluation),
        "train_violations": result.violations / max(result.episodes, 1),
        "seconds": round(result.seconds, 1),
        "commit": commit(),
        "curve": curve,
        "training_curve": training_curve(run, _own_config(run)),
    }
    print(
        f"{variant} seed {config.seed}: {row['success']:.0%} of {row['eval_episodes']} unseen "
        f"levels after {result.env_steps} steps, {row['seconds']:.0f} s",
        flush=True,
    )
    keep_row(folder, row)
    return row


def _own_config(run: RunFolder) -> HierConfig:
    """The configuration of a run of a sweep, which named its code itself."""
    return run.config(trust_code=True)


def keep_row(folder: Path, row: Row) -> None:
    """Write a run's row into its folder, where :func:`train_job` finds it again."""
    with atomic_write(folder / ROW_FILE) as file:
        file.write_text(json.dumps(row))


def evaluation_row(evaluation: Evaluation) -> Row:
    """The part of a row that an evaluation fills."""
    summary = evaluation.summary()
    same = ("mean_length", "subgoals_done", "violations", "prevented")
    return {
        "success": summary["success_rate"],
        "eval_episodes": int(summary["episodes"]),
        **{name: summary[name] for name in same},
    }


def train_all(jobs: Sequence[tuple[HierConfig, str, Path]]) -> list[Row]:
    """Run training jobs, see :func:`hier.run.pool.side_by_side`."""
    return side_by_side(train_job, jobs, names=[str(folder) for _, _, folder in jobs])


def new_parent(name: str) -> Path:
    """A fresh folder under ``runs`` for the runs of one suite."""
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def kept_parent(name: str, quick: bool) -> Path:
    """The folder of a long suite's runs at this commit, where a suite cut off goes on."""
    now = commit()
    if quick or not now or now.endswith("dirty"):
        return new_parent(name)
    return Path("runs") / f"{name}-{now}"
