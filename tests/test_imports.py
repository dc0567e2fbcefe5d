"""Imports point one way: envs <- perception <- {planners, controllers} <- the agent in hier/."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
graph = runpy.run_path(str(ROOT / "docs" / "module_graph.py"))
GRAPH, FILES = graph["module_graph"](typing_too=True), graph["modules"]()
BELOW = {
    "envs": {"envs"},
    "perception": {"perception", "envs"},
    "planners": {"planners", "perception", "envs"},
    "controllers": {"controllers", "perception", "envs"},
}
SIMULATORS = {"minigrid", "mujoco", "gymnasium_robotics", "miniworld"}
# A domain is a folder of the same name in envs and in perception.
DOMAINS = sorted(file.parent.name for file in (ROOT / "perception").glob("*/domain.py"))
STATE = ("env", "expert", "simulator", "truth")  # modules that know the simulator's state


def folder_of(module):
    """The folder at the top that a module of the package stands in; the agent's own is hier."""
    part = module.split(".")[1] if "." in module else ""
    return part if part in BELOW else "hier"


def test_the_folders_of_a_domain_have_one_name():
    assert len(DOMAINS) >= 4
    for name in DOMAINS:
        assert (ROOT / "envs" / name / "subgoals.py").is_file()
        assert (ROOT / "perception" / name / "tracker.py").is_file()
        assert (ROOT / "planners" / "checkpoints" / name / "README.md").is_file()


@pytest.mark.parametrize("folder", BELOW)
def test_a_folder_imports_only_what_lies_below_it(folder):
    modules = [module for module in GRAPH if folder_of(module) == folder]
    assert len(modules) > 3
    for module in modules:
        above = {name for name in GRAPH[module] if folder_of(name) not in BELOW[folder]}
        assert not above, f"{module} imports {above}"


def test_no_module_imports_itself_through_others():
    assert graph["circles"](graph["module_graph"]()) == []


def test_no_room_imports_itself_through_others():
    assert graph["circles"](graph["room_graph"]()) == []


def test_the_page_shows_the_graph_as_it_is():
    assert graph["mermaid"]() in graph["PAGE"].read_text(), "run: make graph"


def test_only_envs_and_perception_name_a_simulator():
    domains = tuple(f"hier.{f}.{name}" for f in ("envs", "perception") for name in DOMAINS)
    for module, file in FILES.items():
        if folder_of(module) in ("envs", "perception") or module.startswith("hier.bench."):
            continue  # benchmarks are about a simulator
        names = {name.split(".")[0] for name in graph["imports"](file)}
        assert not names & SIMULATORS, file
        mine = {name for name in GRAPH[module] if name.startswith(domains)}
        assert not mine, f"{file} imports {mine}: ask the domain instead"


def test_what_is_perceived_is_not_looked_up_in_the_simulator():
    forbidden = tuple(f"hier.envs.{name}.{part}" for name in DOMAINS for part in STATE)
    for module, file in FILES.items():
        # A domain joins the two: it builds environments and hands out perception.
        if folder_of(module) == "perception" and file.name != "domain.py":
            assert not [name for name in GRAPH[module] if name.startswith(forbidden)], file
            names = {name.split(".")[0] for name in graph["imports"](file)}
            assert not names & SIMULATORS, file


def test_domains_do_not_know_one_another():
    for module in GRAPH:
        for name in GRAPH[module]:
            a, b = module.split(".")[2:3], name.split(".")[2:3]
            if {*a, *b} <= set(DOMAINS) and folder_of(module) in ("envs", "perception"):
                assert a == b, f"{module} imports {name}"


def test_importing_the_command_line_pulls_in_nothing_heavy():
    code = (
        "import sys, hier.cli\n"
        "heavy = ('torch', 'numba', 'minigrid', 'transformers', 'stable_baselines3')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
