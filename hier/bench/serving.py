"""A model server for benches: ``transformers serve`` in a process of its own."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hier.envs.errors import UserError

_PATIENCE = 120  # seconds until it must answer


class ServerStartError(UserError, RuntimeError):
    """The server did not start; the text says why."""


@contextmanager
def serving(log: Path) -> Iterator[str]:
    """Serve whatever model a request names, by its folder, on a free port of this machine.

    Args:
        log: file for what the server says.

    Yields:
        The address for ``planner.options.base_url``.

    Raises:
        ServerStartError: if it does not answer in two minutes, or a package is missing.
    """
    for package in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise ServerStartError(f"transformers serve needs {package}: pip install {package}")
    port = free_port()
    with running(serve_command(port), port, log) as address:
        yield address


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[str]:
    """Run a server of chat completions, and wait until it answers.

    Args:
        command: starts it.
        port: of this machine, on which it listens.
        log: file for what it says.

    Yields:
        The address for ``planner.options.base_url``.

    Raises:
        ServerStartError: if it does not answer in two minutes.
    """
    with open(log, "wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            _wait(process, f"http://127.0.0.1:{port}/health", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if answers(url):
            return
        time.sleep(0.2)
    raise ServerStartError(f"the model server does not answer; its last words are in {log}")


def serve_command(port: int) -> list[str]:
    """``transformers serve`` on ``port`` of this machine, whatever model a request names."""
    return [
        sys.executable, "-m", "transformers.cli.transformers", "serve",
        "--host", "127.0.0.1", "--port", str(port), "--device", "cpu",
    ]  # fmt: skip


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a server answers there."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False
