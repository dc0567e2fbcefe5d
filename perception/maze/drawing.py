"""One moment in a maze as a picture: what the camera saw, what is known, pursued, considered."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from envs.mujoco_maze.maps import SIZE
from envs.mujoco_maze.percept import MazePercept
from envs.mujoco_maze.subgoals import MazeSubgoals
from envs.subgoal import Subgoal

_SIDE, _CARD, _TOP, _MARGIN = 360, 300, 36, 12
_CELL = _SIDE // SIZE
_PAPER, _INK, _MUTED = (246, 246, 243), (33, 35, 41), (122, 124, 130)
_WALL, _FREE, _GOAL, _AGENT = (178, 128, 77), (38, 58, 84), (220, 30, 30), (77, 178, 77)
_TARGET = (0, 200, 232)
_SPACE = MazeSubgoals()


def draw_maze(
    percept: MazePercept,
    subgoal: Subgoal | None,
    candidates: Sequence[Subgoal] = (),
    log_probs: NDArray[np.floating] | None = None,
    *,
    caption: str = "",
    level: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Draw the newest camera picture, the percept's map with the target, and the candidates.

    Arguments and result as :meth:`envs.domain.Domain.draw_scene`.
    """
    pictures = [("camera", percept.frame), ("percept", _plan(percept, subgoal))]
    if level is not None:
        pictures.append(("simulator (for you, not the agent)", level))
    width = len(pictures) * (_SIDE + _MARGIN) + _MARGIN + _CARD
    canvas = Image.new("RGB", (width, _TOP + _SIDE + _MARGIN), _PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for k, (title, picture) in enumerate(pictures):
        left = _MARGIN + k * (_SIDE + _MARGIN)
        draw.text((left, 12), title, _MUTED, font)
        canvas.paste(_fitted(picture), (left, _TOP))
    left = width - _CARD + _MARGIN
    draw.text((left, 12), caption, _INK, font)
    draw.text((left, _TOP), str(subgoal or "no planner"), _INK, ImageFont.load_default(18))
    for k, candidate in enumerate(candidates):
        share = "" if log_probs is None else f"{np.exp(log_probs[k]):4.0%}  "
        color = _INK if candidate == subgoal else _MUTED
        draw.text((left, _TOP + 36 + 20 * k), f"{share}{candidate}", color, font)
    return np.array(canvas)


def _fitted(picture: NDArray[np.uint8]) -> Image.Image:
    """In the corner of a square of one size, as large as fits."""
    square = Image.new("RGB", (_SIDE, _SIDE), _PAPER)
    scale = _SIDE / max(picture.shape[:2])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    square.paste(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST), (0, 0))
    return square


def _plan(percept: MazePercept, subgoal: Subgoal | None) -> NDArray[np.uint8]:
    """The percept's map with agent, goal and target, ``(360, 360, 3)`` uint8."""
    plan = np.where(percept.walls[..., None], _WALL, _FREE).astype(np.uint8)
    plan = np.ascontiguousarray(plan.repeat(_CELL, 0).repeat(_CELL, 1))
    marks = [(percept.goal, _CELL // 5, _GOAL, -1), (percept.position, _CELL // 5, _AGENT, -1)]
    if subgoal is not None:
        marks.append((_SPACE.place(percept, subgoal), _CELL // 3, _TARGET, 2))
    for place, radius, color, thickness in marks:
        middle = int(place[0] * _CELL), int(place[1] * _CELL)
        cv2.circle(plan, middle, radius, color, thickness, cv2.LINE_AA)
    return plan
