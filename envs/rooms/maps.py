"""The agent's map: places in meters, cells of half a meter, and the edge of what is known.

Places are ``(north, west)`` in meters from where the episode began, north being where the agent
looked then; headings are radians to the left of north. The map is ``(80, 80)`` cells with north
up, and the start lies at its middle.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 80  # cells a side: twice the longest line in the largest level, and room to spare
CELL = 0.5  # meters
UNKNOWN, FREE, WALL = range(3)  # what a cell of a map says

Cell = tuple[int, int]
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


def cells_at(places: NDArray[np.floating]) -> NDArray[np.int64]:
    """Row and column of places ``(..., 2)``; what lies off the map counts to its border."""
    cells = np.floor(SIZE / 2 - places / CELL)
    return np.minimum(np.maximum(cells, 0), SIZE - 1).astype(np.int64)  # much cheaper than np.clip


def cell_at(place: NDArray[np.floating]) -> Cell:
    """Row and column of one place ``(2,)``."""
    row, column = cells_at(place)
    return int(row), int(column)


def center(cell: Cell) -> NDArray[np.float32]:
    """The place of a cell's center, ``(2,)`` float32."""
    return np.array([SIZE / 2 - cell[0] - 0.5, SIZE / 2 - cell[1] - 0.5], np.float32) * CELL


def centers(cells: NDArray[np.integer]) -> NDArray[np.floating]:
    """As :func:`center`, of cells ``(..., 2)``."""
    return (SIZE / 2 - 0.5 - cells) * CELL


def from_agent(
    places: NDArray[np.floating], position: NDArray[np.floating], heading: float
) -> NDArray[np.float32]:
    """Places ``(..., 2)`` as meters ``(forward, left)`` of an agent."""
    cos, sin = math.cos(heading), math.sin(heading)
    away = np.asarray(places) - position
    north, west = away[..., 0], away[..., 1]
    ahead = np.empty(away.shape, np.float32)  # np.stack takes ten times as long
    ahead[..., 0], ahead[..., 1] = cos * north + sin * west, cos * west - sin * north
    return ahead


def to_map(
    ahead: NDArray[np.floating], position: NDArray[np.floating], heading: float
) -> NDArray[np.float32]:
    """The inverse of :func:`from_agent`."""
    cos, sin = math.cos(heading), math.sin(heading)
    forward, left = np.asarray(ahead)[..., 0], np.asarray(ahead)[..., 1]
    places = np.empty((*np.shape(forward), 2), np.float32)
    places[..., 0] = cos * forward - sin * left + position[0]
    places[..., 1] = sin * forward + cos * left + position[1]
    return places


def frontier(cells: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Free cells beside an unknown one, ``(80, 80)`` bool.

    Args:
        cells: ``(80, 80)`` uint8 of UNKNOWN, FREE and WALL.
    """
    unknown = (cells == UNKNOWN).astype(np.uint8)
    return (cv2.dilate(unknown, CROSS) > 0) & (cells == FREE)


def frontiers(cells: NDArray[np.uint8], most: int = 6) -> list[Cell]:
    """One cell in the middle of each of the longest stretches of frontier, by row and column."""
    edge = frontier(cells)
    _, labels, stats, middles = cv2.connectedComponentsWithStats(edge.astype(np.uint8))
    found = []
    for label in 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable")[:most]:
        members = np.argwhere(labels == label)
        away = np.abs(members - middles[label][::-1]).sum(1)
        row, column = members[away.argmin()]
        found.append((int(row), int(column)))
    return sorted(found)
