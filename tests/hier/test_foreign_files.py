"""What comes from elsewhere is data: no command runs code that a file holds or names."""

import base64
import io
import json
import os
import pickle
import shutil
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import yaml
from stable_baselines3 import PPO

from hier import HierConfig, evaluate, load, resume, train
from hier.cli import main
from hier.controllers import replay
from hier.controllers.checkpoint import add_member
from hier.controllers.saved import MEMBER
from hier.envs.errors import RunFolderError, UntrustedCodeError
from hier.feedback import saved
from hier.feedback.lessons import read_lessons
from hier.guidance import actions, learning
from hier.pretraining.config import PretrainConfig
from hier.run.folder import RunFolder
from hier.run.recording import record
from hier.run.sb3_zip import KEPT_AS, export_controller, import_controllers

SMALL = [
    "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=2", "total_timesteps=64", "eval.episodes=2",
    "eval.videos=0", "torch_threads=1", "planner.type=random", "planner.options={}",
    "controller.options.n_steps=16", "controller.options.batch_size=32",
    "controller.options.n_epochs=1", "controller.net_arch=[8]",
]  # fmt: skip


class Attack:
    """As a pickle, it makes a folder when it is read."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    return train(HierConfig.load("demo", SMALL), folder=folder, progress=False).folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run, to be tampered with."""
    return RunFolder(shutil.copytree(trained, tmp_path / "run"))


def refused(capsys, *args):
    """The one line with which a command refuses its input."""
    assert main([str(arg) for arg in args]) == 2
    shown = capsys.readouterr()
    assert not shown.out and len(shown.err.strip().splitlines()) == 1
    return shown.err


def commands(run, tmp_path):
    """Every command that opens a checkpoint."""
    yield "eval", run.path, "--quiet"
    yield "record", run.path, "--out", tmp_path / "videos"
    yield "export", run.path, "--out", tmp_path / "exported.zip"
    yield "train", "--resume", run.path, "total_timesteps=128", "--quiet"
    yield "train", "demo", *SMALL, f"controller.start={run.path}", "--run", tmp_path / "n"


class TestPickles:
    def replace(self, run, members):
        for file in run.checkpoint_files():
            file.unlink()
        file = run.checkpoints / "step-0000000064.zip"
        for name, content in members.items():
            add_member(file, name, content)
        return file

    def test_a_pickle_in_place_of_a_controller_is_not_read(self, run, tmp_path, capsys):
        content = pickle.dumps(Attack(tmp_path / "harm"))
        names = (MEMBER, "guidance.safetensors", "reference.safetensors", "guidance.pt")
        file = self.replace(run, dict.fromkeys(names, content))
        for command in commands(run, tmp_path):
            assert f"{file} is not a readable checkpoint" in refused(capsys, *command)
        with pytest.raises(RunFolderError, match="not a readable checkpoint"):
            load(run.path)
        with pytest.raises(RunFolderError, match="not a readable checkpoint"):
            resume(run.path, ["total_timesteps=128"], progress=False)
        assert not (tmp_path / "harm").exists()

    def test_sb3s_own_format_is_refused_with_the_remedy(self, run, tmp_path, capsys):
        content = pickle.dumps(Attack(tmp_path / "harm"))
        attack = {":type:": "x", ":serialized:": base64.b64encode(content).decode()}
        members = dict.fromkeys(("policy.pth", "policy.optimizer.pth", MEMBER), content)
        data = json.dumps({"policy_class": attack, "num_timesteps": 64}).encode()
        file = self.replace(run, {"data": data, **members})
        for command in commands(run, tmp_path):
            line = refused(capsys, *command)
            assert str(file) in line and f"hier import {run.path} --unpickle" in line
        # Even then, torch's restricted reader alone reads it.
        assert "add --unpickle" in refused(capsys, "import", run.path)
        assert "cannot be imported" in refused(capsys, "import", run.path, "--unpickle")
        assert not (tmp_path / "harm").exists()

    def test_the_attack_would_work(self, tmp_path):
        pickle.loads(pickle.dumps(Attack(tmp_path / "harm")))
        assert (tmp_path / "harm").exists()

    def test_a_pickle_in_place_of_guidance_is_not_read(self, run, tmp_path):
        content = pickle.dumps(Attack(tmp_path / "harm"))
        file = run.checkpoint_files()[-1]
        add_member(file, learning.MEMBER, content)
        guidance = learning.SubgoalGuidance(run.config(["guidance.soft_choice=true"]))
        with pytest.raises(RunFolderError, match=r"guidance in .* cannot be read"):
            guidance.load(run, file)
        assert not (tmp_path / "harm").exists()


LEARNS = {  # between them they have everything that a checkpoint can hold
    "ppo": [
        *SMALL, "planner.type=vlm", "guidance.soft_choice=true", "guidance.actions=loss",
        "guidance.action_answers=4", "feedback.objective=inverse_rl", "feedback.anchors=0",
    ],
    "dqn": [
        *SMALL[:-4], "controller.net_arch=[8]", "controller.algorithm=dqn",
        "controller.options.learning_starts=32", "controller.options.buffer_size=200",
    ],
}  # fmt: skip
MEMBERS = {
    "ppo": {MEMBER, learning.MEMBER, actions.MEMBER, saved.MEMBER},
    "dqn": {MEMBER, replay.MEMBER},
}


@pytest.fixture(scope="module", params=LEARNS)
def learned(request, tmp_path_factory):
    """Kind and folder of a run."""
    config = HierConfig.load("demo", LEARNS[request.param])
    folder = tmp_path_factory.mktemp("runs") / request.param
    return request.param, train(config, folder=folder, progress=False).folder


@pytest.mark.slow
def test_a_pickle_in_place_of_any_member_is_not_read(learned, tmp_path, capsys):
    kind, trained = learned
    checkpoint = RunFolder(trained).checkpoint_files()[-1]
    with zipfile.ZipFile(checkpoint) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert members.keys() == MEMBERS[kind]  # whoever keeps more has to say so here
    for attacked in members:
        run = RunFolder(shutil.copytree(trained, tmp_path / f"run-{attacked}"))
        for old in run.checkpoint_files():
            old.unlink()
        for name, content in {**members, attacked: pickle.dumps(Attack(tmp_path / "harm"))}.items():
            add_member(run.checkpoints / checkpoint.name, name, content)
        line = refused(capsys, "train", "--resume", run.path, "total_timesteps=128", "--quiet")
        assert checkpoint.name in line
        assert main(["eval", str(run.path), "--quiet", "eval.episodes=1"]) in (0, 2)
        assert len(capsys.readouterr().err.strip().splitlines()) <= 1
        assert not (tmp_path / "harm").exists()


class TestStableBaselines3:
    def test_what_is_exported_is_loaded_by_sb3_and_imported_again(self, run, tmp_path, capsys):
        before = evaluate(run.path, progress=False)
        weights = load(run.path).model.get_parameters()
        assert main(["export", str(run.path), "--out", str(tmp_path / "theirs.zip")]) == 0
        assert capsys.readouterr().out.split() == [str(tmp_path / "theirs.zip")]
        theirs = PPO.load(tmp_path / "theirs.zip", device="cpu")
        assert theirs.num_timesteps == 64
        (file,) = run.checkpoint_files()[-1:]
        for old in run.checkpoint_files():
            old.unlink()
        shutil.copyfile(tmp_path / "theirs.zip", file)  # as a run of an older version left it
        assert "hier import" in refused(capsys, "eval", run.path, "--quiet")
        assert main(["import", str(run.path), "--unpickle"]) == 0
        assert capsys.readouterr().out.split() == [str(file)]
        assert (
            file.with_name(file.name + KEPT_AS).read_bytes()
            == (tmp_path / "theirs.zip").read_bytes()
        )
        again = load(run.path).model
        assert again.num_timesteps == 64
        state = again.policy.state_dict()
        assert all(np.array_equal(value, state[key]) for key, value in weights["policy"].items())
        assert evaluate(run.path, progress=False) == before
        with pytest.raises(RunFolderError, match="nothing to import"):
            import_controllers(run.path)

    def test_it_is_exported_from_python(self, run, tmp_path):
        file = export_controller(run.path, tmp_path / "theirs.zip", ["planner.type=none"])
        assert PPO.load(file, device="cpu").policy.net_arch == [8]


class TestArchives:
    @pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:\\x", "..\\x", "\\\\host\\x"])
    def test_names_that_lead_out_of_a_checkpoint(self, run, name, capsys):
        with zipfile.ZipFile(run.checkpoint_files()[-1], "a") as archive:
            archive.writestr(name, "harm")
        assert "whose name leads out of the archive" in refused(capsys, "eval", run.path)

    def test_links_in_a_checkpoint(self, run, capsys):
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        with zipfile.ZipFile(run.checkpoint_files()[-1], "a") as archive:
            archive.writestr(link, "/etc/passwd")
        assert "'link', which is no ordinary file" in refused(capsys, "eval", run.path)

    @pytest.mark.parametrize("name", ["../0.json", "/0.json", "..\\0.json"])
    def test_names_that_lead_out_of_lessons(self, tmp_path, name):
        with tarfile.open(tmp_path / "lessons-00000.tar", "w") as archive:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        with pytest.raises(RunFolderError, match=r"00000\.tar holds .* leads out of the archive"):
            read_lessons(tmp_path)

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
    def test_links_and_folders_in_lessons(self, tmp_path, kind):
        member = tarfile.TarInfo("00000000.json")
        member.type, member.linkname = kind, "/etc/passwd"
        with tarfile.open(tmp_path / "lessons-00000.tar", "w") as archive:
            archive.addfile(member)
        with pytest.raises(RunFolderError, match="which is no ordinary file"):
            read_lessons(tmp_path)

    def test_a_picture_that_is_a_program(self, tmp_path):
        member = tarfile.TarInfo("00000000.0.png")
        content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"
        member.size = len(content)
        with tarfile.open(tmp_path / "lessons-00000.tar", "w") as archive:
            archive.addfile(member, io.BytesIO(content))
        with pytest.raises(RunFolderError, match="no PNG file"):
            read_lessons(tmp_path)


FOREIGN = """
import os
os.mkdir({marker!r})
import numpy as np
from hier.planners import PlannerReply
class Uniform:
    privileged, version = False, 0
    def score(self, queries):
        n = [len(q.candidates) for q in queries]
        return [PlannerReply(np.full(k, -np.log(k), np.float32)) for k in n]
"""


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """Where one sees that the module ``foreign_code`` was imported."""
    (tmp_path / "foreign_code.py").write_text(FOREIGN.format(marker=str(tmp_path / "harm")))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "harm"
    sys.modules.pop("foreign_code", None)


class TestNamedCode:
    def name(self, run, section, key, value):
        data = yaml.safe_load(run.config_file.read_text())
        data[section][key] = value
        run.config_file.write_text(yaml.safe_dump(data))

    @pytest.mark.parametrize(
        ("section", "key", "value"),
        [
            ("planner", "type", "foreign_code.Uniform"),
            ("env", "id", "foreign_code:World/level"),
            ("env", "id", ["BabyAI-GoToObjS4-v0", "foreign_code:World/level"]),
            ("feedback", "anchor_levels", ["foreign_code:World/level"]),
        ],
    )
    def test_no_command_runs_it(self, run, foreign, section, key, value, tmp_path, capsys):
        self.name(run, section, key, value)
        *opening, start = commands(run, tmp_path)
        plan = ("plan", run.path, "--out", tmp_path / "plan.png")
        for command in (
            *opening,
            plan,
            ("import", run.path, "--unpickle"),
            ("tune-planner", run.path),
        ):
            line = refused(capsys, *command)
            assert f"{section}.{key}" in line and "--trust-code" in line
            assert "foreign_code" in line and str(run.config_file) in line
        for opened in (load, evaluate, resume, record):
            with pytest.raises(UntrustedCodeError, match="trust_code=True"):
                opened(run.path)
        assert main([*map(str, start), "--quiet"]) == 0  # only the other's weights are taken
        assert not foreign.exists() and "foreign_code" not in sys.modules

    def test_the_user_may_choose_something_else(self, run, foreign, capsys):
        self.name(run, "planner", "type", "foreign_code.Uniform")
        assert main(["eval", str(run.path), "--quiet", "planner.type=random"]) == 0
        self.name(run, "env", "id", "foreign_code:World/level")
        level = ["--env", "BabyAI-GoToObjS4-v0"]
        assert main(["eval", str(run.path), "--quiet", "planner.type=random", *level]) == 0
        assert not foreign.exists()

    @pytest.mark.parametrize("permit", ["--trust-code", "planner.type=foreign_code.Uniform"])
    def test_the_user_may_permit_it(self, run, foreign, permit):
        self.name(run, "planner", "type", "foreign_code.Uniform")
        assert main(["eval", str(run.path), "--quiet", permit]) == 0
        assert foreign.exists()

    def test_ones_own_code_trains_and_is_resumed(self, tmp_path, foreign):
        config = HierConfig.load("demo", [*SMALL, "planner.type=foreign_code.Uniform"])
        folder = train(config, folder=tmp_path / "own", progress=False).folder
        with pytest.raises(UntrustedCodeError):
            resume(folder, progress=False)
        longer = ["total_timesteps=128"]
        assert resume(folder, longer, progress=False, trust_code=True).env_steps == 128
        assert load(folder, trust_code=True).planner is not None

    def test_a_pretraining_is_resumed_by_the_same_rule(self, tmp_path, foreign):
        file = tmp_path / "config.yaml"
        file.write_text("levels: [foreign_code:World/level]\n")
        with pytest.raises(UntrustedCodeError, match="under levels"):
            PretrainConfig.of_run(file)
        assert not foreign.exists()


class TestKeys:
    """No key from the environment goes to a server that a run folder alone names."""

    ADDRESS = "http://127.0.0.1:9/v1"

    @pytest.fixture
    def run(self, run, monkeypatch):
        data = yaml.safe_load(run.config_file.read_text())
        options = {"base_url": self.ADDRESS, "api_key_env": "SOME_SECRET", "check": False}
        data["planner"] = {"type": "endpoint", "model": "m", "options": {**options, "retries": 0}}
        run.config_file.write_text(yaml.safe_dump(data))
        monkeypatch.setenv("SOME_SECRET", "sk-1")
        return run

    def test_it_is_refused_in_one_line(self, run, tmp_path, capsys):
        *opening, _ = commands(run, tmp_path)
        for command in (*opening, ("plan", run.path, "--out", tmp_path / "plan.png")):
            line = refused(capsys, *command)
            assert self.ADDRESS in line and "the key in SOME_SECRET" in line and "sk-1" not in line
        for opened in (load, evaluate, resume, record):
            with pytest.raises(UntrustedCodeError, match=r"planner\.options\.base_url="):
                opened(run.path)

    def test_another_override_does_not_permit_it(self, run, capsys, monkeypatch):
        refused(capsys, "eval", run.path, "planner.options.api_key_env=SOME_SECRET")
        refused(capsys, "eval", run.path, "planner.options={}", "planner.options.timeout=1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-2")
        monkeypatch.delenv("SOME_SECRET")
        text = run.config_file.read_text().replace("api_key_env: SOME_SECRET", "cache: null")
        run.config_file.write_text(text)
        assert "the key in OPENAI_API_KEY" in refused(capsys, "eval", run.path)

    def test_the_user_may_permit_it_or_set_no_key(self, run, monkeypatch):
        config = run.config([f"planner.options.base_url={self.ADDRESS}"])
        assert config == run.config(trust_code=True)
        assert run.config(["planner.type=random", "planner.options={}"]).planner.type == "random"
        monkeypatch.delenv("SOME_SECRET")
        assert run.config() == config


@pytest.mark.parametrize("part", ["big", "slim"])
class TestPartsOfAGatedPlanner:
    """What holds for a planner holds for the two that a gated one is made of."""

    @pytest.fixture
    def give(self, run, part):
        def give(**planner):
            data = yaml.safe_load(run.config_file.read_text())
            data["planner"] = {"type": "gated", "options": {"big": {"type": "oracle"}}}
            data["planner"]["options"][part] = planner
            run.config_file.write_text(yaml.safe_dump(data))
            return run

        return give

    def test_its_code_is_not_run(self, give, part, foreign):
        run = give(type="foreign_code.Planner")
        with pytest.raises(UntrustedCodeError, match=rf"planner\.options\.{part}\.type"):
            run.config()
        assert not foreign.exists()

    def test_no_key_is_sent(self, give, part, monkeypatch):
        monkeypatch.setenv("SOME_SECRET", "sk-1")
        options = {"base_url": TestKeys.ADDRESS, "api_key_env": "SOME_SECRET"}
        run = give(type="endpoint", model="m", options=options)
        place = f"planner.options.{part}.options.base_url"
        with pytest.raises(UntrustedCodeError, match=rf"{place}="):
            run.config()
        assert run.config([f"{place}={TestKeys.ADDRESS}"]) == run.config(trust_code=True)


def test_no_module_of_the_package_unpickles():
    """Whoever adds a reader of pickles has to change this list, and docs/security.md."""
    from tests.test_imports import FILES

    words = ("import pickle", "cloudpickle", "torch.load(", "allow_pickle=True", ".load_replay",
             "trust_remote_code=True", "load_from_zip_file(")  # fmt: skip
    found = {module for module, file in FILES.items() if any(w in file.read_text() for w in words)}
    assert found == {"hier.run.sb3_zip"}
