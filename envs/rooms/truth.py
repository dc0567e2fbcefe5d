"""The simulator's state in the agent's coordinates; for experts, tests and ablations."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.envs.rooms.camera import DIRECTIONS, EDGE, FARTHEST, MAX_SIGHTINGS
from hier.envs.rooms.maps import CELL, FREE, SIZE, WALL
from hier.envs.rooms.percept import COLORS, KINDS, Thing, carried_ahead


class RoomsTruth:
    """A running episode's state, from the simulator's own.

    The world's places are the simulator's ``(x, -z)``, in meters, so that headings grow to the
    left.

    Args:
        env: MiniWorld's environment, unwrapped, as an episode begins.
    """

    def __init__(self, env: Any):
        self.env = env
        self.start, self.start_heading = self.position, self.heading

    @property
    def position(self) -> NDArray[np.float64]:
        """The agent's place in the world, ``(2,)``."""
        return _flat(self.env.agent.pos)

    @property
    def heading(self) -> float:
        """The agent's, in radians from the world's first axis."""
        return float(self.env.agent.dir)

    def objects(self) -> list[tuple[Thing, NDArray[np.float64]]]:
        """Every object that is not carried, with its place in the world."""
        hidden = (self.env.agent, self.env.agent.carrying)
        return [(thing_of(e), _flat(e.pos)) for e in self.env.entities if e not in hidden]

    @property
    def held(self) -> Thing | None:
        """What the hand holds."""
        carried = self.env.agent.carrying
        return None if carried is None else thing_of(carried)

    @cached_property
    def _walls(self) -> NDArray[np.float64]:
        """Both ends of every wall, ``(n, 2, 2)`` places in the world."""
        return self.env.wall_segs[:, :, [0, 2]] * (1, -1)

    @cached_property
    def cells(self) -> NDArray[np.uint8]:
        """The agent's map as it truly is, ``(80, 80)`` uint8."""
        rows, columns = np.indices((SIZE, SIZE))
        middles = np.stack([SIZE / 2 - rows - 0.5, SIZE / 2 - columns - 0.5], -1) * CELL
        places = turned(middles, self.start_heading) + self.start
        known = np.full((SIZE, SIZE), WALL, np.uint8)
        for room in self.env.rooms:
            low, high = (room.min_x, -room.max_z), (room.max_x, -room.min_z)
            known[((places >= low) & (places <= high)).all(-1)] = FREE
        return known

    def ahead(self, places: NDArray[np.floating]) -> NDArray[np.float64]:
        """Places in the world ``(..., 2)`` as meters ``(forward, left)`` of the agent."""
        return turned(places - self.position, -self.heading)

    def reach(self) -> NDArray[np.float32]:
        """Meters to the wall along each ray, ``(16,)`` float32, at most 10."""
        hits = _nearest_hits(DIRECTIONS * FARTHEST, self.ahead(self._walls)) * FARTHEST
        return np.minimum(hits, FARTHEST).astype(np.float32)

    def sightings(self) -> NDArray[np.float32]:
        """Objects in view with no wall between, as :func:`.see` has them."""
        found = np.zeros((MAX_SIGHTINGS, 5), np.float32)
        ends, k = None, 0
        if self.held is not None:  # which hides its own foot
            color, kind = self.held
            found[0] = COLORS.index(color) + 1, KINDS.index(kind), carried_ahead(kind), 0.0, 0.5
            k = 1
        for (color, kind), place in self.objects():
            forward, left = ahead = self.ahead(place)
            in_view = 0.3 < forward < FARTHEST and abs(left) < EDGE * forward
            if in_view and k < MAX_SIGHTINGS:
                ends = self.ahead(self._walls) if ends is None else ends
                if _nearest_hits(ahead[None], ends)[0] >= 1.0:
                    found[k] = COLORS.index(color) + 1, KINDS.index(kind), forward, left, 1.0
                    k += 1
        return found


def turned(vectors: NDArray[np.floating], angle: float) -> NDArray[np.float64]:
    """Vectors ``(..., 2)`` turned to the left by ``angle`` radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.asarray(vectors, np.float64) @ np.array([[cos, sin], [-sin, cos]])


def thing_of(entity: Any) -> Thing:
    """Color and kind of one of MiniWorld's entities; a mesh has its color in its file's name."""
    kind = type(entity).__name__.lower()
    if kind == "box":
        return entity.color, kind
    # Kept by the simulator's cache of meshes, by path: .../ball_red.obj
    cache = type(entity.mesh).cache
    path = next(path for path, mesh in cache.items() if mesh is entity.mesh)
    return path.rsplit("_", 1)[1].removesuffix(".obj"), kind


def _flat(pos: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.array([pos[0], -pos[2]], np.float64)


def _nearest_hits(rays: NDArray[np.floating], ends: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share of each of ``rays`` ``(n, 2)`` from the origin up to the first wall; infinite for none.

    Args:
        rays: their other ends.
        ends: ``(m, 2, 2)`` of walls.
    """
    a, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    right, up = rays[:, :1], rays[:, 1:]
    cross = right * along[:, 1] - up * along[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        on_ray = (a[:, 0] * along[:, 1] - a[:, 1] * along[:, 0]) / cross
        on_wall = (a[:, 0] * up - a[:, 1] * right) / cross
    hits = (cross != 0) & (on_ray > 0) & (on_wall >= 0) & (on_wall <= 1)
    return np.where(hits, on_ray, np.inf).min(axis=1, initial=np.inf)
