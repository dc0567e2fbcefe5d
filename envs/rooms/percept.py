"""A room's percept: the map, the agent on it, and the objects known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hier.envs.missions import MissionCodec
from hier.envs.rooms.maps import Cell, cell_at

COLORS = ("blue", "green", "grey", "purple", "red", "yellow")
KINDS = ("ball", "box", "key")
RADIUS = {"ball": 0.64, "box": 0.6, "key": 0.43}  # meters; boxes differ, between 0.42 and 0.64
AGENT_RADIUS = 0.4  # meters
NEXT_TO = 0.187  # meters left between two things that the simulator calls near each other
RAYS = 16  # directions, left to right, in which perception measures the free floor

GO_TO, PICK_UP, PUT_NEXT = (
    "go to the red box",
    "pick up all objects",
    "put the red box next to the yellow box",
)
_WORDS = dict.fromkeys(" ".join((GO_TO, PICK_UP, PUT_NEXT)).split())
MISSION_CODEC = MissionCodec(("", *_WORDS), length=len(PUT_NEXT.split()))

MOTIONS = ("left", "right", "forward", "back")  # the simulator's first actions, by number

Thing = tuple[str, str]  # color and kind


def carried_ahead(kind: str) -> float:
    """Meters from the agent's middle to that of a thing it carries, as the simulator has it."""
    return 1.05 * (AGENT_RADIUS + RADIUS[kind] + 0.17)


@dataclass(frozen=True, slots=True)
class SeenObject:
    """An object on the map.

    Attributes:
        color, kind: by the best views so far.
        place: ``(north, west)`` of its middle, in meters.
    """

    color: str
    kind: str
    place: tuple[float, float]

    @property
    def thing(self) -> Thing:
        """Color and kind."""
        return self.color, self.kind


@dataclass(frozen=True, slots=True)
class RoomsPercept:
    """What the agent knows; places and headings as in :mod:`hier.envs.rooms.maps`.

    Attributes:
        frame: ``(60, 80, 3)`` uint8, the latest first-person picture; black in the privileged
            variant, which has none.
        cells: ``(80, 80)`` uint8 map of UNKNOWN, FREE and WALL.
        reach: ``(16,)`` float32 meters of free floor along each ray, in [0, 10]; 0 where a wall is
            nearer than 2.6 m, so that the picture does not show its foot.
        position: ``(2,)`` float32 place of the agent.
        heading: of the agent, in radians.
        objects: the known objects in the order in which they were found, without the carried one.
        carrying: the object that the hand holds.
        taken: the object on which the hand closed in the last step.
        mission: the instruction.
        stopped: headings in radians in which an earlier step from about here was stopped.
        vain: those of :data:`MOTIONS` that were stopped since the agent last moved.
    """

    frame: NDArray[np.uint8]
    cells: NDArray[np.uint8]
    reach: NDArray[np.float32]
    position: NDArray[np.float32]
    heading: float
    objects: tuple[SeenObject, ...]
    carrying: Thing | None
    taken: Thing | None
    mission: str
    stopped: tuple[float, ...] = ()
    vain: tuple[str, ...] = ()

    @property
    def cell(self) -> Cell:
        """Row and column of the agent."""
        return cell_at(self.position)

    def nearest(self, color: str, kind: str) -> SeenObject | None:
        """The nearest known object of that color and kind."""
        alike = [thing for thing in self.objects if thing.thing == (color, kind)]
        return min(alike, key=self.distance, default=None)

    def distance(self, thing: SeenObject) -> float:
        """Meters from the agent's middle to the object's."""
        return float(np.hypot(*(self.position - thing.place)))

    def snapshot(self) -> RoomsPercept:
        """A copy that does not change with later observations."""
        return replace(self, frame=self.frame.copy())
