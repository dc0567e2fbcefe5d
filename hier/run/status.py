"""How far a training is: as a file in the run's folder, and as a line to watch."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

from tqdm import tqdm

from hier.envs.files import atomic_write
from hier.run.folder import RunFolder


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training was at one moment.

    Attributes:
        step, total: environment steps, done and to do.
        success: share of the last 100 training episodes; ``None`` before the first ended.
        steps_per_second: since this sitting began.
    """

    step: int
    total: int
    success: float | None
    steps_per_second: float

    def __str__(self) -> str:
        parts = [f"{self.step:,}/{self.total:,} steps ({self.step / self.total:.0%})"]
        if self.success is not None:
            parts.append(f"success {self.success:.0%}")
        if self.steps_per_second:
            left = max(self.total - self.step, 0) / self.steps_per_second
            parts.append(f"{self.steps_per_second:,.0f} steps/s")
            parts.append(f"{tqdm.format_interval(left)} left")
        return "  ".join(parts)

    def save(self, run: RunFolder) -> None:
        """Write it into the run's folder, if that can be written: nothing is lost otherwise."""
        with suppress(OSError), atomic_write(run.progress_file) as file:
            file.write_text(json.dumps(asdict(self)) + "\n")

    @classmethod
    def of(cls, run: RunFolder) -> Progress | None:
        """What was saved last; ``None`` before the first time."""
        try:
            found = cls(**json.loads(run.progress_file.read_text()))
            str(found)  # which needs numbers
        except (OSError, ValueError, TypeError, ArithmeticError, RecursionError):
            return None  # none, or of another version, or damaged
        return found


class StatusLine:
    """One line on stderr that is rewritten on a terminal, and printed now and then elsewhere.

    Args:
        shown: whether there is one.
        seconds: between two lines where stderr is no terminal.
    """

    def __init__(self, shown: bool, seconds: float = 30.0):
        terminal = sys.stderr.isatty()
        self._bar = tqdm(bar_format="{desc}", disable=not (shown and terminal))
        self._printed, self._seconds = shown and not terminal, seconds
        self._last = time.monotonic()
        self._text = ""

    def show(self, text: str) -> None:
        """Show the present state, which replaces the last one."""
        self._text = text
        self._bar.set_description_str(text)
        if self._printed and time.monotonic() - self._last >= self._seconds:
            self._print()

    def close(self) -> None:
        """Leave the last state on a line of its own."""
        if self._printed and self._text:
            self._print()
        self._bar.close()

    def _print(self) -> None:
        self._last = time.monotonic()
        print(self._text, file=sys.stderr, flush=True)
