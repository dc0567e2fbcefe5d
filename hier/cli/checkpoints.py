"""Commands that convert checkpoints: ``export`` and ``import``."""

from __future__ import annotations

from hier.cli.app import Overrides, Run, TrustCode, app
from hier.cli.arguments import check_out, split_words
from hier.envs.errors import UserError


@app.command(name="export")
def _export(
    run: Run, /, *overrides: Overrides, out: str = "exported.zip", trust_code: TrustCode = False,
) -> int:  # fmt: skip
    """Write a run's controller in Stable-Baselines3's own format.

    Args:
        out: Zip file to write; exported.zip by default.
    """
    run, changes = split_words(run, *overrides)
    check_out(out)
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
