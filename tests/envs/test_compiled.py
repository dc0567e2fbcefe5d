"""A cached kernel never calls yesterday's version of another file's kernel."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(folder):
    code = "import outer; print(outer.double_plus(3))"
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    )
    return int(done.stdout)


def test_a_change_in_a_called_file_reaches_the_caller(tmp_path):
    header = "from hier.envs.compiled import compiled\n"
    (tmp_path / "inner.py").write_text(f"{header}@compiled\ndef plus(x):\n    return x + 1\n")
    (tmp_path / "outer.py").write_text(
        f"{header}from inner import plus\n@compiled\ndef double_plus(x):\n    return 2 * plus(x)\n"
    )
    assert run(tmp_path) == 8
    assert list(tmp_path.glob("__pycache__/numba-*/**/*.nbc"))
    assert run(tmp_path) == 8
    (tmp_path / "inner.py").write_text(f"{header}@compiled\ndef plus(x):\n    return x + 2\n")
    assert run(tmp_path) == 10
