"""Commands that learn: ``train``, ``pretrain`` and ``tune-planner``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from hier.cli.app import (
    EXIT_INTERRUPTED,
    Domain,
    Keys,
    NewRun,
    Overrides,
    Preset,
    Quiet,
    Resume,
    TrustCode,
    app,
    keys_of,
    run_folders,
    settings_of,
)
from hier.cli.arguments import (
    check_out,
    configuration,
    refuse_with_resume,
    several_seeds,
    sort_words,
    split_words,
)
from hier.cli.output import print_keys, print_table
from hier.cli.runs import print_comparison
from hier.envs.errors import UserError

if TYPE_CHECKING:
    from hier.config import HierConfig
    from hier.run.training import TrainResult


@app.command(name="train")
def _train(
    preset: Preset = "", /, *overrides: Overrides,
    run: NewRun = None, resume: Resume = None, trust_code: TrustCode = False, keys: Keys = False,
    quiet: Quiet = False,
) -> int:  # fmt: skip
    """Train a controller under a planner; with seed=0,1,2, one for each seed."""
    if keys:
        return print_keys("train")
    if resume:
        name, changes = split_words(preset, *overrides)
        refuse_with_resume(name, run)
        from hier.run import training

        result = training.resume(resume, changes, progress=not quiet, trust_code=trust_code)
    else:
        seeds, others = several_seeds(preset, *overrides)
        config = configuration("train", *others)
        if seeds:
            return _train_seeds(config, seeds, run, progress=not quiet)
        from hier.run import training

        result = training.train(config, folder=run, progress=not quiet)
    if result.interrupted:
        print(f"stopped at step {result.env_steps}; go on: hier train --resume {result.folder}")
        return EXIT_INTERRUPTED
    _print_result(result)
    return 0


def _train_seeds(config: HierConfig, seeds: list[int], run: str | None, progress: bool) -> int:
    """Train the seeds side by side; what is finished is compared, also if some are not."""
    from hier.run.folder import RunFolder
    from hier.run.seeds import seed_folders, train_seeds

    folders = seed_folders(config.name, seeds, run)
    try:
        train_seeds(config, seeds, folders, progress=progress)
    except KeyboardInterrupt:
        for folder in folders:
            if RunFolder(folder).checkpoint_files():
                print(f"stopped; go on: hier train --resume {folder}")
        return EXIT_INTERRUPTED
    finally:
        done = [(folder, RunFolder(folder).evaluations()) for folder in folders]
        total = config.total_timesteps
        finished = [folder for folder, found in done if found and found[-1]["env_steps"] >= total]
        if finished:
            print_comparison(finished, trust_code=True)
    print(f"run folders     {' '.join(map(str, folders))}")
    print(f"curves          tensorboard --logdir {folders[0].parent}")
    print(f"picture         hier plot {' '.join(map(str, folders))}")
    return 0


def _print_result(result: TrainResult) -> None:
    """What came of a training, to be read in ten seconds."""
    assert result.evaluation is not None
    summary, run = result.evaluation.summary(), shlex.quote(str(result.folder))
    minutes, seconds = divmod(round(result.seconds), 60)
    success = f"{summary['success_rate']:.0%} of {summary['episodes']:.0f} episodes"
    print(f"success         {success} on levels that training never drew")
    asked = summary["queries_per_episode"]  # by flat control never
    print(
        f"per episode     return {summary['mean_return']:.2f}, {summary['mean_length']:.0f} steps"
        + (f", {asked:.1f} planner queries" if asked else "")
    )
    print(
        f"training        {result.env_steps:,} steps in {minutes} min {seconds} s, "
        f"from {_beginning(result)}"
    )
    print(f"run folder      {result.folder}")
    print(f"curves          tensorboard --logdir {run}")
    print(f"videos          hier record {run}")
    print(f"more steps      hier train --resume {run} total_timesteps={2 * result.env_steps}")


def _beginning(result: TrainResult) -> str:
    """What the controller began as, in words."""
    from hier.run.folder import RunFolder
    from hier.run.shipped import is_shipped, start_of

    start = start_of(RunFolder(result.folder).config(trust_code=True))
    if start is None:
        return "new weights"
    return "the built-in controller" if is_shipped(start) else f"the controller of {start.path}"


@app.command(name="pretrain")
def _pretrain(
    domain: Domain = "", /, *overrides: Annotated[str, keys_of("pretrain")],
    run: NewRun = None, resume: Resume = None, trust_code: TrustCode = False, keys: Keys = False,
    quiet: Quiet = False,
) -> int:  # fmt: skip
    """Make a small planner from the demonstrations of a domain's expert."""
    if keys:
        return print_keys("pretrain")
    if resume:
        refuse_with_resume(domain, run, *overrides)
        from hier.pretraining.run import resume_pretraining

        result = resume_pretraining(resume, progress=not quiet, trust_code=trust_code)
    else:
        config = configuration("pretrain", domain, *overrides)
        from hier.pretraining.run import pretrain

        result = pretrain(config, folder=run, progress=not quiet)
    if result.accuracy is None:
        print(f"stopped at step {result.steps}; go on: hier pretrain --resume {result.folder}")
        return EXIT_INTERRUPTED
    found = result.accuracy.levels
    rows = [(x.level, x.states, f"{x.accuracy:.3f}", f"{x.probability:.3f}") for x in found]
    print_table(["level", "states", "accuracy", "probability"], rows)
    print(f"mean accuracy   {result.accuracy.mean:.3f} after {result.steps} steps")
    print(f"planner         {result.planner}  ({result.seconds:.0f} s)")
    print(f"use it          hier train PRESET planner.type=vlm planner.model={result.planner}")
    return 0


@app.command(name="tune-planner")
def _tune(
    *runs: Annotated[str, Parameter(completer=run_folders)],
    demonstrations: PositiveInt | None = None, updates: PositiveInt | None = None,
    out: str | None = None, trust_code: TrustCode = False, quiet: Quiet = False,
) -> int:  # fmt: skip
    """Fine-tune a planner on stored feedback or on demonstrations.

    Args:
        runs: Run folders that hier train made with feedback.store=true, and dotted.key=value;
            with --demonstrations a preset or YAML file.
        demonstrations: Answers of the expert to learn from, in the levels of the preset.
        updates: Gradient steps; twice through the lessons by default.
        out: Folder of the tuned planner; the first run's folder tuned by default.
    """
    names, overrides = sort_words(runs)
    if not names:
        raise UserError("name at least one run folder, or a preset with --demonstrations N")
    if demonstrations and (len(names) > 1 or not out):
        raise UserError("--demonstrations takes one preset and --out FOLDER for the planner")
    check_out(out, folder=True)
    from hier.run.tuning import teach_planner, tune_planner

    if demonstrations:
        assert out is not None
        config = settings_of("train").load(names[0], overrides)
        result = teach_planner(config, demonstrations, out=out, updates=updates, progress=not quiet)
    else:
        result = tune_planner(
            names, overrides, out=out, updates=updates, progress=not quiet, trust_code=trust_code
        )
    if result.main:
        columns = list(result.reports[0]) if result.reports else []
        print_table(columns, [[f"{r[name]:.4g}" for name in columns] for r in result.reports])
        print(f"lessons         {result.lessons}")
        print(f"planner         {result.planner}")
        print(f"use it          hier train demo planner.model={result.planner}")
    return 0
