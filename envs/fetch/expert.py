"""The expert of manipulation: which subgoal is next, by the simulator's own contacts."""

from __future__ import annotations

from collections.abc import Sequence

from hier.envs.fetch.percept import FetchPercept
from hier.envs.fetch.subgoals import (
    CARRY,
    GET_BEHIND,
    GRASP,
    PUSH,
    REACH_BLOCK,
    REACH_TARGET,
    RELEASE,
)
from hier.envs.subgoal import Subgoal


class FetchExpert:
    """Names the candidate that comes next.

    Args:
        held: whether both fingers touch the block in the simulator now.
    """

    def __init__(self, held: bool):
        self.held = held

    def subgoal(self, percept: FetchPercept, candidates: Sequence[Subgoal]) -> Subgoal | None:
        """The furthest step that is offered; *release* where the hand only seems to hold."""
        holding = CARRY if self.held else RELEASE
        for subgoal in (REACH_TARGET, PUSH, GET_BEHIND, holding, GRASP, REACH_BLOCK):
            if subgoal in candidates:
                return subgoal
        return None
