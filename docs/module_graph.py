"""Draws which rooms of the code import which: ``make graph`` updates docs/architecture.md.

A room is a folder of modules, or a module that stands alone in ``hier/``. An arrow means that some
module of the first room imports some module of the second, anywhere in the file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("envs", "perception", "planners", "controllers", "hier")
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "```mermaid\n", "```\n"


def modules() -> dict[str, Path]:
    """Import path of every module of the package, with its file."""
    found = {}
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join(parts if folder == "hier" else ("hier", *parts))] = file
    return found


def imports(file: Path, *, typing_too: bool = True) -> Iterator[str]:
    """Everything a file imports by an absolute name, ``from a import b`` as ``a.b``."""
    tree = ast.parse(file.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.If)
            and ast.unparse(node.test) == "TYPE_CHECKING"
            and not typing_too
        ):
            skipped |= {child for line in node.body for child in ast.walk(line)}
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_graph(*, typing_too: bool = False) -> dict[str, set[str]]:
    """For every module of the package, the others of the package that it imports."""
    known = modules()

    def home(name: str) -> str | None:
        while name and name not in known:
            name = name.rpartition(".")[0]
        return name or None

    return {
        module: {
            target
            for name in imports(file, typing_too=typing_too)
            if (target := home(name)) and target != module
        }
        for module, file in known.items()
    }


def room_of(module: str) -> str:
    """The room a module stands in, such as ``planners/language`` or ``hier/run``."""
    parts = module.split(".")[1:]
    if not parts or (len(parts) == 1 and parts[0] not in FOLDERS):
        return "hier/" + (parts[0] if parts else "__init__")
    if parts[0] in FOLDERS:
        folder = len(parts) > 1 and (ROOT / parts[0] / parts[1]).is_dir()
        return "/".join(parts[:2]) if folder else parts[0]
    return f"hier/{parts[0]}"


def room_graph() -> dict[str, set[str]]:
    """For every room, the other rooms it imports."""
    rooms: dict[str, set[str]] = {}
    for module, targets in module_graph().items():
        room = room_of(module)
        rooms.setdefault(room, set()).update(room_of(target) for target in targets)
    return {room: targets - {room} for room, targets in rooms.items()}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach one another (strongly connected components of two or more)."""
    reach = {node: set(targets) for node, targets in graph.items()}
    for middle in graph:
        for node in graph:
            if middle in reach[node]:
                reach[node] |= reach[middle]
    groups = {frozenset({a} | {b for b in reach[a] if a in reach.get(b, ())}) for a in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def mermaid() -> str:
    """The graph of rooms, grouped by folder; an arrow that follows from two others is left out."""
    graph = room_graph()
    lines = ["graph BT"]
    for folder in FOLDERS:
        lines.append(f"  subgraph in_{folder}[{folder}/]")
        rooms = [room for room in sorted(graph) if room.split("/")[0] == folder]
        lines += [f"    {_node(room)}[{room}]" for room in rooms]
        lines.append("  end")
    for room in sorted(graph):
        direct = graph[room] - {far for near in graph[room] for far in _below(graph, near)}
        lines += [f"  {_node(room)} --> {_node(target)}" for target in sorted(direct)]
    return "\n".join(lines) + "\n"


def _node(room: str) -> str:
    return room.replace("/", "_")


def _below(graph: Mapping[str, set[str]], room: str) -> set[str]:
    found: set[str] = set()
    new = set(graph[room])
    while new:
        found |= new
        new = {target for node in new for target in graph[node]} - found
    return found


if __name__ == "__main__":
    for group in circles(module_graph()):
        print("modules import one another:", *group)
    for group in circles(room_graph()):
        print("rooms import one another:", *group)
    page = PAGE.read_text()
    start = page.index(BEGIN) + len(BEGIN)
    PAGE.write_text(page[:start] + mermaid() + page[page.index(END, start) :])
