"""Frames as GIF and MP4 files."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hier.envs.errors import UserError
from hier.envs.files import atomic_write

Frames = Sequence[NDArray[np.uint8]]

_COLORS = 255  # a palette holds 256; one is left for "unchanged since the last frame"
_EXACT = 128  # of them stand for the most frequent colors, the others for the rest
_SAMPLE = 24  # frames that the palette is chosen from
_LAST_FRAME_MS = 1000


class VideoError(UserError, ValueError):
    """Frames that make no video."""


def write_gif(path: str | Path, frames: Frames, fps: float) -> None:
    """Write an endlessly looping GIF, whole or not at all.

    Args:
        path: where to; missing folders are made, an older file is replaced.
        frames: each ``(height, width, 3)`` uint8, all of one size. A frame that equals the one
            before it prolongs that one.
        fps: frames per second, in (0, 50]; the last frame stays for a second at least.

    Raises:
        VideoError: if there are no frames, their sizes differ or ``fps`` is out of range.
    """
    content = gif_bytes(frames, fps)
    with atomic_write(Path(path)) as temporary:
        temporary.write_bytes(content)


def gif_bytes(frames: Frames, fps: float) -> bytes:
    """The file that :func:`write_gif` writes; arguments and errors as there."""
    _check(frames, fps)
    palette = _palette(frames)
    pictures = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    duration = round(1000 / fps)
    content = io.BytesIO()
    pictures[0].save(
        content,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=[duration] * (len(frames) - 1) + [max(duration, _LAST_FRAME_MS)],
        loop=0,
    )
    return content.getvalue()


def _palette(frames: Frames) -> Image.Image:
    """One palette for all frames, so that colors neither flicker nor get stored again.

    Large plain areas keep their color, and each color of the rest counts once: by area, a small
    red door would be given up for one more shade of grey.
    """
    counts: Counter[Any] = Counter()
    for i in sorted(set(np.linspace(0, len(frames) - 1, _SAMPLE).astype(int).tolist())):
        height, width, _ = frames[i].shape
        for count, color in Image.fromarray(frames[i]).getcolors(height * width) or ():
            counts[color] += count
    ranked = [color for color, _ in counts.most_common()]
    colors, rest = ranked[:_EXACT], ranked[_EXACT:]
    if rest:
        strip = Image.fromarray(np.array([rest], np.uint8)).quantize(_COLORS - _EXACT)
        shades = strip.getpalette() or []
        colors += zip(*[iter(shades)] * 3, strict=True)
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for color in colors for channel in color])
    return palette


def write_mp4(path: str | Path, frames: Frames, fps: float) -> None:
    """Write an H.264 video that browsers play (yuv420p); arguments and errors as :func:`write_gif`.

    Frames of odd width or height are scaled to the next even size.
    """
    _check(frames, fps)
    import imageio.v2 as imageio

    with atomic_write(Path(path)) as temporary:
        imageio.mimwrite(
            temporary,
            list(frames),
            format="FFMPEG",
            fps=fps,
            codec="libx264",
            pixelformat="yuv420p",
            macro_block_size=2,  # all that yuv420p needs; the default of 16 would blur the text
            quality=7,
            output_params=["-preset", "veryfast", "-movflags", "+faststart"],
            ffmpeg_log_level="error",
        )


def _check(frames: Frames, fps: float) -> None:
    if not len(frames):
        raise VideoError("there are no frames to write; an episode gives one per step at least")
    if not 0 < fps <= 50:
        raise VideoError(f"fps is {fps}; choose a number above 0 and up to 50, such as 6")
    shapes = sorted({frame.shape for frame in frames})
    if len(shapes) > 1:
        raise VideoError(f"the frames differ in shape: {shapes}; draw them all alike")
