"""Several seeds by one command: a run for each, a table at the end, nothing left behind."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from hier import HierConfig
from hier.cli import main
from hier.run.folder import RunFolder
from hier.run.lock import holder
from hier.run.seeds import describe, seed_folders
from hier.run.status import Progress

SMALL = [
    "planner.type=oracle", "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=4", "total_timesteps=256",
    "eval.episodes=4", "eval.every=0", "eval.videos=0", "checkpoint_every=128",
    "controller.options.n_steps=16", "controller.options.batch_size=64",
]  # fmt: skip


@pytest.mark.slow
def test_one_run_for_each_seed_and_a_table(tmp_path):
    command = [sys.executable, "-m", "hier", "train", "demo", *SMALL, "seed=0,1,2", "--run", "x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for seed in range(3):
        run = RunFolder(tmp_path / f"x-seed-{seed}")
        assert run.config().seed == seed and run.evaluations()[-1]["env_steps"] == 256
    header, row, *rest = done.stdout.splitlines()
    assert header.startswith("group") and row.split()[:3] == ["demo", "3", "256"]
    assert rest[0].split()[2:] == ["x-seed-0", "x-seed-1", "x-seed-2"]
    assert "seed 0: 100%" in done.stderr and "seed 2: 100%" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("killed", [True, False])
def test_a_killed_run_is_named_and_ctrl_c_stops_all(killed, tmp_path):
    command = [sys.executable, "-m", "hier", "train", "demo", *SMALL, "seed=0,1", "--run", "x"]
    runs = [RunFolder(tmp_path / f"x-seed-{seed}") for seed in (0, 1)]
    with subprocess.Popen(
        [*command, "total_timesteps=4096"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while not all(run.checkpoint_files() for run in runs) and time.monotonic() < deadline:
            time.sleep(0.05)
        children = psutil.Process(process.pid).children()
        if killed:
            pid = int(holder(runs[1].path).split()[1])
            assert pid in {child.pid for child in children}
            os.kill(pid, signal.SIGKILL)
        else:
            process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=240)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive and holder(runs[1].path) is None
    if killed:
        assert process.returncode == 2
        assert errors.splitlines()[-1] == (
            "hier: 1 of 2 failed, the others' results are kept; x-seed-1: its process was killed "
            "(out of memory?)"
        )
        assert runs[0].evaluations() and not runs[1].evaluations()
        assert out.splitlines()[1].split()[:3] == ["demo", "1", "4,096"]
    else:
        assert process.returncode == 130 and "Traceback" not in errors
        for run in runs:
            assert f"go on: hier train --resume {run.path.name}" in out
            assert 128 <= int(run.checkpoint_files()[-1].stem[5:]) < 4096


def test_folders_of_seeds_share_a_name_and_hold_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, second = seed_folders("demo", [0, 1]), seed_folders("demo", [0, 1])
    assert not set(first) & set(second)
    for folders in (first, second):
        (begin,) = {str(folder).rsplit("-seed-")[0] for folder in folders}
        assert begin.startswith("runs/demo-2")
    RunFolder.create(HierConfig.load("demo"), "x-seed-1")
    assert main(["train", "demo", "seed=0,1", "--run", "x"]) == 2
    assert "x-seed-1 already holds a run" in capsys.readouterr().err
    for wrong in ("seed=0,0", "seed=0,x", "seed=1,"):
        assert main(["train", "demo", wrong]) == 2
        assert f"{wrong!r} does not list seeds" in capsys.readouterr().err


def test_one_line_for_all_seeds(tmp_path):
    runs = {seed: RunFolder(tmp_path / str(seed)) for seed in (0, 1, 2)}
    assert describe(runs, 1000) == "seed 0: 0%  seed 1: 0%  seed 2: 0%"
    Progress(1000, 1000, 0.97, 50.0).save(runs[0])
    Progress(500, 1000, None, 25.0).save(runs[1])
    # 500 and 1,000 steps are left, and one run is at work, with 25 steps a second.
    assert describe(runs, 1000) == (
        "seed 0: 100%, success 97%  seed 1: 50%  seed 2: 0%  01:00 left"
    )
