"""The command line in process: wrong input is refused at once, in one line, with status 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hier.cli import app, main
from hier.config import HierConfig
from hier.envs.errors import ConfigError
from hier.pretraining.config import PretrainConfig

COMMANDS = (
    "train",
    "pretrain",
    "eval",
    "record",
    "plan",
    "tune-planner",
    "envs",
    "bench",
    "runs",
    "compare",
    "plot",
)


@pytest.fixture
def called(monkeypatch):
    """What the commands pass on, instead of the work itself."""
    import hier.bench
    import hier.run.evaluation

    calls = []

    def note(*args, **kwargs):
        calls.append((args, kwargs))
        raise KeyboardInterrupt  # also tried here: the exit status of an interruption

    monkeypatch.setattr(hier.bench, "run_suite", note)
    monkeypatch.setattr(hier.run.evaluation, "evaluate", note)
    return calls


def refused(capsys, *args):
    """The one line of error that ``args`` give."""
    assert main(list(args)) == 2
    shown = capsys.readouterr()
    assert not shown.out and shown.err.startswith("hier: ") and shown.err.count("\n") == 1
    return shown.err


class TestHelp:
    def test_names_every_command_with_a_whole_sentence(self, capsys):
        assert main(["--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        for command in COMMANDS:
            line = next(line for line in lines if line.strip().startswith(f"{command}: "))
            assert line.endswith("."), line

    @pytest.mark.parametrize("command", COMMANDS)
    def test_describes_every_argument_of_a_command(self, command, capsys):
        assert main([command, "--help"]) == 0
        described = capsys.readouterr().out
        arguments = app[command].assemble_argument_collection(parse_docstring=True)
        assert len(arguments) >= 3
        for argument in arguments:
            assert argument.parameter.help.endswith((".", ".)")), argument.name
            assert argument.name in described

    @pytest.mark.parametrize("module", ["hier", "hier.cli"])
    def test_the_module_is_a_command(self, module):
        done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True)
        assert done.returncode == 0 and b"train" in done.stdout

    def test_a_reader_that_leaves_early_is_no_error(self):
        script = f"set -o pipefail; {sys.executable} -m hier envs | head -n 1"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "") and len(done.stdout.splitlines()) == 1


class TestArguments:
    def test_a_list_takes_several_words(self, called):
        words = ["bench", "--seeds", "0", "1", "2", "--quick", "--levels", "A", "B", "--out", ""]
        assert main(["bench", "demo", *words[1:]]) == 130
        ((args, kwargs),) = called
        assert args == ("demo",) and kwargs["quick"]
        assert kwargs["seeds"] == [0, 1, 2] and kwargs["levels"] == ["A", "B"]

    @pytest.mark.parametrize(
        "words",
        [
            ["runs/lr=1", "seed=3", "eval.videos=0", "--episodes", "2", "--quiet"],
            ["runs/lr=1", "--episodes", "2", "seed=3", "--quiet", "eval.videos=0"],
            ["seed=3", "--quiet", "eval.videos=0", "--episodes=2", "runs/lr=1"],
        ],
    )
    def test_overrides_stand_anywhere(self, words, called):
        assert main(["eval", *words]) == 130
        ((args, kwargs),) = called
        assert args == ("runs/lr=1",) and kwargs["overrides"] == ["seed=3", "eval.videos=0"]
        assert kwargs["episodes"] == 2 and kwargs["progress"] is False

    def test_bench_without_a_name_lists_the_suites(self, capsys):
        assert main(["bench"]) == 0
        assert "zero-shot" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("command", "kind"), [("train", HierConfig), ("pretrain", PretrainConfig)]
    )
    def test_keys_lists_them_all(self, command, kind, capsys):
        assert main([command, "--keys"]) == 0
        listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]}
        assert listed >= {key for key, *_ in kind.key_table()}

    @pytest.mark.parametrize(
        ("words", "completed"),
        [
            (["train", ""], "key-corridor"),
            (["train", "demo", ""], "controller.gamma="),
            (["pretrain", ""], "gridworld"),
            (["pretrain", "gridworld", ""], "sight_steps="),
            (["eval", ""], "runs/mine"),
            (["tune-planner", "a", ""], "runs/mine"),
            (["compare", "a", ""], "runs/mine"),
            (["bench", ""], "zero-shot"),
            (["bench", "zero-shot", "--levels", ""], "BabyAI-UnlockPickup-v0"),
            (["record", "a", "--env", ""], "BabyAI-UnlockPickup-v0"),
        ],
    )
    def test_completion(self, words, completed, tmp_path, monkeypatch, capfd):
        monkeypatch.chdir(tmp_path)
        Path("runs/mine").mkdir(parents=True)
        Path("runs/mine/config.yaml").touch()
        assert main(["__complete", *words]) == 0
        assert completed in capfd.readouterr().out.split()


class TestWrongInput:
    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (["trian"], 'Did you mean "train"'),
            (["train", "--quik"], "Did you mean --quiet"),
            (["train", "demo", "goto"], "'goto' is one name too many"),
            (["eval"], "RUN requires an argument"),
            (["tune-planner", "seed=3"], "name at least one run"),
            (["bench", "demo", "--seeds"], "at least 1"),
            (["bench", "demo", "--seeds", "0", "x"], "--seeds"),
        ],
    )
    def test_names_the_nearest_or_what_is_missing(self, words, complaint, capsys):
        assert complaint in refused(capsys, *words)

    @pytest.mark.parametrize(
        "words",
        [
            ["eval", "run", "--first-seed", "-5"],
            ["eval", "run", "--episodes", "0"],
            ["record", "run", "--first-seed", "-5"],
            ["record", "run", "--episodes", "-1"],
            ["record", "run", "--fps", "0"],
            ["plan", "demo", "--seed", "-1"],
            ["plan", "demo", "--steps", "-1"],
            ["tune-planner", "run", "--updates", "0"],
            ["bench", "demo", "--seeds", "0", "-1"],
        ],
    )
    def test_a_number_out_of_range_is_refused_at_once(self, words, capsys, called):
        error = refused(capsys, *words)
        assert words[-1] in error and "Must be >" in error and not called

    @pytest.mark.parametrize(
        ("command", "out"),
        [
            (["eval", "run"], "{}"),
            (["eval", "run"], "{}/file/result.json"),
            (["bench", "demo"], "{}"),
            (["envs"], "{}/file/list"),
            (["record", "run"], "{}/file"),
            (["tune-planner", "run"], "{}/file"),
            (["plan", "demo"], "{}/picture.txt"),
        ],
    )
    def test_what_cannot_be_written_is_refused_before_the_work(
        self, command, out, tmp_path, capsys, called
    ):
        (tmp_path / "file").touch()
        assert "--out" in refused(capsys, *command, "--out", out.format(tmp_path))
        assert not called

    @pytest.mark.parametrize("command", ["record", "tune-planner"])
    def test_a_new_folder_and_one_that_exists_are_taken_for_out(self, command, tmp_path, capsys):
        for out in (tmp_path / "new", tmp_path):
            error = refused(capsys, command, "no-such-run", "--out", str(out))
            assert "no-such-run is not a run folder" in error

    def test_the_folder_of_out_is_made_before_the_work(self, tmp_path, called):
        assert main(["eval", "run", "--out", str(tmp_path / "new" / "x" / "result.json")]) == 130
        assert (tmp_path / "new" / "x").is_dir() and len(called) == 1


class TestConfiguration:
    @pytest.mark.parametrize(
        "text",
        [b"name: caf\xe9\n", b"\xff\xfe\x00", b"seed: !!int x\n", b"seed: !!timestamp x\n",
         b"seed: !!bool x\n", b"name: !!python/object:os.system x\n", b"name: 2001-99-99\n",
         b"name: " + b"[" * 3000],
    )  # fmt: skip
    def test_a_file_that_is_no_yaml_is_named_with_the_remedy(self, text, tmp_path, capsys):
        file = tmp_path / "mine.yaml"
        file.write_bytes(text)
        error = refused(capsys, "train", str(file))
        assert f"{file} is not valid YAML" in error and "write UTF-8, and quote" in error

    @pytest.mark.parametrize(
        "override",
        ["seed=!!int x", "name=!!python/object:os.system x", "controller.options.x=!!timestamp x",
         "planner.options.x=!mine {}", "name=2001-99-99"],
    )  # fmt: skip
    def test_an_override_with_an_odd_tag_is_named_with_the_remedy(self, override, capsys):
        error = refused(capsys, "train", "demo", override)
        assert repr(override) in error and "quote what is text" in error

    @pytest.mark.parametrize("text", ["a: b: c", "*", "@x", "[1"])
    def test_an_override_without_a_tag_that_is_no_yaml_is_text(self, text):
        config = HierConfig.load("demo", [f"planner.options.prompt={text}"])
        assert config.planner.options == {"prompt": text}

    def test_an_empty_section_keeps_its_defaults(self, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text("env:\neval:\nplanner:\n  type: oracle\n")
        assert HierConfig.load(file) == HierConfig.from_dict({"planner": {"type": "oracle"}})
        assert HierConfig.load(file, ["env.n_envs=3"]).env.n_envs == 3
        with pytest.raises(ConfigError, match="seed is None"):
            HierConfig.from_dict({"seed": None})

    @pytest.mark.parametrize("name", ["{}", "{}/mine", "./demo", "{}/mine.txt"])
    def test_a_folder_or_a_path_is_no_preset(self, name, tmp_path, capsys):
        (tmp_path / "mine.txt").touch()
        error = refused(capsys, "train", name.format(tmp_path))
        assert "neither a preset nor a YAML file" in error and "ends in .yaml" in error

    def test_a_folder_called_like_a_file_is_named(self, tmp_path, capsys):
        (tmp_path / "mine.yaml").mkdir()
        assert "Is a directory" in refused(capsys, "train", str(tmp_path / "mine.yaml"))

    def test_other_characters_are_read_and_written_in_any_locale(self, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_bytes("name: café-東京\n".encode())
        code = (
            "import sys; from pathlib import Path; from hier import HierConfig\n"
            "config = HierConfig.load(sys.argv[1])\n"
            "Path(sys.argv[2]).write_text(config.to_yaml())\n"
        )
        env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        saved = tmp_path / "saved.yaml"
        subprocess.run([sys.executable, "-c", code, file, saved], env=env, check=True)
        assert yaml.safe_load(saved.read_bytes())["name"] == "café-東京"
        assert HierConfig.load(saved) == HierConfig.load(file)
