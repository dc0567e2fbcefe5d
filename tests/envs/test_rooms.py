"""Rooms without a simulator: ways, frontiers and the subgoal contract."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from hier.envs.domain import FAR
from hier.envs.rooms.maps import (
    FREE,
    SIZE,
    WALL,
    cell_at,
    center,
    from_agent,
    frontiers,
    to_map,
)
from hier.envs.rooms.percept import AGENT_RADIUS, GO_TO, PICK_UP, PUT_NEXT, RoomsPercept, SeenObject
from hier.envs.rooms.steering import clear_heading
from hier.envs.rooms.subgoals import RoomsSubgoals, explore
from hier.envs.rooms.ways import way_to
from hier.envs.subgoal import Subgoal
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
        assert np.abs(center(cell_at(place)) - place).max() <= 0.25 + 1e-5
        position, heading = rng.uniform(-5, 5, 2), float(rng.uniform(-3, 3))
        back = to_map(from_agent(place, position, heading), position, heading)
        np.testing.assert_allclose(back, place, atol=1e-4)
    np.testing.assert_allclose(
        from_agent(np.array([0.0, 1.0]), np.zeros(2), np.pi / 2), (1, 0), atol=1e-6
    )


def test_a_way_leads_around_a_wall_and_tells_where_it_bends():
    cells = np.full((SIZE, SIZE), FREE, np.uint8)
    start, end = np.array([-2.25, 0.25]), np.array([3.25, 0.25])
    way = way_to(cells, start, end, ())
    assert way.length == pytest.approx(5.5) and np.array_equal(way.bend, end.astype(np.float32))
    cells[40, 36:60] = WALL  # from 2 m west to the east
    way = way_to(cells, start, end, ())
    assert 6.5 < way.length < 8.5 and 2.0 + AGENT_RADIUS < way.bend[1] < 3.0
    cells[40] = WALL
    assert way_to(cells, start, end, ()).length == FAR


def test_a_way_keeps_the_body_off_what_is_in_the_way():
    cells = np.full((SIZE, SIZE), FREE, np.uint8)
    cells[:, 46:] = WALL  # 3 m to the east
    objects = np.array([(2.0, 0.3, 0.6), (4.0, -1.0, 0.5)])
    place, end = np.array([0.0, 0.0]), np.array([6.0, -0.5])
    for body in (AGENT_RADIUS, 0.6):
        path = [place]
        while not np.array_equal(path[-1], end.astype(np.float32)):
            path.append(way_to(cells, path[-1], end, objects, body).bend)
            assert len(path) < 20
        for one, other in pairwise(path):
            for point in one + np.linspace(0, 1, 30)[:, None] * (other - one):
                gaps = np.hypot(*(objects[:, :2] - point).T) - objects[:, 2] - body
                assert gaps.min() > -0.1


def test_a_map_that_is_wrong_by_a_cell_hides_no_place():
    cells = np.full((SIZE, SIZE), FREE, np.uint8)
    cells[28:30] = WALL  # 5 m to the north
    way = way_to(cells, np.zeros(2), np.array([5.25, 0.0]), ())
    assert 5.0 < way.length < 6.0
    assert way_to(cells, np.zeros(2), np.array([9.0, 0.0]), ()).length == FAR


def test_who_stands_in_the_way_of_nothing_steers_nowhere_else():
    box = SeenObject("blue", "box", (0.9, 0.3))
    free = percept(objects=(box,))
    assert clear_heading(free, np.array([-2.0, 0.0]), None) is None
    assert clear_heading(free, np.array([2.0, 0.7]), box) is None  # that may be touched
    aside = clear_heading(free, np.array([2.0, 0.0]), None)
    ahead = 0.15 * np.array([np.cos(aside), np.sin(aside)])
    assert np.hypot(*(ahead - box.place)) >= np.hypot(*box.place) and aside < 0


def test_a_step_that_was_stopped_is_tried_elsewhere():
    aim = np.array([2.0, 0.0])
    stopped = replace(percept(objects=()), stopped=(0.0,))
    aside = clear_heading(stopped, aim, None)
    assert 0.35 < abs(aside) < 0.8
    both = replace(stopped, stopped=(0.0, aside))
    assert abs(clear_heading(both, aim, None) + aside) < 1e-6
    assert clear_heading(stopped, np.array([0.0, 2.0]), None) is None


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
    arrived = percept(position=tuple(center((34, 40))))
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


def test_what_was_taken_by_mistake_can_be_put_down():
    space, held = RoomsSubgoals(), percept(PUT_NEXT, ("green", "box"))
    put = Subgoal("put down", "green", "box")
    assert put in space.candidates(held) and put not in space.candidates(percept(PUT_NEXT))
    assert space.is_complete(put, held, percept(PUT_NEXT))
    assert not space.is_complete(put, held, held)
    way = space.way(held, put)
    assert way.length == 0 and np.array_equal(way.place, held.position)


def test_who_cannot_turn_what_it_carries_is_led_back():
    space, goal = RoomsSubgoals(), explore(cell_at(np.array([0.2, 4.0])))  # to the west
    held = percept(PUT_NEXT, ("red", "box"), objects=())
    assert space.way(held, goal).bend[1] > 0.5
    stuck = replace(held, vain=("left",))
    np.testing.assert_allclose(space.way(stuck, goal).bend, (-0.5, 0.0), atol=1e-6)
    assert space.way(replace(held, vain=("right",)), goal).bend[1] > 0.5
    assert space.way(replace(held, vain=("left", "back")), goal).bend[1] > 0.5
