"""Pictures of a moment side by side, and a card of what is pursued and considered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hier.envs.subgoal import Subgoal

PAPER, INK, MUTED = (246, 246, 243), (33, 35, 41), (122, 124, 130)
MARGIN = 12
LEVEL_TITLE = "simulator (for you, not the agent)"
_TOP = 36


def pictures_in_a_row(
    pictures: Sequence[tuple[str, NDArray[np.uint8]]], side: int, card: int
) -> tuple[Image.Image, tuple[int, int]]:
    """Titled pictures, each as large as fits into a square.

    Args:
        pictures: titles, and ``(height, width, 3)`` uint8 each.
        side: of the squares, in pixels.
        card: width left free at the right.

    Returns:
        The canvas, and where on it the card begins, below its caption.
    """
    width = len(pictures) * (side + MARGIN) + MARGIN + card
    canvas = Image.new("RGB", (width, _TOP + side + MARGIN), PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for k, (title, picture) in enumerate(pictures):
        left = MARGIN + k * (side + MARGIN)
        draw.text((left, 12), title, MUTED, font)
        scale = side / max(picture.shape[:2])
        size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
        fitted = Image.fromarray(picture).resize(size, Image.Resampling.NEAREST)
        canvas.paste(fitted, (left, _TOP))
    return canvas, (width - card + MARGIN, _TOP)


def write_card(
    canvas: Image.Image,
    corner: tuple[int, int],
    caption: tuple[int, str],
    subgoal: Subgoal | None,
    candidates: Sequence[Subgoal],
    log_probs: NDArray[np.floating] | None,
    *,
    size: int,
    mission: str = "",
    spacing: int = 20,
) -> None:
    """Write what is pursued and what it was chosen from.

    Args:
        canvas: written on.
        corner: left and top of the subgoal.
        caption: its top, and the words.
        subgoal, candidates, log_probs: see :meth:`hier.envs.domain.Domain.draw_scene`.
        size: of the subgoal's letters.
        mission: a line below the subgoal.
        spacing: pixels from one candidate to the next.
    """
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    left, top = corner
    draw.text((left, caption[0]), caption[1], INK, font)
    draw.text(corner, str(subgoal or "no planner"), INK, ImageFont.load_default(size))
    if mission:
        draw.text((left, top + 22), mission, MUTED, font)
    first = top + (50 if mission else 36)
    for k, candidate in enumerate(candidates):
        share = "" if log_probs is None else f"{np.exp(log_probs[k]):4.0%}  "
        color = INK if candidate == subgoal else MUTED
        draw.text((left, first + spacing * k), f"{share}{candidate}", color, font)
