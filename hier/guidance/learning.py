"""Guidance of the choice among subgoals, over the life of a run."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hier.config import HierConfig
from hier.controllers.callbacks import PeriodicCallback
from hier.controllers.checkpoint import add_member, read_member, reading
from hier.controllers.logs import TENSORBOARD_ONLY
from hier.envs.tensors import pack, unpack
from hier.guidance.critic import Step, SubgoalCritic, centered, half_of
from hier.guidance.features import FeatureReader
from hier.guidance.selector import GuidedSelector
from hier.hierarchy.records import SubgoalRecord
from hier.hierarchy.selection import Decision, PlannerSelector, SubgoalSelector
from hier.hierarchy.vec_env import HierarchicalVecEnv

if TYPE_CHECKING:
    from hier.run.folder import RunFolder

MEMBER = "guidance.safetensors"  # in a checkpoint, beside the controller


class SubgoalGuidance:
    """What a run's choices among subgoals are guided by: the critic, and how far it is followed.

    Args:
        config: of the run; guidance or feedback needs a critic.
    """

    def __init__(self, config: HierConfig):
        settings = config.effective_guidance
        self.critic = SubgoalCritic()
        self.reader = FeatureReader(config.domain, config.horizon)
        # ReAd alone leaves the first proposal to the planner.
        self.kl_coef = settings.kl_coef if settings.soft_choice else math.inf
        self.rounds = settings.requery_rounds

    @property
    def decides(self) -> bool:
        """Whether it takes part in choices; otherwise it only values them, for feedback."""
        return not math.isinf(self.kl_coef) or self.rounds > 0

    def selector(self, seed: int, *, training: bool) -> SubgoalSelector:
        """Who decides among candidates; in training it explores."""
        return GuidedSelector(
            self.critic,
            self.reader,
            kl_coef=self.kl_coef,
            rounds=self.rounds,
            seed=seed,
            training=training,
        )

    def save(self, run: RunFolder, checkpoint: Path) -> None:
        """Add what was learned to a controller's checkpoint, with all that it was learned from."""
        state = {name: torch.from_numpy(value) for name, value in self.critic.state_dict().items()}
        add_member(checkpoint, MEMBER, pack(state))

    def load(self, run: RunFolder, checkpoint: Path) -> None:
        """Go on from :meth:`save`; a checkpoint without it leaves all as it is, with a warning.

        Raises:
            RunFolderError: if it cannot be read.
        """
        content = read_member(checkpoint, MEMBER, "guidance; its critic starts anew")
        if content is None:
            return
        with reading("the guidance", checkpoint):
            state = unpack(content)
            self.critic.load_state_dict({name: value.numpy() for name, value in state.items()})


def build_guidance(config: HierConfig) -> SubgoalGuidance | None:
    """What guides this run's choices, or only values them; ``None`` without a critic."""
    return SubgoalGuidance(config) if config.needs_critic else None


def build_selector(
    guidance: SubgoalGuidance | None, seed: int, *, training: bool
) -> SubgoalSelector:
    """Who decides among candidates: ``guidance``, or the planner's own draw."""
    if guidance is None or not (training or guidance.decides):
        return PlannerSelector(seed)
    return guidance.selector(seed, training=training)


class GuidanceLearning(PeriodicCallback):
    """Teaches the critic from the episodes that end, between rollouts, and logs ``guidance/``.

    Logged are what the critic knows, see :meth:`.SubgoalCritic.fit`; ``kl`` (of the choice to the
    planner), ``advantage``, ``requeries`` per choice and the share ``overruled`` (not the planner's
    likeliest); ``seconds`` that the critic has taken so far; and as text ``proposals``, the last
    proposals that were questioned.

    Args:
        guidance: what learns.
        env: trained in.
        every: environment steps between two log points.
    """

    def __init__(self, guidance: SubgoalGuidance, env: HierarchicalVecEnv, every: int):
        super().__init__(every)
        self.guidance = guidance
        self.seconds = 0.0
        self._report: dict[str, float] = {}
        self._records: list[SubgoalRecord] = []
        self._episodes = [list[Step]() for _ in range(env.num_envs)]

    def _on_step(self) -> bool:
        for i, info in enumerate(self.locals["infos"]):
            if "subgoal" in info:
                self._take(i, info["subgoal"])
        return True

    def _take(self, i: int, record: SubgoalRecord) -> None:
        self._records.append(record)
        step = step_of(record.decision, record.reward, record.discount)
        if step is not None:
            self._episodes[i].append(step)
        if record.terminal:
            if self._episodes[i]:
                self.guidance.critic.add(self._episodes[i], half=half_of(i, record.episode))
            self._episodes[i] = []

    def _on_rollout_end(self) -> None:
        started = time.perf_counter()
        self._report = self.guidance.critic.fit() or self._report
        self.seconds += time.perf_counter() - started
        if self.due():
            self._log()
            self._records = []

    def _log(self) -> None:
        for name, value in self._report.items():
            self.logger.record(f"guidance/critic_{name}", value)
        self.logger.record("guidance/seconds", self.seconds)
        decided = [r.decision for r in self._records if r.decision.advantages is not None]
        if not decided:
            return
        for name, values in (
            ("kl", [d.kl for d in decided]),
            ("advantage", [d.advantage for d in decided]),
            ("requeries", [len(d.proposals) - 1 for d in decided]),
            ("overruled", [d.choice != int(np.argmax(d.log_probs)) for d in decided]),
        ):
            self.logger.record(f"guidance/{name}", float(np.mean(values)))
        questioned = [r for r in self._records if len(r.decision.proposals) > 1]
        if questioned:
            self.logger.record(
                "guidance/proposals", proposals_as_text(questioned[-5:]), TENSORBOARD_ONLY
            )


def step_of(decision: Decision, reward: float, discount: float) -> Step | None:
    """A closed subgoal for the critic; ``None`` if the decision was made without one.

    Args:
        decision: with which it was chosen.
        reward, discount: see :class:`.Step`.
    """
    if decision.features is None or decision.policy is None:
        return None
    chosen = centered(decision.features.candidates, decision.policy)[decision.choice]
    return Step(chosen.astype(np.float32), decision.features.state, reward, discount)


def proposals_as_text(records: list[SubgoalRecord]) -> str:
    """Proposals and their advantages as Markdown, for TensorBoard's text tab."""
    parts = []
    for record in records:
        lines = [
            f"{k}. {subgoal} (advantage {gain:+.3f})"
            for k, (subgoal, gain) in enumerate(record.decision.proposals, start=1)
        ]
        pursued = f"pursued: **{record.subgoal}**, {record.duration} steps, {record.outcome}"
        parts.append("\n".join([*lines, "", pursued]))
    return "\n\n---\n\n".join(parts)
