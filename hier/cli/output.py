"""What commands print and write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hier.cli.app import settings_of


def print_keys(command: str) -> int:
    """Print every key of a command's configuration; returns the exit status."""
    print_table(["key", "default", "meaning"], settings_of(command).key_table())
    return 0


def print_summary(summary: dict[str, float]) -> None:
    """Print figures, one a line."""
    for name, value in summary.items():
        print(f"{name.replace('_', ' '):22}{value:.3f}".rstrip("0").rstrip("."))


def print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows in columns as wide as their widest cell."""
    texts = [list(header), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    for row in texts:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def write_text(path: str, text: str) -> None:
    """Write a file whole or not at all, and print its path."""
    from hier.envs.files import atomic_write

    with atomic_write(Path(path)) as file:
        file.write_text(text + "\n", encoding="utf-8")
    print(path)


def save_picture(path: str, picture: Any) -> None:
    """Write an ``(height, width, 3)`` uint8 picture whole or not at all."""
    from PIL import Image

    from hier.envs.files import atomic_write

    with atomic_write(Path(path)) as file:
        Image.fromarray(picture).save(file)
