"""Rooms without a simulator: ways, frontiers and the subgoal contract."""

import numpy as np
import pytest

from envs.domain import FAR
from envs.rooms.maps import (
    FREE,
    SIZE,
    WALL,
    cell_at,
    centre,
    from_agent,
    frontiers,
    obstacles,
    to_map,
    way_to,
)
from envs.rooms.percept import GO_TO, PICK_UP, PUT_NEXT, RoomsPercept, SeenObject
from envs.rooms.subgoals import RoomsSubgoals, explore
from envs.subgoal import Subgoal
from tests.envs.contracts import SubgoalSpaceContract

BOXES = (SeenObject("red", "box", (2.0, 1.0)), SeenObject("yellow", "ball", (1.0, -2.0)))


def percept(mission=PICK_UP, carrying=None, objects=BOXES, seen=6, position=(0.0, 0.0)):
    cells = np.zeros((SIZE, SIZE), np.uint8)
    cells[40 - seen : 40, 38:43] = FREE
    frame, reach = np.zeros((60, 80, 3), np.uint8), np.zeros(16, np.float32)
    place = np.array(position, np.float32)
    return RoomsPercept(frame, cells, reach, place, 0.0, objects, carrying, None, mission)


class TestSubgoals(SubgoalSpaceContract):
    space = RoomsSubgoals()
    nonsense = ("go to the box", "explore north", "explore 0.30 m north 0.25 m west", "fly", "")

    @pytest.fixture(scope="class")
    @classmethod
    def percepts(cls):
        return [
            percept(),
            percept(GO_TO),
            percept(carrying=("red", "box"), objects=BOXES[1:]),
            percept(objects=(), seen=0),
            percept(seen=9),
        ]


def test_places_cells_and_views_agree():
    rng = np.random.default_rng(0)
    for place in rng.uniform(-15, 15, (50, 2)):
        assert np.abs(centre(cell_at(place)) - place).max() <= 0.25 + 1e-5
        position, heading = rng.uniform(-5, 5, 2), float(rng.uniform(-3, 3))
        back = to_map(from_agent(place, position, heading), position, heading)
        np.testing.assert_allclose(back, place, atol=1e-4)
    np.testing.assert_allclose(
        from_agent(np.array([0.0, 1.0]), np.zeros(2), np.pi / 2), (1, 0), atol=1e-6
    )


def test_a_way_leads_around_a_wall_and_tells_where_it_bends():
    cells = np.full((SIZE, SIZE), FREE, np.uint8)
    nothing = np.zeros((0, 2))
    start, end = np.array([-2.25, 0.25]), np.array([3.25, 0.25])
    length, bend = way_to(obstacles(cells, nothing), start, end)
    assert length == pytest.approx(5.5) and np.array_equal(bend, end.astype(np.float32))
    cells[40, 36:60] = WALL
    length, bend = way_to(obstacles(cells, nothing), start, end)
    assert 6.0 < length < 10.0 and bend[1] > 1.5
    cells[40] = WALL
    assert way_to(obstacles(cells, nothing), start, end)[0] == FAR


def test_who_stands_beside_a_corner_leaves_it_before_going_around():
    cells = np.full((SIZE, SIZE), FREE, np.uint8)
    cells[30:40, 40:50] = WALL  # its corner lies to the north-east of the start
    blocked = obstacles(cells, np.zeros((0, 2)))
    start, end = centre((36, 39)), centre((42, 48))
    assert blocked[36, 39] == 1
    place, cut, stops = start, 0, 0
    while not np.array_equal(place, end):
        _, bend = way_to(blocked, place, end)
        points = place + np.linspace(0, 1, 50)[:, None] * (bend - place)
        cut += sum(blocked[cell_at(p)] == 1 for p in points if cell_at(p) != (36, 39))
        place, stops = bend, stops + 1
    assert cut == 0 and stops >= 3


def test_a_way_leads_around_other_objects_and_up_to_its_own():
    space, goal = RoomsSubgoals(), Subgoal("pick up", "red", "box")
    red, ball = SeenObject("red", "box", (5.0, 0.0)), SeenObject("blue", "ball", (2.5, 0.0))
    free = space.way(percept(objects=(red,)), goal)
    assert free.length == pytest.approx(5.0) and np.array_equal(free.bend, (5.0, 0.0))
    around = space.way(percept(objects=(red, ball)), goal)
    assert 5.0 < around.length < 8.0 and abs(around.bend[1]) > 0.7
    assert np.array_equal(around.place, (5.0, 0.0))
    assert space.way(percept(objects=(ball,)), goal) is None


def test_the_edge_of_what_is_known_can_be_explored_until_it_is_seen():
    before, after = percept(seen=6), percept(seen=9)
    cells = after.cells.copy()
    cells[31:41, 37:44] = FREE
    row, column = frontiers(before.cells)[0]
    assert before.cells[row, column] == FREE
    space, subgoal = RoomsSubgoals(), explore((34, 40))
    assert not space.is_complete(subgoal, before, before)
    assert space.is_complete(subgoal, before, after)
    assert space.is_complete(subgoal, percept(objects=()), percept())  # something was found
    arrived = percept(position=tuple(centre((34, 40))))
    assert space.is_complete(subgoal, before, arrived)


def test_picking_up_is_paid_again_only_where_it_cannot_be_undone():
    take = Subgoal("pick up", "red", "box")
    assert RoomsSubgoals().is_repeatable(take, percept(PICK_UP))
    assert not RoomsSubgoals().is_repeatable(take, percept(PUT_NEXT))


def test_what_is_let_go_is_no_discovery():
    nearer = percept(PUT_NEXT, carrying=("red", "box"), objects=BOXES[1:])
    there, space = explore((20, 40)), RoomsSubgoals()
    assert space.is_complete(there, nearer, percept(PUT_NEXT, ("red", "box"), BOXES))
    assert not space.is_complete(there, nearer, percept(PUT_NEXT, None, BOXES))
    assert space.is_interrupted(there, nearer, percept(PUT_NEXT, None, BOXES))
