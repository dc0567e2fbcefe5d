"""One moment in a gridworld as a picture, for people."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from hier.envs.domain import Scene
from hier.envs.gridworld.cells import CELLS, CODE, EMPTY, Cell
from hier.envs.gridworld.percept import GridPercept
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.envs.subgoal import Subgoal
from hier.perception import scene_card
from hier.perception.gridworld.panels import SIDE, first_person, hatching, memory_map, tile

_FOOTER = 28  # hand and legend below the pictures
_SPACE = GridworldSubgoals()


def draw_scene(scene: Scene) -> NDArray[np.uint8]:
    """Draw the agent's view, its memory map, the planner's choice and, if given, the level.

    Argument and result as :meth:`hier.envs.domain.Domain.draw_scene`.
    """
    percept: GridPercept = scene.percept
    if scene.subgoal is None:
        targets = np.zeros(percept.map.shape, np.bool_)
    else:
        targets = _SPACE.target_mask(percept, scene.subgoal)
    pictures = [
        ("agent's view", first_person(percept, targets)),
        ("memory map (up is where it first looked)", memory_map(percept, targets)),
    ]
    canvas = scene_card.compose(scene, pictures, SIDE, footer=_FOOTER, icon=_icon)
    below = scene_card.HEADER + scene_card.TITLE + SIDE + 8
    _draw_hand(canvas, percept.carrying, scene_card.MARGIN, below)
    _draw_legend(canvas, scene_card.MARGIN + SIDE + scene_card.GAP, below)
    return np.array(canvas)


def _draw_hand(canvas: Image.Image, carrying: int, left: int, top: int) -> None:
    draw = ImageDraw.Draw(canvas)
    cell = CELLS[carrying]
    held = f"{cell.color} {cell.kind}" if cell.color else "nothing"
    draw.text((left, top + 12), "in hand", scene_card.MUTED, scene_card.font(12), anchor="ls")
    left += 50
    if cell.color:
        canvas.paste(tile(carrying, scene_card.ICON), (left, top))
        left += scene_card.ICON + 6
    draw.text((left, top + 12), held, scene_card.INK, scene_card.font(12), anchor="ls")


def _draw_legend(canvas: Image.Image, left: int, top: int) -> None:
    draw = ImageDraw.Draw(canvas)
    for name in ("target", "in view", "remembered", "unseen"):
        swatch = left, top + 2, left + 11, top + 13
        if name == "target":
            draw.rectangle(swatch, fill=(70, 98, 106), outline=scene_card.ACCENT, width=2)
        elif name == "unseen":
            canvas.paste(Image.fromarray(hatching(12)), swatch[:2])
        else:
            draw.rectangle(swatch, fill=(76, 76, 76) if name == "in view" else (52, 52, 52))
        draw.text((left + 16, top + 12), name, scene_card.MUTED, scene_card.font(12), anchor="ls")
        left += 16 + round(scene_card.font(12).getlength(name)) + 9


@lru_cache(maxsize=64)
def _icon(subgoal: Subgoal) -> Image.Image:
    """The object a subgoal is about; stripes stand for the unknown, bare floor for a free place."""
    if subgoal.kind:
        state = "closed" if subgoal.kind == "door" else ""
        return tile(CODE[Cell(subgoal.kind, subgoal.color, state)], scene_card.ICON)
    if subgoal.verb == "explore":
        return Image.fromarray(hatching(scene_card.ICON))
    return tile(EMPTY, scene_card.ICON)
