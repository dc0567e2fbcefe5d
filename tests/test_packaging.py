"""What a user installs works in any folder, also beside packages called as ours are here."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("hier", "envs", "perception", "planners", "controllers")
NEEDED = ("pyproject.toml", "README.md", "LICENSE")  # beside the folders, to build the package
FOREIGN = FOLDERS[1:]

TRAINING = [
    "demo", "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=2", "planner.type=oracle",
    "total_timesteps=32", "controller.options.n_steps=16", "controller.options.batch_size=16",
    "controller.options.n_epochs=1", "env.max_steps=8", "eval.every=0", "eval.episodes=1",
    "eval.videos=0", "torch_threads=1",
]  # fmt: skip
SCRIPT = f"""
import controllers, envs, perception, planners
from hier import HierConfig, train

assert {{controllers.mine, envs.mine, perception.mine, planners.mine}} == {{"of the user"}}
result = train(HierConfig.load({TRAINING[0]!r}, {TRAINING[1:]!r}), folder="run", progress=False)
assert result.env_steps == 32
print("trained")
"""


def files_of(folder):
    """Tracked or not, what belongs to the package in one of the folders."""
    return [
        file
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]


def installed_as(file):
    """Where a file of the five folders lies in the package."""
    path = file.relative_to(ROOT)
    return path.as_posix() if path.parts[0] == "hier" else f"hier/{path.as_posix()}"


def test_every_package_on_disk_is_listed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = [
        installed_as(file.parent).replace("/", ".")
        for folder in FOLDERS
        for file in files_of(folder)
        if file.name == "__init__.py"
    ]
    assert settings["packages"] == sorted(found)
    assert settings["package-dir"] == {
        "hier" if folder == "hier" else f"hier.{folder}": folder for folder in FOLDERS
    }


def test_every_module_lies_in_a_package():
    for folder in FOLDERS:
        for file in files_of(folder):
            if file.suffix == ".py":
                assert (file.parent / "__init__.py").is_file(), file


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The package as it is uploaded, built from a copy: setuptools leaves scraps in its tree."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in NEEDED:
        shutil.copy(ROOT / name, source)
    for folder in FOLDERS:
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    pip("wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", out)
    (built,) = out.iterdir()
    return built


def pip(*args):
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    done = subprocess.run([*command, *map(str, args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Folder of commands of a fresh environment: the wheel, and what it depends on from here."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(home), "platbase": str(home)})
    python = Path(paths["scripts"]) / Path(sys.executable).name
    # At the end of its path lies this environment; the hook of an editable install does not run.
    pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    here = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (Path(paths["purelib"]) / "dependencies.pth").write_text("\n".join(here) + "\n")
    found = start(python, "-I", "-c", "import hier.envs; print(hier.envs.__file__)")
    assert found.startswith(str(home)), "this is not what was installed"
    return Path(paths["scripts"])


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A working folder with the user's own packages, called as the folders of this project."""
    for name in FOREIGN:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("mine = 'of the user'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    return tmp_path


def start(*command, **variables):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300,
        env={**os.environ, **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_one_package_and_all_of_its_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2 and {top for top in tops if not top.endswith(".dist-info")} == {"hier"}
    ours = {installed_as(file) for folder in FOLDERS for file in files_of(folder)}
    assert {name for name in names if name.startswith("hier/")} == ours
    assert "hier/presets/demo.yaml" in ours
    assert "hier/planners/checkpoints/gridworld/model.safetensors" in ours


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "path"), [("hier", ""), ("hier", "."), ("python -m hier", ""), ("script", ".")]
)
def test_it_trains_in_a_folder_with_packages_of_the_same_names(way, path, installed, hostile):
    python = installed / Path(sys.executable).name
    train_in_its_way(way, python, installed / "hier", {"PYTHONPATH": path} if path else {})


@pytest.mark.slow
def test_so_does_the_package_that_the_tests_use(hostile):
    train_in_its_way("script", sys.executable, None, {"PYTHONPATH": "."})


def train_in_its_way(way, python, command, variables):
    if way == "script":
        Path("mine.py").write_text(SCRIPT)
        assert start(python, "mine.py", **variables).endswith("trained\n")
    else:
        begin = [command] if way == "hier" else [python, "-m", "hier"]
        shown = start(*begin, "train", *TRAINING, "--run", "run", "--quiet", **variables)
        assert "success   " in shown and "32 steps" in shown
    assert Path("run/config.yaml").is_file() and list(Path("run/checkpoints").glob("*.zip"))
