"""Commands about environments and suites: ``envs``, ``adapt`` and ``bench``."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt

from hier.cli.app import app, level_ids
from hier.cli.arguments import check_out
from hier.cli.output import print_table, write_text
from hier.envs.errors import UserError


@app.command(name="envs")
def _envs(match: str = "", /, *, coverage: bool = False, out: str | None = None) -> int:
    """List the environments.

    Args:
        match: Only ids that contain this text.
        coverage: Say which ones the subgoal vocabulary covers, and why not the others.
        out: Write the list or the table to this file.
    """
    check_out(out)
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
        write_text(out, text)
    else:
        print(text)
    return 0


@app.command(name="adapt")
def _adapt(env_id: str, /, *, out: str | None = None) -> int:
    """Write a domain file for any Gymnasium environment.

    With it the environment can be trained and evaluated at once, without subgoals; yours are filled
    in there.

    Args:
        env_id: Gymnasium's id of the environment.
        out: File to write; named after the environment when omitted.
    """
    from pathlib import Path

    from hier.envs.registry import env_ids
    from hier.perception.adapting import domain_file, module_name

    if env_id in env_ids():
        raise UserError(f"{env_id} needs no file: hier train PRESET env.id={env_id}")
    path = Path(out or f"{module_name(env_id)}.py")
    if path.exists():
        raise UserError(f"{path} exists already; delete it, or name another file with --out")
    check_out(str(path))
    text = domain_file(env_id, path.stem)
    write_text(str(path), text)
    print(text.split('"""')[1])
    return 0


@app.command(name="bench")
def _bench(
    name: Annotated[str, Parameter(completer=lambda _: import_module("hier.bench").SUITES)] = "",
    /, *, quick: bool = False, seeds: list[NonNegativeInt] | None = None,
    levels: Annotated[list[str] | None, Parameter(completer=level_ids)] = None,
    out: str | None = None,
) -> int:  # fmt: skip
    """Reproduce a published result.

    Args:
        name: Suite to run; without one, the suites are listed.
        quick: Take less than a minute, only to check that the suite runs.
        seeds: Training seeds.
        levels: Only these of the suite's levels.
        out: Write the result to this JSON file.
    """
    check_out(out)
    from hier.bench import SUITES, run_suite

    if name:
        run_suite(name, quick=quick, seeds=seeds, levels=levels, out=out)
    else:
        print_table(["suite", "what it shows"], [(key, s.purpose) for key, s in SUITES.items()])
    return 0
