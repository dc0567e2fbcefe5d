"""What one first-person picture shows: objects by color, and how far the floor is free (OpenCV).

The camera looks level from a known height, so a row below the horizon is a distance on the floor.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hier.envs.rooms.camera import EYE, FARTHEST, FOCAL, FRAME, MAX_SIGHTINGS, TANGENTS
from hier.envs.rooms.percept import COLORS, KINDS, RADIUS, RAYS

_HORIZON = FRAME[0] // 2
_HEIGHT = {"ball": 0.9, "box": 0.8, "key": 0.35}  # meters; most boxes are within a tenth of it
_DEPTH = {"ball": 0.0, "box": 0.4, "key": 0.2}  # from the nearest edge at the foot to the middle
# Hue in OpenCV's half degrees, lowest and highest; red lies at both ends, grey has none.
_HUES = {"blue": (112, 127), "green": (50, 70), "purple": (128, 165), "yellow": (22, 38)}
_SMALLEST = 4  # pixels of an object
_NARROWEST = 0.3  # meters across; only a key that is seen from its end is narrower
_BLOCK = np.ones((3, 3), np.uint8)


class Sight(NamedTuple):
    """What a picture shows.

    Attributes:
        sightings: ``(8, 5)`` float32, a row for each object, the largest first, zeros for none:
            1 + index of its color, index of its kind, meters forward and left to its middle, and
            how well it was seen: 1 from foot to top, 0.5 where the picture's lower edge or another
            thing hides its foot, 0 where a side is cut off too, or most of it must be hidden.
        reach: ``(16,)`` float32 meters of free floor along each ray; 0 where none is seen.
    """

    sightings: NDArray[np.float32]
    reach: NDArray[np.float32]


def see(frame: NDArray[np.uint8]) -> Sight:
    """Objects and free floor of a picture.

    Args:
        frame: ``(60, 80, 3)`` uint8 RGB.
    """
    # Things on the floor, and what is carried, are lower than the eye.
    low = np.ascontiguousarray(frame[_HORIZON:])
    hue, saturation, _ = np.moveaxis(cv2.cvtColor(low, cv2.COLOR_RGB2HSV), -1, 0)
    red, green, blue = np.moveaxis(low.astype(np.int16), -1, 0)
    # Bricks are reddish, and only bluish things may be pale.
    vivid = (saturation >= 150) | ((saturation >= 60) & (hue >= 100) & (hue <= 165))
    masks = {color: vivid & (hue >= a) & (hue <= b) for color, (a, b) in _HUES.items()}
    masks["red"] = vivid & ((hue <= 8) | (hue >= 172))
    # Objects are exactly grey, where the textures of walls and floors have a tint.
    # So are single pixels of theirs, here and there.
    grey = (abs(red - blue) <= 1) & (abs(red - green) <= 1) & (red >= 40)
    masks["grey"] = cv2.morphologyEx(grey.astype(np.uint8), cv2.MORPH_OPEN, _BLOCK) > 0
    things = np.logical_or.reduce(list(masks.values()))
    found = [row for color in COLORS for row in _blobs(masks[color], color, things)]
    found.sort(key=lambda row: -row[0])
    sightings = np.zeros((MAX_SIGHTINGS, 5), np.float32)
    for k, (_, *row) in enumerate(found[:MAX_SIGHTINGS]):
        sightings[k] = row
    tint = red - blue
    # Tiles are darker and lighter than any wall, asphalt is bluish.
    tiles = ((green < 92) | (green > 142)) & (tint >= 1) & (tint <= 12)
    floor = (tiles | ((tint >= -6) & (tint <= -2))) & ~vivid
    return Sight(sightings, _reach(floor))


def _reach(floor: NDArray[np.bool_]) -> NDArray[np.float32]:
    # A single pixel may be a wall's.
    seen = floor.reshape(len(floor), RAYS, -1).sum(-1) >= 2
    top = np.where(seen.any(0), seen.argmax(0), len(floor))  # rows below the horizon
    depth = np.where(top < len(floor), FOCAL * EYE / np.maximum(top, 1), 0.0)
    return np.minimum(depth * np.hypot(1, TANGENTS), FARTHEST).astype(np.float32)


def _blobs(
    mask: NDArray[np.bool_], color: str, things: NDArray[np.bool_]
) -> list[tuple[float, ...]]:
    """Area, then a row of :attr:`Sight.sightings`, of each connected part of a color's mask.

    Args:
        mask: where that color is.
        color: which it is.
        things: where any is.
    """
    if not mask.any():
        return []
    others = things & ~mask
    edges = cv2.dilate(others.astype(np.uint8), _BLOCK) > 0
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    found: list[tuple[float, ...]] = []
    for label in range(1, count):
        left, top, width, height, area = (int(v) for v in stats[label])
        if area < _SMALLEST:
            continue
        foot, across = top + height, slice(left, left + width)
        part = labels[top:foot, across] == label
        if edges[top:foot, across][part].mean() > 0.5:  # pixels half of a thing, half of a wall
            continue
        cut_below = foot >= len(mask) or bool(others[foot : foot + 2, across].any())
        cut_aside = left == 0 or left + width == mask.shape[1]
        kind = _kind(part, top, foot, cut_below)
        if cut_below:  # by its top, whose height is known
            depth = FOCAL * (EYE - _HEIGHT[kind]) / max(top + 0.5, 1.0) - _DEPTH[kind]
        else:
            depth = FOCAL * EYE / foot + _DEPTH[kind]
        depth = float(np.clip(depth, RADIUS[kind] + 0.4, FARTHEST))
        aside = (mask.shape[1] / 2 - left - width / 2) / FOCAL * depth
        narrow = cut_below and width < _NARROWEST * FOCAL / depth
        quality = 0.0 if cut_aside or narrow else 0.5 if cut_below else 1.0
        row = COLORS.index(color) + 1, KINDS.index(kind), depth, aside, quality
        found.append((float(area), *row))
    return found


def _kind(part: NDArray[np.bool_], top: int, foot: int, cut_below: bool) -> str:
    """Kind of an object by its outline.

    Args:
        part: its pixels in their bounding box.
        top, foot: first row and the row after the last, below the horizon.
        cut_below: whether the foot is out of the picture.
    """
    # A key lies low: the line of sight over it meets the floor not far behind.
    if not cut_below and top / foot > 0.5:
        return "key"
    # A ball is round: its outermost columns are short, where a box has upright edges.
    edges = (part[:, 0].mean() + part[:, -1].mean()) / 2
    return "ball" if edges < 0.55 and not cut_below else "box"
