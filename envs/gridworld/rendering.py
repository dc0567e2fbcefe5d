"""Fast first-person frames, bit-identical to ``RGBImgPartialObsWrapper(tile_size=8)``.

MiniGrid slices, rotates, occludes and paints Python objects for every frame, although one byte per
cell determines the result. :class:`FrameRenderer` keeps these bytes, updates the few that a step
can change, and copies pre-painted tiles in one compiled pass.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from minigrid.core.grid import Grid
from minigrid.minigrid_env import MiniGridEnv
from numpy.typing import NDArray

from hier.envs.compiled import compiled
from hier.envs.gridworld.cells import EMPTY, N_CODES, TRANSPARENT, UNSEEN, WALL, code_of, object_of
from hier.envs.gridworld.percept import HEADINGS

TILE = 8  # pixels per tile side
AGENT_HEADING_IN_VIEW = 3  # the agent looks up in its own view


@lru_cache(maxsize=1)
def tile_atlas() -> NDArray[np.uint8]:
    """Every tile a frame can hold, painted once by MiniGrid itself.

    Returns:
        ``(2 * N_CODES, 8, 8, 3)`` uint8. Entry ``code`` is the cell as seen; entry
        ``N_CODES + code`` is the agent's own cell while it carries ``code`` (``EMPTY``: nothing).
    """
    atlas = np.zeros((2 * N_CODES, TILE, TILE, 3), np.uint8)
    for code in range(N_CODES):
        obj = object_of(code)
        atlas[code] = Grid.render_tile(obj, None, code != UNSEEN, TILE)
        atlas[N_CODES + code] = Grid.render_tile(obj, AGENT_HEADING_IN_VIEW, True, TILE)
    atlas.setflags(write=False)
    return atlas


@lru_cache(maxsize=1)
def _atlas_words() -> NDArray[np.uint64]:
    # A tile row is 24 bytes: copied as three 64-bit words.
    words = np.frombuffer(tile_atlas().tobytes(), np.uint64).reshape(2 * N_CODES, TILE, 3)
    return words.copy()


@compiled
def view_codes(world, margin, x, y, heading, carried, see_through, view):
    """Fill ``view`` with the codes of the cells the agent sees, in its own frame.

    Args:
        world: ``(H + 2m, W + 2m)`` uint8 cell codes, walls outside the grid.
        margin: ``m``, at least ``size - 1``.
        x, y, heading: the agent's pose (MiniGrid's: 0 right, 1 down, 2 left, 3 up).
        carried: code of the carried object, ``EMPTY`` for none.
        see_through: whether light passes walls.
        view: ``(size, size)`` uint8, written; row 0 is farthest ahead, the agent sits at
            ``(size - 1, size // 2)`` where the carried object is shown.
    """
    size = view.shape[0]
    half = size // 2
    fx, fy = HEADINGS[heading]
    rx, ry = -fy, fx
    lit = np.zeros((size, size), np.bool_)
    for row in range(size):
        for col in range(size):
            ahead, right = size - 1 - row, col - half
            view[row, col] = world[
                y + margin + fy * ahead + ry * right, x + margin + fx * ahead + rx * right
            ]
    if not see_through:
        # MiniGrid's Grid.process_vis, on codes.
        lit[size - 1, half] = True
        for row in range(size - 1, -1, -1):
            for col in range(size - 1):
                if lit[row, col] and TRANSPARENT[view[row, col]]:
                    lit[row, col + 1] = True
                    if row > 0:
                        lit[row - 1, col + 1] = True
                        lit[row - 1, col] = True
            for col in range(size - 1, 0, -1):
                if lit[row, col] and TRANSPARENT[view[row, col]]:
                    lit[row, col - 1] = True
                    if row > 0:
                        lit[row - 1, col - 1] = True
                        lit[row - 1, col] = True
        for row in range(size):
            for col in range(size):
                if not lit[row, col]:
                    view[row, col] = 0
    view[size - 1, half] = carried


@compiled
def paint(view, atlas, frame):
    """Copy the tiles of ``view`` into ``frame``.

    Args:
        view: ``(size, size)`` uint8 codes.
        atlas: ``(2 * N_CODES, 8, 3)`` uint64, tile rows as words.
        frame: ``(size * 8, size * 3)`` uint64, written.
    """
    size = view.shape[0]
    for row in range(size):
        for col in range(size):
            tile = int(view[row, col])
            if row == size - 1 and col == size // 2:
                tile += N_CODES
            for line in range(8):
                for word in range(3):
                    frame[row * 8 + line, col * 3 + word] = atlas[tile, line, word]


@compiled
def _observe(world, margin, x, y, heading, carried, see_through, view, atlas, frame):
    view_codes(world, margin, x, y, heading, carried, see_through, view)
    paint(view, atlas, frame)


class FrameRenderer:
    """Renders one MiniGrid simulator's first-person frames from cell bytes.

    The bytes follow the simulator by two rules that hold for every registered id: a cell's
    occupant changes only through the grid's object list (compared by identity each step), and an
    occupant changes in place only when it is a door in front of the agent.

    Args:
        simulator: an unwrapped MiniGrid environment; the renderer reads it and never writes.
    """

    def __init__(self, simulator: MiniGridEnv):
        self.simulator = simulator
        size = simulator.agent_view_size
        self.view = np.zeros((size, size), np.uint8)
        self._margin = size
        self._atlas = _atlas_words()
        self._see_through = bool(simulator.see_through_walls)
        self._objects: list[Any] = []
        self._world = np.zeros((0, 0), np.uint8)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """``(height, width, 3)`` of a frame in pixels."""
        size = self.view.shape[0] * TILE
        return size, size, 3

    def reset(self) -> None:
        """Read the whole grid; call after the simulator generated a new one."""
        grid, margin = self.simulator.grid, self._margin
        world = np.full((grid.height + 2 * margin, grid.width + 2 * margin), WALL, np.uint8)
        codes = [code_of(obj) for obj in grid.grid]
        world[margin:-margin, margin:-margin] = np.reshape(codes, (grid.height, grid.width))
        self._world = world
        self._objects = list(grid.grid)
        self._see_through = bool(self.simulator.see_through_walls)

    def update(self) -> None:
        """Follow one simulator step (or any change of the object list)."""
        simulator, margin = self.simulator, self._margin
        grid = simulator.grid
        objects = grid.grid
        # List equality tests identity first, so an unchanged grid costs one pass in C.
        if objects != self._objects:
            if len(objects) != len(self._objects):
                self.reset()
                return
            for index, (old, new) in enumerate(zip(self._objects, objects, strict=True)):
                if old is not new:
                    y, x = divmod(index, grid.width)
                    self._world[y + margin, x + margin] = code_of(new)
            self._objects = list(objects)
        x, y = simulator.agent_pos
        dx, dy = HEADINGS[simulator.agent_dir]
        x, y = int(x) + dx, int(y) + dy
        if 0 <= x < grid.width and 0 <= y < grid.height:
            obj = objects[y * grid.width + x]
            if obj is not None and obj.type == "door":
                self._world[y + margin, x + margin] = code_of(obj)

    def render(self, frame: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """The agent's view as an ``(56, 56, 3)`` uint8 frame (for a view of seven tiles).

        Args:
            frame: where to paint, C-contiguous; a new array when omitted.
        """
        simulator = self.simulator
        if frame is None:
            frame = np.empty(self.frame_shape, np.uint8)
        x, y = simulator.agent_pos
        carrying = simulator.carrying
        _observe(
            self._world,
            self._margin,
            int(x),
            int(y),
            int(simulator.agent_dir),
            EMPTY if carrying is None else code_of(carrying),
            self._see_through,
            self.view,
            self._atlas,
            frame.reshape(frame.shape[0], -1).view(np.uint64),
        )
        return frame
