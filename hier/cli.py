"""The command line. Each command is one typed call of the package; heavy imports wait for it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hier.envs.errors import UserError

EXIT_WRONG_INPUT = 2
EXIT_INTERRUPTED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hier",
        description="Train, judge and watch hierarchical agents: a planner proposes subgoals, "
        "an SB3 controller pursues them from pixels.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a controller under a planner")
    train.add_argument("preset", nargs="?", help="a preset's name or a YAML file")
    train.add_argument("overrides", nargs="*", metavar="key=value", help="dotted overrides")
    train.add_argument("--run", metavar="DIR", help="run folder (default: runs/NAME-sSEED-TIME)")
    train.add_argument("--resume", metavar="RUN", help="continue a run; takes nothing else")
    train.add_argument("--keys", action="store_true", help="list every configuration key")
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    train.set_defaults(call=_train)

    make = commands.add_parser("pretrain", help="make a small planner from a domain's expert")
    make.add_argument("preset", nargs="?", help="a domain, such as gridworld, or a YAML file")
    make.add_argument("overrides", nargs="*", metavar="key=value", help="dotted overrides")
    make.add_argument("--run", metavar="DIR", help="run folder (default: runs/NAME-sSEED-TIME)")
    make.add_argument("--resume", metavar="RUN", help="continue a run; takes nothing else")
    make.add_argument("--keys", action="store_true", help="list every configuration key")
    make.add_argument("--quiet", action="store_true", help="no progress bars")
    make.set_defaults(call=_pretrain)

    judge = commands.add_parser("eval", help="judge a run on unseen levels")
    judge.add_argument("run", help="run folder")
    judge.add_argument("overrides", nargs="*", metavar="key=value", help="dotted overrides")
    judge.add_argument("--env", metavar="ID", help="another level (zero-shot)")
    judge.add_argument("--episodes", type=int, help="number of episodes")
    judge.add_argument("--first-seed", type=int, help="first level seed")
    judge.add_argument("--out", metavar="FILE", help="write every episode as JSON")
    judge.add_argument("--quiet", action="store_true", help="no progress bar")
    judge.set_defaults(call=_evaluate)

    record = commands.add_parser("record", help="write episodes as GIF and MP4")
    record.add_argument("run", help="run folder")
    record.add_argument("overrides", nargs="*", metavar="key=value", help="dotted overrides")
    record.add_argument("--env", metavar="ID", help="another level")
    record.add_argument("--episodes", type=int, default=3, help="number of episodes (3)")
    record.add_argument("--first-seed", type=int, help="first level seed")
    record.add_argument("--fps", type=int, default=6, help="frames per second (6)")
    record.add_argument("--out", metavar="DIR", help="folder (default: the run's videos)")
    record.set_defaults(call=_record)

    plan = commands.add_parser("plan", help="what the planner sees and proposes on one frame")
    plan.add_argument("preset", nargs="?", default="demo", help="preset, YAML file or run (demo)")
    plan.add_argument("overrides", nargs="*", metavar="key=value", help="dotted overrides")
    plan.add_argument("--seed", type=int, default=0, help="level seed")
    plan.add_argument("--steps", type=int, default=0, help="random moves first")
    plan.add_argument("--out", metavar="FILE", default="plan.png", help="picture (plan.png)")
    plan.add_argument(
        "--compare", nargs="+", metavar="PLANNER",
        help="models side by side: hub ids, planner folders, or runs with feedback",
    )  # fmt: skip
    plan.set_defaults(call=_plan)

    tune = commands.add_parser(
        "tune-planner", help="fine-tune a planner on the feedback that runs have stored"
    )
    tune.add_argument(
        "runs",
        nargs="+",
        metavar="RUN|key=value",
        help="runs with feedback.store=true, and dotted overrides",
    )
    tune.add_argument("--updates", type=int, help="gradient steps (twice through the lessons)")
    tune.add_argument("--out", metavar="DIR", help="planner's folder (RUN/tuned of the first run)")
    tune.add_argument("--quiet", action="store_true", help="no progress bar")
    tune.set_defaults(call=_tune, overrides=[])

    envs = commands.add_parser("envs", help="list environments")
    envs.add_argument("match", nargs="?", default="", help="only ids with this in them")
    envs.add_argument(
        "--coverage", action="store_true", help="which the vocabulary covers, and why"
    )
    envs.add_argument("--out", metavar="FILE", help="write the list or table")
    envs.set_defaults(call=_envs)

    bench = commands.add_parser("bench", help="reproduce a result")
    bench.add_argument("name", nargs="?", help="suite; without one, list them")
    bench.add_argument("--quick", action="store_true", help="under a minute, for checking only")
    bench.add_argument("--seeds", type=int, nargs="+", help="training seeds")
    bench.add_argument("--levels", nargs="+", metavar="ID", help="some of the suite's levels only")
    bench.add_argument("--out", metavar="FILE", help="write the result as JSON")
    bench.set_defaults(call=_bench)
    return parser


def _print_keys(settings: Any) -> int:
    _print_table(["key", "default", "meaning"], settings.key_table())
    return 0


def _check_resume(args: argparse.Namespace) -> None:
    if args.preset or args.overrides or args.run:
        raise UserError("--resume takes the saved configuration; drop the other arguments")


def _train(args: argparse.Namespace) -> int:
    from hier.config import HierConfig

    if args.keys:
        return _print_keys(HierConfig)
    if args.resume:
        _check_resume(args)
        from hier.run.training import resume

        result = resume(args.resume, progress=not args.quiet)
    else:
        if not args.preset:
            names = ", ".join(HierConfig.preset_names())
            raise UserError(f"name a preset or a YAML file; presets: {names}")
        config = HierConfig.load(args.preset, args.overrides)
        from hier.run.training import train

        result = train(config, folder=args.run, progress=not args.quiet)
    if result.interrupted:
        print(f"stopped at step {result.env_steps}; go on: hier train --resume {result.folder}")
        return EXIT_INTERRUPTED
    assert result.evaluation is not None
    _print_summary(result.evaluation.summary())
    print(f"run folder      {result.folder}  ({result.env_steps} steps, {result.seconds:.0f} s)")
    print(f"TensorBoard     tensorboard --logdir {result.folder}/tensorboard")
    print(f"videos          {result.folder}/videos   more: hier record {result.folder}")
    return 0


def _pretrain(args: argparse.Namespace) -> int:
    from hier.pretraining.run import PretrainConfig, pretrain, resume_pretraining

    if args.keys:
        return _print_keys(PretrainConfig)
    if args.resume:
        _check_resume(args)
        result = resume_pretraining(args.resume, progress=not args.quiet)
    else:
        if not args.preset:
            names = ", ".join(PretrainConfig.preset_names())
            raise UserError(f"name a domain or a YAML file; domains: {names}")
        config = PretrainConfig.load(args.preset, args.overrides)
        result = pretrain(config, folder=args.run, progress=not args.quiet)
    if result.accuracy is None:
        print(f"stopped at step {result.steps}; go on: hier pretrain --resume {result.folder}")
        return EXIT_INTERRUPTED
    _print_table(
        ["level", "states", "accuracy", "probability"],
        [
            (found.level, found.states, f"{found.accuracy:.3f}", f"{found.probability:.3f}")
            for found in result.accuracy.levels
        ],
    )
    print(f"mean accuracy   {result.accuracy.mean:.3f} after {result.steps} steps")
    print(f"planner         {result.planner}  ({result.seconds:.0f} s)")
    print(f"use it          hier train PRESET planner.type=vlm planner.model={result.planner}")
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from hier.run.evaluation import evaluate

    evaluation = evaluate(
        args.run,
        env_id=args.env,
        episodes=args.episodes,
        first_seed=args.first_seed,
        overrides=args.overrides,
        progress=not args.quiet,
    )
    _print_summary(evaluation.summary())
    if args.out:
        from dataclasses import asdict

        episodes = [asdict(episode) for episode in evaluation.episodes]
        _write(args.out, json.dumps(episodes, indent=1) + "\n")
    return 0


def _record(args: argparse.Namespace) -> int:
    from hier.run.recording import record

    for path in record(
        args.run,
        episodes=args.episodes,
        first_seed=args.first_seed,
        env_id=args.env,
        out=args.out,
        fps=args.fps,
        overrides=args.overrides,
    ):
        print(path)
    return 0


def _plan(args: argparse.Namespace) -> int:
    from hier.config import HierConfig
    from hier.run.recording import propose

    saved = Path(args.preset) / "config.yaml"
    config = HierConfig.load(saved if saved.is_file() else args.preset, args.overrides)
    if args.compare:
        return _compare(config, args)
    proposal = propose(config, seed=args.seed, steps=args.steps)
    _save_picture(args.out, proposal.picture)
    print(f"mission: {proposal.mission}\n{proposal.scene}")
    ranked = sorted(zip(proposal.probabilities, map(str, proposal.candidates), strict=True))[::-1]
    _print_table(
        ["probability", "subgoal", ""],
        [(f"{p:.3f}", g, "chosen" if g == str(proposal.chosen) else "") for p, g in ranked],
    )
    print(f"picture: {args.out}")
    return 0


def _compare(config: Any, args: argparse.Namespace) -> int:
    from hier.run.recording import compare

    found = compare(config, args.compare, seed=args.seed, steps=args.steps)
    _save_picture(args.out, found.picture)
    print(f"mission: {found.mission}\n{found.scene}")
    order = found.probabilities.max(axis=0).argsort()[::-1]
    _print_table(
        ["subgoal", *args.compare],
        [[found.candidates[i], *(f"{p:.3f}" for p in found.probabilities[:, i])] for i in order],
    )
    print(f"picture: {args.out}")
    return 0


def _tune(args: argparse.Namespace) -> int:
    from hier.feedback.tuning import tune_planner

    runs = [text for text in args.runs if not _is_override(text)]
    overrides = [text for text in args.runs if _is_override(text)] + args.overrides
    if not runs:
        raise UserError("name at least one run folder")
    result = tune_planner(
        runs, overrides, out=args.out, updates=args.updates, progress=not args.quiet
    )
    if result.main:
        names = list(result.reports[0]) if result.reports else []
        _print_table(names, [[f"{r[name]:.4g}" for name in names] for r in result.reports])
        print(f"lessons         {result.lessons}")
        print(f"planner         {result.planner}")
        print(f"use it          hier train demo planner.model={result.planner}")
    return 0


def _envs(args: argparse.Namespace) -> int:
    from hier.envs.registry import domain_of, env_ids

    ids = [name for name in env_ids() if args.match.lower() in name.lower()]
    if not ids:
        raise UserError(f"no environment id holds {args.match!r}; hier envs lists all")
    if args.coverage:
        tables = []
        for domain in dict.fromkeys(domain_of(name) for name in ids):
            tables.append(domain.coverage([name for name in ids if domain_of(name) is domain]))
        text = "\n\n".join(table for table in tables if table)
    else:
        text = "\n".join(ids)
    if args.out:
        _write(args.out, text + "\n")
    else:
        print(text)
    return 0


def _bench(args: argparse.Namespace) -> int:
    from hier.bench import SUITES, run_suite

    if args.name is None:
        _print_table(["suite", "what it shows"], [(name, s.purpose) for name, s in SUITES.items()])
        return 0
    run_suite(args.name, quick=args.quick, seeds=args.seeds, levels=args.levels, out=args.out)
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
        file.write_text(text)
    print(path)


def _save_picture(path: str, picture: Any) -> None:
    from PIL import Image

    from hier.envs.files import atomic_write

    with atomic_write(Path(path)) as file:
        Image.fromarray(picture).save(file)


def _is_override(text: str) -> bool:
    return "=" in text and not text.startswith("-")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (2 for wrong input, 130 if interrupted)."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    # argparse takes no positional arguments after an option; overrides may stand anywhere.
    if rest and hasattr(args, "overrides") and all(_is_override(text) for text in rest):
        args.overrides += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return args.call(args)
    except UserError as error:
        print(f"hier: {error}", file=sys.stderr)
        return EXIT_WRONG_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output left early, as `head` does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (nothing is left to flush into the pipe)
        return 0


if __name__ == "__main__":
    sys.exit(main())
