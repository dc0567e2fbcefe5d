"""One byte per grid cell: the vocabulary shared by rendering, decoding and the memory map.

A *cell code* names what a MiniGrid cell shows: object type, color and, for doors, state.
``UNSEEN`` (0) is a cell outside the field of view and ``EMPTY`` (1) a visible bare floor.
The tables below hold, per code, what inner loops need to know.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.world_object import WorldObj
from numpy.typing import NDArray

from hier.envs.errors import SimulatorError

COLORS = tuple(sorted(COLOR_TO_IDX, key=lambda name: COLOR_TO_IDX[name]))
DOOR_STATES = tuple(sorted(STATE_TO_IDX, key=lambda name: STATE_TO_IDX[name]))


class Cell(NamedTuple):
    """What a code stands for; ``color`` and ``state`` are empty where there is none."""

    kind: str
    color: str = ""
    state: str = ""


def _all_cells() -> list[Cell]:
    # A green wall would look exactly like a green goal; registered levels build grey walls only.
    cells = [Cell("unseen"), Cell("empty"), Cell("wall", "grey"), Cell("goal", "green")]
    cells.append(Cell("lava", "red"))
    for kind in ("floor", "door", "key", "ball", "box"):
        for color in COLORS:
            states = DOOR_STATES if kind == "door" else ("",)
            cells += [Cell(kind, color, state) for state in states]
    return cells


CELLS: tuple[Cell, ...] = tuple(_all_cells())
N_CODES = len(CELLS)
UNSEEN, EMPTY = 0, 1
CODE: dict[Cell, int] = {cell: code for code, cell in enumerate(CELLS)}
WALL = CODE[Cell("wall", "grey")]

KINDS = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava")
NOTHING = 255  # attribute value of a cell without that attribute; matches no query

# Per code: kind and color as indices into KINDS and COLORS, door state into DOOR_STATES.
KIND_OF = np.array([KINDS.index(cell.kind) for cell in CELLS], np.uint8)
COLOR_OF = np.array(
    [COLORS.index(cell.color) if cell.color else NOTHING for cell in CELLS], np.uint8
)
STATE_OF = np.array(
    [DOOR_STATES.index(cell.state) if cell.state else NOTHING for cell in CELLS], np.uint8
)

# Per code, for networks: kind, color and state, 0 where there is none.
ATTRIBUTES = np.stack(
    [KIND_OF, *(np.where(of == NOTHING, 0, of + 1) for of in (COLOR_OF, STATE_OF))], axis=1
).astype(np.uint8)
ATTRIBUTE_MAX = ATTRIBUTES.max(axis=0)


def _is(*kinds: str) -> NDArray[np.bool_]:
    """Per code, whether it is one of these kinds."""
    return np.array([cell.kind in kinds for cell in CELLS])


_SHUT = np.array([cell.kind == "door" and cell.state != "open" for cell in CELLS])
# Whether light passes (MiniGrid's ``see_behind``).
TRANSPARENT = ~(_is("wall") | _SHUT)
# Whether the agent can step on it without harm.
WALKABLE = _is("empty", "floor", "goal") | (_is("door") & ~_SHUT)
CARRYABLE = _is("key", "ball", "box")
# Obstacles that the agent can remove: it carries objects away and opens closed doors.
REMOVABLE = CARRYABLE | _SHUT
# Things that subgoals name; to see one for the first time is a discovery.
NAMED = _is("door", "key", "ball", "box", "goal")


def _triple(cell: Cell) -> tuple[int, int, int]:
    """What MiniGrid's objects are encoded as."""
    color, state = COLOR_TO_IDX.get(cell.color, 0), STATE_TO_IDX.get(cell.state, 0)
    return OBJECT_TO_IDX[cell.kind], color, state


_CODE_OF_TRIPLE = {_triple(cell): code for code, cell in enumerate(CELLS)}


def code_of(obj: WorldObj | None) -> int:
    """The cell code of a MiniGrid object, ``EMPTY`` for ``None``.

    Raises:
        SimulatorError: for an object that no registered level contains.
    """
    if obj is None:
        return EMPTY
    try:
        return _CODE_OF_TRIPLE[obj.encode()]
    except KeyError:
        raise SimulatorError(
            f"the level holds a {obj.color} {obj.type}, which the cell vocabulary lacks; "
            "add it to envs/gridworld/cells.py"
        ) from None


def place_of(grid: Any, thing: WorldObj) -> tuple[int, int] | None:
    """Column and row of an object of MiniGrid's grid; ``None`` if it lies nowhere."""
    index = next((i for i, cell in enumerate(grid.grid) if cell is thing), None)
    return None if index is None else (index % grid.width, index // grid.width)


def object_of(code: int) -> WorldObj | None:
    """A fresh MiniGrid object that looks like ``code``; ``None`` for bare floor."""
    return WorldObj.decode(*_triple(CELLS[code]))
