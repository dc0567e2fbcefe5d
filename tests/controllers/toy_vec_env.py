"""What small vectorized environments of tests have in common."""

from __future__ import annotations

from stable_baselines3.common.vec_env import VecEnv


class ToyVecEnv(VecEnv):
    """Environments without parts of their own; ``reset`` and ``step_wait`` are left to define."""

    def step_async(self, actions):
        self.actions = actions

    def close(self):
        pass

    def get_attr(self, name, indices=None):
        return [getattr(self, name, None)] * self.num_envs

    def set_attr(self, name, value, indices=None):
        setattr(self, name, value)

    def env_method(self, name, *args, indices=None, **kwargs):
        raise AttributeError(f"a toy environment has no method {name!r}")

    def env_is_wrapped(self, wrapper, indices=None):
        return [False] * self.num_envs
