"""One moment of an episode as a picture: the domain's own pictures beside a card of the decision.

The card is the same in every domain. It shows the subgoal that is pursued, the caption, the value
of the state, and the candidates with their probabilities and advantages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hier.envs.domain import Scene
from hier.envs.subgoal import Subgoal

MAX_ROWS = 12  # candidates listed
ICON = 16  # pixels a side of a candidate's icon
MARGIN, GAP = 16, 16
TITLE = 20  # above each picture
HEADER = 84  # the mission above the pictures
ACCENT = (0, 200, 232)  # marks targets and choices; nothing in the gridworld is cyan
INK, MUTED = (33, 35, 41), (122, 124, 130)
_PAPER, _WHITE, _LINE = (246, 246, 243), (255, 255, 255), (221, 221, 216)
_TRACK, _BAR = (244, 244, 242), (214, 222, 230)
_CHOSEN_TRACK, _CHOSEN_BAR = (228, 247, 251), (150, 226, 241)
GOOD, BAD = (22, 128, 61), (192, 40, 40)

_CARD = 420  # width of the card
_ROW = 21  # height of a candidate's row
_FIRST_ROW = 114
_ADVANTAGE = 74  # width of the advantage column
_SHARE = 40  # width of the probability in figures


def compose(
    scene: Scene,
    pictures: Sequence[tuple[str, NDArray[np.uint8] | Image.Image]],
    side: int,
    *,
    stacked: bool = False,
    footer: int = 0,
    icon: Callable[[Subgoal], Image.Image] | None = None,
) -> Image.Image:
    """The mission above, pictures below it and the card at the right.

    Args:
        scene: what the card says.
        pictures: titles and pictures, to which the level's is added; each has the room of the
            largest.
        side: pixels of each picture's longer side.
        stacked: put the pictures below one another instead of side by side.
        footer: pixels to leave free below the pictures.
        icon: what to show beside a candidate, ``ICON`` by ``ICON`` pixels.
    """
    shown = [(title, fitted(picture, side)) for title, picture in pictures]
    if scene.level is not None:
        shown.append(("simulator (for you, not the agent)", fitted(scene.level, side)))
    wide = max(picture.width for _, picture in shown) + GAP
    tall = max(picture.height for _, picture in shown) + TITLE
    if stacked:
        card_left, height = MARGIN + wide, sum(TITLE + p.height + GAP for _, p in shown)
    else:
        card_left, height = MARGIN + len(shown) * wide, tall + MARGIN + footer
    canvas = Image.new("RGB", (card_left + _CARD + MARGIN, HEADER + height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    _draw_mission(draw, scene.percept.mission, card_left - GAP - MARGIN)
    left, top = MARGIN, HEADER + TITLE
    for title, picture in shown:
        draw.text((left, top - 6), title, MUTED, font(12), anchor="ls")
        corner = left + (wide - GAP - picture.width) // 2, top
        canvas.paste(picture, corner)
        right, bottom = corner[0] + picture.width, corner[1] + picture.height
        draw.rectangle((corner[0] - 1, corner[1] - 1, right, bottom), outline=_LINE)
        left, top = (left, bottom + GAP + TITLE) if stacked else (left + wide, top)
    _draw_decision(draw, card_left, canvas.height - 12, scene)
    _draw_candidates(canvas, card_left + 14, scene, icon)
    return canvas


def fitted(picture: NDArray[np.uint8] | Image.Image, side: int) -> Image.Image:
    """A picture, or its pixels, scaled so that its longer side has ``side`` pixels."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BOX)


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font of all text, its letters ``size`` pixels high."""
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return found


def _bold(draw: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, size: int) -> None:
    # Pillow's built-in font has one weight: strike twice, a fraction of a pixel apart.
    for shift in (0.0, size / 28):
        draw.text((xy[0] + shift, xy[1]), text, INK, font(size), anchor="ls")


@lru_cache(maxsize=256)
def _fit(text: str, width: int, layouts: tuple[tuple[int, int], ...]) -> tuple[int, list[str]]:
    """The first of the ``(font size, lines)`` in which ``text`` fits, and its lines.

    Text that fits none is cut short with an ellipsis in the last of them.
    """
    for size, count in layouts:
        lines = _wrap(text, width, size)
        if len(lines) <= count and all(font(size).getlength(line) <= width for line in lines):
            return size, lines
    kept, last = lines[:count], lines[count - 1]
    while last and font(size).getlength(last + "…") > width:
        last = last[:-1]
    return size, [*kept[:-1], last.rstrip() + "…"]


def _wrap(text: str, width: int, size: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _draw_mission(draw: ImageDraw.ImageDraw, mission: str, width: int) -> None:
    draw.text((MARGIN, 24), "mission", MUTED, font(12), anchor="ls")
    size, lines = _fit(mission, width, ((21, 1), (16, 2), (13, 3), (12, 4), (11, 4)))
    if len(lines) == 1:
        _bold(draw, (MARGIN, 50), lines[0], size)
        return
    for k, line in enumerate(lines):
        draw.text((MARGIN, 40 + k * (size + 2)), line, INK, font(size), anchor="ls")


def _draw_decision(draw: ImageDraw.ImageDraw, left: int, bottom: int, scene: Scene) -> None:
    """The card itself with subgoal, caption and value."""
    card = left, 10, left + _CARD, bottom
    draw.rounded_rectangle(card, radius=8, fill=_WHITE, outline=_LINE)
    left, right = left + 14, left + _CARD - 14
    draw.text((left, 30), "subgoal", MUTED, font(12), anchor="ls")
    if scene.subgoal is None:
        draw.text((left, 55), "no planner", MUTED, font(20), anchor="ls")
    else:
        layouts = ((21, 1), (17, 1), (14, 1), (12, 1))
        size, lines = _fit(str(scene.subgoal), right - left, layouts)
        _bold(draw, (left, 55), lines[0], size)
    room = right - left
    if scene.value is not None:
        text = f"value {scene.value:+.2f}"
        draw.text((right, 78), text, INK, font(13), anchor="rs")
        room -= round(font(13).getlength(text)) + 12
    _, lines = _fit(scene.caption, room, ((13, 1),))
    draw.text((left, 78), lines[0], INK, font(13), anchor="ls")
    draw.line((left, 89, right, 89), fill=_LINE)


def _draw_candidates(
    canvas: Image.Image,
    left: int,
    scene: Scene,
    icon: Callable[[Subgoal], Image.Image] | None,
) -> None:
    draw = ImageDraw.Draw(canvas)
    candidates, log_probs, advantages = scene.candidates, scene.log_probs, scene.advantages
    if not candidates:
        if scene.subgoal is None:
            note = "the controller acts without subgoals"
            draw.text((left, 108), note, MUTED, font(13), anchor="ls")
        return

    # Columns from the right: advantages, probabilities in figures, and bars with the names.
    right = bar_right = left + _CARD - 28
    draw.text((left, 106), "candidates", MUTED, font(12), anchor="ls")
    if advantages is not None:
        draw.text((right, 106), "advantage", MUTED, font(12), anchor="rs")
        bar_right -= _ADVANTAGE
    if log_probs is not None:
        draw.text((bar_right, 106), "probability", MUTED, font(12), anchor="rs")
        bar_right -= _SHARE
    name_left = left + (ICON + 8 if icon else 6)
    bar_left = name_left - 4

    listed = _listed(scene)
    for k, index in enumerate(listed):
        top = _FIRST_ROW + k * _ROW
        chosen = candidates[index] == scene.subgoal
        track, bar = (_CHOSEN_TRACK, _CHOSEN_BAR) if chosen else (_TRACK, _BAR)
        draw.rectangle((left, top, bar_right, top + _ROW - 4), fill=track)
        if log_probs is not None:
            probability = min(1.0, float(np.exp(log_probs[index])))
            filled = bar_left + probability * (bar_right - bar_left)
            draw.rectangle((bar_left, top, filled, top + _ROW - 4), fill=bar)
            share = f"{probability:.0%}" if probability >= 0.01 else "<1%"
            draw.text((bar_right + _SHARE, top + 13), share, INK, font(13), anchor="rs")
        if chosen:
            draw.rectangle((left - 4, top, left - 1, top + _ROW - 4), fill=ACCENT)
        if icon is not None:
            canvas.paste(icon(candidates[index]), (left + 1, top + 1))
        layouts = ((13, 1), (12, 1), (11, 1), (10, 1))
        size, lines = _fit(str(candidates[index]), bar_right - name_left - 4, layouts)
        if chosen:
            _bold(draw, (name_left, top + 13), lines[0], size)
        else:
            draw.text((name_left, top + 13), lines[0], INK, font(size), anchor="ls")
        if advantages is not None:
            figures, color = _signed(float(advantages[index]))
            draw.text((right, top + 13), figures, color, font(13), anchor="rs")
    hidden = len(candidates) - len(listed)
    if hidden:
        below = _FIRST_ROW + MAX_ROWS * _ROW + 14
        draw.text((left, below), f"and {hidden} more", MUTED, font(12), anchor="ls")


def _signed(advantage: float) -> tuple[str, tuple[int, int, int]]:
    """An advantage in figures and its color; a dash where it is unknown."""
    if np.isnan(advantage):
        return "-", MUTED
    rounded = round(advantage, 3) + 0.0  # no minus before zero; thousandths decide early on
    return f"{rounded:+.3f}", GOOD if rounded > 0 else BAD if rounded < 0 else MUTED


def _listed(scene: Scene) -> list[int]:
    """Indices of the candidates to list, the most probable first, the chosen one in any case."""
    order = list(range(len(scene.candidates)))
    if scene.log_probs is not None:
        order = np.argsort(-np.asarray(scene.log_probs), kind="stable").tolist()
    hidden = order[MAX_ROWS:]
    chosen = next((index for index in hidden if scene.candidates[index] == scene.subgoal), None)
    return order[:MAX_ROWS] if chosen is None else [*order[: MAX_ROWS - 1], chosen]
