"""Where block and target are, by their colors in calibrated pictures (OpenCV)."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hier.envs.fetch.camera import AXES, FIELD, MIDDLE, PIXELS, VIEWS
from hier.envs.fetch.percept import SIDE

# Hue (OpenCV's half degrees), saturation and value: lowest and highest of each color.
_YELLOW = (((18, 110, 50), (36, 255, 255)),)
_RED = (((0, 120, 60), (8, 255, 255)), ((172, 120, 60), (180, 255, 255)))  # at both ends
_METERS = FIELD / PIXELS  # a pixel
_FEWEST = 3  # pixels that count as seeing anything
_HIDDEN = 0.85  # share of what a whole thing covers, below which part of it is hidden
_DOUBT = 0.1  # weight of a sight that shows a part


class Sight(NamedTuple):
    """A thing as the cameras see it.

    Attributes:
        points: ``(3, 2)`` float64 meters to the right and up of each picture's middle.
        weights: ``(3,)`` float64: 1 where the whole thing shows, 0.1 for a part, 0 for nothing.
    """

    points: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def whole(self) -> int:
        """In how many pictures all of it shows."""
        return int((self.weights == 1.0).sum())


# Pixels that the whole block, at its narrowest, and the target cover in each view.
_HEIGHTS = np.deg2rad([elevation for _, elevation in VIEWS])
_BLOCK_AREA = SIDE**2 * (np.cos(_HEIGHTS) + np.abs(np.sin(_HEIGHTS))) / _METERS**2
_TARGET_AREA = np.full(len(VIEWS), np.pi * 0.02**2 / _METERS**2)


def see_block(frame: NDArray[np.uint8]) -> Sight:
    """The yellow block in a :class:`hier.envs.fetch.camera.Camera` picture, ``(128, 384, 3)``."""
    return _see(frame, _YELLOW, _BLOCK_AREA)


def see_target(frame: NDArray[np.uint8]) -> Sight:
    """The red target in such a picture."""
    return _see(frame, _RED, _TARGET_AREA)


def _see(frame: NDArray[np.uint8], limits: Any, areas: NDArray[np.float64]) -> Sight:
    colors = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
    mask = cv2.inRange(colors, *limits[0])
    for more in limits[1:]:
        mask = cv2.bitwise_or(mask, cv2.inRange(colors, *more))
    points, weights = np.zeros((len(VIEWS), 2)), np.zeros(len(VIEWS))
    for k, area in enumerate(areas):
        moments = cv2.moments(mask[:, k * PIXELS : (k + 1) * PIXELS], binaryImage=True)
        covered = moments["m00"]
        if covered < _FEWEST:
            continue
        # A pixel's middle, not its corner.
        column, row = moments["m10"] / covered + 0.5, moments["m01"] / covered + 0.5
        points[k] = (column - PIXELS / 2) * _METERS, (PIXELS / 2 - row) * _METERS
        weights[k] = 1.0 if covered >= _HIDDEN * area else _DOUBT
    return Sight(points, weights)


def locate(
    sight: Sight,
    expected: ArrayLike,
    trust: tuple[float, float, float] = (0.001, 0.001, 0.001),
) -> NDArray[np.float32]:
    """The place that fits what is seen best, by weighted least squares.

    Without perspective a picture fixes two coordinates, so two pictures give a place; with one the
    place on its line of sight that is nearest to what was expected, and with none that itself.

    Args:
        sight: of a thing.
        expected: ``(3,)`` where it should be.
        trust: weights of that along x, y and z beside a picture's 1.

    Returns:
        ``(3,)`` float32, meters of the simulator.
    """
    rows = AXES.reshape(-1, 3)
    weights = np.repeat(sight.weights, 2)
    known = sight.points.ravel() + rows @ MIDDLE
    left = (rows * weights[:, None]).T @ rows + np.diag(trust)
    right = (rows * weights[:, None]).T @ known + np.array(trust) * np.asarray(expected)
    return np.linalg.solve(left, right).astype(np.float32)
