"""Guidance of the controller's actions: the planner as reference policy, within a budget."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from hier.config import HierConfig
from hier.controllers.checkpoint import add_member, read_member
from hier.controllers.reference import ReferencePolicy
from hier.envs.domain import Domain
from hier.envs.errors import ConfigError, RunFolderError
from hier.hierarchy.vec_env import HierarchicalVecEnv

if TYPE_CHECKING:
    from hier.run.folder import RunFolder

MEMBER = "reference.safetensors"  # in a checkpoint, beside SB3's own files
_PORTION = 0.25  # of the answers left, asked in each rollout: most early, some all along
_EPOCHS = 5  # over all answers so far, each time, from the network's present weights
_NEWS = 0.05  # share of new answers from which it is worth learning again


def action_names(domain: Domain) -> tuple[str, ...]:
    """What the planner calls the controller's actions, in their order.

    Raises:
        ConfigError: if the domain has no words for them.
    """
    if not domain.action_names:
        raise ConfigError(
            f"the domain {domain.name!r} has no words for the controller's actions, which "
            "guidance.actions needs; set guidance.actions=none"
        )
    return domain.action_names


class Indifferent:
    """The reference of a controller that only acts: its policy does not look at it.

    Args:
        n_actions: of the controller.
    """

    def __init__(self, n_actions: int):
        self._log_prob = np.float32(-np.log(n_actions))
        self._n_actions = n_actions

    def log_probs(self, observation: dict[str, NDArray]) -> NDArray[np.float32]:
        """All actions alike, ``(n, n_actions)``."""
        return np.full((len(observation["subgoal"]), self._n_actions), self._log_prob)


class ActionDistillation(BaseCallback):
    """Asks the planner for actions in states the controller visits, and distills the answers.

    In each rollout a quarter of the answers left is asked, in states drawn at random, so that the
    reference sees states of each stage of training; then it learns from all so far. Checkpoints
    keep the network and the answers (:class:`hier.run.folder.Checkpointed`). Logs
    ``guidance/action_answers``, ``guidance/action_kl`` and ``guidance/action_agreement``, the
    network against answers held out.

    Args:
        env: trained in; its controllers see the reference from now on.
        planner: has ``action_log_probs``.
        domain: of the environment.
        answers: budget.
        seed: of the draws and of the network.

    Raises:
        ConfigError: if the planner does not score actions.
    """

    def __init__(
        self, env: HierarchicalVecEnv, planner: Any, domain: Domain, *, answers: int, seed: int
    ):
        super().__init__()
        if not hasattr(planner, "action_log_probs"):
            raise ConfigError(
                f"the planner {type(planner).__name__} does not score actions, which "
                "guidance.actions needs; choose planner.type=vlm or llm, or guidance.actions=none"
            )
        self.env = env
        self.planner = planner
        self.actions = action_names(domain)
        space: Any = env.observation_space
        self._follow(
            ReferencePolicy(space, len(self.actions), budget=answers, seed=seed, device="cpu")
        )
        self._share = 0.0
        self._rng = np.random.default_rng(seed)

    def _follow(self, reference: ReferencePolicy) -> None:
        self.reference = reference
        self.env.hierarchy.use_reference(reference)

    def save(self, run: RunFolder, checkpoint: Path) -> None:
        """Add network and answers to a controller's checkpoint."""
        with TemporaryDirectory() as folder:
            file = Path(folder) / MEMBER
            self.reference.save(file)
            add_member(checkpoint, MEMBER, file.read_bytes())

    def load(self, run: RunFolder, checkpoint: Path) -> None:
        """Go on from :meth:`save`; a checkpoint without it leaves all as it is, with a warning.

        Raises:
            RunFolderError: if it does not fit this configuration.
        """
        missing = "the planner's actions; they are asked for anew"
        content = read_member(checkpoint, MEMBER, missing)
        if content is None:
            return
        space: Any = self.env.observation_space
        with TemporaryDirectory() as folder:
            file = Path(folder) / MEMBER
            file.write_bytes(content)
            try:
                self._follow(ReferencePolicy.load(file, space, device="cpu"))
            except RunFolderError as error:
                raise RunFolderError(
                    f"the planner's actions in {checkpoint} do not fit this configuration "
                    f"({error.__cause__}); choose the domain they were learned in"
                ) from error

    def _on_rollout_start(self) -> None:
        assert isinstance(self.model, OnPolicyAlgorithm)
        portion = np.ceil(_PORTION * self.reference.remaining)
        self._share = portion / (self.model.n_steps * self.env.num_envs)

    def _on_step(self) -> bool:
        if self.reference.remaining:
            which = np.flatnonzero(self._rng.random(self.env.num_envs) < self._share)
            which = which[: self.reference.remaining]
            if len(which):
                self._ask(which)
        return True

    def _ask(self, which: NDArray[np.intp]) -> None:
        hierarchy = self.env.hierarchy
        queries = [hierarchy.query(i) for i in which]
        subgoals = [hierarchy.lanes[i].active.subgoal for i in which]
        answers = self.planner.action_log_probs(queries, subgoals, self.actions)
        seen = self.locals["new_obs"]
        self.reference.add({key: value[which] for key, value in seen.items()}, np.stack(answers))

    def _on_rollout_end(self) -> None:
        answers = self.reference.answers
        if answers >= 2 and answers - self.reference.fitted > _NEWS * answers:
            result = self.reference.fit(max_epochs=_EPOCHS)
            self.logger.record("guidance/action_answers", self.reference.answers)
            self.logger.record("guidance/action_kl", result.kl)
            self.logger.record("guidance/action_agreement", result.agreement)


def build_action_distillation(
    config: HierConfig, env: HierarchicalVecEnv, planner: Any
) -> ActionDistillation | None:
    """What asks for the planner's actions; ``None`` where they do not count."""
    if config.effective_guidance.actions == "none":
        return None
    answers = config.guidance.action_answers
    return ActionDistillation(env, planner, config.domain, answers=answers, seed=config.seed)
