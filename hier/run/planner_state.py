"""The state of a planner that does not learn, in the checkpoints of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hier.controllers.checkpoint import add_member, read_member, reading
from hier.planners.protocol import Resumable
from hier.run.folder import RunFolder

MEMBER = "planner.json"  # in a checkpoint, beside the controller


@dataclass(frozen=True, slots=True)
class PlannerState:
    """Keeps a planner's state (:class:`hier.run.folder.Checkpointed`)."""

    planner: Resumable

    def save(self, run: RunFolder, checkpoint: Path) -> None:
        """Add the state to a controller's checkpoint."""
        add_member(checkpoint, MEMBER, json.dumps(self.planner.state()).encode())

    def load(self, run: RunFolder, checkpoint: Path) -> None:
        """Go on from :meth:`save`; a checkpoint without it leaves all as it is, with a warning.

        Raises:
            RunFolderError: if it cannot be read.
        """
        content = read_member(checkpoint, MEMBER, "the planner's state, which begins anew")
        if content is None:
            return
        with reading("the planner's state", checkpoint):
            self.planner.take_state(json.loads(content))
