"""One training at a time in a folder, and one folder for each training."""

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from hier import HierConfig
from hier.cli import main
from hier.envs.errors import RunFolderError
from hier.run.folder import RunFolder
from hier.run.lock import holder, locked

HOLDER = """
import sys, time
from pathlib import Path
from hier.run.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process, which trains in the folder."""
    RunFolder.create(HierConfig.load("demo"), tmp_path)
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_second_training_is_refused_and_names_the_first(other, tmp_path, capsys):
    assert f"process {other.pid} on " in holder(tmp_path)
    for words in (["--resume", str(tmp_path)], ["demo", "--run", str(tmp_path)]):
        assert main(["train", *words]) == 2
        error = capsys.readouterr().err
        assert f"being trained by process {other.pid} on" in error and error.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_lock_ends_with_its_process(other, tmp_path, number):
    other.send_signal(number)
    other.wait()
    assert holder(tmp_path) is None
    with locked(tmp_path):
        assert f"process {os.getpid()} on " in holder(tmp_path)
        with pytest.raises(RunFolderError, match="is being trained by"), locked(tmp_path):
            pass
    assert holder(tmp_path) is None


def create(path):
    """The folder of a new run, or nothing where there was one."""
    try:
        return str(RunFolder.create(HierConfig.load("demo"), path).path)
    except RunFolderError:
        return None


def test_runs_that_start_at_once_never_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        folders = list(pool.map(create, [None] * 12))
        assert len(set(folders)) == 12 and all(RunFolder(f).config_file.exists() for f in folders)
        named = list(pool.map(create, [Path("runs/mine")] * 12))
    assert sorted(filter(None, named)) == ["runs/mine"]
