"""Numba with a cache that notices every change.

Numba keys its cache by the file a function is in, not by the files of the functions it calls, so
after an update a cached kernel could go on calling an old one. Here the cache lives in a folder
named after the contents of all files that kernels may call.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Any:
    """Compile ``function`` at its first call (numba, nopython); the result is kept on disk."""
    home = Path(function.__code__.co_filename).resolve().parent
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(_cache_folder(home))
    try:
        return numba.njit(cache=True)(function)
    finally:
        settings.CACHE_DIR = before


@lru_cache
def _cache_folder(home: Path) -> Path:
    digest = hashlib.sha256(numba.__version__.encode())
    for folder in sorted({Path(__file__).resolve().parent, home}):
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.read_bytes())
    name = f"numba-{digest.hexdigest()[:16]}"
    if os.access(home, os.W_OK):
        return home / "__pycache__" / name
    return Path.home() / ".cache" / "hier-agent" / name
