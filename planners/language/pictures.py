"""Which pictures of a percept a planner is shown."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Domain
from hier.envs.errors import ConfigError, UnknownNameError

BOTH = "view", "map"  # what planner.options.images=both stands for
BLANK = np.zeros((56, 56, 3), np.uint8)  # to find out whether a model takes pictures at all


def check_images(images: Any, domain: Domain) -> tuple[str, ...]:
    """The pictures that a value of ``planner.options.images`` stands for.

    Args:
        images: name of one of the domain's pictures, or ``both``; empty for its default.
        domain: whose pictures.

    Raises:
        ConfigError: if nothing can be seen in the domain.
        UnknownNameError: if it has no such picture.
    """
    known = tuple(domain.pictures)
    if not known:
        raise ConfigError(
            f"there is nothing to look at in the domain {domain.name!r}; play the level that has "
            "pictures (its id without privileged/), or choose planner.type=oracle or llm"
        )
    if images == "":
        return known[:1]
    if images == "both" and set(BOTH) <= set(known):
        return BOTH
    if images not in known:
        more = ("both",) if set(BOTH) <= set(known) else ()
        raise UnknownNameError("value of planner.options.images", str(images), known + more)
    return (images,)


def pictures_of(percept: Any, names: tuple[str, ...], domain: Domain) -> list[NDArray[np.uint8]]:
    """The domain's pictures called ``names``, ``(height, width, 3)`` uint8 each; read at once."""
    return [domain.picture(percept, name) for name in names]


def as_png(picture: NDArray[np.uint8]) -> bytes:
    """A picture ``(height, width, 3)`` uint8 as a PNG file, packed without loss."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return file.getvalue()


def enlarged(picture: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """``scale`` times as high and wide, every pixel repeated."""
    return picture.repeat(scale, 0).repeat(scale, 1)
