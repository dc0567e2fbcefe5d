"""The suite that tells where training's time goes, world by world."""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from hier.bench.figures import rows_of, success_figures
from hier.config import HierConfig
from hier.run.build import build_env, build_model, build_planner_of
from hier.run.sweep import Row

PARTS = ("simulation", "rendering", "percept", "planner", "acting", "learning", "rest")
# Preset, level, whether it has a privileged variant, and what draws the pictures.
WORLDS: tuple[tuple[str, str, bool, str], ...] = (
    ("demo", "BabyAI-UnlockPickup-v0", False, "hier.envs.gridworld.rendering:FrameRenderer.render"),
    ("pointmaze", "PointMaze_Medium-v3", True, "hier.envs.pointmaze.camera:Camera.picture"),
    ("fetch", "FetchPickAndPlace-v4", True, "hier.envs.fetch.camera:Camera.picture"),
    ("rooms", "MiniWorld-FourRooms-v0", True, "hier.envs.rooms.env.picture"),
)
VARIANTS = {
    "hierarchical": "planner.type=oracle",
    "vlm": "planner.type=vlm",
    "flat": "planner.type=none",
}


class Stopwatch:
    """Shares wall time out among the parts of a training, by the functions that it wraps.

    Where a timed function calls another one, the inner one's time counts for its own part alone.
    What is under no timed function is ``rest``.

    Attributes:
        seconds: spent so far, by part.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._parts = ["rest"]  # under way, the innermost last
        self._since = time.perf_counter()
        self._restore: list[Callable[[], None]] = []

    def __enter__(self) -> Stopwatch:
        return self

    def __exit__(self, *error: object) -> None:
        while self._restore:
            self._restore.pop()()

    def times(self, owner: Any, name: str, part: str) -> None:
        """Count calls of ``owner.name`` for ``part`` until the stopwatch is left.

        Args:
            owner: an object, a class or a module.
            name: of the function there.
            part: one of :data:`PARTS`.
        """
        call = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._book()
            self._parts.append(part)
            try:
                return call(*args, **kwargs)
            finally:
                self._book()
                self._parts.pop()

        own = name in vars(owner)
        setattr(owner, name, timed)
        self._restore.append(
            (lambda: setattr(owner, name, call)) if own else (lambda: delattr(owner, name))
        )

    def begin(self) -> None:
        """Start at zero."""
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._since = time.perf_counter()

    def shares(self) -> dict[str, float]:
        """Each part's share of the time since :meth:`begin`."""
        self._book()
        total = sum(self.seconds.values())
        return {part: spent / total for part, spent in self.seconds.items()}

    def _book(self) -> None:
        now = time.perf_counter()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now


def world_speed(
    quick: bool, seeds: Sequence[int], levels: Sequence[str] | None = None
) -> tuple[dict[str, Any], list[Row]]:
    """Environment steps per second of training, and where the time goes.

    Each world is trained for a short stretch as its preset says: under the oracle, which costs
    next to nothing, under the built-in planner (not where the simulator's state is read), and
    flat. They take turns; the figures are medians over the repeats.

    Args:
        quick: one short turn of the hierarchical agents.
        seeds: the first is that of every training.
        levels: play these of the ids alone.
    """
    repeats, variants = (1, ["hierarchical"]) if quick else (3, list(VARIANTS))
    rows: list[Row] = []
    for repeat in range(repeats):
        for preset, env_id, privileged, draws in WORLDS:
            for level in (env_id, f"privileged/{env_id}") if privileged else (env_id,):
                if levels and level not in levels:
                    continue
                for variant in variants:
                    if variant == "vlm" and level != env_id:
                        continue
                    lines = [f"env.id={level}", VARIANTS[variant], f"seed={seeds[0]}"]
                    config = HierConfig.load(preset, [*lines, *_short(preset, quick)])
                    row = {"level": level, "variant": variant, "seed": seeds[0], "repeat": repeat}
                    rows.append({**row, **_measure(config, draws, 256 if quick else 2_048)})
                    print(_as_line(rows[-1]), flush=True)
    return _figures(rows), rows


def _short(preset: str, quick: bool) -> list[str]:
    """Overrides that have the controller learn from the first steps on, on one core."""
    lines = ["torch_threads=1"]
    if HierConfig.load(preset).controller.algorithm == "sac":
        lines.append("controller.options.learning_starts=128")
    elif quick:
        lines.append("controller.options.n_steps=16")
    return lines


def _measure(config: HierConfig, draws: str, steps: int) -> dict[str, Any]:
    """Steps per second and shares of a training of at least ``steps`` steps, once it runs."""
    import torch

    torch.set_num_threads(config.torch_threads)
    env = build_env(config, build_planner_of(config))
    model: Any = build_model(config, env)
    with Stopwatch() as watch:
        owner, _, name = draws.rpartition(".")
        watch.times(pkgutil.resolve_name(owner), name, "rendering")
        watch.times(env.venv, "step_wait", "simulation")
        tracker = env.hierarchy.tracker
        for name in ("reset", "update", "ground", "percept", "controller_entries"):
            watch.times(tracker, name, "percept")
        watch.times(env.hierarchy, "advance", "percept")
        watch.times(env.hierarchy, "plan", "planner")
        watch.times(model, "train", "learning")
        for name in ("forward", "predict"):
            watch.times(model.policy, name, "acting")
        model.learn(256)  # compiled code, caches, allocator, first gradient steps
        before, started, cpu = model.num_timesteps, time.perf_counter(), time.process_time()
        watch.begin()
        model.learn(steps, reset_num_timesteps=False)
        shares = watch.shares()
    steps = model.num_timesteps - before
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    env.close()
    return {
        "env_steps": steps,
        "steps_per_s": steps / wall,
        "steps_per_cpu_s": steps / cpu,
        **{part: round(share, 4) for part, share in shares.items()},
    }


def _as_line(row: Row) -> str:
    shares = ", ".join(f"{part} {row[part]:.0%}" for part in PARTS)
    return f"{row['level']} {row['variant']}: {row['steps_per_s']:.0f} steps/s; {shares}"


def _figures(rows: Sequence[Row]) -> dict[str, Any]:
    """Medians, and the slowest and fastest turn, of each level and variant."""
    figures: dict[str, Any] = {}
    for level, variant in dict.fromkeys((row["level"], row["variant"]) for row in rows):
        turns, key = rows_of(rows, level=level, variant=variant), f"{level}.{variant}"
        figures |= success_figures(turns, f"{key}.steps_per_s", "steps_per_s")
        figures[f"{key}.steps_per_s.best"] = max(row["steps_per_s"] for row in turns)
        for name in ("steps_per_cpu_s", *PARTS):
            figures[f"{key}.{name}"] = median(row[name] for row in turns)
    return figures
