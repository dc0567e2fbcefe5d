"""Pictures of the agent's view and of its map, for :mod:`hier.perception.gridworld.drawing`."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hier.envs.gridworld.cells import N_CODES, UNSEEN
from hier.envs.gridworld.percept import HEADINGS, GridPercept
from hier.envs.gridworld.rendering import TILE, tile_atlas
from hier.perception.scene_card import ACCENT

SIDE = 280  # pixels per side of every picture: five times a 56-pixel frame
_TINT = 0.25  # how much of the accent covers a target cell
_GREY = 40  # largest difference between the channels of floor, wall and unseen pixels
_LINE = 3  # pixels, around targets
_AROUND = np.zeros((2 * _LINE + 1, 2 * _LINE + 1), np.uint8)
_AROUND[::_LINE, ::_LINE] = 1  # a pixel, and those a line's width from it in eight directions
_REMEMBERED = 0.68  # brightness of cells that are known but not in view
_DARK, _STROKE = (40, 43, 51), (60, 65, 76)  # ground and stripes of unseen places
_STRIPE = 8  # pixels from one stripe to the next
_LARGEST_CELL = 40  # pixels; a young map stays as large as the agent's view
_AGENT, _RIM = (255, 40, 40), (255, 255, 255)


def first_person(percept: GridPercept, targets: NDArray[np.bool_]) -> Image.Image:
    """The agent's own frame with the targets inside its view marked.

    Args:
        percept: what to draw.
        targets: bool over the percept's map, as
            :meth:`hier.envs.subgoal.SubgoalSpace.target_mask` gives it.

    Returns:
        An RGB picture of ``SIDE`` by ``SIDE`` pixels.
    """
    zoom = SIDE // percept.frame.shape[0]
    pixels = _enlarge(percept.frame, zoom)
    xs, ys = _cells_in_view(percept)
    _mark(pixels, _enlarge(targets[ys, xs], zoom * TILE))
    return Image.fromarray(pixels)


def memory_map(percept: GridPercept, targets: NDArray[np.bool_]) -> Image.Image:
    """All the agent has seen, bright where it looks now, with itself and the targets marked.

    The map is as large as fits. Up is the direction in which the agent looked first. Arguments and
    result are those of :func:`first_person`.
    """
    x0, y0, x1, y1 = percept.bounds
    around = slice(y0 - 1, y1 + 2), slice(x0 - 1, x1 + 2)
    codes = percept.map[around]
    rows, columns = codes.shape
    cell = min(_LARGEST_CELL, SIDE // max(rows, columns))
    height, width = rows * cell, columns * cell
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    pixels = hatching(SIDE).copy()
    area = pixels[top : top + height, left : left + width]

    painted = _tiles(cell)[codes].transpose(0, 2, 1, 3, 4).reshape(height, width, 3)
    in_view = np.zeros(percept.map.shape, np.bool_)
    xs, ys = _cells_in_view(percept)
    in_view[ys, xs] = percept.view != UNSEEN
    brightness = _enlarge(np.where(in_view[around], 1.0, _REMEMBERED), cell)[..., None]
    known = _enlarge(codes != UNSEEN, cell)
    area[known] = (painted * brightness)[known]
    marked = np.zeros((SIDE, SIDE), np.bool_)
    marked[top : top + height, left : left + width] = _enlarge(targets[around], cell)
    _mark(pixels, marked)

    picture = Image.fromarray(pixels)
    corner = left + (percept.x - x0 + 1) * cell, top + (percept.y - y0 + 1) * cell
    for shape, color in zip(_triangles(cell, percept.heading), (_RIM, _AGENT), strict=True):
        picture.paste(color, corner, shape)
    return picture


def tile(code: int, size: int) -> Image.Image:
    """The look of one cell code, an RGB picture of ``size`` by ``size`` pixels."""
    return Image.fromarray(_tiles(size)[code])


@lru_cache(maxsize=4)
def hatching(size: int) -> NDArray[np.uint8]:
    """How unseen places look: ``(size, size, 3)`` uint8, read-only."""
    down, across = np.indices((size, size))
    striped = (down + across) % _STRIPE < 2
    pixels = np.where(striped[..., None], _STROKE, _DARK).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels


def _cells_in_view(percept: GridPercept) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Map columns and rows of the view's cells, each shaped like the view."""
    rows, columns = np.indices(percept.view.shape)
    ahead, right = len(percept.view) - 1 - rows, columns - percept.view.shape[1] // 2
    fx, fy = HEADINGS[percept.heading]
    return percept.x + fx * ahead - fy * right, percept.y + fy * ahead + fx * right


def _enlarge(cells: NDArray, factor: int) -> NDArray:
    return cells.repeat(factor, axis=0).repeat(factor, axis=1)


def _mark(pixels: NDArray[np.uint8], marked: NDArray[np.bool_]) -> None:
    """Tint the ``marked`` pixels and draw a line around each group of them.

    Objects keep their colors: only grey is tinted, and the line runs outside, where the frame of
    a door stays visible.
    """
    inside = pixels[marked]
    grey = np.ptp(inside, axis=1, keepdims=True) < _GREY
    pixels[marked] = np.where(grey, inside * (1 - _TINT) + np.multiply(ACCENT, _TINT), inside)
    around = cv2.dilate(marked.astype(np.uint8), _AROUND) > 0
    pixels[around & ~marked] = ACCENT


@lru_cache(maxsize=32)
def _tiles(size: int) -> NDArray[np.uint8]:
    """The atlas at another size: ``(N_CODES, size, size, 3)`` uint8.

    Each pixel is the mean of what it covers, so that edges stay sharp at any factor.
    """
    fine = tile_atlas()[:N_CODES].repeat(size, axis=1).repeat(size, axis=2)
    blocks = fine.reshape(N_CODES, size, TILE, size, TILE, 3)
    return blocks.mean(axis=(2, 4), dtype=np.float32).round().astype(np.uint8)


@lru_cache(maxsize=128)
def _triangles(cell: int, heading: int) -> tuple[Image.Image, Image.Image]:
    """Coverage of the agent's rim and body in a cell, as greyscale pictures."""
    fine = 4  # drawn larger, then reduced: Pillow's polygons have jagged edges
    size = cell * fine
    shapes = []
    for grow in (0.08, 0.0):
        corners = [(0.16 - grow, 0.16 - grow), (0.9 + grow, 0.5), (0.16 - grow, 0.84 + grow)]
        shape = Image.new("L", (size, size))
        ImageDraw.Draw(shape).polygon([(x * size, y * size) for x, y in corners], fill=255)
        shapes.append(shape.rotate(-90 * heading).resize((cell, cell), Image.Resampling.BOX))
    return shapes[0], shapes[1]
