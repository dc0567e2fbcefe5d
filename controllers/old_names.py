"""Checkpoints from before the folders were imported under ``hier``.

SB3's zip file pickles a controller's classes by their paths, which were
``controllers.features.SubgoalFeatures`` and so on. This module, its call in
:func:`hier.controllers.build.load_controller` and ``tests/controllers/test_old_names.py`` may go
with the first release after 0.1.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

# Every path that such a checkpoint can hold, and what it is now.
MOVED = {
    "controllers.features.SubgoalFeatures": "hier.controllers.features.SubgoalFeatures",
    "controllers.guided.GuidedPolicy": "hier.controllers.guided.GuidedPolicy",
    "controllers.guided.GuidedRolloutBuffer": "hier.controllers.guided.GuidedRolloutBuffer",
    "controllers.hindsight.Hindsight": "hier.controllers.hindsight.Hindsight",
    "controllers.hindsight.HindsightReplayBuffer": (
        "hier.controllers.hindsight.HindsightReplayBuffer"
    ),
    "perception.fetch.hindsight.FetchRelabelling": (
        "hier.perception.fetch.relabeling.FetchRelabeling"
    ),
    "perception.maze.hindsight.MazeRelabelling": (
        "hier.perception.pointmaze.relabeling.MazeRelabeling"
    ),
}


class _Unpickler(pickle.Unpickler):
    """Finds moved classes. Nothing is put into ``sys.modules``: a user may have ``controllers``."""

    moved = False

    def find_class(self, module: str, name: str) -> Any:
        now = MOVED.get(f"{module}.{name}")
        if now is None:
            return super().find_class(module, name)
        self.moved = True
        module, _, name = now.rpartition(".")
        return super().find_class(module, name)


def moved_objects(checkpoint: Path) -> dict[str, Any]:
    """The objects of a checkpoint that hold moved classes, for SB3's ``custom_objects``.

    Args:
        checkpoint: SB3's zip file.
    """
    with zipfile.ZipFile(checkpoint) as archive:
        data = json.loads(archive.read("data"))
    found = {}
    for key, value in data.items():
        if isinstance(value, dict) and ":serialized:" in value:
            content = base64.b64decode(value[":serialized:"])
            if any(path.rpartition(".")[0].encode() in content for path in MOVED):
                unpickler = _Unpickler(io.BytesIO(content))
                restored = unpickler.load()
                if unpickler.moved:
                    found[key] = restored
    return found
