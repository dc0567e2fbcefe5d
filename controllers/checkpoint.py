"""The files in a checkpoint, which is a zip archive: the controller's, and what learns beside it.

Everything in it is data. Stable-Baselines3's own zip files hold pickles, which can run code when
they are read; they are told apart here and refused.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hier.envs.errors import RunFolderError
from hier.envs.files import check_member

LARGEST = 2**31  # bytes of a file in a checkpoint; no controller and no buffer comes near it
_LINK = 0o12  # type of a Unix file, in the top bits of a member's attributes


def add_member(checkpoint: Path, name: str, content: bytes) -> None:
    """Put a file into a checkpoint."""
    with zipfile.ZipFile(checkpoint, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(name, content)


def read_member(checkpoint: Path, name: str, missing: str) -> bytes | None:
    """A file that :func:`add_member` put there; ``None`` with a warning if there is none.

    Args:
        checkpoint: the archive.
        name: of the file in it.
        missing: what was not saved and what follows from that, for the warning.

    Raises:
        RunFolderError: if the archive has links or a file too large, or names that lead out of it.
    """
    content = find_member(checkpoint, name)
    if content is None:
        warnings.warn(f"{checkpoint} was saved without {missing}", stacklevel=3)
    return content


@contextmanager
def reading(what: str, checkpoint: Path) -> Iterator[None]:
    """Turn any error, whatever a damaged file makes of its reader, into one that says what to do.

    Args:
        what: is read, for the message.
        checkpoint: the archive that it is in.

    Raises:
        RunFolderError: for every error within.
    """
    try:
        yield
    except Exception as error:
        raise RunFolderError(
            f"{what} in {checkpoint} cannot be read ({type(error).__name__}: {error}); "
            "delete that checkpoint to go on from the one before"
        ) from error


def find_member(checkpoint: Path, name: str) -> bytes | None:
    """A file in a checkpoint; ``None`` if there is none. Raises like :func:`read_member`."""
    with zipfile.ZipFile(checkpoint) as archive:
        for member in archive.infolist():
            linked = member.external_attr >> 28 == _LINK
            check_member(checkpoint, member.filename, plain=not (linked or member.is_dir()))
            if member.file_size > LARGEST:  # it is never read further than to the stated size
                raise RunFolderError(
                    f"{checkpoint} holds {member.filename!r} of {member.file_size} bytes, too "
                    "large for this package; use an older checkpoint from the same folder"
                )
        return archive.read(name) if name in archive.namelist() else None


def is_sb3_zip(file: Path) -> bool:
    """Whether Stable-Baselines3 itself wrote this archive, with pickles in it."""
    with zipfile.ZipFile(file) as archive:
        return {"data", "policy.pth"} <= set(archive.namelist())


def refuse_sb3_zip(file: Path) -> None:
    """Refuse to unpickle.

    Raises:
        RunFolderError: if Stable-Baselines3 itself wrote ``file``.
    """
    if is_sb3_zip(file):
        raise RunFolderError(
            f"{file} is in Stable-Baselines3's own format, whose pickles can run code; if you "
            f"trust its origin, convert it once: hier import {file.parent.parent} --unpickle"
        )
