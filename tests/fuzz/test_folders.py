"""A damaged or foreign run folder, planner folder or download is read, or refused in one line."""

import json
import shutil
import tempfile
import warnings
import zipfile
from functools import lru_cache
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hier import HierConfig, train
from hier.envs.errors import UserError
from hier.envs.registry import default_domain
from hier.feedback.lessons import write_lessons
from hier.planners import build_planner
from hier.planners.play import Player
from hier.planners.pretraining.demonstrations import (
    demonstrate,
    load_demonstrations,
    save_demonstrations,
)
from hier.planners.protocol import ask
from hier.pretraining.config import PretrainConfig
from hier.run import hub
from hier.run.comparison import groups_of
from hier.run.curves import training_curve
from hier.run.folder import RunFolder
from hier.run.listing import list_runs
from hier.run.resuming import resumed_config, rewind
from hier.run.setup import open_trained
from hier.run.status import Progress
from tests.fuzz.strategies import changed, damaged, refusal, scratch, trees
from tests.fuzz.test_fuzz import a_lesson
from tests.planners.language.families import build_checkpoint
from tests.planners.test_planners import queries  # noqa: F401  (a fixture)

SMALL = [
    "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=2", "total_timesteps=64", "checkpoint_every=32",
    "eval.episodes=1", "eval.every=32", "eval.episodes_during=1", "eval.videos=0",
    "torch_threads=1", "planner.type=random", "planner.options={}", "controller.channels=1",
    "controller.options.n_steps=8", "controller.options.batch_size=16",
    "controller.options.n_epochs=1", "controller.net_arch=[2]", "controller.features_dim=2",
]  # fmt: skip


@lru_cache
def a_run():
    """The files of a finished run, by name; its first checkpoint is as good as its last."""
    with tempfile.TemporaryDirectory() as folder:
        run = train(HierConfig.load("demo", SMALL), folder=f"{folder}/run", progress=False).folder
        write_lessons([a_lesson()], run / "lessons")
        return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}


def parsed(name, content):
    """A file's values and how they are written, where it holds some."""
    if name.endswith(".yaml"):
        return yaml.safe_load(content), json.dumps
    if name.endswith(".json"):
        return json.loads(content), json.dumps
    if name.endswith(".jsonl"):
        values = [json.loads(line) for line in content.splitlines()]
        return values, lambda some: "".join(f"{json.dumps(one)}\n" for one in some)
    return None, None


@st.composite
def file_like(draw, name, content):
    """A file with other values, or with damage."""
    values, write = parsed(name, content)
    if values is None or draw(st.integers(0, 3)) == 0:
        return draw(damaged(content))
    other = draw(changed(values))
    if name.endswith(".jsonl") and not isinstance(other, list):
        other = [other]
    return write(other).encode()


@st.composite
def archive_like(draw, content):
    """A checkpoint that lacks files, or holds others or some of another name."""
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder) / "old.zip", Path(folder) / "new.zip"
        old.write_bytes(content)
        with zipfile.ZipFile(old) as before, zipfile.ZipFile(new, "w") as after:
            for name in before.namelist():
                if draw(st.booleans()):
                    after.writestr(name, before.read(name))
            for name in draw(st.lists(st.text(min_size=1, max_size=12), max_size=2, unique=True)):
                after.writestr(name, draw(st.binary(max_size=9)))
        return new.read_bytes()


def unpacked(files, folder):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return RunFolder(folder)


def use(run):
    """Whatever commands make of a run folder, each for itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in list_runs(run.path):
            assert "\n" not in one.state
        with refusal():
            str(Progress.of(run))
        with refusal():
            training_curve(run, HierConfig.load("demo", SMALL))
        with refusal():
            [group.summary() for group in groups_of([run.path])]
        with refusal():
            open_trained(run.path)
        with refusal(), scratch() as folder:
            hub.package(run.path, folder / "run", "a/b")
        with refusal():
            resumed_config(RunFolder.open(run.path), 64, ["total_timesteps=128"])
        with refusal():
            rewind(run, 32)
            run.evaluations()
            write_lessons([a_lesson()], run.lessons)


class TestRunFolders:
    @given(st.data())
    def test_any_file_in_it(self, data):
        files = dict(a_run())
        name = data.draw(st.sampled_from(sorted(files)))
        files[name] = data.draw(file_like(name, files[name]))
        with scratch() as folder:
            use(unpacked(files, folder / "run"))

    @given(st.data())
    def test_files_missing_added_or_of_other_names(self, data):
        files = dict(a_run())
        for name in data.draw(st.lists(st.sampled_from(sorted(files)), max_size=3)):
            content = files.pop(name, b"")
            parent, _, last = name.rpartition("/")
            other = data.draw(damaged(last.encode())).decode(errors="ignore")
            other = other.replace("/", "").replace("\0", "")
            if other not in ("", ".", ".."):
                files[f"{parent}/{other}".lstrip("/")] = content
        with scratch() as folder:
            use(unpacked(files, folder / "run"))

    @given(st.sampled_from(["checkpoints/step-0000000064.zip", "checkpoints/step-0000000032.zip"]),
           st.data())  # fmt: skip
    def test_members_of_a_checkpoint_missing_or_others(self, name, data):
        files = dict(a_run())
        files[name] = data.draw(archive_like(files[name]))
        with scratch() as folder:
            use(unpacked(files, folder / "run"))


@lru_cache
def planner_files(family):
    with tempfile.TemporaryDirectory() as folder:
        made = build_checkpoint(family, Path(folder) / family)
        (made / "planner.json").write_text(json.dumps({"version": 3, "mission_last": True}))
        (made / "README.md").write_text("---\nlibrary_name: transformers\n---\n\n# Planner\n")
        return {str(p.relative_to(made)): p.read_bytes() for p in made.rglob("*") if p.is_file()}


class TestPlannerFolders:
    @pytest.mark.parametrize("family", ["llama", "llava"])
    @given(data=st.data())
    def test_any_file_in_it(self, queries, family, data):  # noqa: F811
        files = dict(planner_files(family))
        name = data.draw(st.sampled_from(sorted(files)))
        files[name] = data.draw(file_like(name, files[name]))
        with scratch() as folder, refusal(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            unpacked(files, folder / "planner")
            kind = {"llama": "llm", "llava": "vlm"}[family]
            ask(build_planner(kind, model=str(folder / "planner")), queries[:1])

    @given(data=st.data())
    def test_the_header_of_its_weights(self, data):
        files = dict(planner_files("llama"))
        content = files["model.safetensors"]
        size = int.from_bytes(content[:8], "little")
        header = json.dumps(data.draw(changed(json.loads(content[8 : 8 + size])))).encode()
        length = data.draw(st.just(len(header)) | st.integers(0, 2**64 - 1))
        files["model.safetensors"] = length.to_bytes(8, "little") + header + content[8 + size :]
        with scratch() as folder, refusal(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            unpacked(files, folder / "planner")
            build_planner("llm", model=str(folder / "planner"))

    @given(trees)
    def test_any_adapter(self, tree):
        with scratch() as folder, refusal():
            (folder / "adapter_config.json").write_text(json.dumps(tree))
            build_planner("llm", model=str(folder))


@lru_cache
def demonstrations():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "000000.npz"
        save_demonstrations(file, demonstrate(Player("BabyAI-GoToObjS4-v0"), 0, gamma=0.97)[:2])
        return file.read_bytes()


class TestPretraining:
    @given(damaged(b"") | st.deferred(lambda: damaged(demonstrations())))
    def test_any_damage_of_demonstrations(self, content):
        with scratch() as folder, refusal():
            (folder / "000000.npz").write_bytes(content)
            load_demonstrations(folder / "000000.npz")

    @given(changed(yaml.safe_load(PretrainConfig.load("gridworld").to_yaml())))
    def test_any_configuration(self, data):
        with scratch() as folder, refusal():
            (folder / "config.yaml").write_text(json.dumps(data))
            PretrainConfig.of_run(folder / "config.yaml")


class TestHub:
    @given(st.text(max_size=30) | st.sampled_from(["a/b", "a/b/c", "../x", "a--b", "datasets/a"]))
    def test_any_name(self, name):
        with pytest.MonkeyPatch.context() as patch, scratch() as folder:
            patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
            patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "cache"))
            with pytest.raises(UserError):
                hub.load(name, folder / "run")

    @given(st.data())
    def test_any_content(self, data):
        files = dict(a_run())
        for name in data.draw(st.lists(st.sampled_from(sorted(files)), min_size=1, max_size=2)):
            files[name] = data.draw(file_like(name, files[name]))
        for name in data.draw(st.lists(st.sampled_from(sorted(files)), max_size=2)):
            files.pop(name, None)

        def download(repo, local_dir, **options):
            unpacked(files, Path(local_dir))

        with pytest.MonkeyPatch.context() as patch, scratch() as folder, refusal():
            patch.setattr(huggingface_hub, "snapshot_download", download)
            use(hub.load("a/b", folder / "run"))


def test_what_is_fuzzed_is_whole():
    """Undamaged, all of it is read: what is refused is refused for its damage."""
    with scratch() as folder:
        run = unpacked(a_run(), folder / "run")
        assert open_trained(run.path).model.num_timesteps == 64
        assert [one.state for one in list_runs(run.path)] == ["finished"]
        assert default_domain().name and Progress.of(run).step == 64
        shutil.rmtree(folder / "run")
        unpacked(planner_files("llama"), folder / "planner")
        assert build_planner("llm", model=str(folder / "planner")).version == 3
        (folder / "a.npz").write_bytes(demonstrations())
        assert load_demonstrations(folder / "a.npz")
