"""Mazes without a simulator: ways, stops and the subgoal contract."""

from itertools import pairwise

import numpy as np
import pytest

from hier.envs.domain import FAR
from hier.envs.pointmaze.expert import MazeExpert
from hier.envs.pointmaze.maps import (
    as_map,
    cell_at,
    center,
    is_straight,
    next_stops,
    steps_to,
    way_to,
)
from hier.envs.pointmaze.percept import MazePercept
from hier.envs.pointmaze.subgoals import REACH_GOAL, MazeSubgoals, go_to
from tests.envs.contracts import SubgoalSpaceContract

DRAWING = """
#########
#...#...#
#.#.#.#.#
#.#...#.#
#.#####.#
#.......#
#########
"""
WALLS = as_map(np.array([[c == "#" for c in row] for row in DRAWING.split()]))
FREE = [(int(r), int(c)) for r, c in np.argwhere(~WALLS)]


def percept_at(position, goal):
    frame = np.zeros((120, 120, 3), np.uint8)
    return MazePercept(frame, WALLS, center(position), np.zeros(2, np.float32), center(goal))


class TestSubgoals(SubgoalSpaceContract):
    space = MazeSubgoals()
    nonsense = ("go to row 2", "go to row 12 column 0", "reach the green goal", "fly", "")

    @pytest.fixture(scope="class")
    @classmethod
    def percepts(cls):
        return [percept_at(cell, goal) for cell in FREE for goal in FREE[::5] if cell != goal]


def test_stops_are_where_a_way_ends_or_parts():
    assert next_stops(WALLS, (1, 2)) == [(1, 1), (1, 3)]
    assert next_stops(WALLS, (3, 1)) == [(1, 1), (5, 1)]
    assert next_stops(WALLS, (5, 4)) == [(5, 1), (5, 7)]
    assert next_stops(WALLS, (3, 4)) == [(3, 3), (3, 5)]


def test_lines_of_sight_run_along_rows_and_columns():
    assert is_straight(WALLS, (5, 1), (5, 7)) and is_straight(WALLS, (5, 7), (1, 7))
    assert not is_straight(WALLS, (1, 3), (1, 5)) and not is_straight(WALLS, (1, 1), (5, 2))


def test_a_way_falls_steadily_while_it_is_walked():
    target = center((3, 4))
    assert steps_to(WALLS, (3, 4))[5, 1] == 9
    corners = [(5, 1), (1, 1), (1, 3), (3, 3), (3, 4)]
    lengths = []
    for start, end in pairwise(corners):
        for share in np.linspace(0, 1, 20, endpoint=False):
            lengths.append(way_to(WALLS, (1 - share) * center(start) + share * center(end), target))
    assert lengths[0] == pytest.approx(9.0) and lengths[-1] == pytest.approx(0.05)
    steps = -np.diff(lengths)
    assert (steps > 0).all() and steps.max() < 0.25


def test_a_place_in_a_wall_counts_to_the_nearest_free_cell():
    assert cell_at(WALLS, np.array([2.1, 2.5])) == (2, 1)
    assert way_to(WALLS, np.array([11.0, 11.0]), center((1, 1))) < FAR


def test_what_is_walled_off_has_no_way():
    walls = WALLS.copy()
    walls[5, 4] = walls[1, 2] = True
    assert way_to(walls, center((5, 1)), center((5, 7))) == FAR


@pytest.mark.parametrize("goal", FREE[::3])
def test_the_expert_leads_to_the_goal_by_the_shortest_way(goal):
    space = MazeSubgoals()
    for start in FREE:
        here, walked = start, 0
        for _ in range(20):
            percept = percept_at(here, goal)
            subgoal = MazeExpert(WALLS, percept.position, percept.goal).subgoal(
                percept, space.candidates(percept)
            )
            assert subgoal is not None
            there = goal if subgoal == REACH_GOAL else (subgoal.row, subgoal.column)
            walked += int(steps_to(WALLS, here)[there])
            here = there
            if subgoal == REACH_GOAL:
                break
        assert here == goal and walked == steps_to(WALLS, start)[goal]


def test_completion_goes_by_distance():
    space, subgoal = MazeSubgoals(), go_to((1, 3))
    before = percept_at((1, 1), (5, 7))
    assert not space.is_complete(subgoal, before, percept_at((1, 2), (5, 7)))
    assert space.is_complete(subgoal, before, percept_at((1, 3), (5, 7)))
    assert space.is_complete(REACH_GOAL, before, percept_at((5, 7), (5, 7)))
    assert not space.is_complete(REACH_GOAL, before, percept_at((5, 6), (5, 7)))
