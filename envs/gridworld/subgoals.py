"""The gridworld's subgoals: explore, go to, pick up, open, drop, put next to, toggle, reach."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from hier.envs.gridworld.cells import CARRYABLE, CELLS, COLORS, EMPTY, KINDS, NAMED
from hier.envs.gridworld.percept import HEADINGS, GridPercept
from hier.envs.gridworld.targets import ANY, VERBS, WHERE, mark_targets, new_mask
from hier.envs.subgoal import SIDES, Subgoal, SubgoalSyntaxError, normalized

_OBJECT_KINDS = ("door", "key", "ball", "box", "goal")
_NO_OBJECT = ("explore", "drop")
_PATTERN = re.compile(
    rf"(?P<verb>{'|'.join(VERBS)})"
    rf"(?: the (?P<color>{'|'.join(COLORS)}) (?P<kind>{'|'.join(_OBJECT_KINDS)}))?"
    rf"(?: (?P<where>{'|'.join(SIDES.values())}))?"
)
GOAL = Subgoal("reach", "green", "goal")
EXPLORE = Subgoal("explore")
DROP = Subgoal("drop")


class GridworldSubgoals:
    """Subgoals over MiniGrid objects; implements :class:`hier.envs.subgoal.SubgoalSpace`.

    Two successive percepts decide whether a subgoal is complete; the simulator is not asked.
    """

    verbs = VERBS
    encoding_size = len(VERBS) + len(COLORS) + len(_OBJECT_KINDS) + len(WHERE) - 1

    def candidates(self, percept: GridPercept) -> list[Subgoal]:
        """Every subgoal that makes sense now, sorted by verb, kind and color; explore is first.

        A subgoal about an object needs that object on the map. An agent that carries something can
        drop it or put it next to another object; with free hands it can pick objects up. Every
        candidate points at some cell of the map (:meth:`target_mask`), except an explore that is
        the only one.
        """
        where = ["", *(side for side, phrase in SIDES.items() if phrase in percept.mission)]
        found = [EXPLORE, DROP] if percept.hands_full else [EXPLORE]
        for code in self._seen_objects(percept):
            cell = CELLS[code]
            found += [
                Subgoal(verb, cell.color, cell.kind, side)
                for verb in self._verbs_for(code, percept)
                for side in where
            ]
        scratch = new_mask(percept.map.shape[0])
        pointed = [g for g in dict.fromkeys(found) if self._mark(percept, g, scratch)]
        return sorted(
            pointed or [EXPLORE], key=lambda g: (VERBS.index(g.verb), g.kind, g.color, g.where)
        )

    @staticmethod
    def _verbs_for(code: int, percept: GridPercept) -> list[str]:
        cell = CELLS[code]
        if cell.kind == "goal":
            return ["reach"]
        verbs = ["go to"]
        if cell.kind == "door" and cell.state != "open":
            verbs.append("open")
        if CARRYABLE[code] and not percept.hands_full:
            verbs.append("pick up")
        if cell.kind == "box":
            verbs.append("toggle")
        if percept.hands_full:
            verbs.append("put next to")
        return verbs

    @staticmethod
    def _seen_objects(percept: GridPercept) -> list[int]:
        x0, y0, x1, y1 = percept.bounds
        codes = np.bincount(percept.map[y0 : y1 + 1, x0 : x1 + 1].ravel(), minlength=len(CELLS))
        return [code for code in np.flatnonzero(codes).tolist() if NAMED[code]]

    def parse(self, text: str) -> Subgoal:
        """The subgoal a sentence names; letter case, outer blanks and a full stop do not matter.

        Raises:
            SubgoalSyntaxError: for anything else.
        """
        sentence = normalized(text)
        match = _PATTERN.fullmatch(sentence)
        if match is None or (match["kind"] is None) != (match["verb"] in _NO_OBJECT):
            raise SubgoalSyntaxError(
                f"{text!r} is not a subgoal; write for example 'pick up the red key', "
                f"'explore' or 'open the blue door'. Verbs: {', '.join(VERBS)}"
            )
        side = next((s for s, phrase in SIDES.items() if phrase == match["where"]), "")
        return Subgoal(match["verb"], match["color"] or "", match["kind"] or "", side)

    def encode(self, subgoal: Subgoal | None) -> NDArray[np.float32]:
        """One-hot verb, color, kind and side, ``(23,)`` float32; zeros for ``None``."""
        vector = np.zeros(self.encoding_size, np.float32)
        if subgoal is None:
            return vector
        offset = 0
        for value, values in (
            (subgoal.verb, VERBS),
            (subgoal.color, COLORS),
            (subgoal.kind, _OBJECT_KINDS),
            (subgoal.where, WHERE[1:]),
        ):
            if value:
                vector[offset + values.index(value)] = 1.0
            offset += len(values)
        return vector

    @staticmethod
    def as_integers(subgoal: Subgoal) -> tuple[int, int, int, int]:
        """Verb, color, kind and side as integers for compiled code."""
        return (
            VERBS.index(subgoal.verb),
            COLORS.index(subgoal.color) if subgoal.color else ANY,
            KINDS.index(subgoal.kind) if subgoal.kind else ANY,
            WHERE.index(subgoal.where),
        )

    def is_complete(self, subgoal: Subgoal, before: GridPercept, after: GridPercept) -> bool:
        """Whether the step from ``before`` to ``after`` achieved ``subgoal``.

        - *explore*: something with a name came into view, or nothing is left to look at;
        - *go to*: the agent faces such an object;
        - *pick up*: such an object went into its hand;
        - *open*: such a door, now ahead, was not open before;
        - *drop*: the hand became empty;
        - *put next to*: the hand became empty and such an object lies beside what was put down;
        - *toggle*: such a box, which was ahead, is gone without being in hand;
        - *reach*: the agent stands on the goal.
        """
        verb = subgoal.verb
        if verb == "explore":
            return (
                after.discoveries > before.discoveries or not self.target_mask(after, EXPLORE).any()
            )
        if verb == "go to":
            return self._fits(after.ahead, subgoal) and self._right_side(subgoal, after)
        if verb == "pick up":
            return (
                before.carrying == EMPTY
                and self._fits(after.carrying, subgoal)
                and self._right_side(subgoal, before)
            )
        if verb == "open":
            return (
                self._fits(after.ahead, subgoal)
                and CELLS[after.ahead].state == "open"
                and CELLS[before.ahead].kind == "door"
                and CELLS[before.ahead].state != "open"
                and before.front == after.front
                and self._right_side(subgoal, after)
            )
        if verb == "reach":
            return CELLS[int(after.map[after.y, after.x])].kind == "goal"
        dropped = before.hands_full and not after.hands_full
        if verb == "drop":
            return dropped
        if verb == "put next to":
            x, y = after.front
            return dropped and any(
                self._fits(int(after.map[y + dy, x + dx]), subgoal)
                and self._right_side(subgoal, after, (x + dx, y + dy))
                for dx, dy in HEADINGS
            )
        return (
            self._fits(before.ahead, subgoal)
            and before.front == after.front
            and not self._fits(after.ahead, subgoal)
            and after.carrying == before.carrying
            and self._right_side(subgoal, after)
        )

    def is_repeatable(self, subgoal: Subgoal, percept: GridPercept) -> bool:
        """Whether it is *explore*, which shows something new each time."""
        return subgoal.verb == "explore"

    def is_interrupted(self, subgoal: Subgoal, before: GridPercept, after: GridPercept) -> bool:
        """Whether the agent's hands changed in a way the subgoal did not ask for."""
        return before.carrying != after.carrying

    @staticmethod
    def _fits(code: int, subgoal: Subgoal) -> bool:
        cell = CELLS[code]
        return cell.kind == subgoal.kind and cell.color == subgoal.color

    @staticmethod
    def _right_side(
        subgoal: Subgoal, percept: GridPercept, place: tuple[int, int] | None = None
    ) -> bool:
        if not subgoal.where:
            return True
        x, y = place or percept.front
        start = percept.map.shape[0] // 2
        return {"left": x < start, "right": x > start, "front": y < start, "behind": y > start}[
            subgoal.where
        ]

    def target_mask(self, percept: GridPercept, subgoal: Subgoal) -> NDArray[np.bool_]:
        """The map cells at which ``subgoal`` points, ``(size, size)`` bool.

        They are frontier cells for *explore*, free cells for *drop* and *put next to*, and the
        matching objects otherwise.
        """
        mask = new_mask(percept.map.shape[0])
        self._mark(percept, subgoal, mask)
        return mask

    def _mark(self, percept: GridPercept, subgoal: Subgoal, mask: NDArray[np.bool_]) -> int:
        return mark_targets(
            percept.map,
            np.asarray(percept.bounds),
            percept.x,
            percept.y,
            *self.as_integers(subgoal),
            mask,
        )

    def describe(self, percept: GridPercept) -> str:
        """The known objects in words, with steps from the agent, the nearest first.

        For example "You carry the red key. You remember: the closed blue door 3 steps ahead; ...".
        """
        carrying = CELLS[percept.carrying]
        hand = (
            f"You carry the {carrying.color} {carrying.kind}."
            if percept.hands_full
            else "Your hands are free."
        )
        fx, fy = HEADINGS[percept.heading]
        lines = []
        for y, x in np.argwhere(NAMED[percept.map]):
            dx, dy = int(x) - percept.x, int(y) - percept.y
            ahead, right = dx * fx + dy * fy, -dx * fy + dy * fx
            lines.append((abs(ahead) + abs(right), self._phrase(percept.map[y, x], ahead, right)))
        lines.sort()
        things = "; ".join(phrase for _, phrase in lines) or "nothing of note"
        unknown = (
            "There are unseen places to explore."
            if self.target_mask(percept, EXPLORE).any()
            else ""
        )
        return f"{hand} You remember: {things}. {unknown}".strip()

    @staticmethod
    def _phrase(code: int, ahead: int, right: int) -> str:
        cell = CELLS[code]
        parts = []
        if ahead:
            parts.append(f"{abs(ahead)} {'ahead' if ahead > 0 else 'behind'}")
        if right:
            parts.append(f"{abs(right)} to the {'right' if right > 0 else 'left'}")
        name = " ".join(word for word in (cell.state, cell.color, cell.kind) if word)
        return f"the {name} {' and '.join(parts) or 'here'}"
