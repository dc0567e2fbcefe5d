"""Runs through the public interfaces: train, stop, resume, evaluate, load."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from hier import HierConfig, evaluate, load, record, resume, train
from hier.cli import main
from hier.envs import make_env
from hier.envs.errors import ConfigError, NotFiniteError, RunFolderError
from hier.envs.files import atomic_write
from hier.run.folder import RunFolder
from hier.run.training import TrainingError

SMALL = [
    "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=4", "total_timesteps=512", "checkpoint_every=128",
    "eval.episodes=6", "eval.episodes_during=2", "eval.every=256", "torch_threads=1",
    "controller.options.n_steps=32", "controller.options.batch_size=64",
    "controller.options.n_epochs=1",
]  # fmt: skip


def small(*more):
    return HierConfig.load("demo", [*SMALL, *more])


def hier(*args, **kwargs):
    command = [sys.executable, "-m", "hier.cli", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **kwargs)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    return train(small(), folder=folder, progress=False)


@pytest.mark.slow
def test_a_run_leaves_everything_behind(run):
    folder = RunFolder(run.folder)
    assert run.env_steps == 512 and not run.interrupted and run.episodes > 0
    assert run.planner_queries > run.episodes
    assert folder.config() == small()
    about = json.loads((folder.path / "run.json").read_text())
    assert about["seed"] == 0 and about["versions"]["torch"] and about["command"]
    assert [e["env_steps"] for e in folder.evaluations()] == [256, 512]
    assert len(folder.checkpoint_files()) <= 3
    assert len(list(folder.videos.glob("*.gif"))) == 2


@pytest.mark.slow
def test_overrides_may_follow_options(run, capsys):
    command = ["eval", str(run.folder), "--episodes", "1", "--quiet"]
    assert main([*command, "planner.type=random", "eval.videos=0"]) == 0
    assert "success rate" in capsys.readouterr().out
    assert main([*command, "planner.typ=random"]) == 2
    assert main([*command, "--nonsense"]) == 2
    assert "--nonsense" in capsys.readouterr().err


@pytest.mark.slow
def test_tensorboard_shows_scalars_text_animation_and_hyperparameters(run):
    events = EventAccumulator(str(RunFolder(run.folder).tensorboard), size_guidance={"images": 0})
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert scalars >= {
        "rollout/success_rate", "rollout/ep_rew_mean", "eval/success_rate",
        "subgoal/completion_rate", "subgoal/completion_rate/go_to", "subgoal/duration",
        "planner/queries_per_episode", "time/share_env", "time/share_planner",
        "time/share_perception", "time/share_learning",
    }  # fmt: skip
    assert "planner/plans/text_summary" in events.Tags()["tensors"]
    (tag,) = events.Tags()["images"]
    assert tag.startswith("eval/seed_")
    assert events.Images(tag)[0].encoded_image_string.startswith(b"GIF8")
    assert "_hparams_/session_start_info" in events.summary_metadata
    (event,) = events.Tensors("custom_scalars__config__")
    shown = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    charts = {chart.title: chart for category in shown.category for chart in category.chart}
    assert next(iter(charts)) == "success"
    for chart in charts.values():
        assert set(chart.multiline.tag) <= scalars, chart.title


@pytest.mark.slow
def test_evaluation_depends_on_the_seeds_alone(run):
    first = evaluate(run.folder, episodes=8, progress=False)
    again = evaluate(run.folder, episodes=8, progress=False)
    assert first == again
    assert [e.seed for e in first.episodes] == list(range(1_000_000, 1_000_008))
    other = evaluate(run.folder, env_id="BabyAI-GoToLocalS5N2-v0", episodes=3, progress=False)
    assert {e.env_id for e in other.episodes} == {"BabyAI-GoToLocalS5N2-v0"}
    swapped = evaluate(run.folder, episodes=2, overrides=["planner.type=random"], progress=False)
    assert len(swapped.episodes) == 2


@pytest.mark.slow
def test_the_same_seed_trains_the_same_network(run, tmp_path):
    again = train(small(), folder=tmp_path / "again", progress=False)
    first = load(run.folder, overrides=["planner.type=random"]).model.policy.state_dict()
    second = load(again.folder, overrides=["planner.type=random"]).model.policy.state_dict()
    for name, value in first.items():
        np.testing.assert_array_equal(value.numpy(), second[name].numpy(), err_msg=name)


@pytest.mark.slow
def test_a_loaded_run_is_an_sb3_like_agent(run):
    env = make_env("BabyAI-GoToObjS4-v0")
    agent = load(run.folder, env=env)
    observation, _ = env.reset(seed=3)
    action, state = agent.predict(observation)
    for _ in range(30):
        observation, _, terminated, truncated, _ = env.step(int(action))
        if terminated or truncated:
            break
        action, state = agent.predict(observation, state)
        assert env.action_space.contains(int(action))
    assert state.hierarchy.lanes[0].active.subgoal is not None
    venv = DummyVecEnv([lambda: make_env("BabyAI-GoToObjS4-v0")] * 3)
    returns, _ = evaluate_policy(
        load(run.folder, env=venv), venv, n_eval_episodes=6, return_episode_rewards=True, warn=False
    )
    assert len(returns) == 6 and all(0 <= value <= 1 for value in returns)


@pytest.mark.slow
def test_a_privileged_planner_must_be_given_the_environment(run):
    with pytest.raises(ConfigError, match=r"pass env=, or choose one that does not"):
        load(run.folder, overrides=["planner.type=oracle"])
    assert load(run.folder).planner is not None  # the one that ships looks at pixels


@pytest.mark.slow
def test_recording_writes_both_formats(run, tmp_path):
    files = record(run.folder, episodes=1, out=tmp_path, first_seed=5)
    assert [f.name for f in files] == [
        "BabyAI-GoToObjS4-v0-seed-5.gif",
        "BabyAI-GoToObjS4-v0-seed-5.mp4",
    ]
    assert all(f.stat().st_size > 1000 for f in files)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["a2c", "dqn", "recurrent_ppo"])
def test_other_algorithms_train_save_and_evaluate(algorithm, tmp_path):
    options = {
        "a2c": ["controller.options.n_steps=16"],
        "dqn": ["controller.options.learning_starts=64", "controller.options.batch_size=16"],
        "recurrent_ppo": ["controller.options.n_steps=16", "controller.options.batch_size=32"],
    }[algorithm]
    config = HierConfig.load(
        "demo",
        [*SMALL[:8], f"controller.algorithm={algorithm}", "total_timesteps=192", *options],
    )
    result = train(config, folder=tmp_path / algorithm, progress=False)
    assert result.env_steps >= 192
    assert len(evaluate(result.folder, episodes=2, progress=False).episodes) == 2


@pytest.mark.slow
def test_several_levels_are_dealt_out_over_the_environments(tmp_path):
    config = small("env.id=[BabyAI-GoToObjS4-v0, BabyAI-GoToLocalS5N2-v0]", "total_timesteps=128")
    result = train(config, folder=tmp_path / "mixed", progress=False)
    assert {e.env_id for e in result.evaluation.episodes} == set(config.env.ids)
    assert len(result.evaluation.episodes) == 6


def test_wrong_options_leave_no_folder_behind(tmp_path):
    for override in ("controller.options.lr=1", "planner.options.acuracy=1"):
        with pytest.raises(ConfigError, match="does not take"):
            train(small(override), folder=tmp_path / "bad", progress=False)
    assert not (tmp_path / "bad").exists()


@pytest.mark.slow
def test_a_folder_with_a_run_is_not_overwritten(run):
    with pytest.raises(RunFolderError, match="already holds a run; continue it with"):
        train(small(), folder=run.folder, progress=False)


def _start(folder, *more):
    command = [sys.executable, "-m", "hier.cli", "train", "demo", *SMALL, *more]
    return subprocess.Popen(
        [*command, "--run", str(folder), "--quiet"], stdout=subprocess.PIPE, text=True
    )


def _wait_for_checkpoint(folder, process, number=1):
    deadline = time.monotonic() + 120
    while len(RunFolder(folder).checkpoint_files()) < number:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def _curve(folder):
    events = EventAccumulator(str(RunFolder(folder).tensorboard))
    events.Reload()
    return [event.step for event in events.Scalars("time/fps")]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_resumes_where_its_checkpoint_was(tmp_path, number):
    folder = tmp_path / "long"
    long = ["total_timesteps=2560", "checkpoint_every=256", "eval.every=0"]  # a log each rollout
    process = _start(folder, *long)
    _wait_for_checkpoint(folder, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert f"hier train --resume {folder}" in output
    latest = RunFolder(folder).latest_checkpoint()
    reached = int(latest.stem.removeprefix("step-"))
    assert 256 <= reached < 2560
    before = _curve(folder)
    # Nothing is lost but what came after the last checkpoint.
    assert max(before) - reached <= 256 + 128
    # A run stops at its configured end, so shorten the saved configuration for the test.
    config = RunFolder(folder).config().override(f"total_timesteps={reached + 512}")
    with atomic_write(RunFolder(folder).config_file) as file:
        file.write_text(config.to_yaml())
    done = hier("train", "--resume", str(folder), "--quiet")
    assert done.returncode == 0, done.stderr
    after = _curve(folder)
    assert after[: len(before)] == before or number == signal.SIGKILL
    assert max(after) == reached + 512
    assert RunFolder(folder).config() == config
    assert RunFolder(folder).evaluations()[-1]["env_steps"] == reached + 512


@pytest.fixture
def copied(run, tmp_path):
    """A copy of the run, to be damaged."""
    return RunFolder(shutil.copytree(run.folder, tmp_path / "run"))


@pytest.mark.slow
def test_a_truncated_checkpoint_falls_back_to_the_one_before(copied):
    folder = copied
    *_, older, newest = folder.checkpoint_files()
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="is damaged; falling back"):
        assert folder.latest_checkpoint() == older
    with pytest.warns(UserWarning):
        assert resume(folder.path, progress=False).env_steps == 512
    for file in folder.checkpoint_files():
        file.write_bytes(b"not a zip")
    with pytest.warns(UserWarning), pytest.raises(RunFolderError, match="no readable checkpoint"):
        evaluate(folder.path, progress=False)


@pytest.mark.slow
def test_weights_that_are_not_finite_leave_the_last_checkpoint_as_it_is(copied, monkeypatch):
    before = {file: file.read_bytes() for file in copied.checkpoint_files()}
    train_once = PPO.train

    def spoil(model):
        train_once(model)
        with torch.no_grad():
            next(model.policy.parameters()).fill_(float("nan"))

    monkeypatch.setattr(PPO, "train", spoil)
    config = copied.config().override("total_timesteps=4096")
    copied.config_file.write_text(config.to_yaml())
    with pytest.raises(NotFiniteError, match=r"weights .* not finite after step .*--resume"):
        resume(copied.path, progress=False)
    assert {file: file.read_bytes() for file in copied.checkpoint_files()} == before


@pytest.mark.slow
def test_a_whole_zip_that_is_no_controller_is_named(copied):
    newest = copied.checkpoint_files()[-1]
    with zipfile.ZipFile(newest, "w") as archive:
        archive.writestr("hello", "world")
    with pytest.raises(RunFolderError, match=r"is not a readable checkpoint"):
        evaluate(copied.path, progress=False)


@pytest.mark.slow
def test_a_planner_that_breaks_loses_nothing_that_was_learned(tmp_path, monkeypatch):
    (tmp_path / "breaking.py").write_text(
        "import numpy as np\n"
        "from hier.planners import PlannerReply\n"
        "class Breaks:\n"
        "    privileged, version, asked = False, 0, 0\n"
        "    def score(self, queries):\n"
        "        self.asked += 1\n"
        "        n = [len(q.candidates) for q in queries]\n"
        "        wrong = np.nan if self.asked > 40 else 1.0\n"
        "        return [PlannerReply(wrong * np.full(k, -np.log(k), np.float32)) for k in n]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TrainingError, match=r"Breaks answered .* hier train --resume") as caught:
        train(small("planner.type=breaking.Breaks"), folder=tmp_path / "run", progress=False)
    reached = int(str(caught.value).split("stopped at step ")[1].split(";")[0])
    latest = RunFolder(tmp_path / "run").latest_checkpoint()
    assert reached > 0 and latest.stem == f"step-{reached:010d}"


def test_atomic_write_keeps_the_old_file_on_failure(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["x.json"]


class TestCommandLine:
    @pytest.mark.parametrize(
        ("args", "complaint"),
        [
            (["train", "dmeo"], "unknown preset 'dmeo'; did you mean 'demo'"),
            (["train", "demo", "sed=1"], "unknown key 'sed'; did you mean 'seed'"),
            (["train", "demo", "seed=one"], "seed is 'one': input should be a valid integer"),
            (["train", "demo", "env.id=BabyAI-Unlok-v0"], "did you mean 'BabyAI-Unlock-v0'"),
            (["train", "demo", "planner.type=oracel"], "did you mean 'oracle'"),
            (["train", "demo", "controller.algorithm=pp"], "did you mean 'ppo'"),
            (["train", "demo", "controller.options.lr=1"], "does not take 'lr'"),
            (["train"], "name a preset"),
            (["train", "demo", "--resume", "x"], "drop the other arguments"),
            (["eval", "no-such-run"], "no-such-run is not a run folder (does not exist)"),
            (["record", "hier"], "hier is not a run folder (has no config.yaml)"),
            (["train", "--resume", "docs"], "docs is not a run folder"),
            (["plan", "demo", "planner.type=none"], "proposes nothing"),
            (["envs", "Unlockk"], "no environment id holds 'Unlockk'"),
            (["bench", "rendr"], "unknown suite 'rendr'; did you mean 'render'"),
        ],
    )
    def test_wrong_input_is_one_line_and_status_2(self, args, complaint, capsys, monkeypatch):
        monkeypatch.chdir(Path(__file__).resolve().parents[3])
        assert main(args) == 2
        shown = capsys.readouterr()
        assert complaint in shown.err
        assert len(shown.err.strip().splitlines()) == 1
        assert not shown.out

    @pytest.mark.slow
    def test_wrong_input_is_the_same_in_a_process_of_its_own(self):
        done = hier("train", "demo", "controller.options.lr=1")
        assert done.returncode == 2 and not done.stdout
        assert "does not take 'lr'" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1

    @pytest.mark.slow
    def test_plan_writes_a_picture_and_a_table(self, tmp_path):
        out = tmp_path / "plan.png"
        done = hier("plan", "demo", "--seed", "3", "--out", str(out))
        assert done.returncode == 0, done.stderr
        assert "mission: pick up the" in done.stdout and "chosen" in done.stdout
        assert out.read_bytes().startswith(b"\x89PNG")

    def test_envs_lists(self, capsys):
        assert main(["envs", "UnlockPickup"]) == 0
        assert "BabyAI-UnlockPickup-v0" in capsys.readouterr().out.split()

    @pytest.mark.slow
    def test_eval_writes_episodes(self, run, tmp_path, capsys):
        out = tmp_path / "episodes.json"
        command = ["eval", str(run.folder), "--episodes", "2", "--out", str(out), "--quiet"]
        assert main(command) == 0
        assert "success rate" in capsys.readouterr().out
        assert len(json.loads(out.read_text())) == 2

    @pytest.mark.slow
    def test_bench_ends_with_one_json_object(self, tmp_path, capsys):
        out = tmp_path / "render.json"
        assert main(["bench", "render", "--quick", "--out", str(out)]) == 0
        printed = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert printed == json.loads(out.read_text())
        assert printed["figures"]["identical"] is True and printed["figures"]["ratio"] > 1
        assert set(printed) >= {
            "name", "command", "commit", "date", "machine", "versions", "seeds", "figures", "rows",
        }  # fmt: skip
