"""Checkpoints while SB3 trains, and an end that leaves a whole one."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from hier.run.folder import Checkpointed, RunFolder


class Checkpoints(BaseCallback):
    """Saves the controller every so many steps, between rollouts.

    Args:
        folder: the run.
        every: steps.
        parts: kept beside the controller.
    """

    def __init__(self, folder: RunFolder, every: int, parts: Sequence[Checkpointed] = ()):
        super().__init__()
        self.folder = folder
        self.every = every
        self.parts = parts
        self._saved_at = 0

    def _on_training_start(self) -> None:
        self._saved_at = self.num_timesteps

    def _on_rollout_start(self) -> None:
        if self.num_timesteps - self._saved_at >= self.every:
            self._saved_at = self.num_timesteps
            self.folder.save_checkpoint(self.model, self.parts)

    def _on_step(self) -> bool:
        return True


class StopOnSignal(BaseCallback):
    """Ends training at the next step after SIGINT or SIGTERM, so that a checkpoint is whole."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catch the signals inside the block; a second SIGINT interrupts at once."""
        try:
            before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: a notebook's or sweep's own business
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True

    def _on_step(self) -> bool:
        return not self.stopped
