"""Levels drawn in text, for tests that need to know where everything is."""

from __future__ import annotations

from typing import Any

from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall, WorldObj
from minigrid.minigrid_env import MiniGridEnv

from hier.envs.gridworld.env import GridworldEnv
from tests.scripted_play import Play

_COLORS = {"r": "red", "g": "green", "b": "blue", "p": "purple", "y": "yellow", "e": "grey"}
_HEADINGS = {">": 0, "v": 1, "<": 2, "^": 3}


class Room(MiniGridEnv):
    """A level with one cell per blank-separated token of a drawing.

    Tokens: ``#`` wall, ``.`` bare floor, ``G`` goal, ``~`` lava, ``>v<^`` the agent; ``K``, ``A``,
    ``B``, ``F`` key, ball, box and colored floor, ``D``, ``L``, ``O`` closed, locked and open
    door, each with a color's letter (``e`` is grey); ``By:Kr`` is a yellow box hiding a red key.
    """

    def __init__(self, drawing: str, mission: str = "go to the goal", **options: Any):
        self.rows = [line.split() for line in drawing.strip().splitlines()]
        self.text = mission
        super().__init__(
            MissionSpace(lambda: mission),
            width=len(self.rows[0]),
            height=len(self.rows),
            max_steps=options.pop("max_steps", 1000),
            **options,
        )

    def _gen_grid(self, width: int, height: int) -> None:
        self.grid = Grid(width, height)
        self.mission = self.text
        for y, row in enumerate(self.rows):
            for x, token in enumerate(row):
                if token in _HEADINGS:
                    self.agent_pos, self.agent_dir = (x, y), _HEADINGS[token]
                else:
                    self.grid.set(x, y, _object(token))


def _object(token: str) -> WorldObj | None:
    if token in ".#G~":
        return {".": None, "#": Wall(), "G": Goal(), "~": Lava()}[token]
    outer, _, inner = token.partition(":")
    kind, color = outer[0], _COLORS[outer[1]]
    if kind in "DLO":
        return Door(color, is_open=kind == "O", is_locked=kind == "L")
    if kind == "B":
        return Box(color, contains=_object(inner) if inner else None)
    return {"K": Key, "A": Ball, "F": Floor}[kind](color)


def play_room(drawing: str, mission: str = "go to the goal", **options: Any) -> Play:
    """A drawn level with its perception."""
    return Play(GridworldEnv(Room(drawing, mission, **options)))
