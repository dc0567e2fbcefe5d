"""A few of the kills of ``make crash``, each followed by a resume."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_killed_run_loses_and_leaves_nothing(tmp_path):
    command = [sys.executable, "-m", "tests.crash.harness", "--kills", "5", "--folder", tmp_path]
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r'"kills": 5,\n "survived": 5,', result.stdout)
