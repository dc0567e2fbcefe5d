"""Jobs side by side: a killed one harms no other, and none outlives the command."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from hier.envs.errors import UserError
from hier.run.pool import JobsFailedError, side_by_side

SLEEPERS = """
import time
from hier.run.pool import side_by_side
if __name__ == "__main__":
    print("ready", flush=True)
    side_by_side(time.sleep, [600, 600])
"""


def work(job):
    """What a job asks for."""
    kind, text = job
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "wrong":
        raise UserError(text)
    if kind == "bug":
        raise ZeroDivisionError(text)
    if kind == "sleep":
        time.sleep(600)
    time.sleep(0.5)
    return os.getpid(), text


def test_results_come_in_the_order_of_jobs_from_two_processes():
    watched = []
    results = side_by_side(work, [("ok", n) for n in range(5)], watch=lambda: watched.append(1))
    assert [text for _, text in results] == list(range(5)) and watched
    assert len({pid for pid, _ in results}) == 2 and os.getpid() not in dict(results)


def test_a_killed_job_is_named_and_the_others_are_done(tmp_path):
    jobs = [("kill", ""), ("ok", "1"), ("wrong", "no such level"), ("ok", "3")]
    with pytest.raises(JobsFailedError) as caught:
        side_by_side(_noted, [(tmp_path, job) for job in jobs], names=["w", "x", "y", "z"])
    assert str(caught.value) == (
        "2 of 4 failed, the others' results are kept; w: its process was killed (out of memory?); "
        "y: no such level"
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1", "3"]


def _noted(job):
    folder, asked = job
    _, text = work(asked)
    (folder / text).touch()


def test_a_bug_ends_all_at_once():
    began = time.monotonic()
    with pytest.raises(ZeroDivisionError, match="deliberate"):
        side_by_side(work, [("sleep", ""), ("bug", "deliberate"), ("ok", "")])
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("number", "delay"), [(signal.SIGINT, 0), (signal.SIGINT, 8), (signal.SIGKILL, 8)]
)
def test_no_process_outlives_the_command(number, delay, tmp_path):
    (tmp_path / "main.py").write_text(SLEEPERS)
    command = [sys.executable, str(tmp_path / "main.py")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout.readline() == b"ready\n"
        parent = psutil.Process(process.pid)
        deadline = time.monotonic() + 60
        # Two workers, and multiprocessing's tracker of resources.
        while len(children := parent.children()) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(delay)  # while they import, or later
        assert len(children) == 3 and process.poll() is None
        process.send_signal(number)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
