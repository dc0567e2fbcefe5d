"""The command line. Each command is one typed call of the package; heavy imports wait for it.

Cyclopts makes help, checks, errors with the nearest name and shell completion from the signatures
and docstrings below. Typer has no ``--seeds 0 1 2`` and took more code; argparse has no completion.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.types import NonNegativeInt, PositiveInt

from hier.envs.errors import UserError

EXIT_WRONG_INPUT = 2
EXIT_INTERRUPTED = 130

app = App(
    name="hier",
    help="Train, evaluate and watch hierarchical agents: a planner proposes subgoals, and an SB3 "
    "controller pursues them from pixels.",
    help_formatter="plain", help_format="plaintext", version_flags=[], result_action="return_value",
    # One line of error, from main, instead of a box; --seeds 0 1 2; no --no-quiet.
    exit_on_error=False, print_error=False, suppress_keyboard_interrupt=False,
    default_parameter=Parameter(consume_multiple=1, negative=(), show_default=lambda x: x or None),
)  # fmt: skip
app.register_install_completion_command(help="Install completion for your shell.")


def _settings(command: str) -> Any:
    if command == "pretrain":
        return import_module("hier.pretraining.config").PretrainConfig
    return import_module("hier.config").HierConfig


def _presets(command: str, text: str) -> Parameter:
    return Parameter(help=text, completer=lambda _: _settings(command).preset_names())


def _keys(command: str) -> Parameter:
    return Parameter(
        help="Changed keys of the configuration, written dotted.key=value.",
        completer=lambda _: [f"{key}=" for key, *_ in _settings(command).key_table()],
    )


def _runs(_: Any) -> Iterable[str]:
    return (str(file.parent) for file in Path().glob("runs/*/config.yaml"))


def _ids(_: Any) -> Iterable[str]:
    return import_module("hier.envs.registry").env_ids()


# What several commands take; the rest is described where it is taken.
Preset = Annotated[str, _presets("train", "A preset's name, or a YAML file.")]
Domain = Annotated[str, _presets("pretrain", "A domain such as gridworld, or a YAML file.")]
Overrides = Annotated[str, _keys("train")]
Run = Annotated[str, Parameter(help="A run folder, which hier train made.", completer=_runs)]
NewRun = Annotated[str | None, Parameter(help="Run folder to make (runs/NAME-sSEED-TIME).")]
Resume = Annotated[str | None, Parameter(help="Run folder to continue.", completer=_runs)]
Keys = Annotated[bool, Parameter(help="List every key of the configuration, and stop.")]
Quiet = Annotated[bool, Parameter(help="Show no progress bar.")]
TrustCode = Annotated[
    bool, Parameter(help="Run the code that the run folder names (docs/security.md).")
]
Level = Annotated[str | None, Parameter(help="Play another level.", completer=_ids)]
FirstSeed = Annotated[NonNegativeInt | None, Parameter(help="First level seed (eval.first_seed).")]


@app.command(name="train")
def _train(
    preset: Preset = "", /, *overrides: Overrides,
    run: NewRun = None, resume: Resume = None, trust_code: TrustCode = False, keys: Keys = False,
    quiet: Quiet = False,
) -> int:  # fmt: skip
    """Train a controller under a planner."""
    if keys:
        return _print_keys("train")
    config = _configuration("train", run, resume, preset, *overrides)
    from hier.run import training

    if resume:
        result = training.resume(resume, progress=not quiet, trust_code=trust_code)
    else:
        result = training.train(config, folder=run, progress=not quiet)
    if result.interrupted:
        print(f"stopped at step {result.env_steps}; go on: hier train --resume {result.folder}")
        return EXIT_INTERRUPTED
    assert result.evaluation is not None
    _print_summary(result.evaluation.summary())
    print(f"run folder      {result.folder}  ({result.env_steps} steps, {result.seconds:.0f} s)")
    print(f"TensorBoard     tensorboard --logdir {result.folder}/tensorboard")
    print(f"videos          {result.folder}/videos   more: hier record {result.folder}")
    return 0


@app.command(name="pretrain")
def _pretrain(
    domain: Domain = "", /, *overrides: Annotated[str, _keys("pretrain")],
    run: NewRun = None, resume: Resume = None, trust_code: TrustCode = False, keys: Keys = False,
    quiet: Quiet = False,
) -> int:  # fmt: skip
    """Make a small planner from the demonstrations of a domain's expert."""
    if keys:
        return _print_keys("pretrain")
    config = _configuration("pretrain", run, resume, domain, *overrides)
    from hier.pretraining.run import pretrain, resume_pretraining

    if resume:
        result = resume_pretraining(resume, progress=not quiet, trust_code=trust_code)
    else:
        result = pretrain(config, folder=run, progress=not quiet)
    if result.accuracy is None:
        print(f"stopped at step {result.steps}; go on: hier pretrain --resume {result.folder}")
        return EXIT_INTERRUPTED
    found = result.accuracy.levels
    rows = [(x.level, x.states, f"{x.accuracy:.3f}", f"{x.probability:.3f}") for x in found]
    _print_table(["level", "states", "accuracy", "probability"], rows)
    print(f"mean accuracy   {result.accuracy.mean:.3f} after {result.steps} steps")
    print(f"planner         {result.planner}  ({result.seconds:.0f} s)")
    print(f"use it          hier train PRESET planner.type=vlm planner.model={result.planner}")
    return 0


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
    run, changes = _split(run, *overrides)
    _check_out(out)
    from hier.run.evaluation import evaluate

    evaluation = evaluate(
        run, env_id=env, episodes=episodes, first_seed=first_seed, overrides=changes,
        progress=not quiet, trust_code=trust_code,
    )  # fmt: skip
    _print_summary(evaluation.summary())
    if out:
        from dataclasses import asdict

        _write(out, json.dumps([asdict(episode) for episode in evaluation.episodes], indent=1))
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
    run, changes = _split(run, *overrides)
    _check_out(out, folder=True)
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
    name, changes = _split(preset, *overrides)
    _check_out(out, picture=True)
    guidance = None
    if os.path.isfile(os.path.join(name, "config.yaml")):
        from hier.run.folder import RunFolder
        from hier.run.setup import open_config, open_guidance

        run = RunFolder(name)
        config = open_config(run, changes, trust_code=trust_code)
        guidance = None if compare else open_guidance(run, config)
    else:
        config = _settings("plan").load(name or "demo", changes)
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
    _save_picture(out, found.picture)
    print(f"mission: {found.mission}\n{found.scene}")
    _print_table(header, rows)
    print(f"picture: {out}")
    return 0


@app.command(name="tune-planner")
def _tune(
    *runs: Annotated[str, Parameter(completer=_runs)],
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
    names, overrides = _sort(runs)
    if not names:
        raise UserError("name at least one run folder, or a preset with --demonstrations N")
    if demonstrations and (len(names) > 1 or not out):
        raise UserError("--demonstrations takes one preset and --out FOLDER for the planner")
    _check_out(out, folder=True)
    from hier.run.tuning import teach_planner, tune_planner

    if demonstrations:
        assert out is not None
        config = _settings("train").load(names[0], overrides)
        result = teach_planner(config, demonstrations, out=out, updates=updates, progress=not quiet)
    else:
        result = tune_planner(
            names, overrides, out=out, updates=updates, progress=not quiet, trust_code=trust_code
        )
    if result.main:
        columns = list(result.reports[0]) if result.reports else []
        _print_table(columns, [[f"{r[name]:.4g}" for name in columns] for r in result.reports])
        print(f"lessons         {result.lessons}")
        print(f"planner         {result.planner}")
        print(f"use it          hier train demo planner.model={result.planner}")
    return 0


@app.command(name="export")
def _export(
    run: Run, /, *overrides: Overrides, out: str = "exported.zip", trust_code: TrustCode = False,
) -> int:  # fmt: skip
    """Write a run's controller in Stable-Baselines3's own format.

    Args:
        out: Zip file to write; exported.zip by default.
    """
    run, changes = _split(run, *overrides)
    _check_out(out)
    from hier.run.sb3_zip import export_controller

    print(export_controller(run, out, changes, trust_code=trust_code))
    return 0


@app.command(name="import")
def _import(run: Run, /, *, unpickle: bool = False, trust_code: TrustCode = False) -> int:
    """Convert the checkpoints of an old run, which are in Stable-Baselines3's own format.

    Args:
        unpickle: Read their pickles, which can run code: only from those whom you trust.
    """
    if not unpickle:
        raise UserError(
            f"checkpoints of Stable-Baselines3 are pickles, which can run code; if you trust the "
            f"origin of {run}, add --unpickle"
        )
    from hier.run.sb3_zip import import_controllers

    for file in import_controllers(run, trust_code=trust_code):
        print(file)
    return 0


@app.command(name="envs")
def _envs(match: str = "", /, *, coverage: bool = False, out: str | None = None) -> int:
    """List the environments.

    Args:
        match: Only ids that contain this text.
        coverage: Say which ones the subgoal vocabulary covers, and why not the others.
        out: Write the list or the table to this file.
    """
    _check_out(out)
    from hier.envs.registry import domain_of, env_ids

    ids = [name for name in env_ids() if match.lower() in name.lower()]
    if not ids:
        raise UserError(f"no environment id holds {match!r}; hier envs lists all")
    if coverage:
        tables = []
        for domain in dict.fromkeys(domain_of(name) for name in ids):
            tables.append(domain.coverage([name for name in ids if domain_of(name) is domain]))
        text = "\n\n".join(table for table in tables if table)
    else:
        text = "\n".join(ids)
    if out:
        _write(out, text)
    else:
        print(text)
    return 0


@app.command(name="bench")
def _bench(
    name: Annotated[str, Parameter(completer=lambda _: import_module("hier.bench").SUITES)] = "",
    /, *, quick: bool = False, seeds: list[NonNegativeInt] | None = None,
    levels: Annotated[list[str] | None, Parameter(completer=_ids)] = None, out: str | None = None,
) -> int:  # fmt: skip
    """Reproduce a published result.

    Args:
        name: Suite to run; without one, the suites are listed.
        quick: Take less than a minute, only to check that the suite runs.
        seeds: Training seeds.
        levels: Only these of the suite's levels.
        out: Write the result to this JSON file.
    """
    _check_out(out)
    from hier.bench import SUITES, run_suite

    if name:
        run_suite(name, quick=quick, seeds=seeds, levels=levels, out=out)
    else:
        _print_table(["suite", "what it shows"], [(key, s.purpose) for key, s in SUITES.items()])
    return 0


def _sort(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names and overrides, which may stand in any order; a path may hold an equals sign."""
    overrides = [text for text in words if "=" in text and "/" not in text.partition("=")[0]]
    return [text for text in words if text and text not in overrides], overrides


def _split(*words: str) -> tuple[str, list[str]]:
    """The one name among a command's words, empty without one, and the overrides."""
    names, overrides = _sort(words)
    if len(names) > 1:
        raise UserError(f"{names[1]!r} is one name too many; write overrides as dotted.key=value")
    return "".join(names), overrides


def _configuration(command: str, run: str | None, resume: str | None, *words: str) -> Any:
    """What a new run is made from; ``None`` where one is resumed."""
    preset, overrides = _split(*words)
    if resume:
        if preset or overrides or run:
            raise UserError("--resume takes the saved configuration; drop the other arguments")
        return None
    settings = _settings(command)
    if not preset:
        names = ", ".join(settings.preset_names())
        raise UserError(f"name a preset or a YAML file; presets: {names}")
    return settings.load(preset, overrides)


def _check_out(out: str | None, *, folder: bool = False, picture: bool = False) -> None:
    """Refuse what cannot be written before the work, not after it."""
    if not out:
        return
    path = Path(out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fine = not path.exists() or path.is_dir() is folder
        fine = fine and os.access(path if path.exists() else path.parent, os.W_OK)
    except OSError:  # a file in the way, no permission
        fine = False
    if not fine:
        raise UserError(f"--out {out} cannot be written; name a {'folder' if folder else 'file'}")
    if picture and path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".gif", ".webp"):
        raise UserError(f"--out {out} is no picture; end its name in .png or .jpg")


def _print_keys(command: str) -> int:
    _print_table(["key", "default", "meaning"], _settings(command).key_table())
    return 0


def _print_summary(summary: dict[str, float]) -> None:
    for name, value in summary.items():
        print(f"{name.replace('_', ' '):22}{value:.3f}".rstrip("0").rstrip("."))


def _print_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    texts = [list(header), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    for row in texts:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def _write(path: str, text: str) -> None:
    from hier.envs.files import atomic_write

    with atomic_write(Path(path)) as file:
        file.write_text(text + "\n", encoding="utf-8")
    print(path)


def _save_picture(path: str, picture: Any) -> None:
    from PIL import Image

    from hier.envs.files import atomic_write

    with atomic_write(Path(path)) as file:
        Image.fromarray(picture).save(file)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (2 for wrong input, 130 if interrupted)."""
    try:
        status = app(argv)
        sys.stdout.flush()
        return status or 0
    except (CycloptsError, UserError) as error:
        print(f"hier: {error}", file=sys.stderr)
        return EXIT_WRONG_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output left early, as `head` does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (nothing is left to flush into the pipe)
        return 0


if __name__ == "__main__":
    sys.exit(main())
