"""What the suite that watches a long training makes of what it sees."""

import subprocess
import sys

import pytest

from hier.bench.long_run import Sample, figures_of, watch
from hier.envs.errors import UserError
from hier.run.folder import RunFolder
from hier.run.status import Progress


def samples(memory, cpu=lambda share: share, n=40):
    return [Sample(1000 * k, 100 * cpu(k / n), memory(k / n), k) for k in range(1, n + 1)]


def test_a_steady_training_neither_grows_nor_slows_down():
    found = figures_of(samples(lambda share: 500.0))
    assert found["memory_growth"] == found["memory_peak_growth"] == 0
    assert found["steps_per_cpu_s.first"] == pytest.approx(400)
    assert found["steps_per_cpu_s.ratio"] == pytest.approx(1)
    assert (found["env_steps"], found["tensorboard_mb"]) == (40_000, 40)


def test_a_leak_and_a_slowing_down_are_seen():
    found = figures_of(samples(lambda share: 100 + 100 * share, lambda share: share**2))
    assert 0.6 < found["memory_growth"] < found["memory_peak_growth"] < 0.8
    assert found["steps_per_cpu_s.ratio"] < 0.1


def test_memory_before_the_first_tenth_does_not_count():
    found = figures_of(samples(lambda share: 900.0 if share <= 0.1 else 500.0))
    assert found["memory_growth"] == found["memory_peak_growth"] == 0


def test_too_few_samples_are_refused():
    with pytest.raises(UserError, match="was seen 3 times"):
        figures_of(samples(lambda share: 1.0, n=3))


def test_a_process_is_watched_until_it_ends(tmp_path):
    run, seen = RunFolder(tmp_path), []
    Progress(64, 256, None, 1.0).save(run)
    run.tensorboard.mkdir()
    (run.tensorboard / "events").write_bytes(bytes(2**20))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:

        def note(sample):
            seen.append(sample)
            process.stdin.close()

        found = watch(process, run, 256, note, every=32, seconds=0.1)
    assert found == seen and len(seen) == 1
    assert (seen[0].step, seen[0].tensorboard_mb) == (64, 1.0) and seen[0].memory_mb > 1
