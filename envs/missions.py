"""Missions as word ids.

Gymnasium's ``Text`` space breaks SB3 (a mission string is not an array), so a mission travels as
an array of word ids. The vocabulary is closed: every word of every level of a domain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hier.envs.errors import SimulatorError


class MissionCodec:
    """Missions as word ids of one length and back, without loss.

    Args:
        words: the vocabulary in the order of the ids; the first stands for padding.
        length: the number of ids that every mission gets.

    >>> codec = MissionCodec(("", "reach", "the", "goal"), length=4)
    >>> codec.encode("reach the goal")
    array([1, 2, 3, 0])
    >>> codec.decode(codec.encode("reach the goal"))
    'reach the goal'
    """

    def __init__(self, words: Sequence[str], length: int):
        self.words, self.length = tuple(words), length
        self._ids = {word: index for index, word in enumerate(words)}

    @property
    def space(self) -> spaces.Box:
        """The space of encoded missions, made anew."""
        return spaces.Box(0, len(self.words) - 1, (self.length,), np.int64)

    def encode(self, mission: str) -> NDArray[np.int64]:
        """Word ids of a mission, ``(length,)`` int64, zero-padded.

        Raises:
            SimulatorError: for a word outside the vocabulary or a mission that is too long.
        """
        words = re.findall(r"[a-z]+|,", mission.lower())
        unknown = [word for word in words if word not in self._ids]
        if unknown:
            raise SimulatorError(
                f"mission {mission!r} has unknown words {unknown}; add them to the domain's "
                "MissionCodec"
            )
        if len(words) > self.length:
            raise SimulatorError(
                f"mission {mission!r} has {len(words)} words, more than {self.length}; raise the "
                "length of the domain's MissionCodec"
            )
        ids = np.zeros(self.length, np.int64)
        ids[: len(words)] = [self._ids[word] for word in words]
        return ids

    def decode(self, ids: NDArray[np.integer]) -> str:
        """The mission that :meth:`encode` turned into ``ids``."""
        return " ".join(self.words[int(k)] for k in ids if k).replace(" ,", ",")
