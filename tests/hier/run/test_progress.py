"""How far a training is can be read from one line, from a file and from the end's summary."""

import os
import pty
import re
import subprocess
import sys
import termios

import pytest

from hier import HierConfig
from hier.run.folder import RunFolder
from hier.run.status import Progress

SMALL = [
    "planner.type=oracle", "env.id=BabyAI-GoToObjS4-v0", "env.n_envs=4", "total_timesteps=1024",
    "eval.episodes=4", "eval.every=0", "eval.videos=0", "torch_threads=1",
    "controller.options.n_steps=16", "controller.options.batch_size=64",
]  # fmt: skip


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress(12_288, 49_152, 0.834, 307.2), "12,288/49,152 steps (25%)  success 83%  307 "
         "steps/s  02:00 left"),
        (Progress(0, 100, None, 0.0), "0/100 steps (0%)"),
        (Progress(120, 100, 1.0, 10.0), "120/100 steps (120%)  success 100%  10 steps/s  00:00 "
         "left"),
    ],
)  # fmt: skip
def test_a_line_says_steps_success_speed_and_time_left(progress, text, tmp_path):
    assert str(progress) == text
    run = RunFolder(tmp_path)
    assert Progress.of(run) is None
    progress.save(run)
    assert Progress.of(run) == progress


@pytest.mark.slow
def test_a_terminal_shows_one_line_and_a_file_whole_lines(tmp_path):
    command = [sys.executable, "-m", "hier", "train", "demo", *SMALL, "--run"]
    done = subprocess.run([*command, "piped"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    line = r"1,024/1,024 steps \(100%\)  success \d+%  [\d,]+ steps/s  00:00 left"
    assert re.fullmatch(line, done.stderr.splitlines()[-1]) and "\r" not in done.stderr
    words = [text.split("  ", 1)[0] for text in done.stdout.splitlines()]
    assert words == [
        "success", "per episode", "training", "run folder", "curves", "videos", "more steps",
    ]  # fmt: skip
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with subprocess.Popen(
        [*command, "shown"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
    assert process.returncode == 0
    rewritten = re.split(r"[\r\n]+", shown.decode())
    assert sum("steps (" in text for text in rewritten) >= 2
    assert sum("steps (" in text for text in shown.decode().split("\n")) == 1
    last = Progress.of(RunFolder(tmp_path / "shown"))
    assert (last.step, last.total) == (1024, 1024) and 0 <= last.success <= 1
    assert RunFolder(tmp_path / "shown").config() == HierConfig.load("demo", SMALL)


def _read(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other side is closed
        return b""
