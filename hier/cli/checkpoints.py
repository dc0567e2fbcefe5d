"""Commands that hand runs on: ``export``, ``import``, ``push`` and ``load``."""

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


@app.command(name="push")
def _push(run: Run, repo: str, /, *, private: bool = False, trust_code: TrustCode = False) -> int:
    """Publish a run on the Hugging Face Hub: controller, planner, configuration, card.

    Args:
        repo: organization/name on the Hub.
        private: Make it visible to its owners alone.
    """
    from hier.run.hub import push

    print(push(run, repo, private=private, trust_code=trust_code))
    return 0


@app.command(name="load")
def _load(repo: str, /, *, run: str | None = None) -> int:
    """Download a run from the Hugging Face Hub.

    Args:
        repo: organization/name on the Hub.
        run: Folder where it goes; runs/NAME when omitted.
    """
    from hier.run.hub import load

    folder = load(repo, run or f"runs/{repo.rpartition('/')[2]}").path
    print(f"run folder  {folder}\nplay it     hier eval {folder}\nwatch it    hier record {folder}")
    return 0
