"""One moment of an episode as a picture: what is seen, remembered, pursued and considered."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hier.envs.gridworld.cells import CELLS, CODE, EMPTY, Cell
from hier.envs.gridworld.percept import GridPercept
from hier.envs.subgoal import Subgoal, SubgoalSpace
from hier.perception.gridworld.panels import ACCENT, SIDE, first_person, hatching, memory_map, tile

MAX_ROWS = 12  # candidates listed
_MARGIN, _GAP = 16, 16
_HEADER = 84  # the mission above the pictures
_TITLE = 20  # above each picture
_HEIGHT = 428
_CARD = 420  # width of the planner's card
_ROW = 21
_ICON = 16
_ADVANTAGE = 74  # width of the advantage column
_SHARE = 40  # width of the probability in figures

_PAPER, _WHITE, _LINE = (246, 246, 243), (255, 255, 255), (221, 221, 216)
_INK, _MUTED = (33, 35, 41), (122, 124, 130)
_TRACK, _BAR = (244, 244, 242), (214, 222, 230)
_CHOSEN_TRACK, _CHOSEN_BAR = (228, 247, 251), (150, 226, 241)
_GOOD, _BAD = (22, 128, 61), (192, 40, 40)


def draw_scene(
    percept: GridPercept,
    space: SubgoalSpace,
    subgoal: Subgoal | None,
    candidates: Sequence[Subgoal] = (),
    log_probs: NDArray[np.floating] | None = None,
    *,
    caption: str = "",
    value: float | None = None,
    advantages: Sequence[float] | NDArray[np.floating] | None = None,
    level: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Draw the agent's view, its memory map, the planner's choice and, if given, the level.

    Args:
        percept: what the agent knows.
        space: says where ``subgoal`` points on the map.
        subgoal: what is pursued; ``None`` in flat reinforcement learning.
        candidates: what the planner chose from; the most probable ``MAX_ROWS`` are listed, and
            the chosen one in any case.
        log_probs: log-probability per candidate; without it they are listed in the given order.
        caption: one short line, such as ``step 7``.
        value: the critic's estimate, shown beside the caption.
        advantages: one number per candidate.
        level: RGB ``(height, width, 3)`` uint8 picture of the simulator, such as ``env.render()``.

    Returns:
        ``(height, width, 3)`` uint8 with even sides. The size depends only on whether ``level``
        is given, so the frames of an episode fit together.

    Raises:
        ValueError: if ``log_probs`` or ``advantages`` do not match ``candidates`` in number.
    """
    for name, numbers in (("log_probs", log_probs), ("advantages", advantages)):
        if numbers is not None and len(numbers) != len(candidates):
            raise ValueError(f"{len(numbers)} {name} for {len(candidates)} candidates")
    if subgoal is None:
        targets = np.zeros(percept.map.shape, np.bool_)
    else:
        targets = space.target_mask(percept, subgoal)
    pictures = [
        ("agent's view", first_person(percept, targets)),
        ("memory map (up is where it first looked)", memory_map(percept, targets)),
    ]
    if level is not None:
        pictures.append(("simulator (for you, not the agent)", _fit_level(level)))

    card_left = _MARGIN + len(pictures) * (SIDE + _GAP)
    canvas = Image.new("RGB", (card_left + _CARD + _MARGIN, _HEIGHT), _PAPER)
    draw = ImageDraw.Draw(canvas)
    _draw_mission(draw, percept.mission, card_left - _GAP - _MARGIN)
    top = _HEADER + _TITLE
    for k, (title, picture) in enumerate(pictures):
        left = _MARGIN + k * (SIDE + _GAP)
        draw.text((left, top - 6), title, _MUTED, _font(12), anchor="ls")
        canvas.paste(picture, (left, top))
        draw.rectangle((left - 1, top - 1, left + SIDE, top + SIDE), outline=_LINE)
    _draw_hand(canvas, percept.carrying, _MARGIN, top + SIDE + 8)
    _draw_legend(canvas, _MARGIN + SIDE + _GAP, top + SIDE + 8)
    _draw_card(canvas, card_left, subgoal, caption, value)
    _draw_candidates(canvas, card_left + 14, subgoal, candidates, log_probs, advantages)
    return np.array(canvas)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _bold(draw: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, size: int) -> None:
    # Pillow's built-in font has one weight: strike twice, a fraction of a pixel apart.
    for shift in (0.0, size / 28):
        draw.text((xy[0] + shift, xy[1]), text, _INK, _font(size), anchor="ls")


@lru_cache(maxsize=256)
def _fit(text: str, width: int, layouts: tuple[tuple[int, int], ...]) -> tuple[int, list[str]]:
    """The first of the ``(font size, lines)`` in which ``text`` fits, and its lines.

    Text that fits none is cut short with an ellipsis in the last of them.
    """
    for size, count in layouts:
        lines = _wrap(text, width, size)
        if len(lines) <= count and all(_font(size).getlength(line) <= width for line in lines):
            return size, lines
    kept, last = lines[:count], lines[count - 1]
    while last and _font(size).getlength(last + "…") > width:
        last = last[:-1]
    return size, [*kept[:-1], last.rstrip() + "…"]


def _wrap(text: str, width: int, size: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _draw_mission(draw: ImageDraw.ImageDraw, mission: str, width: int) -> None:
    draw.text((_MARGIN, 24), "mission", _MUTED, _font(12), anchor="ls")
    size, lines = _fit(mission, width, ((21, 1), (16, 2), (13, 3), (12, 4), (11, 4)))
    if len(lines) == 1:
        _bold(draw, (_MARGIN, 50), lines[0], size)
        return
    for k, line in enumerate(lines):
        draw.text((_MARGIN, 40 + k * (size + 2)), line, _INK, _font(size), anchor="ls")


def _fit_level(level: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(level)
    scale = SIDE / max(picture.size)
    picture = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))),
        Image.Resampling.BOX,
    )
    square = Image.new("RGB", (SIDE, SIDE), _PAPER)
    square.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return square


def _draw_hand(canvas: Image.Image, carrying: int, left: int, top: int) -> None:
    draw = ImageDraw.Draw(canvas)
    cell = CELLS[carrying]
    held = f"{cell.color} {cell.kind}" if cell.color else "nothing"
    draw.text((left, top + 12), "in hand", _MUTED, _font(12), anchor="ls")
    left += 50
    if cell.color:
        canvas.paste(tile(carrying, _ICON), (left, top))
        left += _ICON + 6
    draw.text((left, top + 12), held, _INK, _font(12), anchor="ls")


def _draw_legend(canvas: Image.Image, left: int, top: int) -> None:
    draw = ImageDraw.Draw(canvas)
    for name in ("target", "in view", "remembered", "unseen"):
        swatch = left, top + 2, left + 11, top + 13
        if name == "target":
            draw.rectangle(swatch, fill=(70, 98, 106), outline=ACCENT, width=2)
        elif name == "unseen":
            canvas.paste(Image.fromarray(hatching(12)), swatch[:2])
        else:
            draw.rectangle(swatch, fill=(76, 76, 76) if name == "in view" else (52, 52, 52))
        draw.text((left + 16, top + 12), name, _MUTED, _font(12), anchor="ls")
        left += 16 + round(_font(12).getlength(name)) + 9


def _draw_card(
    canvas: Image.Image, left: int, subgoal: Subgoal | None, caption: str, value: float | None
) -> None:
    draw = ImageDraw.Draw(canvas)
    card = left, 10, left + _CARD, _HEIGHT - 12
    draw.rounded_rectangle(card, radius=8, fill=_WHITE, outline=_LINE)
    left, right = left + 14, left + _CARD - 14
    draw.text((left, 30), "subgoal", _MUTED, _font(12), anchor="ls")
    if subgoal is None:
        draw.text((left, 55), "no planner", _MUTED, _font(20), anchor="ls")
    else:
        size, lines = _fit(str(subgoal), right - left, ((21, 1), (17, 1), (14, 1), (12, 1)))
        _bold(draw, (left, 55), lines[0], size)
    room = right - left
    if value is not None:
        text = f"value {value:+.2f}"
        draw.text((right, 78), text, _INK, _font(13), anchor="rs")
        room -= round(_font(13).getlength(text)) + 12
    _, lines = _fit(caption, room, ((13, 1),))
    draw.text((left, 78), lines[0], _INK, _font(13), anchor="ls")
    draw.line((left, 89, right, 89), fill=_LINE)


def _draw_candidates(
    canvas: Image.Image,
    left: int,
    subgoal: Subgoal | None,
    candidates: Sequence[Subgoal],
    log_probs: NDArray[np.floating] | None,
    advantages: Sequence[float] | NDArray[np.floating] | None,
) -> None:
    draw = ImageDraw.Draw(canvas)
    if not candidates:
        if subgoal is None:
            note = "the controller acts without subgoals"
            draw.text((left, 108), note, _MUTED, _font(13), anchor="ls")
        return
    right = bar_right = left + _CARD - 28
    draw.text((left, 106), "candidates", _MUTED, _font(12), anchor="ls")
    if advantages is not None:
        draw.text((right, 106), "advantage", _MUTED, _font(12), anchor="rs")
        bar_right -= _ADVANTAGE
    if log_probs is not None:
        draw.text((bar_right, 106), "probability", _MUTED, _font(12), anchor="rs")
        bar_right -= _SHARE

    bar_left = left + _ICON + 4
    listed = _listed(candidates, subgoal, log_probs)
    for k, index in enumerate(listed):
        top = 114 + k * _ROW
        chosen = candidates[index] == subgoal
        track, bar = (_CHOSEN_TRACK, _CHOSEN_BAR) if chosen else (_TRACK, _BAR)
        draw.rectangle((left, top, bar_right, top + _ROW - 4), fill=track)
        if log_probs is not None:
            probability = min(1.0, float(np.exp(log_probs[index])))
            filled = bar_left + probability * (bar_right - bar_left)
            draw.rectangle((bar_left, top, filled, top + _ROW - 4), fill=bar)
            share = f"{probability:.0%}" if probability >= 0.01 else "<1%"
            draw.text((bar_right + _SHARE, top + 13), share, _INK, _font(13), anchor="rs")
        if chosen:
            draw.rectangle((left - 4, top, left - 1, top + _ROW - 4), fill=ACCENT)
        canvas.paste(_icon(candidates[index]), (left + 1, top + 1))
        room = bar_right - left - 28
        size, lines = _fit(str(candidates[index]), room, ((13, 1), (12, 1), (11, 1), (10, 1)))
        if chosen:
            _bold(draw, (left + 24, top + 13), lines[0], size)
        else:
            draw.text((left + 24, top + 13), lines[0], _INK, _font(size), anchor="ls")
        if advantages is not None:
            gain = float(advantages[index])
            color = _GOOD if gain > 0 else _BAD if gain < 0 else _MUTED
            draw.text((right, top + 13), f"{gain:+.2f}", color, _font(13), anchor="rs")
    hidden = len(candidates) - len(listed)
    if hidden:
        below = 114 + MAX_ROWS * _ROW + 14
        draw.text((left, below), f"and {hidden} more", _MUTED, _font(12), anchor="ls")


def _listed(
    candidates: Sequence[Subgoal], subgoal: Subgoal | None, log_probs: NDArray[np.floating] | None
) -> list[int]:
    """Indices of the candidates to list, most probable first."""
    order = list(range(len(candidates)))
    if log_probs is not None:
        order = np.argsort(-np.asarray(log_probs), kind="stable").tolist()
    hidden = order[MAX_ROWS:]
    chosen = next((index for index in hidden if candidates[index] == subgoal), None)
    return order[:MAX_ROWS] if chosen is None else [*order[: MAX_ROWS - 1], chosen]


@lru_cache(maxsize=64)
def _icon(subgoal: Subgoal) -> Image.Image:
    """The object a subgoal is about; stripes stand for the unknown, bare floor for a free place."""
    if subgoal.kind:
        state = "closed" if subgoal.kind == "door" else ""
        return tile(CODE[Cell(subgoal.kind, subgoal.color, state)], _ICON)
    if subgoal.verb == "explore":
        return Image.fromarray(hatching(_ICON))
    return tile(EMPTY, _ICON)
