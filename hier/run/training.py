"""The story of a run: build, learn, keep, judge."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import configure

from hier.config import HierConfig
from hier.controllers.build import load_controller
from hier.controllers.guided import AnnealGuidance
from hier.envs.errors import UserError
from hier.feedback.loop import FeedbackLearning, build_feedback
from hier.guidance.actions import ActionDistillation, build_action_distillation
from hier.guidance.learning import GuidanceLearning, SubgoalGuidance, build_guidance
from hier.hierarchy.vec_env import HierarchicalVecEnv
from hier.run.callbacks import Checkpoints, Evaluations, HierarchyLogger, StopOnSignal
from hier.run.evaluation import Evaluation
from hier.run.folder import Checkpointed, RunFolder
from hier.run.setup import build_env, build_model, build_planner_of


class TrainingError(UserError, RuntimeError):
    """Training ended early; the text says why and how to go on from what was learned."""


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
        progress: show a bar.

    Returns:
        The folder and the final evaluation.

    Raises:
        ConfigError: if algorithm or planner do not take their options.
        RunFolderError: if the folder already holds a run.
        SimulatorError: if an environment cannot be built.
        TrainingError: if a planner or simulator breaks on the way; a checkpoint was saved.
    """
    torch.set_num_threads(config.torch_threads)  # before the networks: it decides their last bits
    planner, guidance = build_planner_of(config), build_guidance(config)
    env = build_env(config, planner, guidance=guidance)
    distillation = build_action_distillation(config, env, planner)
    model = build_model(config, env)
    feedback = build_feedback(config, env, planner, guidance)
    run = RunFolder.create(config, folder)
    return _learn(config, run, model, env, planner, guidance, distillation, feedback, progress)


def resume(folder: str | Path, *, progress: bool = True) -> TrainResult:
    """Continue a run from its newest whole checkpoint, with the configuration it started with.

    Steps after that checkpoint are lost; the step count, the TensorBoard curve and the optimizer
    go on from it. Levels are drawn anew, from a seed derived from the run's and the step.

    Raises:
        RunFolderError: if the folder is no run or has no readable checkpoint.
    """
    run = RunFolder.open(folder)
    config = run.config()
    torch.set_num_threads(config.torch_threads)
    planner, guidance = build_planner_of(config), build_guidance(config)
    env = build_env(config, planner, guidance=guidance)
    distillation = build_action_distillation(config, env, planner)
    checkpoint = run.latest_checkpoint()
    model = load_controller(config.controller.algorithm, checkpoint, env, config.controller.device)
    feedback = build_feedback(config, env, planner, guidance)
    for part in _parts(guidance, distillation, feedback):
        part.load(checkpoint)
    model.set_random_seed(config.seed + model.num_timesteps)
    return _learn(config, run, model, env, planner, guidance, distillation, feedback, progress)


def _learn(
    config: HierConfig,
    run: RunFolder,
    model: Any,
    env: Any,
    planner: Any,
    guidance: SubgoalGuidance | None,
    distillation: ActionDistillation | None,
    feedback: FeedbackLearning | None,
    progress: bool,
) -> TrainResult:
    started = time.perf_counter()
    model.set_logger(configure(str(run.tensorboard), ["tensorboard"]))
    stop = StopOnSignal()
    judge = Evaluations(run, config, planner, guidance, feedback)
    every = min(2048, config.total_timesteps // 20)
    log = HierarchyLogger(env, config, every=every)
    parts = _parts(guidance, distillation, feedback)
    callbacks = [stop, log, Checkpoints(run, config.checkpoint_every, parts)]
    callbacks += guidance_callbacks(config, env, guidance, distillation, every)
    callbacks += [feedback] if feedback is not None else []
    remaining = config.total_timesteps - model.num_timesteps
    began = time.perf_counter()
    with stop.listening():
        try:
            if remaining > 0:
                model.learn(
                    remaining,
                    callback=CallbackList([*callbacks, judge]),
                    reset_num_timesteps=False,
                    progress_bar=progress,
                )
            else:
                judge.init_callback(model)
        except UserError as error:
            raise TrainingError(
                f"{error} (stopped at step {model.num_timesteps}; what was learned is kept: "
                f"hier train --resume {run.path})"
            ) from error
        finally:
            run.save_checkpoint(model, parts)
        learning = time.perf_counter() - began
        evaluation = None
        if not stop.stopped:
            judge.num_timesteps = model.num_timesteps
            evaluation = judge.judge(config.eval.episodes, progress=progress)
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
        interrupted=stop.stopped,
    )


def _parts(*learned: Checkpointed | None) -> list[Checkpointed]:
    return [part for part in learned if part is not None]


def guidance_callbacks(
    config: HierConfig,
    env: HierarchicalVecEnv,
    guidance: SubgoalGuidance | None,
    distillation: ActionDistillation | None,
    every: int,
) -> list[BaseCallback]:
    """What learns beside the controller.

    Args:
        config: of the run.
        env: trained in.
        guidance: of the choice among subgoals; ``None`` for none.
        distillation: of the planner's actions; ``None`` for none.
        every: environment steps between two log points.
    """
    settings, callbacks = config.guidance, list[BaseCallback]()
    if guidance is not None:
        callbacks.append(GuidanceLearning(guidance, env, settings.critic.updates, every))
    if distillation is not None:
        annealing = AnnealGuidance(
            settings.action_coef, settings.action_coef_end, settings.action_coef_steps
        )
        callbacks += [distillation, annealing]
    return callbacks
