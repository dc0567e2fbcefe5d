"""The site's hand-written lists are complete, and the notebook runs."""

import re
import tomllib
from pathlib import Path

import pytest

import hier

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements):
    """Packages of requirements, as the index spells them."""
    found = [re.match(r"[\w.-]+", text)[0] for text in requirements]
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def test_the_reference_lists_what_the_package_offers():
    page = (ROOT / "docs" / "reference" / "index.md").read_text()
    assert set(re.findall(r"^   hier\.(\w+)$", page, flags=re.M)) == set(hier.__all__)


def test_every_dependency_has_a_license_and_a_pin():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    wanted = set().union(*map(names, groups))
    page = (ROOT / "docs" / "licenses.md").read_text()
    licenses = dict(re.findall(r"^\| ([\w-]+) \| [^|]+ \| ([^|]+) \|", page, flags=re.M))
    assert wanted <= set(licenses), "run: make licenses"
    assert "not stated" not in licenses.values()
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    assert wanted - names(pins) <= {"packaging"}


def test_the_citation_names_this_version():
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.slow
def test_the_notebook_runs():
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("16384", "2048").replace("episodes=50", "episodes=2")
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = [output for output in shown if "image/png" in output.get("data", {})]
    texts = "".join(output.get("text", "") for output in shown)
    assert len(pictures) == 1 and re.search(r"\d+ steps, reward", texts)
    assert re.search(r"vlm +\d+%\noracle +\d+%\nrandom +\d+%", texts)
