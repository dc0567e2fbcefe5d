"""Manipulation subgoals: get to the block, take hold of it, bring it to the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hier.envs.fetch.percept import PUSH_TASK, REACH_TASK, FetchPercept
from hier.envs.subgoal import Subgoal, SubgoalSyntaxError, normalized

CELL = 0.1  # meters; the unit of ways
NEAR = 0.05  # meters from the target at which the simulator takes it for reached
STILL = 0.15  # meters a second at which a thing stays there: the block then slides a millimeter
ARRIVED = 0.025  # meters from where the gripper should be
ABOVE = 0.06  # meters over the block's center, where a grasp begins
BEHIND = 0.06  # meters from the block's center, where a push begins
OPEN = 0.075  # meters between fingers that go around a block
WIDE = 0.1  # meters between fingers as far apart as they go
_AROUND = 0.05  # meters from the block's center that a closed gripper passes by it
SIZE = 16  # rows and columns of the map of the table
_CORNER = (0.9, 0.35)  # x and y where the map begins; its cells are 5 cm wide


@dataclass(frozen=True, slots=True)
class Bring(Subgoal):
    """*Push the yellow block to the red target*."""

    def __str__(self) -> str:
        return f"{self.verb} the {self.color} {self.kind} to the red target"


REACH_TARGET = Subgoal("reach", "red", "target")
REACH_BLOCK = Subgoal("reach", "yellow", "block")
GRASP = Subgoal("grasp", "yellow", "block")
CARRY = Bring("carry", "yellow", "block")
RELEASE = Subgoal("release", "yellow", "block")
GET_BEHIND = Subgoal("get behind", "yellow", "block")
PUSH = Bring("push", "yellow", "block")
ALL = (REACH_TARGET, REACH_BLOCK, GRASP, CARRY, RELEASE, GET_BEHIND, PUSH)


class FetchSubgoals:
    """Subgoals of the three tasks; implements :class:`hier.envs.subgoal.SubgoalSpace`."""

    verbs = ("reach", "grasp", "carry", "release", "get behind", "push")
    encoding_size = len(verbs) + 2

    def candidates(self, percept: FetchPercept) -> list[Subgoal]:
        """What the hand can do next with what it is at; see :data:`ALL`."""
        if percept.mission == REACH_TASK:
            return [REACH_TARGET]
        if percept.mission == PUSH_TASK:
            found = [] if self._complete(GET_BEHIND, percept) else [GET_BEHIND]
            return [*found, PUSH] if _pushes(percept) else found
        if percept.held:
            return [CARRY, RELEASE]
        found = [] if self._complete(REACH_BLOCK, percept) else [REACH_BLOCK]
        return [*found, GRASP] if _is_around(percept) else found

    def parse(self, text: str) -> Subgoal:
        """The subgoal a sentence names; letter case, outer blanks and a full stop do not matter.

        Raises:
            SubgoalSyntaxError: for anything else.
        """
        sentence = normalized(text)
        for subgoal in ALL:
            if sentence == str(subgoal):
                return subgoal
        raise SubgoalSyntaxError(
            f"{text!r} is not a subgoal; write for example '{GRASP}' or '{CARRY}'. "
            f"Verbs: {', '.join(self.verbs)}"
        )

    def encode(self, subgoal: Subgoal | None) -> NDArray[np.float32]:
        """One-hot verb, then whether block and target are named, ``(8,)`` float32.

        Zeros for ``None``.
        """
        vector = np.zeros(self.encoding_size, np.float32)
        if subgoal is not None:
            vector[self.verbs.index(subgoal.verb)] = 1.0
            vector[-2] = subgoal.kind == "block"
            vector[-1] = subgoal in (REACH_TARGET, CARRY, PUSH)
        return vector

    @staticmethod
    def place(percept: FetchPercept, subgoal: Subgoal) -> NDArray[np.float32]:
        """Where the subgoal wants its thing to be, gripper or block; ``(3,)`` float32."""
        if subgoal in (REACH_TARGET, CARRY, PUSH):
            return percept.target
        block = _block(percept)
        if subgoal == GET_BEHIND:
            return block - np.float32(BEHIND) * direction(percept.target - block)
        return block + np.array([0, 0, ABOVE if subgoal == REACH_BLOCK else 0], np.float32)

    def steps(self, percept: FetchPercept, subgoal: Subgoal) -> float:
        """The way that is left, in cells of 10 cm; opening or closing the fingers counts half one.

        It falls steadily while the subgoal is pursued as it should be.
        """
        moved = percept.gripper if subgoal not in (CARRY, PUSH) else _block(percept)
        place = self.place(percept, subgoal)
        distance = float(np.linalg.norm(place - moved))
        closed = 1 - min(percept.opening / OPEN, 1.0)
        if subgoal == REACH_BLOCK:
            return distance / CELL + 0.5 * closed
        if subgoal == GRASP:
            # Closing counts at the block alone, and being there as long as they are open.
            away = min(max(distance - 0.01, 0.0) / 0.02, 1.0)
            return distance / CELL + 0.5 * max(away, _wideness(percept))
        if subgoal == RELEASE:
            return 0.5 * closed
        if subgoal == GET_BEHIND:
            return _way_around(percept.gripper, _block(percept), place) / CELL
        return distance / CELL

    def is_complete(self, subgoal: Subgoal, before: FetchPercept, after: FetchPercept) -> bool:
        """By places, openings and speeds of the later percept; see the constants above."""
        return self._complete(subgoal, after)

    def _complete(self, subgoal: Subgoal, percept: FetchPercept) -> bool:
        if subgoal == GRASP:
            return percept.held
        if subgoal == RELEASE:
            return percept.opening >= OPEN
        if subgoal in (CARRY, PUSH):
            left = percept.target - _block(percept)
            return bool(is_there(left, percept.block_velocity))
        if subgoal == REACH_TARGET:
            return bool(is_there(percept.target - percept.gripper, percept.velocity))
        away = float(np.linalg.norm(self.place(percept, subgoal) - percept.gripper))
        return away <= ARRIVED and (subgoal == GET_BEHIND or percept.opening >= OPEN)

    def is_interrupted(self, subgoal: Subgoal, before: FetchPercept, after: FetchPercept) -> bool:
        """Whether the block was lost: dropped, pushed past, or moved away from open fingers."""
        if subgoal == CARRY:
            return not after.held
        if subgoal == PUSH:
            return not _pushes(after)
        return subgoal == GRASP and not _is_around(after)

    def is_repeatable(self, subgoal: Subgoal, percept: FetchPercept) -> bool:
        """Doing a thing again is no progress."""
        return False

    def describe(self, percept: FetchPercept) -> str:
        """Where things lie from the gripper, in centimeters, and what the hand does."""
        lines = [f"The red target is {_offset(percept.target - percept.gripper)} of the gripper."]
        if percept.block is not None:
            lines.append(
                f"The yellow block is {_offset(percept.block - percept.gripper)} of the gripper."
            )
            between = ", with the block between them" if percept.held else ""
            lines.append(f"The fingers are {100 * percept.opening:.0f} cm apart{between}.")
        return "\n".join(lines)

    def target_mask(self, percept: FetchPercept, subgoal: Subgoal) -> NDArray[np.bool_]:
        """Where the place lies on the table seen from above, ``(16, 16)`` bool, 5 cm a cell.

        Rows count away from the robot, columns to its left; what lies beyond is put at the edge.
        """
        mask = np.zeros((SIZE, SIZE), np.bool_)
        mask[map_cell(self.place(percept, subgoal))] = True
        return mask


def map_cell(place: NDArray[np.floating]) -> tuple[int, int]:
    """Row and column of a place ``(3,)`` on the map of the table."""
    row, column = (int((v - low) / 0.05) for v, low in zip(place[:2], _CORNER, strict=True))
    return min(max(row, 0), SIZE - 1), min(max(column, 0), SIZE - 1)


def is_there(left: NDArray[np.floating], velocity: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether a thing is at the target to stay.

    Args:
        left: ``(..., 3)`` meters from it to the target.
        velocity: ``(..., 3)`` its meters per second.
    """
    near = np.linalg.norm(left, axis=-1) <= NEAR
    return near & (np.linalg.norm(velocity, axis=-1) <= STILL)


def direction(left: NDArray[np.floating]) -> NDArray[np.float32]:
    """In which a push must go: unit vectors along the table, ``(..., 3)``.

    Args:
        left: ``(..., 3)`` from the block to the target.
    """
    ahead = left * np.array([1, 1, 0], np.float32)
    length = np.linalg.norm(ahead, axis=-1, keepdims=True)
    return np.where(
        length > 1e-6, ahead / np.maximum(length, 1e-6), np.array([1, 0, 0], np.float32)
    )


def is_behind(to_block: NDArray[np.floating], left: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether the gripper, moving toward the target, pushes the block there; or it is there.

    Args:
        to_block: ``(..., 3)`` meters from gripper to block.
        left: ``(..., 3)`` meters from the block to the target.
    """
    ahead = direction(left)
    along = (to_block * ahead).sum(-1)
    aside = np.linalg.norm((to_block - along[..., None] * ahead)[..., :2], axis=-1)
    behind = (along >= 0.02) & (aside <= 0.03) & (np.abs(to_block[..., 2]) <= 0.03)
    return behind | (np.linalg.norm(left, axis=-1) <= NEAR)  # where directions mean nothing


def _block(percept: FetchPercept) -> NDArray[np.float32]:
    assert percept.block is not None, percept.mission
    return percept.block


def _pushes(percept: FetchPercept) -> bool:
    block = _block(percept)
    return bool(is_behind(block - percept.gripper, percept.target - block))


def _is_around(percept: FetchPercept) -> bool:
    """Whether the open gripper is over the block or around it."""
    offset = percept.gripper - _block(percept)
    aside = float(np.linalg.norm(offset[:2]))
    return aside <= 0.03 and -0.03 <= float(offset[2]) <= ABOVE + 0.04


def _wideness(percept: FetchPercept) -> float:
    """How far the fingers are from holding a block, 0 to 1."""
    return min(max(percept.opening - 0.05, 0.0) / (WIDE - 0.05), 1.0)


def _way_around(
    start: NDArray[np.floating], block: NDArray[np.floating], end: NDArray[np.floating]
) -> float:
    """Meters from ``start`` to ``end``, past the block where it lies between; ``(3,)`` each."""
    a, b = (np.asarray(p[:2] - block[:2], np.float64) for p in (start, end))
    straight = float(np.linalg.norm(b - a))
    share = np.clip(-a @ (b - a) / max(straight**2, 1e-9), 0, 1)
    along = straight
    if np.linalg.norm(a + share * (b - a)) < _AROUND:
        # Two tangents at a circle around the block, and the arc between them.
        far = [max(float(np.linalg.norm(p)), _AROUND) for p in (a, b)]
        turn = np.arccos(np.clip(a @ b / (far[0] * far[1]), -1, 1))
        arc = turn - sum(np.arccos(_AROUND / d) for d in far)
        if arc > 0:
            along = float(sum(np.sqrt(d**2 - _AROUND**2) for d in far) + _AROUND * arc)
    return float(np.hypot(max(along, straight), end[2] - start[2]))


def _offset(vector: NDArray[np.floating]) -> str:
    """A vector ``(3,)`` in words."""
    names = (("ahead", "back"), ("left", "right"), ("above", "below"))
    parts = [
        f"{abs(100 * v):.0f} cm {plus if v >= 0 else minus}"
        for v, (plus, minus) in zip(vector, names, strict=True)
    ]
    return ", ".join(parts)
