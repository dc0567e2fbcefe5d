"""Guidance of the choice among subgoals, over the life of a run."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hier.config import HierConfig
from hier.controllers.callbacks import PeriodicCallback
from hier.controllers.checkpoint import add_member, read_member
from hier.controllers.logs import TENSORBOARD_ONLY
from hier.envs.errors import RunFolderError
from hier.guidance.critic import SubgoalCritic, Transition
from hier.guidance.lookahead import LookAhead
from hier.guidance.selector import GuidedSelector, Requery
from hier.guidance.soft_choice import GuidanceBandit, PriorSmoothing, Temperature, smoothed_prior
from hier.hierarchy.records import SubgoalRecord, discounted_returns
from hier.hierarchy.selection import PlannerSelector, SubgoalSelector
from hier.hierarchy.vec_env import HierarchicalVecEnv

if TYPE_CHECKING:
    from hier.run.folder import RunFolder

MEMBER = "guidance.pt"  # in a checkpoint, beside SB3's own files


class SubgoalGuidance:
    """What a run's choices among subgoals are guided by: critic and temperature.

    Args:
        config: of the run; guidance or feedback needs a critic.
    """

    def __init__(self, config: HierConfig):
        settings = config.guidance
        # The other two keys are about returns and about when to learn.
        critic = settings.critic.model_dump(exclude={"gamma", "updates"})
        sizes = config.domain.critic_state_sizes()
        self.critic = SubgoalCritic(*sizes, seed=config.seed, **critic)
        # ReAd alone leaves the first proposal to the planner.
        fixed = settings.soft_choice == "none"
        self.temperature = Temperature(
            "fixed" if fixed else settings.soft_choice,
            math.inf if fixed else settings.kl_coef,
            end=settings.kl_coef_end,
            steps=settings.kl_coef_steps,
            target_kl=settings.target_kl,
        )
        self.doubt = PriorSmoothing(settings.doubt, settings.doubt_again)
        self.requery = Requery(settings.requery_rounds, settings.advantage_threshold)
        tested = settings.trust == "tested" and self.decides
        self.trust = GuidanceBandit(config.seed) if tested else None
        self.lookahead = LookAhead(config.guidance.critic.gamma) if settings.looks_ahead else None

    @property
    def decides(self) -> bool:
        """Whether it takes part in choices; otherwise it only values them, for feedback."""
        return not math.isinf(self.temperature.value) or self.requery.rounds > 0

    def selector(self, seed: int, *, training: bool) -> SubgoalSelector:
        """Who decides among candidates; only in training does it move a tuned temperature."""
        guides = None
        if self.trust is not None:
            guides = self.trust.draw if training else self.trust.best
        return GuidedSelector(
            self.critic,
            self.temperature,
            self.requery,
            self.doubt,
            seed=seed,
            tune=training,
            lookahead=self.lookahead,
            guides=guides,
        )

    def save(self, run: RunFolder, checkpoint: Path) -> None:
        """Add what was learned to a controller's checkpoint."""
        state = {
            "critic": self.critic.state_dict(),
            "kl_coef": self.temperature.value,
            "success": self.doubt.success,
            "trust": None if self.trust is None else [self.trust.wins, self.trust.losses],
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        add_member(checkpoint, MEMBER, buffer.getvalue())

    def load(self, run: RunFolder, checkpoint: Path) -> None:
        """Go on from :meth:`save`; a checkpoint without it leaves all as it is, with a warning.

        Raises:
            RunFolderError: if it does not fit this configuration.
        """
        content = read_member(checkpoint, MEMBER, "guidance; its critic starts anew")
        if content is None:
            return
        try:
            state = torch.load(io.BytesIO(content), weights_only=True)
            self.critic.load_state_dict(state["critic"])
            self.doubt.success = state["success"]
            if self.trust is not None and state["trust"] is not None:
                self.trust.wins, self.trust.losses = state["trust"]
        except (RuntimeError, KeyError, ValueError) as error:
            raise RunFolderError(
                f"the guidance in {checkpoint} does not fit this configuration ({error}); choose "
                "the domain and guidance.critic it was trained with"
            ) from error
        if not math.isinf(self.temperature.value):
            self.temperature.value = state["kl_coef"]


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
    """Teaches the critic from the subgoals that close, between rollouts, and logs ``guidance/``.

    Logged are the critic's ``critic_loss``, ``critic_value``, ``critic_target``,
    ``critic_spread`` and its calibration, see :meth:`.SubgoalCritic.learn`; ``kl_coef``,
    ``doubt``, ``kl`` (of the choice to the planner), ``advantage``, ``requeries`` per choice and
    the share ``overruled`` (not the planner's likeliest), all of guided choices; the share of those
    as ``guided``, and success of late in guided and other episodes, ``success_guided`` and
    ``success_planner_alone``; and as text ``proposals``, the last proposals
    that were questioned.

    Args:
        guidance: what learns.
        env: trained in.
        updates: gradient steps per closed subgoal.
        every: environment steps between two log points.
    """

    def __init__(
        self, guidance: SubgoalGuidance, env: HierarchicalVecEnv, updates: float, every: int
    ):
        super().__init__(every)
        self.guidance = guidance
        self.env = env
        self.updates = updates
        self._updates_due = 0.0
        self._reports: list[dict[str, float]] = []
        self._records: list[SubgoalRecord] = []
        # Per environment: number, and reward and discount, of the running episode's transitions.
        self._episodes: list[list[tuple[int, tuple[float, float]]]]
        self._episodes = [[] for _ in range(env.num_envs)]

    def _on_step(self) -> bool:
        for i, info in enumerate(self.locals["infos"]):
            if "subgoal" in info:
                self._take(i, info["subgoal"])
            if "episode" in info:
                self._count_episode(info["subgoal"].decision.guided, bool(info["is_success"]))
        return True

    def _count_episode(self, guided: bool, success: bool) -> None:
        # Once episodes are guided, those of the planner alone no longer measure the doubt.
        if guided or not self.guidance.critic.ready:
            self.guidance.doubt.update(success)
        if self.guidance.trust is not None and self.guidance.critic.ready:
            self.guidance.trust.update(guided, success)

    def _take(self, i: int, record: SubgoalRecord) -> None:
        assert record.critic_state is not None
        after = None if record.terminal else self.env.hierarchy.lanes[i].active
        prior = None
        if after is not None and after.decision is not None:
            prior = smoothed_prior(after.decision.log_probs, self.guidance.doubt.share())
        transition = Transition(
            before=record.critic_state,
            choice=record.decision.choice,
            reward=record.reward,
            discount=record.discount,
            duration=record.duration,
            after=after.critic_state if after else None,
            log_probs=prior,
        )
        number = self.guidance.critic.add(transition)
        self._episodes[i].append((number, (record.reward, record.discount)))
        if record.terminal:
            numbers, steps = zip(*self._episodes[i], strict=True)
            for number, followed in zip(numbers, discounted_returns(steps), strict=True):
                self.guidance.critic.note_return(number, followed)
            self._episodes[i] = []
        self._updates_due += self.updates
        self._records.append(record)

    def _on_rollout_end(self) -> None:
        self.guidance.temperature.anneal(self.num_timesteps)
        steps = int(self._updates_due)
        self._updates_due -= steps
        kl_coef = self.guidance.temperature.value
        report = self.guidance.critic.learn(steps, kl_coef)
        if report:
            self._reports.append(report)
        if self.due():
            self._log()
            self._reports, self._records = [], []

    def _log(self) -> None:
        for name in self._reports[0] if self._reports else ():
            mean = np.mean([report[name] for report in self._reports])
            self.logger.record(f"guidance/critic_{name}", mean)
        self.logger.record("guidance/kl_coef", self.guidance.temperature.value)
        self.logger.record("guidance/doubt", self.guidance.doubt.share())
        if self.guidance.trust is not None:
            alone, guided = self.guidance.trust.rates()
            self.logger.record("guidance/success_planner_alone", alone)
            self.logger.record("guidance/success_guided", guided)
            shares = [record.decision.guided for record in self._records]
            self.logger.record("guidance/guided", np.mean(shares) if shares else 0.0)
        decided = [r.decision for r in self._records if r.decision.guided]
        if not decided:
            return
        likeliest = [int(np.argmax(d.log_probs)) for d in decided]
        overruled = [d.choice != best for d, best in zip(decided, likeliest, strict=True)]
        for name, values in (
            ("kl", [d.kl for d in decided]),
            ("advantage", [d.advantage for d in decided]),
            ("requeries", [len(d.proposals) - 1 for d in decided]),
            ("overruled", overruled),
        ):
            self.logger.record(f"guidance/{name}", float(np.mean(values)))
        questioned = [r for r in self._records if len(r.decision.proposals) > 1]
        if questioned:
            self.logger.record(
                "guidance/proposals", proposals_as_text(questioned[-5:]), TENSORBOARD_ONLY
            )


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
