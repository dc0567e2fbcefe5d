"""The pictures of a percept that a planner sees."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Domain
from hier.envs.errors import ConfigError, UnknownNameError

BOTH = "view", "map"  # the pictures meant by planner.options.images=both
BLANK = np.zeros((56, 56, 3), np.uint8)  # to find out whether a model takes pictures at all


def check_images(images: Any, domain: Domain) -> tuple[str, ...]:
    """Names of the pictures meant by a value of ``planner.options.images``.

    Args:
        images: name of one of the domain's pictures, or ``both``; empty for its default.
        domain: supplies the pictures.

    Raises:
        ConfigError: if the domain has no pictures.
        UnknownNameError: if the domain has no such picture.
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
    """The domain's pictures of these names, ``(height, width, 3)`` uint8; reads the percept now."""
    return [domain.picture(percept, name) for name in names]


def as_png(picture: NDArray[np.uint8]) -> bytes:
    """A picture ``(height, width, 3)`` uint8 as a PNG file, without loss."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return file.getvalue()


def enlarged(picture: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """A picture ``scale`` times higher and wider, every pixel repeated."""
    return picture.repeat(scale, 0).repeat(scale, 1)
