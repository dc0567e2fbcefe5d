"""What several of our SB3 callbacks share."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback


class PeriodicCallback(BaseCallback):
    """Does something every so many environment steps, at the hooks that ask :meth:`due`.

    SB3's own ``EveryNTimesteps`` acts in the middle of rollouts.

    Args:
        every: steps; 0 for never.
    """

    def __init__(self, every: int):
        super().__init__()
        self.every = every
        self._last = 0

    def _on_training_start(self) -> None:
        self._last = self.num_timesteps

    def _on_step(self) -> bool:
        return True

    def due(self) -> bool:
        """Whether it is time; if so, the steps are counted anew from here."""
        due = self.every > 0 and self.num_timesteps - self._last >= self.every
        if due:
            self._last = self.num_timesteps
        return due
