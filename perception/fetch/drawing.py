"""One moment at the table as a picture: what was seen, what is known, pursued, considered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hier.envs.fetch.percept import FetchPercept
from hier.envs.fetch.plan import PLAN, draw_plan
from hier.envs.fetch.subgoals import FetchSubgoals
from hier.envs.subgoal import Subgoal
from hier.perception.scene_card import LEVEL_TITLE, MARGIN, MUTED, PAPER, write_card

_WIDTH, _CAMERAS, _CARD, _TITLE = 2 * PLAN, 160, 300, 28
_SPACE = FetchSubgoals()


def draw_table(
    percept: FetchPercept,
    subgoal: Subgoal | None,
    candidates: Sequence[Subgoal] = (),
    log_probs: NDArray[np.floating] | None = None,
    *,
    caption: str = "",
    level: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Draw the newest pictures, the percept's plan with the subgoal's place, and the candidates.

    Arguments and result as :meth:`hier.envs.domain.Domain.draw_scene`.
    """
    mark = None if subgoal is None else _SPACE.place(percept, subgoal)
    known = draw_plan(percept.gripper, percept.opening, percept.block, percept.target, mark)
    pictures = [("cameras", percept.frame, _CAMERAS), ("percept", known, PLAN)]
    if level is not None:
        pictures.append((LEVEL_TITLE, level, PLAN))
    height = sum(_TITLE + tall + MARGIN for _, _, tall in pictures)
    canvas = Image.new("RGB", (_WIDTH + _CARD + 2 * MARGIN, height), PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    top = 0
    for title, picture, tall in pictures:
        draw.text((MARGIN, top + 8), title, MUTED, font)
        fitted = Image.fromarray(picture).resize((_WIDTH, tall), Image.Resampling.BILINEAR)
        canvas.paste(fitted, (MARGIN, top + _TITLE))
        top += _TITLE + tall + MARGIN
    corner = _WIDTH + 2 * MARGIN, _TITLE
    write_card(canvas, corner, (8, caption), subgoal, candidates, log_probs, size=15)
    return np.array(canvas)
