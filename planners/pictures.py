"""Which pictures of a percept a planner is shown."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.errors import UnknownNameError
from perception.map_image import map_image

IMAGES: dict[str, tuple[str, ...]] = {"map": ("map",), "view": ("view",), "both": ("view", "map")}
_PICTURES: dict[str, Callable[[Any], NDArray[np.uint8]]] = {
    "map": map_image,
    "view": lambda percept: percept.frame,
}
BLANK = np.zeros((56, 56, 3), np.uint8)  # to find out whether a model takes pictures at all


def check_images(images: Any) -> tuple[str, ...]:
    """The pictures that a value of ``planner.options.images`` stands for.

    Raises:
        UnknownNameError: if it is none of ``map``, ``view``, ``both``.
    """
    if not isinstance(images, str) or images not in IMAGES:
        raise UnknownNameError("value of planner.options.images", str(images), IMAGES)
    return IMAGES[images]


def pictures_of(percept: Any, names: tuple[str, ...]) -> list[NDArray[np.uint8]]:
    """The pictures called ``names``, ``(height, width, 3)`` uint8 each; read at once."""
    return [_PICTURES[name](percept) for name in names]


def as_png(picture: NDArray[np.uint8]) -> bytes:
    """A picture ``(height, width, 3)`` uint8 as a PNG file, packed without loss."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return file.getvalue()


def enlarged(picture: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """``scale`` times as high and wide, every pixel repeated."""
    return picture.repeat(scale, 0).repeat(scale, 1)
