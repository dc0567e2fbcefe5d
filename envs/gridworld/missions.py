"""The words of the gridworld's missions, and how a mission names the object of a subgoal."""

from __future__ import annotations

import re
from functools import lru_cache

from hier.envs.missions import MissionCodec
from hier.envs.subgoal import Subgoal

_WORDS = """
, a after and at avoid ball behind blue box door end fetch find from front get go goal green grey
hallway in key lava left matching must near next object of on open opening pick purple put reach red
right room rooms square the then to traverse unlock up use yellow you your
"""
# Four "put" clauses with locations, the longest BabyAI mission, take 69 words.
MISSION_CODEC = MissionCodec(("<pad>", *_WORDS.split()), length=80)
N_MENTIONS = 4  # numbers that :func:`mentions` returns


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
