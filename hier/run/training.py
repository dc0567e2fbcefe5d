"""The story of a run: build, learn, save, evaluate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from hier.config import HierConfig
from hier.envs.errors import UserError
from hier.envs.files import atomic_write
from hier.run.dashboard import run_logger
from hier.run.evaluation import Evaluation
from hier.run.folder import RunFolder, faults_named, step_of
from hier.run.lock import locked
from hier.run.logging import HierarchyLogger
from hier.run.periodic_evaluation import Evaluations
from hier.run.progress import ProgressReports
from hier.run.resuming import resumed_config, rewind
from hier.run.saving import Checkpoints, StopOnSignal
from hier.run.setup import Setup
from hier.run.trackers import require_trackers


class TrainingError(UserError, RuntimeError):
    """Training ended early; the message gives the reason and how to resume."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training left behind.

    Attributes:
        folder: the run.
        env_steps: environment steps learned from, over all sittings.
        episodes, planner_queries: ended and asked in this sitting's training.
        planner_share: of the wall time of learning, spent on choosing subgoals.
        violations: unsafe steps taken in those episodes.
        evaluation: the final one; ``None`` if training was interrupted.
        seconds: wall time of this sitting, evaluation included.
        interrupted: a signal ended it early; :func:`resume` goes on.
    """

    folder: Path
    env_steps: int
    episodes: int
    planner_queries: int
    planner_share: float
    violations: int
    evaluation: Evaluation | None
    seconds: float
    interrupted: bool


def train(
    config: HierConfig, *, folder: str | Path | None = None, progress: bool = True
) -> TrainResult:
    """Train a controller under a planner, as configured.

    Args:
        config: of the run.
        folder: where the run goes; ``runs/NAME-sSEED-DATE-TIME`` when omitted.
        progress: show how far it is, on stderr.

    Returns:
        The folder and the final evaluation.

    Raises:
        ConfigError: if algorithm or planner do not take their options.
        RunFolderError: if the folder already holds a run, or another process trains in it.
        SimulatorError: if an environment cannot be built.
        TrainingError: if a planner or simulator breaks on the way; a checkpoint was saved.
    """
    used = None if folder is None else RunFolder(folder)
    if used is not None and used.config_file.exists():
        with locked(used.path):  # say so before models are loaded
            used.require_new()
    require_trackers(config)
    setup = Setup.build(config)
    run = RunFolder.create(config, folder)
    with faults_named(run.path), locked(run.path):
        return _learn(setup, run, progress)


def resume(
    folder: str | Path,
    overrides: Sequence[str] = (),
    *,
    progress: bool = True,
    trust_code: bool = False,
) -> TrainResult:
    """Continue a run from its newest whole checkpoint, or extend a finished one.

    A run without a checkpoint begins anew. Steps after the checkpoint are lost; the step count, the
    TensorBoard curve and the optimizer go on from it. Levels are drawn anew, from a seed derived
    from the run's and the step. What was logged after the checkpoint is dropped. SB3's schedules
    run to the new end of an extended run.

    Args:
        folder: the run.
        overrides: ``total_timesteps=N`` extends it; keys that change what is learned are refused.
        progress: show how far it is, on stderr.
        trust_code: run code that the run's configuration names.

    Raises:
        RunFolderError: if the folder is no run, has no readable checkpoint, is being trained, or is
            finished.
        ConfigError: for an override that is refused.
        UntrustedCodeError: if it names code that is not trusted.
    """
    run = RunFolder.open(folder)
    with faults_named(run.path), locked(run.path):
        # One that was killed before its first checkpoint begins anew.
        checkpoint = run.latest_checkpoint() if run.checkpoint_files() else None
        step = 0 if checkpoint is None else step_of(checkpoint)
        config = resumed_config(run, step, overrides, trust_code=trust_code)
        setup = Setup.resume(run, config, checkpoint) if checkpoint else Setup.build(config)
        rewind(run, step)
        if overrides:
            with atomic_write(run.config_file) as file:
                file.write_text(config.to_yaml())
        return _learn(setup, run, progress)


def _log_interval(model: BaseAlgorithm, every: int) -> int:
    """Between two of SB3's log points: rollouts, or episodes of an off-policy algorithm."""
    if isinstance(model, OnPolicyAlgorithm):  # A2C's rollouts are short, PPO's are not
        return max(1, every // (model.n_steps * model.n_envs))
    return 4


def _learn(setup: Setup, run: RunFolder, progress: bool) -> TrainResult:
    started = time.perf_counter()
    config, env, model = setup.config, setup.env, setup.model
    model.set_logger(run_logger(run, config))
    every = max(1, min(2048, config.total_timesteps // 20))
    stop = StopOnSignal()
    log = HierarchyLogger(env, config, every=every)
    checkpoints = Checkpoints(run, config.checkpoint_every, setup.checkpointed)
    evaluations = Evaluations(run, setup, log)
    reports = ProgressReports(run, config.total_timesteps, shown=progress)
    callbacks = CallbackList(
        [stop, log, checkpoints, *setup.callbacks(every), evaluations, reports]
    )
    remaining = config.total_timesteps - model.num_timesteps
    began = time.perf_counter()
    with stop.listening():
        try:
            if remaining > 0:
                model.learn(
                    remaining,
                    callback=callbacks,
                    reset_num_timesteps=False,
                    log_interval=_log_interval(model, every),
                )
            else:
                callbacks.init_callback(model)  # all that the last evaluation may ask
        except (UserError, OSError) as error:
            raise TrainingError(
                f"{error} (stopped at step {model.num_timesteps}; what was learned is kept: "
                f"hier train --resume {run.path})"
            ) from error
        finally:
            reports.line.close()
            run.save_checkpoint(model, setup.checkpointed)
        learning = time.perf_counter() - began
        evaluation = None
        if not stop.stopped:
            evaluations.num_timesteps = model.num_timesteps
            evaluation = evaluations.evaluate(config.eval.episodes, progress=progress)
    env.close()
    model.logger.close()
    return TrainResult(
        folder=run.path,
        env_steps=model.num_timesteps,
        episodes=log.episodes,
        planner_queries=env.hierarchy.queries,
        planner_share=env.hierarchy.seconds["planner"] / learning,
        violations=log.violations,
        evaluation=evaluation,
        seconds=time.perf_counter() - started,
        interrupted=evaluation is None,
    )
