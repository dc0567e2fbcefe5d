"""Checkpoints while SB3 trains, and an end that leaves a whole one."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from hier.controllers.callbacks import PeriodicCallback
from hier.run.folder import Checkpointed, RunFolder


class Checkpoints(PeriodicCallback):
    """Saves the controller every so many steps, between rollouts.

    Args:
        folder: the run.
        every: steps.
        parts: kept beside the controller.
    """

    def __init__(self, folder: RunFolder, every: int, parts: Sequence[Checkpointed] = ()):
        super().__init__(every)
        self.folder = folder
        self.parts = parts

    def _on_rollout_start(self) -> None:
        if self.due():
            self.folder.save_checkpoint(self.model, self.parts)


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
        if self.stopped and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stopped = True

    def _on_step(self) -> bool:
        return not self.stopped
