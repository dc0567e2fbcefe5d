"""Writes the reference's pages: one for each module, the configuration's keys, the commands.

docs/conf.py calls :func:`write` before each build. The pages lie in docs/reference/generated, which
git ignores.
"""

from __future__ import annotations

import contextlib
import io
import runpy
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
OUT = DOCS / "reference" / "generated"


def modules() -> dict[str, Path]:
    """Import path of every module that has a page, with its file."""
    found = runpy.run_path(str(DOCS / "module_graph.py"))["modules"]()
    return {name: file for name, file in found.items() if not name.endswith("__main__")}


def page_of(module: str) -> str:
    """The page of a module, from docs/ on and without its ending."""
    return f"reference/generated/{module}"


def write() -> None:
    """Write all pages; one that would not change is left alone, so that a build can go on."""
    OUT.mkdir(exist_ok=True)
    pages = dict(_module_pages())
    pages["configuration.md"] = _configuration()
    pages["commands.md"] = _commands()
    for name, text in pages.items():
        file = OUT / name
        if not file.is_file() or file.read_text() != text:
            file.write_text(text)
    for file in set(OUT.iterdir()) - {OUT / name for name in pages}:
        file.unlink()


def _module_pages() -> Iterator[tuple[str, str]]:
    known = modules()
    for name, file in known.items():
        lines = [name, "=" * len(name), "", f".. automodule:: {name}", ""]
        if file.name == "__init__.py":
            below = [other for other in known if other.rpartition(".")[0] == name]
            lines += [
                ".. currentmodule:: None",
                "",
                ".. rubric:: Modules",
                "",
                ".. autosummary::",
                "",
            ]
            lines += [f"   {other}" for other in below]
            lines += ["", ".. toctree::", "   :hidden:", ""]
            lines += [f"   {other.rpartition('.')[2]} <{other}>" for other in below]
        yield f"{name}.rst", "\n".join(lines) + "\n"


def _configuration() -> str:
    from hier.config import HierConfig
    from hier.pretraining.config import PretrainConfig

    text = (
        "# Configuration\n\n"
        "A configuration is a YAML file, a preset or your own, plus `dotted.key=value` overrides. "
        "`hier train --keys` and `hier pretrain --keys` print these tables.\n"
    )
    for title, settings in (("hier train", HierConfig), ("hier pretrain", PretrainConfig)):
        text += f"\n## {title}\n\n| key | default | meaning |\n|---|---|---|\n"
        for key, default, meaning in settings.key_table():
            shown = "" if default in (None, "") else f"`{default}`"
            text += f"| `{key}` | {shown} | {_cell(meaning)} |\n"
    return text


def _cell(text: str) -> str:
    for mark in "|*_<":
        text = text.replace(mark, f"\\{mark}")
    return text


def _commands() -> str:
    from hier.cli import app

    names = [name for name in app if not name.startswith("-")]
    text = "# Commands\n\nWhat `hier COMMAND --help` prints.\n"
    for name in names:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            app([name, "--help"])
        text += f"\n## hier {name}\n\n```text\n{shown.getvalue().strip()}\n```\n"
    return text
