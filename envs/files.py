"""Files and folders that are whole or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from hier.envs.errors import RunFolderError

_PARTIAL = ".hier-partial-"  # how the names of what is not yet, or no longer, in its place begin


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and move it there.

    A reader sees the old file or the new one, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f"{_PARTIAL}{path.stem}-", suffix=path.suffix
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def clear_partial(folder: Path) -> None:
    """Delete what a process that was killed while it wrote left in a folder, not below it."""
    for path in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def partial_folder(folder: Path) -> Path:
    """A new folder beside ``folder``, to be written and handed to :func:`replace_folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{_PARTIAL}{folder.name}-"))


def replace_folder(new: Path, folder: Path) -> None:
    """Move a folder that is written and flushed to where another may be, which is deleted.

    Between two renames there is no ``folder``; :func:`recover_folder` ends that after a crash.
    """
    if not folder.exists():
        new.rename(folder)
        return
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old)


def recover_folder(folder: Path) -> None:
    """Bring back what :func:`replace_folder` was about to replace when it was killed."""
    old = _old(folder)
    if old.is_dir() and not folder.exists():
        old.rename(folder)


def _old(folder: Path) -> Path:
    return folder.with_name(f"{_PARTIAL}{folder.name}-old")


def check_member(archive: Path, name: str, *, plain: bool) -> None:
    """Refuse a member of an archive that no archive of ours has.

    Args:
        archive: the file.
        name: of the member.
        plain: whether it is an ordinary file: no link, folder or device.

    Raises:
        RunFolderError: if it is not, or its name leads out of the archive.
    """
    ways = PurePosixPath(name), PureWindowsPath(name)
    if plain and not any(way.is_absolute() or way.drive or ".." in way.parts for way in ways):
        return
    fault = "whose name leads out of the archive" if plain else "which is no ordinary file"
    raise RunFolderError(
        f"{archive} holds {name!r}, {fault}; it was not written by this package, so leave it alone "
        "and ask for another copy"
    )
