"""One training at a time in a run's folder: an advisory lock of the operating system."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from hier.envs.errors import RunFolderError

LOCK = ".lock"
_PATIENCE = 1.0  # seconds: another process may hold it for a moment, to ask who trains


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's lock; it ends with the block, or with the process however that ends.

    A lock that a library keeps by a file's existence would outlive a killed process.

    Args:
        folder: of the run; it exists.

    Raises:
        RunFolderError: if another training holds it, which is named.
    """
    with open(folder / LOCK, "a+") as file:
        deadline = time.monotonic() + _PATIENCE
        while not _taken(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise RunFolderError(
                    f"{folder} is being trained by {_read(file)}; wait for it, stop it, or train "
                    "in another folder"
                )
            time.sleep(0.05)
        file.truncate(0)
        now = datetime.now().isoformat(" ", timespec="seconds")
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {now}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def holder(folder: Path) -> str | None:
    """Who trains in ``folder``: process, host and start in words; ``None`` if nobody does."""
    try:
        with open(folder / LOCK) as file:
            return None if _taken(file, fcntl.LOCK_SH) else _read(file)
    except OSError:  # never locked, or not ours to read
        return None


def _taken(file: IO[str], kind: int) -> bool:
    """Try to lock an open file; closing it unlocks."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read() or "another process"
