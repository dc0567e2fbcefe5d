"""The critic of subgoals: a twin SMDP Q-function, learned off-policy from subgoal records.

A subgoal g chosen in state s lasts τ steps, earns ``R = Σ_{i<τ} γ^i r_i`` and ends in s'. Its
target is ``y = R + γ^τ (1 - done) V̄(s')`` with LINVIT's soft value V̄ over the planner's
distribution in s' (:mod:`.soft_choice`), under the smaller of two Polyak-averaged twins (Sutton et
al. 1999; Fujimoto et al. 2018; arXiv 2402.16181). Once the episode is over, part of the target may
be the return that followed instead, ``(1 - η) y + η G`` (mixed Monte Carlo, arXiv 1703.01310):
where success is rare, values that are learned from values alone may settle far above any return.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hier.envs.domain import CRITIC_VIEW, CriticState
from hier.envs.errors import NotFiniteError
from hier.guidance.soft_choice import soft_value

MAX_CANDIDATES = 32  # of the next state's, the likeliest; more would be most of the buffer


class SubgoalQ(nn.Module):
    """Two estimates of Q(s, g) for the candidates of a state.

    The map is read by two convolutions; each candidate, with the mission, scales and shifts what
    they find (FiLM, arXiv 1709.07871). The twins share that and have heads of their own.

    Args:
        n_codes, n_words: sizes of the vocabularies of map and mission.
        subgoal_size: width of a candidate's vector.
        channels: width of the convolutions.
        hidden: width of each head's hidden layer.
    """

    def __init__(
        self, n_codes: int, n_words: int, subgoal_size: int, channels: int = 32, hidden: int = 128
    ):
        super().__init__()
        self.cells = nn.Embedding(n_codes, 16)
        self.near = nn.Conv2d(16, channels, 3, stride=3)
        self.far = nn.Conv2d(channels, channels, 3)
        self.mission = nn.EmbeddingBag(n_words, channels, mode="mean", padding_idx=0)
        aim = subgoal_size + channels
        seen = channels * (CRITIC_VIEW // 3 - 2) ** 2  # after both convolutions
        self.condition = nn.Linear(aim, 2 * channels)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(seen + aim, hidden), nn.ReLU(), nn.Linear(hidden, 1))
            for _ in "12"
        )

    def forward(self, map_: Tensor, mission: Tensor, subgoals: Tensor) -> Tensor:
        """Values in units of discounted environment reward.

        Args:
            map_: ``(B, CRITIC_VIEW, CRITIC_VIEW)`` int64 codes.
            mission: ``(B, L)`` int64 word ids.
            subgoals: ``(B, n, k)`` float32.

        Returns:
            ``(2, B, n)`` float32.
        """
        b, n, _ = subgoals.shape
        x = torch.relu(self.near(self.cells(map_).permute(0, 3, 1, 2)))
        x = self.far(x)
        words = self.mission(mission)[:, None].expand(b, n, -1)
        aim = torch.cat([subgoals, words], dim=-1)
        scale, shift = self.condition(aim)[..., None, None].chunk(2, dim=2)
        x = torch.relu(x[:, None] * (1 + scale) + shift).flatten(2)
        x = torch.cat([x, aim], dim=-1)
        return torch.stack([head(x).squeeze(-1) for head in self.heads])


def as_tensors(critic_states: Sequence[CriticState]) -> tuple[Tensor, Tensor, Tensor]:
    """Map, mission and candidates for :class:`SubgoalQ`; states with fewer are filled with 0."""
    most = max(len(o.subgoals) for o in critic_states)
    subgoals = np.zeros((len(critic_states), most, critic_states[0].subgoals.shape[1]), np.float32)
    for row, critic_state in zip(subgoals, critic_states, strict=True):
        row[: len(critic_state.subgoals)] = critic_state.subgoals
    return (
        torch.from_numpy(np.stack([o.map for o in critic_states]).astype(np.int64)),
        torch.from_numpy(np.stack([o.mission for o in critic_states]).astype(np.int64)),
        torch.from_numpy(subgoals),
    )


@dataclass(frozen=True, slots=True)
class Transition:
    """One closed subgoal and what came after it.

    Attributes:
        before: the state in which it was chosen.
        choice: index of the subgoal among ``before``'s candidates.
        reward: R, discounted environment reward over its steps.
        discount: γ^τ, 0 if the episode ended with it.
        after: the state in which the next one was chosen; ``None`` at an episode's end.
        log_probs: the prior there, over ``after``'s candidates.
        duration: τ, environment steps.
    """

    before: CriticState
    choice: int
    reward: float
    discount: float
    after: CriticState | None = None
    log_probs: NDArray[np.floating] | None = None
    duration: int = 1


class TransitionBuffer:
    """The newest transitions, drawn evenly.

    Args:
        capacity: how many are kept.
        like: any state, for the sizes.
    """

    def __init__(self, capacity: int, like: CriticState):
        k = like.subgoals.shape[1]
        self.capacity, self.added = capacity, 0
        self._map = np.zeros((capacity, 2, *like.map.shape), np.uint8)
        self._mission = np.zeros((capacity, *like.mission.shape), np.int16)
        self._subgoal = np.zeros((capacity, 1, k), np.float32)
        self._next = np.zeros((capacity, MAX_CANDIDATES, k), np.float16)
        self._log_probs = np.full((capacity, MAX_CANDIDATES), -np.inf, np.float32)
        self._reward = np.zeros(capacity, np.float32)
        self._discount = np.zeros(capacity, np.float32)
        self._followed = np.full(capacity, np.nan, np.float32)

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, t: Transition) -> None:
        """Keep one more; the oldest goes when there is no room."""
        i = self.added % self.capacity
        self._followed[i] = np.nan
        self.added += 1
        self._map[i, 0] = t.before.map
        self._mission[i] = t.before.mission
        self._subgoal[i, 0] = t.before.subgoals[t.choice]
        self._reward[i], self._discount[i] = t.reward, t.discount
        self._log_probs[i] = -np.inf
        if t.after is None or t.log_probs is None:
            self._log_probs[i, 0] = 0.0  # a value that a discount of 0 leaves out
            return
        likely = np.argsort(-t.log_probs)[:MAX_CANDIDATES]
        self._map[i, 1] = t.after.map
        self._next[i, : len(likely)] = t.after.subgoals[likely]
        self._log_probs[i, : len(likely)] = t.log_probs[likely]

    def note_return(self, number: int, followed: float) -> None:
        """Keep the return that followed the ``number``-th transition added, unless that is gone."""
        if number >= self.added - self.capacity:
            self._followed[number % self.capacity] = followed

    def sample(self, n: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """``n`` transitions drawn with replacement, as tensors by name."""
        i = rng.integers(len(self), size=n)
        most = int(np.isfinite(self._log_probs[i]).sum(axis=1).max())
        return {
            "map": torch.from_numpy(self._map[i].astype(np.int64)),
            "mission": torch.from_numpy(self._mission[i].astype(np.int64)),
            "subgoal": torch.from_numpy(self._subgoal[i]),
            "next": torch.from_numpy(self._next[i, :most].astype(np.float32)),
            "log_probs": torch.from_numpy(self._log_probs[i, :most]),
            "reward": torch.from_numpy(self._reward[i]),
            "discount": torch.from_numpy(self._discount[i]),
            "followed": torch.from_numpy(self._followed[i]),
        }


class SubgoalCritic:
    """The twins, their Polyak-averaged copies, their optimizer and their data.

    Args:
        n_codes, n_words, subgoal_size: see :class:`SubgoalQ`.
        learning_rate: of Adam.
        polyak: share of the twins that goes into their copies at each update.
        optimism: how many half-differences of the twins are added to the mean when choosing
            (-1 takes the smaller, 0 their mean, +1 the larger); targets take the smaller.
        monte_carlo: η, share of the return in the targets of transitions whose episode is over.
        capacity: transitions kept.
        batch_size: of an update.
        warmup: environment steps, over all transitions, before the critic takes part in choices.
        warmup_rewards: transitions with reward, after which it has it sooner.
        seed: of weights and draws.
    """

    def __init__(
        self,
        n_codes: int,
        n_words: int,
        subgoal_size: int,
        *,
        learning_rate: float = 1e-3,
        polyak: float = 0.01,
        optimism: float = -1.0,
        monte_carlo: float = 0.0,
        capacity: int = 20_000,
        batch_size: int = 64,
        warmup: int = 30_000,
        warmup_rewards: int = 30,
        seed: int = 0,
    ):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.twins = SubgoalQ(n_codes, n_words, subgoal_size)
            self.copies = SubgoalQ(n_codes, n_words, subgoal_size)
        self.copies.load_state_dict(self.twins.state_dict())
        self.copies.requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.twins.parameters(), learning_rate, fused=True)
        self.polyak, self.optimism, self.monte_carlo = polyak, optimism, monte_carlo
        self.capacity, self.batch_size = capacity, batch_size
        self.warmup, self.warmup_rewards = warmup, warmup_rewards
        self.buffer: TransitionBuffer | None = None
        self.steps = self.rewarded = self.updates = 0
        self._rng = np.random.default_rng(seed)

    @property
    def ready(self) -> bool:
        """Whether it has learned enough to take part in choices."""
        warm = self.steps >= self.warmup or self.rewarded >= self.warmup_rewards
        return warm and self.updates > 0

    @torch.no_grad()
    def values(self, critic_states: Sequence[CriticState]) -> list[NDArray[np.float32]]:
        """Q̂ of every candidate, ``(n_i,)`` float32 for each state.

        All candidates of all states go through the twins in one pass.
        """
        one, two = self.twins(*as_tensors(critic_states))
        found = ((one + two) / 2 + self.optimism * (one - two).abs() / 2).numpy()
        return [row[: len(o.subgoals)] for row, o in zip(found, critic_states, strict=True)]

    def add(self, transition: Transition) -> int:
        """Learn from one more transition, from now on; its number, for :meth:`note_return`."""
        if self.buffer is None:
            self.buffer = TransitionBuffer(self.capacity, transition.before)
        self.buffer.add(transition)
        self.steps += transition.duration
        self.rewarded += transition.reward != 0
        return self.buffer.added - 1

    def note_return(self, number: int, followed: float) -> None:
        """Tell it the discounted return from the ``number``-th transition to its episode's end."""
        assert self.buffer is not None
        self.buffer.note_return(number, followed)

    def learn(self, updates: int, kl_coef: float) -> dict[str, float]:
        """Gradient steps on what was seen; nothing while there is less than a batch.

        Args:
            updates: how many.
            kl_coef: λ of the soft value in the targets.

        Returns:
            Means over the updates by name: ``loss``, ``value``, ``target``; ``spread``, half the
            mean difference of the twins; and for the calibration ``bias``, mean of value less
            target, and ``explained``, the share of the targets' variance that the values explain.
        """
        if self.buffer is None or len(self.buffer) < self.batch_size or not updates:
            return {}
        reports = [
            self._update(self.buffer.sample(self.batch_size, self._rng), kl_coef)
            for _ in range(updates)
        ]
        return {name: float(np.mean([r[name] for r in reports])) for name in reports[0]}

    def _update(self, batch: dict[str, Tensor], kl_coef: float) -> dict[str, float]:
        before, after = batch["map"].unbind(dim=1)
        with torch.no_grad():
            later = self.copies(after, batch["mission"], batch["next"]).numpy()
            value = soft_value(batch["log_probs"].numpy(), later, kl_coef).min(axis=0)
            target = batch["reward"] + batch["discount"] * torch.from_numpy(value).float()
            known = torch.where(batch["followed"].isnan(), target, batch["followed"])
            target = torch.lerp(target, known, self.monte_carlo)
        now = self.twins(before, batch["mission"], batch["subgoal"])[..., 0]
        loss = functional.mse_loss(now, target.expand_as(now))
        if not math.isfinite(loss.item()):
            raise NotFiniteError(
                f"the critic's loss is {loss.item()} after {self.updates} updates; look at "
                "rollout/ep_rew_mean for rewards that are too large, or lower "
                "guidance.critic.learning_rate"
            )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            copies: list[Tensor] = list(self.copies.parameters())
            twins: list[Tensor] = list(self.twins.parameters())
            torch._foreach_lerp_(copies, twins, self.polyak)
        self.updates += 1
        value, other = now.detach()
        error = value - target
        return {
            "loss": float(loss.detach()),
            "value": float(value.mean()),
            "target": float(target.mean()),
            "spread": float((value - other).abs().mean()) / 2,
            "bias": float(error.mean()),
            "explained": float(1 - error.var() / target.var().clamp(min=1e-8)),
        }

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizer and counts; the transitions are collected anew."""
        return {
            "twins": self.twins.state_dict(),
            "copies": self.copies.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
            "rewarded": self.rewarded,
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.twins.load_state_dict(state["twins"])
        self.copies.load_state_dict(state["copies"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in ("steps", "rewarded", "updates"):
            setattr(self, name, state[name])
