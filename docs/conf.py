"""Settings of the documentation site: ``make docs`` builds it into build/docs.

The pages in docs/ are written for reading in the repository. This file makes them a site as they
are: links to modules become links to the reference, other files become downloads, and the pages of
the reference are written by docs/reference.py before each build.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(DOCS)]
os.environ.setdefault("MUJOCO_GL", "egl")  # modules are imported, nothing is drawn

import reference  # noqa: E402
from docutils import nodes  # noqa: E402
from sphinx import addnodes  # noqa: E402
from sphinx.util.inspect import stringify_signature  # noqa: E402
from sphinx.util.nodes import make_refnode  # noqa: E402

project = "hier-agent"
author = "the hier-agent authors"
copyright = "2026, the hier-agent authors"
release = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]  # type: ignore[index]

extensions = [
    "myst_nb",  # pages in Markdown, and the notebook with its stored outputs
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
nitpicky = True
highlight_language = "text"  # of blocks that name none

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # those that GitHub gives
myst_fence_as_directive = ["mermaid"]
mermaid_init_config = {"startOnLoad": False, "flowchart": {"useMaxWidth": False}}
mermaid_height = "auto"
nb_execution_mode = "off"  # `make notebook` executes it

autosummary_generate = False  # docs/reference.py writes the pages
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "ignore-module-all": True,  # what a package re-exports is described where it is defined
}
add_module_names = False  # the page is named so
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"hier-agent {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
templates_path: list[str] = []
copybutton_exclude = ".linenos, .gp"


LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[#/])([^)\s#]+)(#[^)\s]*)?(?=\))")
MODULES = {path: name for name, path in reference.modules().items()}


def site_link(found: re.Match[str], folder: Path) -> str:
    """A relative link of a page in ``folder``, as the site has it: from docs/ on."""
    target, anchor = (folder / found[1]).resolve(), found[2] or ""
    if target in MODULES:
        return f"/{reference.page_of(MODULES[target])}.rst"
    if target.parent.parent == ROOT / "planners" / "checkpoints":
        return f"/models/{target.parent.name}.md{anchor}"
    if target == ROOT / "README.md":
        return f"/index.md{anchor}"
    if target == ROOT / "runs" / "README.md":
        return f"/runs.md{anchor}"
    if target.parent == ROOT and target.suffix == ".md":  # CHANGELOG.md, CONTRIBUTING.md
        return f"/{target.stem.lower()}.md{anchor}"
    return f"/{os.path.relpath(target, DOCS)}{anchor}"


def read_page(app: Any, page: str, source: list[str]) -> None:
    """Turn the links of a page into the site's."""
    file = Path(app.env.doc2path(page))
    if file.suffix == ".md":
        source[0] = LINK.sub(lambda found: site_link(found, file.parent), source[0])


def read_included(app: Any, file: Path, page: str, source: list[str]) -> None:
    """Turn the links of a file that a page includes into the site's."""
    folder = (DOCS / file).resolve().parent
    text = re.sub(r"\A---\n.*?^---\n", "", source[0], flags=re.M | re.S)  # a model card's metadata
    source[0] = LINK.sub(lambda found: site_link(found, folder), text)


def home_of(name: str, module: str | None, cls: str | None, known: Container[str]) -> str | None:
    """What a docstring of ``module`` and ``cls`` calls ``name``, by the name of what describes it.

    That is the function or class itself, wherever it is defined; for an attribute its class, and
    for a constant its module. ``known`` are the names that are described.
    """
    for around in ([module, cls], [module], [], ["hier"]):
        parts = ".".join([*filter(None, around), name]).split(".")
        for n in range(len(parts), 0, -1):
            with contextlib.suppress(ImportError):
                found = importlib.import_module(".".join(parts[:n]))
                home = nearest(found, parts[n:], known)
                if home:
                    return home
                break
    return None


def nearest(found: Any, attributes: list[str], known: Container[str]) -> str | None:
    """The last of ``known`` on the way from a module along ``attributes``, if the way exists."""
    home = found.__name__
    for name in attributes:
        if not hasattr(found, name):  # an attribute that only instances have
            return home if re.search(rf"\b{re.escape(name)}:", found.__doc__ or "") else None
        found = getattr(found, name)
        path = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
        if path in known:
            home = path
        elif path.strip(".") and not path.startswith("hier."):
            return path  # of another library
    return home


def missing_reference(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Resolve a name that is re-exported or imported where it is mentioned.

    A docstring's role that leads nowhere stays an error. A name of another library is plain text.
    """
    if node.get("refdomain") != "py":
        return None
    known = env.get_domain("py").objects
    home = home_of(node["reftarget"], node.get("py:module"), node.get("py:class"), known)
    if at := known.get(home):
        return make_refnode(app.builder, node["refdoc"], at.docname, at.node_id, content, home)
    foreign = home and home.split(".")[0] != "hier"
    return content if foreign or not isinstance(content, nodes.literal) else None


def tidy(app: Any, page: Any) -> None:
    """Let a type in a signature mean what its module imports, and drop bases that say nothing."""
    for node in page.findall(addnodes.pending_xref):
        if not isinstance(node[0], nodes.literal):
            node.attributes.pop("refspecific", None)
    for line in list(page.findall(nodes.paragraph)):
        if line.astext() == "Bases: object":
            line.parent.remove(line)


def one_by_one(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Part attributes that share a description, ``a, b: text``: napoleon takes a for a type."""
    apart = []
    for line in lines:
        found = re.fullmatch(r"( +)(\w+(?:, \w+)+)(: .+)", line) if what == "class" else None
        names = found[2].split(", ") if found else []
        apart += [f"{found[1]}{each}{found[3]}" for each in names] if found else [line]
    lines[:] = apart


def signature(app: Any, what: str, name: str, obj: Any, *_: Any) -> tuple[str, str] | None:
    """Annotations as they are written: ``NDArray[np.float32]``, not what numpy makes of it."""
    if what not in ("function", "method") or not inspect.isroutine(obj):
        return None
    written = inspect.signature(obj)
    if what == "method" and not inspect.ismethod(obj):
        written = written.replace(parameters=list(written.parameters.values())[1:])
    text, _, returned = stringify_signature(written).partition(" -> ")
    return text, returned


def skip_member(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what a named tuple's fields and pydantic say of themselves."""
    if name.startswith("model_") or type(obj).__name__ == "_tuplegetter":
        return True
    return None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: reference.write())
    app.connect("source-read", read_page)
    app.connect("include-read", read_included)
    app.connect("doctree-read", tidy)
    app.connect("missing-reference", missing_reference)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", one_by_one, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", skip_member)
