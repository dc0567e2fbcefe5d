"""The subgoal, and what a domain must supply to plan with subgoals.

A *domain* is a family of simulators that share one subgoal vocabulary. Planners and controllers
never see a simulator. They see percepts, which they use through the domain's
:class:`SubgoalSpace` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hier.envs.errors import UserError

SIDES = {
    "left": "on your left",
    "right": "on your right",
    "front": "in front of you",
    "behind": "behind you",
}


class SubgoalSyntaxError(UserError, ValueError):
    """A text is not a subgoal of the domain."""


@dataclass(frozen=True, slots=True)
class Subgoal:
    """What the controller should do next, such as *pick up the red key*.

    Attributes:
        verb: one of the domain's verbs.
        color, kind: of the object that the subgoal is about; empty where the verb takes none.
        where: the side of the agent's starting pose on which the object lies (``left``, ``right``,
            ``front`` or ``behind``). It is empty unless the mission names a side.
    """

    verb: str
    color: str = ""
    kind: str = ""
    where: str = ""

    def __str__(self) -> str:
        """The sentence that planners read and write, ``pick up the red key``."""
        place = f" {SIDES[self.where]}" if self.where else ""
        noun = f" the {self.color} {self.kind}" if self.kind else ""
        return f"{self.verb}{noun}{place}"


def normalized(text: str) -> str:
    """A sentence as :meth:`SubgoalSpace.parse` compares it: lower case, single blanks, no stop.

    >>> normalized("  Pick up the  RED key. ")
    'pick up the red key'
    """
    return " ".join(text.lower().split()).rstrip(".")


class Outcome(StrEnum):
    """How a subgoal ended."""

    DONE = "done"
    FAILED = "failed"  # its target is gone, or the world changed in a way that it did not ask for
    TIMEOUT = "timeout"
    EPISODE_END = "episode end"


class Percept(Protocol):
    """What the agent knows at one moment, from its frames and its own moves alone."""

    @property
    def frame(self) -> NDArray[np.uint8]:
        """The latest first-person frame, ``(height, width, 3)`` uint8."""

    @property
    def mission(self) -> str:
        """The instruction of the episode."""


class SubgoalSpace(Protocol):
    """A domain's subgoals: which are possible, what they mean, and when they are done."""

    @property
    def verbs(self) -> tuple[str, ...]:
        """Every verb of the domain."""

    @property
    def encoding_size(self) -> int:
        """Length of the vectors of :meth:`encode`."""

    def candidates(self, percept: Any) -> list[Subgoal]:
        """The subgoals among which a planner chooses.

        Args:
            percept: what the agent knows now.

        Returns:
            Every subgoal that makes sense now: at least one, none twice, in a fixed order.
        """

    def parse(self, text: str) -> Subgoal:
        """The subgoal that a sentence names, the inverse of ``str(subgoal)``.

        Args:
            text: a sentence; letter case, outer blanks and a full stop do not matter
                (:func:`normalized`).

        Raises:
            SubgoalSyntaxError: if it names none; the message quotes it and gives an example.
        """

    def encode(self, subgoal: Subgoal | None) -> NDArray[np.float32]:
        """The controller's input for a subgoal, ``(encoding_size,)``; zeros for ``None``."""

    def is_complete(self, subgoal: Subgoal, before: Any, after: Any) -> bool:
        """Whether one step achieved ``subgoal``.

        Args:
            subgoal: what the controller pursues.
            before: percept before the step.
            after: percept after it.
        """

    def is_interrupted(self, subgoal: Subgoal, before: Any, after: Any) -> bool:
        """Whether a step that did not achieve ``subgoal`` makes it pointless.

        Such a step changed the world in a way that the subgoal did not ask for; the planner must
        choose anew. The arguments are those of :meth:`is_complete`.
        """

    def is_repeatable(self, subgoal: Subgoal, percept: Any) -> bool:
        """Whether it is progress to achieve ``subgoal`` a second time in an episode.

        It is not if the subgoal can be undone. Otherwise an agent could collect the shaping reward
        again and again by dropping and picking up an object.
        """

    def describe(self, percept: Any) -> str:
        """The scene in words, for planners that read text only."""

    def target_mask(self, percept: Any, subgoal: Subgoal) -> NDArray[np.bool_]:
        """The cells of the percept's map at which ``subgoal`` points, ``(size, size)`` bool."""


class Expert(Protocol):
    """A source of subgoals that reads the simulator's state.

    Only the oracle planner, demonstrations and tests use it.
    """

    def subgoal(self, percept: Any, candidates: Sequence[Subgoal]) -> Subgoal | None:
        """The subgoal to pursue now.

        Args:
            percept: what the agent knows.
            candidates: the subgoals to choose from.

        Returns:
            One of ``candidates``; ``None`` where the expert knows none.
        """


def outcome_of_step(
    space: SubgoalSpace,
    subgoal: Subgoal,
    before: Any,
    after: Any,
    *,
    found: bool,
    duration: int,
    max_duration: int,
) -> Outcome | None:
    """How the step from percept ``before`` to ``after`` ended ``subgoal``; ``None`` if it did not.

    This is the one rule for training, evaluation and demonstrations.

    Args:
        space: the domain's subgoals.
        subgoal: what is pursued.
        before: percept before the step.
        after: percept after it.
        found: whether perception still knows a target for the subgoal.
        duration: steps spent on the subgoal, this one included.
        max_duration: steps after which it times out.
    """
    if space.is_complete(subgoal, before, after):
        return Outcome.DONE
    if not found or space.is_interrupted(subgoal, before, after):
        return Outcome.FAILED
    return Outcome.TIMEOUT if duration >= max_duration else None
