"""Results that others can check: each suite prints a table and, last, one JSON object."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hier.envs.errors import ConfigError, UnknownNameError
from hier.envs.files import atomic_write
from hier.run.folder import commit, versions

if TYPE_CHECKING:
    from hier.run.sweep import Row


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark.

    Attributes:
        purpose: one line for the list.
        function: ``module:function`` under :mod:`hier.bench`, called as
            ``function(quick, seeds)`` and returning ``(figures, rows)``.
        seeds: training seeds unless others are asked for.
        plot: function of :mod:`hier.bench.plots` that draws the result, empty for none.
    """

    purpose: str
    function: str
    seeds: tuple[int, ...] = (0, 1, 2)
    plot: str = ""


SUITES: dict[str, Suite] = {
    "agentgym-babyai": Suite(
        "the 40 levels of AgentGym's server, zero-shot", "protocols:agentgym_babyai", (0,)
    ),
    "all-levels": Suite(
        "the built-in agent on every covered level, zero-shot, beside the oracle",
        "all_levels:all_levels",
        (0,),
        plot="plot_levels",
    ),
    "balrog-babyai": Suite(
        "BALROG's five BabyAI tasks, zero-shot", "protocols:balrog_babyai", (0,)
    ),
    "learn-on": Suite(
        "the built-in agent on a level it never saw, as it comes and after learning there",
        "learn_on:learn_on",
    ),
    "sample-efficiency": Suite(
        "episodes until a level is known, beside BabyAI 1.1", "sample_efficiency:sample_efficiency"
    ),
    "demo": Suite(
        "UnlockPickup from pixels: planner's subgoals against flat PPO",
        "learning:demo",
        plot="plot_curves",
    ),
    "bad-planner": Suite(
        "planners that mislead: alone, and under LINVIT with ReAd",
        "guidance:bad_planner",
        plot="plot_panels",
    ),
    "wrong-order": Suite(
        "a planner that opens the door before it fetches the key, alone and under LINVIT with ReAd",
        "guidance:wrong_order",
        plot="plot_panels",
    ),
    "endpoint": Suite(
        "SmolLM2-135M behind llama.cpp's server, held to the candidates and not",
        "held:endpoint",
        (0,),
    ),
    "feedback": Suite(
        "held-out levels before and after planner and controller learn there",
        "feedback:feedback",
        plot="plot_panels",
    ),
    "half-source": Suite(
        "UnlockPickup before and after feedback, planner pre-trained on half of the source levels",
        "feedback:half_source",
        plot="plot_panels",
    ),
    "wrong-teacher": Suite(
        "a planner taught the wrong order, corrected by feedback under guidance",
        "feedback:wrong_teacher_suite",
        plot="plot_panels",
    ),
    "two-by-two": Suite(
        "guidance off and on, feedback off and on", "feedback:two_by_two", plot="plot_panels"
    ),
    "guidance": Suite(
        "the built-in planner alone, and under LINVIT with ReAd, in three worlds",
        "guidance:guidance",
        plot="plot_panels",
    ),
    "actions-and-value": Suite(
        "flat, the planner's subgoals, and beside them its actions or its value, on four levels",
        "guidance:actions_and_value",
        plot="plot_panels",
    ),
    "critic": Suite(
        "the critic at work: guidance as it learns, with the scripted controller",
        "critic:critic",
        (0,),
    ),
    "disturbance": Suite(
        "success with and without re-planning when the level changes during the episode",
        "disturbance:disturbance",
        plot="plot_disturbance",
    ),
    "gate": Suite(
        "a slim planner before a big one, which is asked a tenth of the questions", "gate:gate"
    ),
    "key-corridor": Suite(
        "KeyCorridorS3R3 from percepts alone", "learning:key_corridor", plot="plot_curves"
    ),
    "language-models": Suite(
        "general language models from PyPI as planners, and which question suits them",
        "language_models:language_models",
        (0,),
    ),
    "lava": Suite(
        "success and violations with and without the safety filter", "lava:lava", plot="plot_lava"
    ),
    "long-run": Suite(
        "two million steps with guidance and feedback: memory, speed and what is left behind",
        "long_run:long_run",
        (0,),
    ),
    "planner": Suite(
        "scoring 12 candidates in 16 environments against generating", "planner:planner", (0,)
    ),
    "planner-accuracy": Suite(
        "how often the built-in planner names the expert's subgoal, on every level",
        "zero_shot:planner_accuracy",
        (0,),
    ),
    "planner-quality": Suite(
        "success against planner accuracy", "learning:planner_quality", plot="plot_accuracy"
    ),
    "planner-scale": Suite(
        "memory and speed per model size; on a GPU a 3-billion-parameter model with a LoRA step",
        "scale:scale",
        (0,),
    ),
    "render": Suite("frames per second against MiniGrid's own wrapper", "speed:render", (0,)),
    "worlds": Suite(
        "mazes, a robot's hand and 3-D rooms: flat RL, hierarchy from cameras, privileged",
        "worlds:worlds",
        plot="plot_panels",
    ),
    "zero-shot": Suite(
        "held-out levels with the built-in planner, beside the oracle", "zero_shot:zero_shot"
    ),
    "swap": Suite("one preset, one planner after another", "swap:swap", (0,)),
    "train-speed": Suite("training steps per second against plain SB3", "speed:train_speed", (0,)),
    "world-feedback": Suite(
        "a maze and 3-D rooms before and after guidance and feedback there",
        "feedback:world_feedback",
        plot="plot_panels",
    ),
    "world-speed": Suite(
        "training steps per second in every world, and where the time goes",
        "world_speed:world_speed",
        (0,),
    ),
}


def run_suite(
    name: str,
    *,
    quick: bool = False,
    seeds: Sequence[int] | None = None,
    levels: Sequence[str] | None = None,
    out: str | Path | None = None,
) -> dict[str, Any]:
    """Run a suite, print its table and its JSON, and write it to ``out``.

    Args:
        name: a key of :data:`SUITES`.
        quick: a variant under a minute that shows the suite works; its figures mean nothing.
        seeds: training seeds.
        levels: some of the suite's own, for suites that let them be chosen.
        out: file for the JSON; a suite with a plot writes it beside, as PNG.

    Raises:
        UnknownNameError: for an unknown suite or level.
        ConfigError: for ``levels`` where the suite's are fixed.
    """
    if name not in SUITES:
        raise UnknownNameError("suite", name, SUITES)
    suite = SUITES[name]
    chosen = list(seeds) if seeds else list(suite.seeds[:1] if quick else suite.seeds)
    module, _, function = suite.function.partition(":")
    call = getattr(importlib.import_module(f"hier.bench.{module}"), function)
    if levels and "levels" not in inspect.signature(call).parameters:
        raise ConfigError(f"the levels of suite {name!r} are fixed; leave --levels out")
    figures, rows = call(quick, chosen, **({"levels": levels} if levels else {}))
    result = {
        "name": name,
        "command": " ".join(["hier", *sys.argv[1:]]),
        "commit": commit(),
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "seeds": chosen,
        "quick": quick,
        "figures": figures,
        "rows": rows,
    }
    print_rows(rows)
    if out:
        with atomic_write(Path(out)) as file:
            file.write_text(_readable(result) + "\n")
        if suite.plot:
            plots = importlib.import_module("hier.bench.plots")
            getattr(plots, suite.plot)(result, Path(out).with_suffix(".png"))
    print(json.dumps(result))
    return result


def print_rows(rows: Sequence[Row]) -> None:
    """Print rows as a table; columns in the order of the first row."""
    if not rows:
        return
    columns = [key for key in rows[0] if not isinstance(rows[0][key], list | dict)]
    texts = [columns, *[[_text(row.get(column)) for column in columns] for row in rows]]
    widths = [max(len(row[i]) for row in texts) for i in range(len(columns))]
    for row in texts:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _readable(result: dict[str, Any]) -> str:
    """JSON with one row per line."""
    rows = ",\n  ".join(json.dumps(row) for row in result["rows"])
    head = json.dumps({**result, "rows": []}, indent=1)
    return head.replace('"rows": []', f'"rows": [\n  {rows}\n ]')


def machine() -> str:
    """Processor and number of cores, as result files state them."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores"
