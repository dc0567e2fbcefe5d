"""Hindsight: transitions toward one target also teach the way to the place they led to.

HER (Andrychowicz et al. 2017, arXiv 1707.01495) at the level of subgoals: in a share of the sampled
transitions the target is replaced by a place reached later while the same subgoal was pursued
("future" strategy). SB3's own ``HerReplayBuffer`` asks the environment for the reward of
another goal; here the reward is the hierarchy's, with bonuses paid once and shaping, so the buffer
computes what :class:`.HierarchicalVecEnv` would have paid. A transition stays as it is

- while its subgoal is pursued still, so that nothing is known of what it led to;
- if its subgoal was completed before in the episode, and so pays no more;
- if its subgoal failed or timed out with it: what came next was the planner's to choose;
- if its subgoal has no target of its own to move, or was at the new one already.

Without a planner the mission is what is pursued, from an episode's first step to its last: HER as
it was published, but for rewards of 0 and 1 and episodes that end with success.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from hier.controllers.rewards import Shaping
from hier.envs.domain import Relabeling
from hier.envs.subgoal import Outcome

PAYS = "subgoal_pays"  # info: what completing the present subgoal pays; None once it was paid
_OPEN = -1  # in place of the end of a subgoal that is pursued still


@dataclass(frozen=True, slots=True)
class Hindsight:
    """How transitions are relabeled, and what the wrapper pays.

    Attributes:
        share: of the sampled transitions, in [0, 1], those that are relabeled where they can be.
        relabeling: the domain's.
        gamma: discount per step of the shaping.
        environment, shaping: see :class:`hier.controllers.rewards.RewardWeights`.
    """

    share: float
    relabeling: Relabeling
    gamma: float
    environment: float
    shaping: float


class HindsightReplayBuffer(DictReplayBuffer):
    """SB3's replay buffer with hindsight over subgoals; for any off-policy algorithm.

    It learns where subgoals end from the infos ``subgoal`` and :data:`PAYS` of the hierarchy, which
    flat control has not.

    Args:
        buffer_size, observation_space, action_space, args, kwargs: SB3's.
        hindsight: how to relabel.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: spaces.Space,
        *args: Any,
        hindsight: Hindsight,
        **kwargs: Any,
    ):
        super().__init__(buffer_size, observation_space, action_space, *args, **kwargs)
        self.hindsight = hindsight
        shape = (self.buffer_size, self.n_envs)
        self._ends = np.full(shape, _OPEN)  # the transition that each one's subgoal ended with
        self._bonuses = np.full(shape, np.nan)  # of the subgoals; NaN where it is unknown
        self._lengths = np.zeros(self.n_envs, np.int64)  # of the subgoals pursued now

    def add(  # type: ignore[override]
        self,
        obs: dict[str, NDArray],
        next_obs: dict[str, NDArray],
        action: NDArray,
        reward: NDArray,
        done: NDArray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Store one step of every environment; see SB3's."""
        at = self.pos
        super().add(obs, next_obs, action, reward, done, infos)
        self._ends[at] = _OPEN
        for i, info in enumerate(infos):
            record = info.get("subgoal")
            # A subgoal that failed or timed out is followed by one that hindsight cannot know.
            gave_up = record is not None and record.outcome in (Outcome.FAILED, Outcome.TIMEOUT)
            bonus = None if gave_up else info.get(PAYS, 0.0)
            self._bonuses[at, i] = np.nan if bonus is None else bonus
            self._lengths[i] += 1
            if record is not None or done[i]:
                since = np.arange(at - min(self._lengths[i], self.buffer_size) + 1, at + 1)
                self._ends[since % self.buffer_size, i] = at
                self._lengths[i] = 0

    def _get_samples(  # type: ignore[override]
        self, batch_inds: NDArray, env: VecNormalize | None = None
    ) -> DictReplayBufferSamples:
        """Samples as SB3's, a share of them relabeled."""
        lanes = np.random.randint(0, self.n_envs, len(batch_inds))
        rows = (batch_inds, lanes)
        before = {key: value[rows] for key, value in self.observations.items()}
        after = {key: value[rows] for key, value in self.next_observations.items()}
        rewards = self.rewards[rows]
        terminals = self.dones[rows] * (1 - self.timeouts[rows])
        chosen = np.random.random(len(batch_inds)) < self.hindsight.share
        chosen &= ~np.isnan(self._bonuses[rows]) & (self._ends[rows] != _OPEN)
        self._relabel(np.flatnonzero(chosen), rows, before, after, rewards, terminals)
        seen, seen_next = (self._normalize_obs(one, env) for one in (before, after))
        assert isinstance(seen, dict) and isinstance(seen_next, dict)
        return DictReplayBufferSamples(
            observations={key: self.to_torch(value) for key, value in seen.items()},
            actions=self.to_torch(self.actions[rows]),
            next_observations={key: self.to_torch(value) for key, value in seen_next.items()},
            dones=self.to_torch(terminals[:, None]),
            rewards=self.to_torch(self._normalize_reward(rewards[:, None], env)),
        )

    def _relabel(
        self,
        which: NDArray[np.int64],
        rows: tuple[NDArray, NDArray],
        before: dict[str, NDArray],
        after: dict[str, NDArray],
        rewards: NDArray,
        terminals: NDArray,
    ) -> None:
        """Relabel the samples ``which`` of a batch, in place."""
        if not len(which):
            return
        steps, lanes = rows[0][which], rows[1][which]
        left = (self._ends[steps, lanes] - steps) % self.buffer_size
        later = (steps + np.random.randint(0, left + 1)) % self.buffer_size
        reached = {key: value[later, lanes] for key, value in self.next_observations.items()}
        hindsight = self.hindsight
        new = hindsight.relabeling.relabel(
            {key: value[which] for key, value in before.items()},
            {key: value[which] for key, value in after.items()},
            reached,
        )
        kept = which[new.valid]
        for key in before:
            before[key][kept] = new.observation[key][new.valid]
            after[key][kept] = new.next_observation[key][new.valid]
        done = new.done.astype(np.float64)
        shaping = Shaping(hindsight.shaping, hindsight.gamma)
        pay = hindsight.environment * new.reward + self._bonuses[steps, lanes] * done
        pay = pay + shaping.between(new.steps, new.next_steps, new.done)
        rewards[kept] = pay[new.valid]
        terminals[kept] = new.terminal[new.valid]
