"""Training a planner on demonstrations: the expert's answer in a closed set, and values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hier.planners.pretraining.examples import TASKS, Batch
from hier.planners.pretraining.muon import Muon
from hier.planners.pretraining.sight import MapReader

_EMBEDDINGS = re.compile(r"embed|lm_head")  # matrices for which Muon is not meant


@dataclass(eq=False, repr=False)
class Learner:
    """A model being trained, with its optimizers: Muon for matrices, AdamW for the rest.

    An example's loss is the cross-entropy of the expert's answer under the softmax over the closed
    set of log p(answer | prompt), which is what :class:`.LanguagePlanner` answers;
    plus ``word_weight`` times the mean over the answer's tokens of -log p(token | before), which
    keeps the model able to generate its answers; plus, for subgoals, ``value_weight`` times the
    squared error of the value head at the end of the question; plus, where pictures are maps,
    ``sight_weight`` times the map reader's loss. The loss of a scene is the mean over its tokens
    only, and in the first ``sight_steps`` the map reader's loss is the only one.

    Args:
        network: a LLaVA, in ``train`` mode afterward.
        value_head: linear, from the prompt's last hidden state to one number.
        reader: trains the vision encoder; ``None`` where pictures are not maps, and then
            ``sight_steps`` must be 0.
        steps: gradient steps in all; the learning rate rises over the first 2 % and then falls to
            zero along a cosine, once for the steps of sight and once for the others.
        sight_steps: first gradient steps, see above.
        learning_rate: highest learning rate of the schedule.
        weight_decay: of both optimizers.
        word_weight, value_weight, sight_weight: weights in the loss, see above.
    """

    network: Any
    value_head: nn.Linear
    reader: MapReader | None
    _: KW_ONLY
    steps: int
    sight_steps: int
    learning_rate: float
    weight_decay: float = 0.01
    word_weight: float = 0.2
    value_weight: float = 0.5
    sight_weight: float = 0.5

    def __post_init__(self) -> None:
        assert self.reader is not None or not self.sight_steps
        self.network.train()
        parts = (self.network, self.value_head, self.reader)
        self._parts = [part for part in parts if part is not None]
        self.parameters = [weight for part in self._parts for weight in part.parameters()]
        hidden = [
            weight
            for name, weight in self.network.named_parameters()
            if weight.ndim == 2 and not _EMBEDDINGS.search(name)
        ]
        muon = {id(weight) for weight in hidden}
        others = [weight for weight in self.parameters if id(weight) not in muon]
        self._optimizers: list[torch.optim.Optimizer] = [
            Muon(hidden, self.learning_rate, self.weight_decay),
            torch.optim.AdamW(
                others, self.learning_rate, betas=(0.9, 0.98), weight_decay=self.weight_decay
            ),
        ]

        def factor(step: int) -> float:
            if step < self.sight_steps:
                return _up_and_down(step, self.sight_steps)
            return _up_and_down(step - self.sight_steps, self.steps - self.sight_steps)

        self._schedules = [
            torch.optim.lr_scheduler.LambdaLR(optimizer, factor) for optimizer in self._optimizers
        ]
        self.steps_done = 0

    def step(self, batch: Batch) -> dict[str, float]:
        """One gradient step; the losses by name, ``loss`` and one per task, value and sight."""
        if self.steps_done < self.sight_steps:
            loss, report = self._sight(batch)
        else:
            loss, report = self._answers(batch)
        for part in self._parts:
            part.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, 1.0)
        report |= {"loss": float(loss.detach()), "gradient_norm": float(norm)}
        report["learning_rate"] = float(self._schedules[0].get_last_lr()[0])
        for optimizer, schedule in zip(self._optimizers, self._schedules, strict=True):
            optimizer.step()
            schedule.step()
        self.steps_done += 1
        return report

    def _sight(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        assert self.reader is not None and batch.codes is not None
        seen = self.network.model.get_image_features(pixel_values=batch.pixels).pooler_output
        loss = self.reader.loss(torch.stack(seen), batch.codes, self._embeddings)
        return loss, {"loss_sight": float(loss.detach())}

    def _answers(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        output = self.network.model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=batch.positions,
            pixel_values=batch.pixels,
        )
        hidden = output.last_hidden_state
        asked = hidden[torch.arange(len(hidden)), batch.last]
        choice, words = self._losses(asked, hidden[:, int(batch.last.max()) + 1 :], batch)
        is_scene = batch.task == TASKS.index("scene")
        losses = torch.where(is_scene, words, choice + self.word_weight * words)
        loss = losses.mean()
        report = {
            f"loss_{name}": float(losses[batch.task == i].mean().detach())
            for i, name in enumerate(TASKS)
            if (batch.task == i).any()
        }
        known = (batch.task == TASKS.index("subgoal")) & ~batch.value.isnan()
        if known.any():
            values = self.value_head(asked[known]).squeeze(-1)
            error = functional.mse_loss(values, batch.value[known])
            loss = loss + self.value_weight * error
            report["loss_value"] = float(error.detach())
        if self.reader is None or batch.codes is None:
            return loss, report
        seen = output.image_hidden_states.unflatten(0, (len(hidden), -1))
        sight = self.reader.loss(seen, batch.codes, self._embeddings)
        report["loss_sight"] = float(sight.detach())
        return loss + self.sight_weight * sight, report

    @property
    def _embeddings(self) -> Tensor:
        return self.network.get_input_embeddings().weight

    def _losses(self, asked: Tensor, fed: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Per example: cross-entropy over its answers, and mean over the expert's tokens."""
        # Log-probability of every answer: the sum over the edges of its trie.
        nodes = torch.cat([asked[:, None], fed], dim=1)
        log_probs = self.network.lm_head(nodes).log_softmax(dim=-1)
        row, source, token = batch.edges
        answer, edge = batch.steps
        n = int(batch.counts.sum())
        totals = log_probs.new_zeros(n).index_add(0, answer, log_probs[row, source, token][edge])
        # One row per example, padded with answers of probability zero.
        first = batch.counts.cumsum(0) - batch.counts
        right = first + batch.right
        tokens = torch.bincount(answer, minlength=n)
        place = torch.arange(int(batch.counts.max()))
        there = place < batch.counts[:, None]
        sets = totals[(first[:, None] + place).clamp(max=n - 1)].masked_fill(~there, -torch.inf)
        return sets.logsumexp(dim=1) - totals[right], -totals[right] / tokens[right]

    def state_dict(self) -> dict[str, Any]:
        """The state that training resumes from."""
        return {
            "network": self.network.state_dict(),
            "value_head": self.value_head.state_dict(),
            "reader": {} if self.reader is None else self.reader.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "schedules": [schedule.state_dict() for schedule in self._schedules],
            "steps_done": self.steps_done,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from the state of :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.value_head.load_state_dict(state["value_head"])
        if self.reader is not None:
            self.reader.load_state_dict(state["reader"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for schedule, saved in zip(self._schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)
        self.steps_done = state["steps_done"]


def _up_and_down(step: int, steps: int) -> float:
    warm = max(1, steps // 50)
    return min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps)))
