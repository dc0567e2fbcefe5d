"""Suite ``gate``: a slim planner before a big one, which is asked a tenth of the questions."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, NamedTuple

import torch

from hier.bench.figures import rows_of, short_name, spread
from hier.bench.jobs import plain_config
from hier.bench.language_models import taught
from hier.envs.registry import domain_of
from hier.planners.accuracy import success_rate
from hier.planners.gate import GatedPlanner
from hier.planners.language.planner import VLMPlanner
from hier.run.sweep import Row, new_parent
from hier.run.training import train

BUDGET = 0.1
FIRST_SEED = 5_000_000  # of the episodes; 100,000 further for each seed of the suite
SLIM, BIG, GATE, CHANCE = "slim alone", "big alone", "gate", "asked by chance"
BUILT_IN: Mapping[str, Any] = {"type": "vlm"}
ORACLE: Mapping[str, Any] = {"type": "oracle"}
_NOISE = 0.3  # of a damaged planner's weights, in standard deviations of each matrix
_STEPS = 4_096  # of each training whose speed is measured


class ChanceGate(GatedPlanner):
    """Asks the big planner at the same rate, wherever chance has it."""

    def _share(self, entropy: float) -> float:
        return self.budget


class Task(NamedTuple):
    """A level, and the two planners for it."""

    level: str
    slim: str
    big: str
    episodes: int


def gate(quick: bool, seeds: Sequence[int]) -> tuple[dict[str, Any], list[Row]]:
    """Success and questions of a slim planner, a big one, a gate, and asking by chance.

    The scripted controller pursues the likeliest subgoals, so that planning alone decides. The slim
    planner is the built-in one on levels that it was never taught, or, on a level that it knows,
    the built-in one with noise on its weights. The big one is the oracle, or SmolLM2-135M after 128
    answers of the expert (:func:`hier.bench.language_models.taught`) where its weights are
    installed. Seeds play other episodes, and damage the weights otherwise.

    Figures: ``share_of_big``, the gate's success in the big planner's, and ``questions``, its
    questions to it in those that the big planner alone is asked; ``speed``, training steps per
    second of processor time with the gate in those with the built-in planner alone.
    """
    episodes = 2 if quick else 20
    tasks = [
        Task("BabyAI-BlockedUnlockPickup-v0", "built-in", "oracle", episodes),
        Task("BabyAI-GoToSeqS5R2-v0", "built-in", "oracle", episodes),
        Task("BabyAI-UnlockPickup-v0", "damaged", "oracle", episodes),
    ]
    rows = [row for task in tasks for seed in seeds for row in _play(task, seed)]
    for language in (found := taught(quick)):  # none without its weights; teaching takes longest
        tasks.append(Task("BabyAI-UnlockPickup-v0", "damaged", language, max(1, episodes // 2)))
        rows += [row for seed in seeds for row in _play(tasks[-1], seed)]
    figures: dict[str, Any] = {}
    for task in tasks:
        mine = rows_of(rows, level=task.level, slim=task.slim, big=_name(task.big))
        figures |= _figures(f"{short_name(task.level)}.{task.slim}.{_name(task.big)}", mine)
    for language in found:
        speeds = [_train_speed(part, seed, quick) for seed in seeds for part in (None, language)]
        rows += speeds
        for slim, gated in zip(speeds[::2], speeds[1::2], strict=True):
            gated["speed"] = gated["steps_per_cpu_s"] / slim["steps_per_cpu_s"]
        figures |= spread([row["speed"] for row in speeds[1::2]], "speed")
    return figures, rows


def _figures(key: str, rows: Sequence[Row]) -> dict[str, Any]:
    by = {variant: rows_of(rows, variant=variant) for variant in (SLIM, BIG, GATE, CHANCE)}
    figures: dict[str, Any] = {}
    for variant, some in by.items():
        figures |= spread([row["success"] for row in some], f"{key}.{variant.replace(' ', '_')}")
    success, asked = (
        {variant: mean(row[name] for row in by[variant]) for variant in (BIG, GATE)}
        for name in ("success", "asked")
    )
    figures[f"{key}.share_of_big"] = success[GATE] / max(success[BIG], 1e-9)
    figures[f"{key}.questions"] = asked[GATE] / max(asked[BIG], 1e-9)
    return figures


def _name(big: str) -> str:
    return big if big == "oracle" else "SmolLM2-135M"


def _play(task: Task, seed: int) -> list[Row]:
    """The four variants of one task, one seed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    big = ORACLE if task.big == "oracle" else {"type": "llm", "model": task.big}
    domain = domain_of(task.level)
    rows = []
    for variant, kind, budget in (
        *((SLIM, GatedPlanner, 0.0), (BIG, GatedPlanner, 1.0)),
        *((GATE, GatedPlanner, BUDGET), (CHANCE, ChanceGate, BUDGET)),
    ):
        planner = kind(big, slim=BUILT_IN, budget=budget, domain=domain, seed=seed)
        if task.slim == "damaged":
            _damage(planner, seed)
        first = FIRST_SEED + 100_000 * seed
        success = success_rate(planner, task.level, task.episodes, first_seed=first)
        stats = planner.stats()
        rows.append(
            {
                "level": task.level, "slim": task.slim, "big": _name(task.big),
                "variant": variant, "seed": seed, "episodes": task.episodes, "success": success,
                **{name: stats[name] for name in ("asked", "asked_share", "agreement")},
            }
        )  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def _damage(planner: GatedPlanner, seed: int) -> None:
    """Add noise to the weights of the slim planner."""
    slim = planner._slim
    assert isinstance(slim, VLMPlanner)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in slim.loaded.network.parameters():
            if weight.ndim > 1:
                weight += _NOISE * weight.std() * torch.randn(weight.shape, generator=noise)


def _train_speed(big: str | None, seed: int, quick: bool) -> Row:
    """Steps of training per second of processor time, with the gate or the slim planner alone."""
    lines = [f"seed={seed}", f"total_timesteps={2048 if quick else _STEPS}", "eval.episodes=1"]
    if big is not None:
        lines += [
            "planner.type=gated", f"planner.options.budget={BUDGET}",
            "planner.options.big.type=llm", f"planner.options.big.model={big}",
        ]  # fmt: skip
    config = plain_config("demo", *lines)
    began = time.process_time()
    result = train(config, folder=new_parent("gate") / str(big is None), progress=False)
    seconds = time.process_time() - began
    return {
        "level": config.env.ids[0], "slim": "built-in", "big": _name(big) if big else "",
        "variant": "training", "seed": seed, "env_steps": result.env_steps,
        "planner_share": result.planner_share, "steps_per_cpu_s": result.env_steps / seconds,
    }  # fmt: skip
