"""The words of a command: names, overrides, and what it is to write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hier.cli.app import settings_of
from hier.envs.errors import UserError


def sort_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names and overrides, which may stand in any order; a path may hold an equals sign."""
    overrides = [text for text in words if "=" in text and "/" not in text.partition("=")[0]]
    return [text for text in words if text and text not in overrides], overrides


def split_words(*words: str) -> tuple[str, list[str]]:
    """The one name among a command's words, empty without one, and the overrides."""
    names, overrides = sort_words(words)
    if len(names) > 1:
        raise UserError(f"{names[1]!r} is one name too many; write overrides as dotted.key=value")
    return "".join(names), overrides


def several_seeds(*words: str) -> tuple[list[int], list[str]]:
    """The seeds of ``seed=0,1,2``, none where there is at most one, and the other words."""
    named = [word for word in words if word.startswith("seed=") and "," in word]
    if not named:
        return [], list(words)
    texts = named[-1].removeprefix("seed=").split(",")
    if not all(text.strip().isdecimal() for text in texts) or len(set(texts)) < len(texts):
        raise UserError(f"{named[-1]!r} does not list seeds; write different ones, as seed=0,1,2")
    return [int(text) for text in texts], [word for word in words if word not in named]


def refuse_with_resume(*words: str | None) -> None:
    """Refuse what cannot stand beside ``--resume``."""
    if any(words):
        raise UserError("--resume takes the saved configuration; drop the other arguments")


def configuration(command: str, *words: str) -> Any:
    """What a new run is made from: a preset and overrides, in any order."""
    preset, overrides = split_words(*words)
    settings = settings_of(command)
    if not preset:
        names = ", ".join(settings.preset_names())
        raise UserError(f"name a preset or a YAML file; presets: {names}")
    return settings.load(preset, overrides)


def check_out(out: str | None, *, folder: bool = False, picture: bool = False) -> None:
    """Refuse what cannot be written before the work, not after it."""
    if not out:
        return
    path = Path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fine = not path.exists() or path.is_dir() is folder
        fine = fine and os.access(path if path.exists() else path.parent, os.W_OK)
    except OSError:  # a file in the way, no permission
        fine = False
    if not fine:
        raise UserError(f"--out {out} cannot be written; name a {'folder' if folder else 'file'}")
    if picture and path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".gif", ".webp"):
        raise UserError(f"--out {out} is no picture; end its name in .png or .jpg")
