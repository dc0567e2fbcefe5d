"""Reports of how far SB3's training is."""

from __future__ import annotations

import time

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from hier.run.folder import RunFolder
from hier.run.status import Progress, StatusLine

_LINE_SECONDS, _FILE_SECONDS = 0.5, 5.0


class ProgressReports(BaseCallback):
    """Says how far training is, on a line to watch and in the run's ``progress.json``.

    SB3's own bar does not know of success.

    Args:
        run: its folder.
        total: environment steps of the whole training.
        shown: whether there is a line.
    """

    def __init__(self, run: RunFolder, total: int, shown: bool):
        super().__init__()
        self.run, self.total = run, total
        self.line = StatusLine(shown)
        self._began = self._shown = self._saved = 0.0
        self._first = 0

    def _on_training_start(self) -> None:
        self._began, self._first = time.monotonic(), self.num_timesteps

    def _on_step(self) -> bool:
        now = time.monotonic()
        if now - self._shown >= _LINE_SECONDS:
            self._shown = now
            progress = self._progress(now)
            self.line.show(str(progress))
            if now - self._saved >= _FILE_SECONDS:
                self._saved = now
                progress.save(self.run)
        return True

    def _on_training_end(self) -> None:
        progress = self._progress(time.monotonic())
        self.line.show(str(progress))
        progress.save(self.run)

    def _progress(self, now: float) -> Progress:
        successes = self.model.ep_success_buffer
        return Progress(
            step=self.num_timesteps,
            total=self.total,
            success=float(np.mean(successes)) if successes else None,
            steps_per_second=(self.num_timesteps - self._first) / max(now - self._began, 1e-9),
        )
