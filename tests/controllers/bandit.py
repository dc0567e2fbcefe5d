"""A one-step environment whose guided optimum is known in closed form."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from hier.controllers.guided import REFERENCE, reference_space
from tests.controllers.toy_vec_env import ToyVecEnv

REWARDS = np.array([[1.0, 0.0, -0.5], [0.0, 0.5, 1.0]])  # (contexts, actions)
PI_REF = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])


class ContextualBandit(ToyVecEnv):
    """Every step ends an episode; the context is drawn anew and shown as one-hot."""

    def __init__(self, n_envs=64, guided=True, reference=PI_REF):
        observation = {"context": spaces.Box(0.0, 1.0, (2,), np.float32)}
        if guided:
            observation[REFERENCE] = reference_space(3)
        super().__init__(n_envs, spaces.Dict(observation), spaces.Discrete(3))
        self.guided = guided
        self.reference = np.log(reference).astype(np.float32)
        self.rng = np.random.default_rng(0)

    def _observe(self):
        self.context = self.rng.integers(2, size=self.num_envs)
        observation = {"context": np.eye(2, dtype=np.float32)[self.context]}
        if self.guided:
            observation[REFERENCE] = self.reference[self.context]
        return observation

    def reset(self):
        return self._observe()

    def step_wait(self):
        rewards = REWARDS[self.context, self.actions].astype(np.float32)
        return self._observe(), rewards, np.ones(self.num_envs, bool), [{}] * self.num_envs
