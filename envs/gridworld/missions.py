"""Mission strings as fixed-length token arrays, losslessly.

Gymnasium's ``Text`` space breaks SB3 (a mission string is not an array), so a mission travels as
word ids. The vocabulary is closed: every word of every registered level.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hier.envs.errors import SimulatorError
from hier.envs.subgoal import Subgoal

_WORDS = """
, a after and at avoid ball behind blue box door end fetch find from front get go goal green grey
hallway in key lava left matching must near next object of on open opening pick purple put reach red
right room rooms square the then to traverse unlock up use yellow you your
"""
PAD = "<pad>"
VOCABULARY: tuple[str, ...] = (PAD, *_WORDS.split())
MAX_TOKENS = 80  # four "put" clauses with locations, the longest BabyAI mission, take 69
_ID = {word: index for index, word in enumerate(VOCABULARY)}


def encode_mission(mission: str) -> NDArray[np.int64]:
    """Word ids of a mission, ``(80,)`` int64, zero-padded.

    Raises:
        SimulatorError: for a word outside the vocabulary or a mission that is too long.
    """
    words = re.findall(r"[a-z]+|,", mission.lower())
    unknown = [word for word in words if word not in _ID]
    if unknown:
        raise SimulatorError(
            f"mission {mission!r} has unknown words {unknown}; "
            "add them to envs/gridworld/missions.py"
        )
    if len(words) > MAX_TOKENS:
        raise SimulatorError(
            f"mission {mission!r} has {len(words)} words, more than {MAX_TOKENS}; raise MAX_TOKENS"
        )
    tokens = np.zeros(MAX_TOKENS, np.int64)
    tokens[: len(words)] = [_ID[word] for word in words]
    return tokens


def decode_mission(tokens: NDArray[np.integer]) -> str:
    """The mission that :func:`encode_mission` turned into ``tokens``."""
    text = " ".join(VOCABULARY[int(token)] for token in tokens if token)
    return text.replace(" ,", ",")


N_MENTIONS = 4


@lru_cache(maxsize=1 << 16)
def mentions(mission: str, subgoal: Subgoal) -> tuple[bool, bool, bool, bool]:
    """How a mission names a subgoal's object: by color, by kind, by both, as a place to put.

    >>> mentions("put the red ball next to the blue box", Subgoal("go to", "blue", "box"))
    (True, True, True, True)
    """
    if not subgoal.kind:
        return (False, False, False, False)
    words, name = re.findall(r"[a-z]+", mission), f"{subgoal.color} {subgoal.kind}"
    places = re.findall(r"next to (?:a|the) (\w+ \w+)", mission)
    return subgoal.color in words, subgoal.kind in words, name in mission, name in places
