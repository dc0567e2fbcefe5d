"""Imports point one way: envs <- perception <- {planners, controllers} <- hier."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "envs": {"envs"},
    "perception": {"perception", "envs"},
    "planners": {"planners", "perception", "envs"},
    "controllers": {"controllers", "perception", "envs"},
    "hier": {"hier", "planners", "controllers", "perception", "envs"},
}
SIMULATORS = {"minigrid", "mujoco", "gymnasium_robotics", "miniworld"}
WORLDS = tuple(f"envs.{path.name}" for path in (ROOT / "envs").iterdir() if path.is_dir())
WORLDS += (
    "hier.perception.gridworld.tracker",
    "hier.perception.gridworld.scripted_controller",
    "hier.perception.gridworld.domain",
    "hier.perception.gridworld.map_image",
)


def imported_modules(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


def imported_packages(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_modules(file)}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_lies_below_it(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        ours = imported_packages(file) & set(MAY_IMPORT)
        assert ours <= MAY_IMPORT[package], f"{file} imports {ours - MAY_IMPORT[package]}"


def test_only_envs_and_perception_name_a_simulator():
    for package in ("planners", "controllers", "hier"):
        for file in (ROOT / package).rglob("*.py"):
            # Benchmarks are about a simulator; this one measures us against MiniGrid's own wrapper.
            if file != ROOT / "hier" / "bench" / "speed.py":
                assert not imported_packages(file) & SIMULATORS, file
            if file.parent != ROOT / "hier" / "bench":
                worlds = {name for name in imported_modules(file) if name.startswith(WORLDS)}
                assert not worlds, f"{file} imports {worlds}: ask the domain instead"


def test_importing_the_command_line_pulls_in_nothing_heavy():
    code = (
        "import sys, hier.cli\n"
        "heavy = ('torch', 'numba', 'minigrid', 'transformers', 'stable_baselines3')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
