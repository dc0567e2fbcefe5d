"""Success over a run's training, as its logs have it."""

from __future__ import annotations

from collections.abc import Sequence

from hier.config import HierConfig
from hier.envs.errors import RunFolderError, in_one_line
from hier.envs.registry import max_steps_of
from hier.run.folder import RunFolder


def training_curve(run: RunFolder, config: HierConfig) -> list[list[float]]:
    """``[env_steps, success]`` over the training: SB3's own mean of the last 100 episodes.

    Every training episode is a level of its own, so no level was seen before. Before an episode
    could have ended in every environment only short ones, successes, have; that is left out.
    """
    limits = (config.env.max_steps or max_steps_of(level) or 0 for level in config.env.ids)
    first = config.env.n_envs * max(limits)
    points = read_scalar(run, "rollout/success_rate")
    return [[step, round(value, 3)] for step, value in points if step >= first]


def read_scalar(run: RunFolder, name: str) -> list[tuple[int, float]]:
    """``(env_steps, value)`` of a TensorBoard scalar; empty if it was never logged.

    Raises:
        RunFolderError: if an event file is damaged.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not run.tensorboard.is_dir():
        return []
    log = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0})
    try:
        log.Reload()
    except Exception as error:  # of protobuf, whose errors have no common class
        raise RunFolderError(
            f"the TensorBoard events in {run.tensorboard} are damaged ({type(error).__name__}: "
            f"{in_one_line(error)}); hier train --resume {run.path} keeps those that are whole"
        ) from error
    if name not in log.Tags()["scalars"]:
        return []
    return [(point.step, point.value) for point in log.Scalars(name)]


def steps_to(success: float, curve: Sequence[Sequence[float]]) -> float:
    """Environment steps at which a curve first reached ``success``; infinite if it never did."""
    return min((steps for steps, value in curve if value >= success), default=float("inf"))
