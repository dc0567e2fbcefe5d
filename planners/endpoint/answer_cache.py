"""A cache on disk for the answers of a chat server, so that each question is paid for once."""

from __future__ import annotations

import hashlib
import json
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hier.envs.errors import ConfigError
from hier.envs.files import atomic_write
from hier.planners.endpoint.answers import ChatAnswer


class AnswerCache:
    """One small JSON file per request, named by the SHA-256 of the model and the exact request.

    The name does not depend on the server's address, since a model answers the same wherever it
    runs. A file is never partly written, so several runs may share a folder. A file that cannot be
    read counts as absent and is written again. If the folder cannot be written to any more, the
    cache warns once and the run goes on.

    Args:
        folder: created if absent.

    Raises:
        ConfigError: if the folder cannot be created.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).expanduser()
        self._writable = True
        self._lock = threading.Lock()  # several threads may fail to write at once
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"planner.options.cache is {str(folder)!r}, which cannot be created "
                f"({error.strerror}); name a folder you may write to, or null for no cache"
            ) from None

    def file_of(self, request: Mapping[str, Any]) -> Path:
        """The file for the answer to ``request``, a request body with its model."""
        text = json.dumps(request, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.json"

    def get(self, request: Mapping[str, Any]) -> ChatAnswer | None:
        """The stored answer; ``None`` if there is none or it cannot be read."""
        try:
            return ChatAnswer.from_json(json.loads(self.file_of(request).read_bytes())["answer"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def put(self, request: Mapping[str, Any], answer: ChatAnswer) -> None:
        """Store the answer to a request."""
        if not self._writable:
            return
        entry = {"model": request.get("model"), "answer": answer.to_json()}
        try:
            with atomic_write(self.file_of(request)) as path:
                path.write_text(json.dumps(entry))
        except OSError as error:
            with self._lock:
                first, self._writable = self._writable, False
            if first:
                warnings.warn(
                    f"answers are no longer cached: {self.folder} cannot be written to "
                    f"({error.strerror}); free some space or choose another planner.options.cache",
                    RuntimeWarning,
                    stacklevel=2,
                )
