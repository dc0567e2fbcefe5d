"""All objects of a run, built once for training and resuming, or opened from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from hier.config import HierConfig
from hier.controllers.guided import AnnealGuidance
from hier.controllers.replay import SavedReplay
from hier.controllers.saved import SavedController
from hier.feedback.loop import FeedbackLearning, build_feedback
from hier.guidance.actions import ActionDistillation, build_action_distillation
from hier.guidance.learning import GuidanceLearning, SubgoalGuidance, build_guidance
from hier.hierarchy.vec_env import HierarchicalVecEnv
from hier.planners.protocol import Planner, Resumable
from hier.run.build import build_env, build_model, build_planner_of, open_model
from hier.run.folder import Checkpointed, RunFolder
from hier.run.planner_state import PlannerState
from hier.run.shipped import find_run


@dataclass(frozen=True, slots=True)
class Setup:
    """The objects of a run that trains.

    Attributes:
        config: of the run.
        planner: proposes subgoals; ``None`` for flat reinforcement learning.
        env: trained in.
        model: the SB3 controller.
        guidance: of the choice among subgoals; ``None`` for none.
        distillation: of the planner's actions; ``None`` for none.
        feedback: fine-tunes the planner; ``None`` where it does not learn.
    """

    config: HierConfig
    planner: Planner | None
    env: HierarchicalVecEnv
    model: BaseAlgorithm
    guidance: SubgoalGuidance | None
    distillation: ActionDistillation | None
    feedback: FeedbackLearning | None

    @classmethod
    def build(cls, config: HierConfig, checkpoint: Path | None = None) -> Setup:
        """Build everything that ``config`` asks for.

        Args:
            config: of the run.
            checkpoint: the controller to go on with; a new one when omitted.

        Raises:
            ConfigError: if algorithm or planner do not take their options.
            SimulatorError: if an environment cannot be built.
            RunFolderError: if the checkpoint is damaged or does not fit the configuration.
        """
        torch.set_num_threads(config.torch_threads)  # before the networks: it decides their bits
        planner, guidance = build_planner_of(config), build_guidance(config)
        env = build_env(config, planner, guidance=guidance)
        distillation = build_action_distillation(config, env, planner)
        saved = None if checkpoint is None else SavedController(checkpoint)
        model = build_model(config, env, saved)
        feedback = build_feedback(config, env, planner, guidance)
        return cls(config, planner, env, model, guidance, distillation, feedback)

    @classmethod
    def resume(cls, run: RunFolder, config: HierConfig, checkpoint: Path) -> Setup:
        """The objects of a run as they were at a checkpoint.

        Levels are drawn anew, from a seed derived from the run's and the step.

        Args:
            run: its folder.
            config: of the run.
            checkpoint: one of the run's.

        Raises:
            RunFolderError: if the checkpoint does not fit the configuration.
        """
        setup = cls.build(config, checkpoint)
        for part in setup.checkpointed:
            part.load(run, checkpoint)
        setup.model.set_random_seed(setup.config.seed + setup.model.num_timesteps)
        return setup

    @property
    def checkpointed(self) -> list[Checkpointed]:
        """What is kept in checkpoints beside the controller, for it learns or has a state."""
        buffer = getattr(self.model, "replay_buffer", None)
        replay = None if buffer is None else SavedReplay(buffer)
        state = PlannerState(self.planner) if isinstance(self.planner, Resumable) else None
        parts = (self.guidance, self.distillation, self.feedback, replay, state)
        return [part for part in parts if part is not None]

    def callbacks(self, every: int) -> list[BaseCallback]:
        """What learns beside the controller, as SB3 callbacks.

        Args:
            every: environment steps between two log points.
        """
        settings, callbacks = self.config.guidance, list[BaseCallback]()
        if self.guidance is not None:
            callbacks.append(GuidanceLearning(self.guidance, self.env, every))
        if self.distillation is not None:
            annealing = AnnealGuidance(settings.action_coef, 0.0, settings.action_coef_steps)
            callbacks += [self.distillation, annealing]
        return callbacks + ([self.feedback] if self.feedback is not None else [])


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run has learned, ready to act.

    Attributes:
        folder: the run.
        config: its configuration, with overrides.
        model: the SB3 controller.
        guidance: what guides the choice of subgoals; ``None`` where the planner alone decides.
    """

    folder: RunFolder
    config: HierConfig
    model: BaseAlgorithm
    guidance: SubgoalGuidance | None


def open_trained(
    run: str | Path,
    overrides: Sequence[str] = (),
    env_id: str | None = None,
    *,
    trust_code: bool = False,
) -> Trained:
    """A run with ``overrides`` of its configuration, at its newest checkpoint.

    Where its planner learned from feedback, that is the planner, unless ``overrides`` name another.

    Args:
        run: its folder; or, for the built-in agent, a level's id, or ``shipped``.
        overrides: dotted.
        env_id: a level to play instead of its own; its domain decides what planners see.
        trust_code: run code that its configuration names, besides what ``overrides`` and
            ``env_id`` name.

    Raises:
        RunFolderError: if the folder is no run or has no readable checkpoint.
        UntrustedCodeError: if it names code that is not trusted.
        ConfigError: for a wrong override.
    """
    folder, env_id = find_run(run, env_id)
    config = open_config(folder, overrides, env_id, trust_code=trust_code)
    model = open_model(config, folder.latest_checkpoint())
    return Trained(folder, config, model, open_guidance(folder, config))


def open_config(
    run: RunFolder,
    overrides: Sequence[str] = (),
    env_id: str | None = None,
    *,
    trust_code: bool = False,
) -> HierConfig:
    """A run's configuration with the planner that it learned; see :func:`open_trained`."""
    level = [] if env_id is None else [f"env.id={env_id}"]
    config = run.config([*overrides, *level], trust_code=trust_code)
    own = {line.partition("=")[0].strip() for line in overrides}
    if run.planner.exists() and not own & {"planner", "planner.type", "planner.model"}:
        config = config.with_planner(run.planner)
    return config


def open_guidance(run: RunFolder, config: HierConfig) -> SubgoalGuidance | None:
    """What guides a run's choice of subgoals, as its newest checkpoint has it; ``None`` if none."""
    guidance = build_guidance(config)
    if guidance is not None and run.checkpoint_files():
        guidance.load(run, run.latest_checkpoint())
    return guidance
