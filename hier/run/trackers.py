"""Experiment trackers beside TensorBoard: Weights & Biases, MLflow and Trackio.

Each gets every number that TensorBoard gets, and the configuration. Where it keeps them (a server,
an account, a project) is said as its own documentation says, by its environment variables.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.logger import KVWriter

from hier.config import HierConfig
from hier.envs.errors import ConfigError, in_one_line
from hier.run.folder import RunFolder

PROJECT = "hier"  # where the tracker's own variable names none


class ExperimentTracker(KVWriter):
    """Passes numbers on to a tracker.

    Args:
        send: gets the numbers by name, and the environment step.
        end: called when the training ends.
    """

    def __init__(self, send: Callable[[dict[str, float], int], Any], end: Callable[[], Any]):
        self._send, self._end = send, end

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: Mapping[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """See SB3's :class:`KVWriter`; texts, pictures and histograms stay in TensorBoard."""
        numbers = {
            key: float(value)
            for key, value in key_values.items()
            if isinstance(value, int | float | np.number) and np.isfinite(value)
        }
        if numbers:
            self._send(numbers, step)

    def close(self) -> None:
        """End the tracker's run."""
        self._end()


def _wandb(run: RunFolder, config: HierConfig) -> ExperimentTracker:
    import wandb

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    found = wandb.init(
        project=project,
        name=run.path.name,
        id=_identity(run),
        resume="allow",
        dir=run.path,
        config=config.model_dump(mode="json"),
    )
    return ExperimentTracker(lambda numbers, step: found.log(numbers, step=step), found.finish)


def _mlflow(run: RunFolder, config: HierConfig) -> ExperimentTracker:
    import mlflow

    if "MLFLOW_EXPERIMENT_NAME" not in os.environ:
        mlflow.set_experiment(PROJECT)
    note = run.path / "mlflow.json"  # MLflow chooses the id
    known = json.loads(note.read_text())["run_id"] if note.exists() else None
    found = mlflow.start_run(run_id=known, run_name=None if known else run.path.name)
    if known is None:
        note.write_text(json.dumps({"run_id": found.info.run_id}) + "\n")
        mlflow.log_params(_plain(config))
    return ExperimentTracker(
        lambda numbers, step: mlflow.log_metrics(numbers, step=step), mlflow.end_run
    )


def _trackio(run: RunFolder, config: HierConfig) -> ExperimentTracker:
    import trackio

    project = os.environ.get("TRACKIO_PROJECT", PROJECT)
    # Its runs are resumed by name.
    name = f"{run.path.name}-{_identity(run)}"
    found = trackio.init(project=project, name=name, resume="allow", config=_plain(config))
    return ExperimentTracker(lambda numbers, step: found.log(numbers, step=step), found.finish)


TRACKERS: dict[str, Callable[[RunFolder, HierConfig], ExperimentTracker]] = {
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}


def require_trackers(config: HierConfig) -> None:
    """Raise ConfigError if a tracker of the configuration is not installed."""
    for name in config.trackers:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"trackers names {name!r}, which is not installed; install it (pip install "
                f"{name}), or leave it out"
            )


def build_trackers(run: RunFolder, config: HierConfig) -> list[ExperimentTracker]:
    """One for each name in ``config.trackers``; a resumed run goes on in the tracker's same run.

    Raises:
        ConfigError: if a tracker cannot begin, with its own words.
    """
    require_trackers(config)
    found = []
    for name in config.trackers:
        try:
            found.append(TRACKERS[name](run, config))
        except Exception as error:  # whatever a tracker raises
            reason = in_one_line(error)
            raise ConfigError(
                f"the tracker {name} cannot begin ({type(error).__name__}: {reason}); set it up, "
                "or leave it out of trackers"
            ) from error
    return found


def _identity(run: RunFolder) -> str:
    """The same for all sittings of a run, and another one for each run."""
    return hashlib.sha1((run.path / "run.json").read_bytes()).hexdigest()[:12]


def _plain(config: HierConfig) -> dict[str, Any]:
    """Dotted keys; all but numbers as text."""
    flat = config.flat().items()
    return {key: value if isinstance(value, int | float) else str(value) for key, value in flat}
