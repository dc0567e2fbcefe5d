"""The command line. Each command is one typed call of the package; heavy imports wait for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from hier.cli import checkpoints, learning, listing, playing, runs  # which register their commands
from hier.cli.app import EXIT_INTERRUPTED, app
from hier.envs.errors import UserError

__all__ = ["app", "checkpoints", "learning", "listing", "main", "playing", "runs"]

EXIT_WRONG_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (2 for wrong input, 130 if interrupted)."""
    try:
        status = app(argv)
        sys.stdout.flush()
        return status or 0
    except BrokenPipeError:  # the reader of our output left early, as `head` does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (nothing is left to flush into the pipe)
        return 0
    except (CycloptsError, UserError, OSError) as error:  # what a disk or a network does, too
        lines = map(str.strip, str(error).splitlines())
        print("hier:", " ".join(filter(None, lines)), file=sys.stderr)
        return EXIT_WRONG_INPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
