"""Gradient on the planner from the lessons of its student."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hier.config import HierConfig
from hier.envs.errors import ConfigError, UserError
from hier.feedback.anchors import anchors_for
from hier.feedback.discriminator import Discriminator
from hier.feedback.lessons import Lesson
from hier.feedback.objectives import InverseRL, LessonBatch, Objective, kl_to_reference
from hier.feedback.objectives.grpo import relative
from hier.guidance.critic import SubgoalCritic
from hier.planners.language.planner import LanguagePlanner

_FEWER = 4  # lessons to an anchor in a batch: anchors cost as much and say the same each round
_MAX_GRAD_NORM = 1.0  # gradients are scaled down to it


class FeedbackError(UserError, RuntimeError):
    """The planner could not learn; it is as it was before."""


@dataclass(frozen=True, slots=True)
class _Scale:
    """What all lessons of a round say together, for its batches.

    Attributes:
        unit: standard deviation of their returns; advantages are measured in it.
        baseline: mean return by level.
        gain: per lesson, by its ``id``, :attr:`hier.feedback.objectives.LessonBatch.gain`.
    """

    unit: float
    baseline: dict[str, float]
    gain: dict[int, float]

    @classmethod
    def of(cls, lessons: Sequence[Lesson]) -> _Scale:
        by_level = defaultdict(list)
        for one in lessons:
            by_level[one.level].append(one.returned)
        groups = {name: k for k, name in enumerate(dict.fromkeys(_group(one) for one in lessons))}
        gain = relative(
            torch.tensor([one.score for one in lessons]),
            torch.tensor([groups[_group(one)] for one in lessons]),
        )
        return cls(
            unit=max(float(np.std([one.returned for one in lessons])), 1e-3),
            baseline={level: float(np.mean(some)) for level, some in by_level.items()},
            gain={id(one): value for one, value in zip(lessons, gain.tolist(), strict=True)},
        )


def _group(lesson: Lesson) -> str:
    return lesson.group or lesson.level


class PlannerLearner:
    """Fine-tunes a planner: all weights of a small one, the LoRA adapter of a large one.

    Each update descends on ``objective + kl_coef KL(p ‖ p_ref)``, with the planner as it was at the
    start as the reference, and ``+ anchor_coef KL(p_ref ‖ p)`` on anchors, questions whose answers
    are to stay (:mod:`hier.feedback.anchors`). The value head is left alone.

    Advantages come from ``critic``, else from the lessons, else they are the return less its mean
    on the level; all are measured in standard deviations of the lessons' returns, so that the
    coefficients mean the same on every level.

    Under ``accelerate launch`` each process takes its part of every batch and the gradients are
    averaged: the update is that of one process on the whole batch.

    Args:
        planner: learns; after :meth:`learn`, the caller counts a new version of it, see
            :meth:`.LanguagePlanner.weights_changed`.
        objective: what is made of the lessons.
        kl_coef: weight of the KL, per nat.
        learning_rate: of AdamW.
        batch_size: lessons per update, over all processes.
        seed: of the draws.
        critic: values the candidates of lessons that have features.
        discriminator: ``inverse_rl`` needs one.
        anchors: a batch holds one of them for every four lessons; none when empty.
        anchor_coef: weight of their KL, per nat.
        accelerator: a ``accelerate.Accelerator`` where there are several processes.

    Raises:
        ConfigError: for ``inverse_rl`` without a discriminator, or a batch that cannot be shared
            evenly.
    """

    def __init__(
        self,
        planner: LanguagePlanner,
        objective: Objective,
        *,
        kl_coef: float = 0.1,
        learning_rate: float = 1e-4,
        batch_size: int = 32,
        seed: int = 0,
        critic: SubgoalCritic | None = None,
        discriminator: Discriminator | None = None,
        anchors: Sequence[Lesson] = (),
        anchor_coef: float = 1.0,
        accelerator: Any = None,
    ):
        if isinstance(objective, InverseRL) and discriminator is None:
            raise ConfigError(
                "the objective inverse_rl needs a discriminator of states, which stored lessons do "
                "not have; use it in training, or choose awr, archer, grpo or step_dpo"
            )
        self._rank = accelerator.process_index if accelerator else 0
        self._processes = accelerator.num_processes if accelerator else 1
        if batch_size % self._processes:
            raise ConfigError(
                f"feedback.batch_size is {batch_size}, which {self._processes} processes cannot "
                "share evenly; choose a multiple"
            )
        self.planner, self.objective, self.critic = planner, objective, critic
        self.discriminator, self.accelerator = discriminator, accelerator
        self.kl_coef, self.batch_size = kl_coef, batch_size
        self.anchors, self.anchor_coef = anchors, anchor_coef
        model = planner.loaded
        model.keep_reference()
        if not model.adapted:
            model.network.requires_grad_(True)
        self._weights = [w for w in model.module.parameters() if w.requires_grad]
        self.optimizer = torch.optim.AdamW(self._weights, learning_rate, weight_decay=0.0)
        self.draws = np.random.default_rng(seed)

    def learn(self, lessons: Sequence[Lesson], updates: int) -> dict[str, float]:
        """Updates on batches drawn evenly.

        Args:
            lessons: at least one.
            updates: how many.

        Returns:
            Means over the updates: ``loss`` of the objective, ``kl`` to the reference in nats,
            ``grad_norm`` before clipping, ``entropy`` over the candidates; ``drift``, the
            anchors' KL, and ``discriminator_loss`` where there are such.

        Raises:
            FeedbackError: if a loss or gradient is not finite; the planner is then as it was.
        """
        if not updates:
            return {}
        before = self.weights()
        scale = _Scale.of(lessons)
        reports: list[dict[str, float]] = []
        loss = self.discriminator.learn(lessons, updates) if self.discriminator else math.nan
        for _ in range(updates):
            batch = self._batch(self._drawn(lessons, self.batch_size), scale)
            few = max(self.batch_size // _FEWER // self._processes, 1) * self._processes
            report = self._update(batch, self._drawn(self.anchors, few))
            if not np.isfinite(list(report.values())).all():
                self.restore(before)
                name = type(self.objective).__name__
                raise FeedbackError(
                    f"{name}'s loss became infinite or NaN after {len(reports)} updates; the "
                    "planner is as it was before them. Lower the learning rate, or raise kl_coef"
                )
            reports.append(report)
        self.planner.forget_answers()
        means = {key: float(np.mean([r[key] for r in reports])) for key in reports[0]}
        return means if math.isnan(loss) else {**means, "discriminator_loss": loss}

    def weights(self) -> list[Tensor]:
        """A copy of all that learns."""
        return [weight.detach().clone() for weight in self._weights]

    def restore(self, weights: Sequence[Tensor]) -> None:
        """Go back to weights from :meth:`weights`; the optimizer starts anew."""
        with torch.no_grad():
            for weight, old in zip(self._weights, weights, strict=True):
                weight.copy_(old)
        self.optimizer.state.clear()
        self.planner.forget_answers()

    def _drawn(self, lessons: Sequence[Lesson], n: int) -> list[Lesson]:
        """This process's part of ``n`` lessons drawn evenly."""
        if not lessons:
            return []
        which = self.draws.integers(len(lessons), size=n)
        return [lessons[i] for i in which[self._rank :: self._processes]]

    def _update(self, batch: LessonBatch, anchors: Sequence[Lesson]) -> dict[str, float]:
        """One step, unless it would not be finite; what to report of it."""
        loss, kl = self.objective.loss(batch), kl_to_reference(batch)
        terms = {"loss": loss, "kl": kl, "entropy": -batch.mean(batch.log_probs).mean()}
        self.optimizer.zero_grad()
        (loss + self.kl_coef * kl).backward()
        if anchors:
            terms["drift"] = drift = self._drift(anchors)
            (self.anchor_coef * drift).backward()
        values = torch.stack([term.detach() for term in terms.values()])
        if self._processes > 1:
            for weight in self._weights:
                assert weight.grad is not None
                weight.grad = self.accelerator.reduce(weight.grad, "mean")
            values = self.accelerator.reduce(values, "mean")
        norm = float(torch.nn.utils.clip_grad_norm_(self._weights, _MAX_GRAD_NORM))
        report = {**dict(zip(terms, values.tolist(), strict=True)), "grad_norm": norm}
        if np.isfinite(list(report.values())).all():
            self.optimizer.step()
        return report

    def _drift(self, anchors: Sequence[Lesson]) -> Tensor:
        """Mean KL(p_ref ‖ p) over anchors, with a graph."""
        log_probs, reference = self._now_and_first(anchors)
        gap = (reference - log_probs).masked_fill(reference.isinf(), 0.0)
        return (reference.exp() * gap).sum(dim=1).mean()

    def _now_and_first(self, lessons: Sequence[Lesson]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the candidates now, with a graph, and under the reference."""
        log_probs = self._log_probs(lessons, grad=True)
        self._refer([one for one in lessons if one.reference is None])
        kept = [torch.from_numpy(one.reference) for one in lessons]
        reference = pad_sequence(kept, batch_first=True, padding_value=-math.inf)
        return log_probs, reference.to(log_probs)

    def _batch(self, lessons: Sequence[Lesson], scale: _Scale) -> LessonBatch:
        """The lessons under the planner as it is now, with a graph."""
        log_probs, reference = self._now_and_first(lessons)
        # The rival of a choice is the planner's likeliest other candidate.
        now = log_probs.detach().exp().cpu().numpy()
        choice = np.array([one.choice for one in lessons])
        rivals = now.copy()
        rivals[np.arange(len(lessons)), choice] = -1.0
        rival = np.where([len(one.candidates) > 1 for one in lessons], rivals.argmax(1), choice)
        # The critic's advantage over the planner's mean, and its margin over the rival.
        values = self._values(lessons, now) / scale.unit
        mean = (now * np.nan_to_num(values)).sum(axis=1)
        rows = np.arange(len(lessons))
        advantage = values[rows, choice] - mean
        margin = values[rows, choice] - values[rows, rival]
        # Lessons without features keep the advantage that was stored with them.
        stored = np.array([self._stored(one, scale) for one in lessons]) / scale.unit
        known = ~np.isnan(advantage)
        advantage = np.where(known, advantage, stored)

        def tensor(values: NDArray, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=log_probs.device)

        return LessonBatch(
            log_probs=log_probs,
            reference=reference,
            choice=tensor(choice, torch.int64),
            behavior=tensor(np.array([one.behavior for one in lessons])),
            advantage=tensor(advantage),
            gain=tensor(np.array([scale.gain[id(one)] for one in lessons])),
            rival=tensor(rival, torch.int64),
            margin=tensor(np.where(known, margin, stored)),
            values=tensor(np.nan_to_num(values)) if known.all() else None,
            appeal=torch.zeros_like(reference)
            if self.discriminator is None
            else pad_sequence(self.discriminator.logits(lessons), batch_first=True).to(reference),
        )

    def _refer(self, lessons: Sequence[Lesson]) -> None:
        """Give lessons their log-probs under the reference, once each: the reference is frozen."""
        if not lessons:
            return
        with self.planner.loaded.reference() as network:
            found = self._log_probs(lessons, network=network)
        for one, row in zip(lessons, found, strict=True):
            one.reference = row[: len(one.candidates)].cpu().numpy()

    def _values(self, lessons: Sequence[Lesson], now: NDArray[np.floating]) -> NDArray[np.float64]:
        """The critic's advantages above the planner's mean, as far as it has a say.

        They come from the episodes of the other half: a critic that had learned from the lesson's
        own return would find again in it what it has learned from it. NaN where there is no
        candidate or no critic.
        """
        found = np.full(now.shape, np.nan)
        for k, one in enumerate(lessons):
            if self.critic is not None and one.features is not None:
                n = len(one.candidates)
                log_p = np.log(np.maximum(now[k, :n], 1e-30))
                known = self.critic.advantages(one.features.candidates, log_p, half=1 - one.half)
                found[k, :n] = self.critic.say * known.mean
        return found

    @staticmethod
    def _stored(lesson: Lesson, scale: _Scale) -> float:
        if math.isnan(lesson.advantage):
            return lesson.returned - scale.baseline[lesson.level]
        return lesson.advantage

    def _log_probs(
        self, lessons: Sequence[Lesson], *, grad: bool = False, network: Any = None
    ) -> Tensor:
        prompts = [lesson.prompt for lesson in lessons]
        answers = [self.planner.answers_of(lesson.candidates) for lesson in lessons]
        scores = self.planner.candidate_scores(prompts, answers, grad=grad, network=network)
        rows = [
            torch.log_softmax(row.float() / self.planner.temperature, dim=0)
            for row in scores.log_probs
        ]
        return pad_sequence(rows, batch_first=True, padding_value=-math.inf)


def build_learner(
    config: HierConfig, planner: LanguagePlanner, objective: Objective, **parts: Any
) -> PlannerLearner:
    """A learner as ``feedback`` says, with anchors.

    Args:
        config: of the run.
        planner: learns.
        objective: what is made of the lessons.
        parts: further arguments of :class:`PlannerLearner`.
    """
    settings = config.feedback
    return PlannerLearner(
        planner,
        objective,
        kl_coef=settings.kl_coef,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        seed=config.seed,
        anchors=anchors_for(planner, config.env.ids, settings.anchor_levels, settings.anchors),
        anchor_coef=settings.anchor_coef,
        **parts,
    )
