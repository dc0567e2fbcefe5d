"""StepAgent's discriminator: which subgoals look like those of successful episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hier.feedback.lessons import Lesson
from hier.feedback.objectives.inverse_rl import discriminator_loss
from hier.guidance.critic import Features
from hier.planners.protocol import draw


class Discriminator:
    """Tells subgoals pursued in successful episodes from the planner's own draws.

    Its logit is the reward of :class:`hier.feedback.objectives.InverseRL` (arXiv 2411.03817, GAIL
    1606.03476). It sees what the critic sees, through one hidden layer.

    Args:
        learning_rate: of Adam.
        batch_size: subgoals of each side per update.
        seed: of weights and draws.
    """

    def __init__(self, *, learning_rate: float = 1e-3, batch_size: int = 128, seed: int = 0):
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.network: nn.Module | None = None
        self._seed = seed
        self.draws = np.random.default_rng(seed)

    def build(self, width: int) -> nn.Module:
        """A new network for candidates and states of ``width`` numbers together."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self.network = nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 1)
            )
        self.optimizer = torch.optim.Adam(self.network.parameters(), self.learning_rate)
        return self.network

    def learn(self, lessons: Sequence[Lesson], updates: int) -> float:
        """Updates on lessons with features; the mean loss, log 2 where both sides are alike.

        Nothing is learned, and the answer is NaN, while no episode has succeeded.
        """
        good = [one for one in lessons if one.success]
        if not good:
            return float("nan")
        losses = []
        for _ in range(updates):
            successful = self._some(good)
            own = self._some(lessons)
            drawn = [draw(np.array(one.log_probs), self.draws) for one in own]
            loss = discriminator_loss(
                self._logits_of(successful, [one.choice for one in successful]),
                self._logits_of(own, drawn),
            )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    @torch.no_grad()
    def logits(self, lessons: Sequence[Lesson]) -> list[Tensor]:
        """Per lesson ``(n_candidates,)``, positive for what looks successful."""
        found = self._logits([_features(one) for one in lessons])
        return [row[: len(one.candidates)] for row, one in zip(found, lessons, strict=True)]

    def _logits_of(self, lessons: Sequence[Lesson], choices: Sequence[int]) -> Tensor:
        chosen = [
            Features(features.candidates[choice : choice + 1], features.state)
            for features, choice in zip(map(_features, lessons), choices, strict=True)
        ]
        return self._logits(chosen)[:, 0]

    def _logits(self, seen: Sequence[Features]) -> Tensor:
        """``(B, most candidates)``."""
        rows = [
            torch.from_numpy(
                np.hstack([one.candidates, np.tile(one.state, (len(one.candidates), 1))])
            )
            for one in seen
        ]
        network = self.build(rows[0].shape[1]) if self.network is None else self.network
        return network(pad_sequence(rows, batch_first=True)).squeeze(-1)

    def _some(self, lessons: Sequence[Lesson]) -> list[Lesson]:
        return [lessons[i] for i in self.draws.integers(len(lessons), size=self.batch_size)]


def _features(lesson: Lesson) -> Features:
    assert lesson.features is not None
    return lesson.features
