"""Files of our own in an SB3 checkpoint, beside SB3's."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path


def add_member(checkpoint: Path, name: str, content: bytes) -> None:
    """Put a file into a checkpoint."""
    with zipfile.ZipFile(checkpoint, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(name, content)


def read_member(checkpoint: Path, name: str, missing: str) -> bytes | None:
    """A file that :func:`add_member` put there; ``None`` with a warning if there is none.

    Args:
        checkpoint: SB3's zip file.
        name: of the file in it.
        missing: what was not saved and what follows from that, for the warning.
    """
    with zipfile.ZipFile(checkpoint) as archive:
        if name in archive.namelist():
            return archive.read(name)
    warnings.warn(f"{checkpoint} was saved without {missing}", stacklevel=3)
    return None
