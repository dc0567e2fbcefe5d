"""One moment at the table as a picture: what was seen, what is known, pursued, considered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from envs.fetch.percept import FetchPercept
from envs.fetch.plan import PLAN, draw_plan
from envs.fetch.subgoals import FetchSubgoals
from envs.subgoal import Subgoal

_WIDTH, _CAMERAS, _CARD, _TITLE, _MARGIN = 2 * PLAN, 160, 300, 28, 12
_PAPER, _INK, _MUTED = (246, 246, 243), (33, 35, 41), (122, 124, 130)
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

    Arguments and result as :meth:`envs.domain.Domain.draw_scene`.
    """
    mark = None if subgoal is None else _SPACE.place(percept, subgoal)
    known = draw_plan(percept.gripper, percept.opening, percept.block, percept.target, mark)
    pictures = [("cameras", percept.frame, _CAMERAS), ("percept", known, PLAN)]
    if level is not None:
        pictures.append(("simulator (for you, not the agent)", level, PLAN))
    height = sum(_TITLE + tall + _MARGIN for _, _, tall in pictures)
    canvas = Image.new("RGB", (_WIDTH + _CARD + 2 * _MARGIN, height), _PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    top = 0
    for title, picture, tall in pictures:
        draw.text((_MARGIN, top + 8), title, _MUTED, font)
        fitted = Image.fromarray(picture).resize((_WIDTH, tall), Image.Resampling.BILINEAR)
        canvas.paste(fitted, (_MARGIN, top + _TITLE))
        top += _TITLE + tall + _MARGIN
    left = _WIDTH + 2 * _MARGIN
    draw.text((left, 8), caption, _INK, font)
    draw.text((left, _TITLE), str(subgoal or "no planner"), _INK, ImageFont.load_default(15))
    for k, candidate in enumerate(candidates):
        share = "" if log_probs is None else f"{np.exp(log_probs[k]):4.0%}  "
        color = _INK if candidate == subgoal else _MUTED
        draw.text((left, _TITLE + 36 + 20 * k), f"{share}{candidate}", color, font)
    return np.array(canvas)
