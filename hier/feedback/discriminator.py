"""StepAgent's discriminator: which subgoals look like those of successful episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hier.envs.domain import CriticState
from hier.feedback.lessons import Lesson
from hier.feedback.objectives.inverse_rl import discriminator_loss
from hier.guidance.critic import SubgoalQ, as_tensors
from hier.hierarchy.selection import draw


class Discriminator:
    """Tells subgoals pursued in successful episodes from the planner's own draws.

    Its logit is the reward of :class:`hier.feedback.objectives.InverseRL` (arXiv 2411.03817, GAIL
    1606.03476). It sees what the critic sees and is built like it.

    Args:
        sizes: of the critic state, :meth:`hier.envs.domain.Domain.critic_state_sizes`.
        learning_rate: of Adam.
        batch_size: subgoals of each side per update.
        seed: of weights and draws.
    """

    def __init__(
        self,
        sizes: tuple[int, int, int],
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        seed: int = 0,
    ):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SubgoalQ(*sizes)
        self.optimizer = torch.optim.Adam(self.network.parameters(), learning_rate)
        self.batch_size = batch_size
        self._rng = np.random.default_rng(seed)

    def learn(self, lessons: Sequence[Lesson], updates: int) -> float:
        """Updates on lessons with an critic state; the mean loss, log 2 where both sides are alike.

        Nothing is learned, and the answer is NaN, while no episode has succeeded.
        """
        good = [one for one in lessons if one.success]
        if not good:
            return float("nan")
        losses = []
        for _ in range(updates):
            successful = self._some(good)
            own = self._some(lessons)
            drawn = [draw(np.array(one.log_probs), self._rng) for one in own]
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
        found = self._logits([_critic_state(one) for one in lessons])
        return [row[: len(one.candidates)] for row, one in zip(found, lessons, strict=True)]

    def _logits_of(self, lessons: Sequence[Lesson], choices: Sequence[int]) -> Tensor:
        chosen = []
        for one, choice in zip(lessons, choices, strict=True):
            critic_state = _critic_state(one)
            chosen.append(
                critic_state._replace(subgoals=critic_state.subgoals[choice : choice + 1])
            )
        return self._logits(chosen)[:, 0]

    def _logits(self, critic_states: Sequence[CriticState]) -> Tensor:
        return self.network(*as_tensors(critic_states)).mean(dim=0)

    def _some(self, lessons: Sequence[Lesson]) -> list[Lesson]:
        return [lessons[i] for i in self._rng.integers(len(lessons), size=self.batch_size)]


def _critic_state(lesson: Lesson) -> CriticState:
    assert lesson.critic_state is not None
    return lesson.critic_state
