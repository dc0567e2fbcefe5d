"""Commands about several runs: ``runs``, ``compare`` and ``plot``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from hier.cli.app import TrustCode, app, run_folders
from hier.cli.arguments import check_out
from hier.cli.output import print_table
from hier.envs.errors import UserError

Runs = Annotated[str, Parameter(help="Run folders, which hier train made.", completer=run_folders)]
Json = Annotated[bool, Parameter(name="--json", help="Print JSON.")]
Order = Literal["name", "level", "planner", "seed", "steps", "success", "state", "age"]


@app.command(name="runs")
def _list(folder: str = "runs", /, *, sort: Order = "name", as_json: Json = False) -> int:
    """List the run folders below a folder, and how each stands.

    Args:
        folder: Where to look; runs by default.
        sort: Column to sort by; the newest, the best and the longest come first.
    """
    from dataclasses import asdict

    from hier.run.listing import list_runs

    if not Path(folder).is_dir():
        raise UserError(f"{folder} is not a folder; name one with runs in it")
    runs = [asdict(run) for run in list_runs(folder)]
    key = "folder" if sort == "name" else sort
    known = [run for run in runs if run[key] is not None]
    known.sort(key=lambda run: run[key], reverse=sort in ("steps", "success"))
    runs = known + [run for run in runs if run[key] is None]
    if as_json:
        print(json.dumps(runs, indent=1))
    elif runs:
        header = ["run", "level", "planner", "seed", "steps", "success", "state", "age"]
        print_table(header, [_cells(run) for run in runs])
    else:
        print(f"no runs in {folder}; make one: hier train demo")
    return 0


def _cells(run: dict[str, Any]) -> list[str]:
    steps = "" if run["steps"] is None else f"{run['steps']:,}/{run['total']:,}"
    seed = "" if run["seed"] is None else str(run["seed"])
    return [
        run["folder"], run["level"], run["planner"], seed, steps, _percent(run["success"]),
        run["state"], _age(run["age"]),
    ]  # fmt: skip


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


@app.command(name="compare")
def _compare(*runs: Runs, as_json: Json = False, trust_code: TrustCode = False) -> int:
    """Compare the success of runs, grouped by all but the seed."""
    print_comparison(_named(runs), as_json=as_json, trust_code=trust_code)
    return 0


@app.command(name="plot")
def _plot(*runs: Runs, out: str = "success.png", trust_code: TrustCode = False) -> int:
    """Draw the success of runs, grouped by all but the seed.

    Args:
        out: Picture to write; success.png by default.
    """
    _named(runs)
    check_out(out, picture=True)
    from hier.run.comparison import groups_of
    from hier.run.plotting import plot_groups

    plot_groups(groups_of(runs, trust_code=trust_code), Path(out))
    print(f"picture: {out}")
    return 0


def print_comparison(
    runs: Iterable[str | Path], *, as_json: bool = False, trust_code: bool = False
) -> None:
    """Print one line for each group of runs that differ in the seed alone."""
    from hier.run.comparison import groups_of

    rows = [group.summary() for group in groups_of(list(runs), trust_code=trust_code)]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    header = ["group", "runs", "steps", "IQM", "95% interval", "median", "worst", "steps to 90%"]
    print_table(header, [_line(row) for row in rows])
    for run in (run for row in rows for run in row["unfinished"]):
        print(f"{run} is not finished: its last evaluation so far counts")


def _line(row: dict[str, Any]) -> list[str]:
    several = row["low"] is not None
    return [
        row["group"],
        str(len(row["runs"])),
        f"{row['steps']:,}",
        _percent(row["iqm"]),
        f"{row['low']:.0%} to {row['high']:.0%}" if several else "–",
        _percent(row["median"]),
        _percent(row["worst"]),
        "–" if row["steps_to_90"] is None else f"{row['steps_to_90']:,}",
    ]


def _named(runs: Sequence[str]) -> Sequence[str]:
    if not runs:
        raise UserError("name at least one run folder; hier runs lists them")
    return runs
