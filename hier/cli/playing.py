"""Commands that play with what a run has learned: ``eval``, ``record`` and ``plan``."""

from __future__ import annotations

import json
import os
from typing import Any

from cyclopts.types import NonNegativeInt, PositiveInt

from hier.cli.app import (
    FirstSeed,
    Level,
    Overrides,
    Preset,
    Quiet,
    Run,
    TrustCode,
    app,
    settings_of,
)
from hier.cli.arguments import check_out, split_words
from hier.cli.output import print_summary, print_table, save_picture, write_text


@app.command(name="eval")
def _evaluate(
    run: Run, /, *overrides: Overrides,
    env: Level = None, episodes: PositiveInt | None = None, first_seed: FirstSeed = None,
    out: str | None = None, trust_code: TrustCode = False, quiet: Quiet = False,
) -> int:  # fmt: skip
    """Evaluate a trained run on levels that it has not seen.

    Args:
        episodes: Number of episodes; eval.episodes by default.
        out: Write every episode to this JSON file.
    """
    run, changes = split_words(run, *overrides)
    check_out(out)
    from hier.run.evaluation import evaluate

    evaluation = evaluate(
        run, env_id=env, episodes=episodes, first_seed=first_seed, overrides=changes,
        progress=not quiet, trust_code=trust_code,
    )  # fmt: skip
    print_summary(evaluation.summary())
    if out:
        from dataclasses import asdict

        write_text(out, json.dumps([asdict(episode) for episode in evaluation.episodes], indent=1))
    return 0


@app.command(name="record")
def _record(
    run: Run, /, *overrides: Overrides,
    env: Level = None, episodes: PositiveInt = 3, first_seed: FirstSeed = None,
    fps: PositiveInt = 6, out: str | None = None, trust_code: TrustCode = False,
) -> int:  # fmt: skip
    """Record episodes of a trained run as GIF and MP4.

    Args:
        episodes: Number of episodes.
        fps: Frames per second.
        out: Folder to write to; the run's videos by default.
    """
    run, changes = split_words(run, *overrides)
    check_out(out, folder=True)
    from hier.run.recording import record

    for path in record(
        run, env_id=env, episodes=episodes, first_seed=first_seed, overrides=changes,
        out=out, fps=fps, trust_code=trust_code,
    ):  # fmt: skip
        print(path)
    return 0


@app.command(name="plan")
def _plan(
    preset: Preset = "demo", /, *overrides: Overrides,
    seed: NonNegativeInt = 0, steps: NonNegativeInt = 0, out: str = "plan.png",
    compare: list[str] | None = None, trust_code: TrustCode = False,
) -> int:  # fmt: skip
    """Show what the planner of a preset or of a run folder sees and proposes.

    Args:
        seed: Seed of the level; 0 by default.
        steps: Random moves before the frame; none by default.
        out: Picture to write.
        compare: Planners to show side by side: hub ids, planner folders, or runs with feedback.
    """
    name, changes = split_words(preset, *overrides)
    check_out(out, picture=True)
    guidance = None
    if os.path.isfile(os.path.join(name, "config.yaml")):
        from hier.run.folder import RunFolder
        from hier.run.setup import open_config, open_guidance

        run = RunFolder(name)
        config = open_config(run, changes, trust_code=trust_code)
        guidance = None if compare else open_guidance(run, config)
    else:
        config = settings_of("plan").load(name or "demo", changes)
    from hier.run import proposals

    found: Any  # a Proposal or a Comparison
    if compare:
        found = proposals.compare(config, compare, seed=seed, steps=steps)
        header, chances = ["subgoal", *compare], found.probabilities
        order = chances.max(axis=0).argsort()[::-1]
        rows = [[found.candidates[i], *(f"{p:.3f}" for p in chances[:, i])] for i in order]
    else:
        found = proposals.propose(config, seed=seed, steps=steps, guidance=guidance)
        header = ["probability", "advantage", "subgoal", ""]
        advantages = [""] * len(found.candidates)
        if found.advantages is not None:
            advantages = [f"{advantage:+.3f}" for advantage in found.advantages]
        columns = zip(found.probabilities, advantages, found.candidates, strict=True)
        rows = [
            [f"{p:.3f}", advantage, str(g), "chosen" if g == found.chosen else ""]
            for p, advantage, g in sorted(columns, key=lambda column: -column[0])
        ]
    save_picture(out, found.picture)
    print(f"mission: {found.mission}\n{found.scene}")
    print_table(header, rows)
    print(f"picture: {out}")
    return 0
