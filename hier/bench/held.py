"""Suite ``endpoint``: answers of a real llama.cpp server, held to the candidates and not."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hier.bench.serving import ServerStartError, free_port, running
from hier.planners.accuracy import states_of
from hier.planners.endpoint.planner import EndpointPlanner
from hier.planners.language.gguf import package_files
from hier.planners.protocol import PlannerQuery
from hier.pretraining.config import PretrainConfig
from hier.run.sweep import Row, new_parent

MODEL, PROGRAM = "smollm2-135m", "llama-server"
FIRST_SEED = 3_000_000  # of the states, as in the suite language-models
FREE, HELD = "as it likes", "held to the candidates"
_CONTEXT = 4096  # tokens; a question and its answer have a few hundred


def endpoint(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Answers that name no candidate, accuracy and time of SmolLM2-135M behind llama.cpp's server.

    Three states of each source level; the server has one thread and reads the GGUF file as it is.
    ``unparsed`` counts answers that named no candidate, of which a question can have two;
    ``no_candidate`` is the share of questions that the fall-back decided, ``probability`` the mean
    probability of the expert's subgoal. Time is wall time.

    Raises:
        ServerStartError: if llama.cpp's server is not installed.
        PlannerError: if the model's package is not installed.
    """
    levels = PretrainConfig.load("gridworld").levels
    states = [states_of(level, 1 if quick else 3, FIRST_SEED) for level in levels]
    queries = [query for some, _ in states for query in some]
    right = [answer for _, answers in states for answer in answers]
    folder = new_parent("endpoint")
    folder.mkdir(parents=True)
    with serving_gguf(package_files(MODEL)[0], folder / "server.log") as address:
        rows = [_asked(address, check, queries, right) for check in (False, True)]
    names = ("no_candidate", "accuracy", "probability", "s_per_question")
    return {f"{row['variant']}.{name}": row[name] for row in rows for name in names}, rows


def _asked(address: str, check: bool, queries: Sequence[PlannerQuery], right: Sequence[int]) -> Row:
    """One row; a planner that does not try the server at the start does not hold it, either."""
    warnings.simplefilter("ignore")
    planner = EndpointPlanner(
        MODEL, address, images=False, check=check, concurrency=1, timeout=120.0
    )
    before = planner.stats()
    began = time.perf_counter()
    replies = planner.score(queries)
    seconds = time.perf_counter() - began
    stats = {name: value - before[name] for name, value in planner.stats().items()}
    # Where the fall-back has no preference, each of the likeliest counts as its share.
    likeliest = [reply.log_probs == reply.log_probs.max() for reply in replies]
    hits = [float(best[i]) / best.sum() for best, i in zip(likeliest, right, strict=True)]
    given = [float(np.exp(reply.log_probs[i])) for reply, i in zip(replies, right, strict=True)]
    return {
        "variant": HELD if check else FREE,
        "states": len(queries),
        "unparsed": int(stats["unparsed"]),
        "no_candidate": stats["fallbacks"] / len(queries),
        "accuracy": float(np.mean(hits)),
        "probability": float(np.mean(given)),
        "s_per_question": seconds / len(queries),
    }


@contextmanager
def serving_gguf(model: Path, log: Path) -> Iterator[str]:
    """Serve a GGUF file with llama.cpp on a free port of this machine, on one thread.

    Args:
        model: the file.
        log: file for what the server says.

    Yields:
        The address for ``planner.options.base_url``.

    Raises:
        ServerStartError: if it is not installed, or does not answer in two minutes.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise ServerStartError(f"{PROGRAM} is not on the PATH: build llama.cpp, or install it")
    port = free_port()
    command = [
        program, "--model", str(model), "--host", "127.0.0.1", "--port", str(port),
        "--threads", "1", "--parallel", "1", "--ctx-size", str(_CONTEXT),
    ]  # fmt: skip
    with running(command, port, log) as address:
        yield address
