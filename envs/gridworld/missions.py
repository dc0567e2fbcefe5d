"""The words of the gridworld's missions, and how a mission names the object of a subgoal."""

from __future__ import annotations

from hier.envs.missions import MissionCodec

_WORDS = """
, a after and at avoid ball behind blue box door end fetch find from front get go goal green grey
hallway in key lava left matching must near next object of on open opening pick purple put reach red
right room rooms square the then to traverse unlock up use yellow you your
"""
# Four "put" clauses with locations, the longest BabyAI mission, take 69 words.
MISSION_CODEC = MissionCodec(("<pad>", *_WORDS.split()), length=80)
