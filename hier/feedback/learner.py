"""Gradient on the planner from the lessons of its student."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from envs.errors import ConfigError, UserError
from hier.feedback.lessons import Lesson
from hier.feedback.objectives import InverseRL, Lessons, Objective, kl_to_reference
from planners.language import LanguagePlanner
from planners.prompts import Prompt


class FeedbackError(UserError, RuntimeError):
    """The planner could not learn; it is as it was before."""


class PlannerLearner:
    """Fine-tunes a planner: all weights of a small one, the LoRA adapter of a large one.

    Each update descends on ``objective + kl_coef KL(p ‖ p_ref)``, with the planner as it was at the
    start as the reference. The value head is left alone.

    Args:
        planner: learns; its version goes up with each call of :meth:`learn`.
        objective: what is made of the lessons.
        kl_coef: weight of the KL, per nat.
        learning_rate: of AdamW.
        batch_size: lessons per update.
        max_grad_norm: gradients are scaled down to this norm.
        seed: of the draws.
        appeal: a discriminator: per lesson its logit for each candidate; ``inverse_rl`` needs one.

    Raises:
        ConfigError: for ``inverse_rl`` without ``appeal``.
    """

    def __init__(
        self,
        planner: LanguagePlanner,
        objective: Objective,
        *,
        kl_coef: float = 0.1,
        learning_rate: float = 1e-4,
        batch_size: int = 32,
        max_grad_norm: float = 1.0,
        seed: int = 0,
        appeal: Callable[[Sequence[Lesson]], Sequence[Tensor]] | None = None,
    ):
        if isinstance(objective, InverseRL) and appeal is None:
            raise ConfigError("the objective inverse_rl learns from a discriminator; give appeal")
        self.planner, self.objective, self._appeal = planner, objective, appeal
        self.kl_coef, self.batch_size, self.max_grad_norm = kl_coef, batch_size, max_grad_norm
        model = planner.loaded
        model.keep_reference()
        if not model.adapted:
            model.network.requires_grad_(True)
        self._weights = [w for w in model.module.parameters() if w.requires_grad]
        self.optimizer = torch.optim.AdamW(self._weights, learning_rate, weight_decay=0.0)
        self._rng = np.random.default_rng(seed)

    def learn(self, lessons: Sequence[Lesson], updates: int) -> dict[str, float]:
        """Updates on batches drawn evenly.

        Args:
            lessons: at least one.
            updates: how many.

        Returns:
            Means over the updates: ``loss`` of the objective, ``kl`` to the reference in nats,
            ``grad_norm`` before clipping, ``entropy`` over the candidates.

        Raises:
            FeedbackError: if a loss or gradient is not finite; the planner is then as it was.
        """
        before = [weight.detach().clone() for weight in self._weights]
        reports: list[dict[str, float]] = []
        for _ in range(updates):
            which = self._rng.integers(len(lessons), size=self.batch_size)
            report = self._update([lessons[i] for i in which])
            if report is None:
                with torch.no_grad():
                    for weight, old in zip(self._weights, before, strict=True):
                        weight.copy_(old)
                self.optimizer.state.clear()
                name = type(self.objective).__name__
                raise FeedbackError(
                    f"{name}'s loss became infinite or NaN after {len(reports)} updates; the "
                    "planner is as it was before them. Lower the learning rate, or raise kl_coef"
                )
            reports.append(report)
        if updates:
            self.planner.version += 1  # what it said before is void
        return {key: float(np.mean([r[key] for r in reports])) for key in (reports or [{}])[0]}

    def _update(self, lessons: Sequence[Lesson]) -> dict[str, float] | None:
        batch = self.batch(lessons)
        loss, kl = self.objective.loss(batch), kl_to_reference(batch)
        self.optimizer.zero_grad()
        (loss + self.kl_coef * kl).backward()
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self.max_grad_norm)
        if not math.isfinite(float(loss.detach()) + float(kl.detach()) + float(norm)):
            return None
        self.optimizer.step()
        p = batch.log_probs.detach().exp()
        entropy = -torch.where(p > 0, p * batch.log_probs.detach(), 0.0).sum(dim=1).mean()
        return {
            "loss": float(loss.detach()),
            "kl": float(kl.detach()),
            "grad_norm": float(norm),
            "entropy": float(entropy),
        }

    def batch(self, lessons: Sequence[Lesson]) -> Lessons:
        """The lessons under the planner as it is now, with a graph."""
        prompts = [lesson.prompt for lesson in lessons]
        answers = [self.planner.answers_of(lesson.candidates) for lesson in lessons]
        log_probs = self._log_probs(prompts, answers, grad=True)
        with self.planner.loaded.reference() as network:
            reference = self._log_probs(prompts, answers, network=network)
        place = log_probs.device
        rivals = []
        for row, lesson in zip(log_probs.detach().tolist(), lessons, strict=True):
            others = [i for i in range(len(lesson.candidates)) if i != lesson.choice]
            rivals.append(max(others, key=row.__getitem__, default=lesson.choice))

        def tensor(values: Sequence[Any], dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=place)

        returned = np.array([lesson.returned for lesson in lessons])
        advantage = np.array([lesson.advantage for lesson in lessons])
        # Without a critic the mean return is the baseline.
        advantage = np.where(np.isnan(advantage), returned - returned.mean(), advantage)
        levels = {level: k for k, level in enumerate(dict.fromkeys(one.level for one in lessons))}
        return Lessons(
            log_probs=log_probs,
            reference=reference,
            choice=tensor([lesson.choice for lesson in lessons], torch.int64),
            behaviour=tensor([lesson.behaviour for lesson in lessons]),
            advantage=tensor(advantage.tolist()),
            outcome=tensor(returned.tolist()),
            group=tensor([levels[lesson.level] for lesson in lessons], torch.int64),
            rival=tensor(rivals, torch.int64),
            appeal=torch.zeros_like(reference)
            if self._appeal is None
            else pad_sequence(list(self._appeal(lessons)), batch_first=True).to(place),
        )

    def _log_probs(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[tuple[tuple[int, ...], ...]],
        *,
        grad: bool = False,
        network: Any = None,
    ) -> Tensor:
        scores = self.planner.candidate_scores(prompts, answers, grad=grad, network=network)
        rows = [
            torch.log_softmax(row.float() / self.planner.temperature, dim=0)
            for row in scores.log_probs
        ]
        return pad_sequence(rows, batch_first=True, padding_value=-math.inf)
