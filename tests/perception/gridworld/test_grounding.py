"""Grounding: walking distances against plain breadth-first search, and what the agent is shown."""

from collections import deque

import numpy as np
import pytest

from hier.envs.gridworld.cells import (
    CODE,
    EMPTY,
    REMOVABLE,
    UNSEEN,
    WALKABLE,
    WALL,
    Cell,
)
from hier.envs.gridworld.percept import HEADINGS
from hier.envs.subgoal import Subgoal
from hier.perception.gridworld.grounding import FAR, flood, ground, work_space
from tests.drawn_levels import play_room
from tests.scripted_play import FORWARD, RIGHT, SPACE, TOGGLE, Play

THINGS = [
    CODE[Cell("key", "red")],
    CODE[Cell("door", "blue", "closed")],
    CODE[Cell("door", "blue", "open")],
    CODE[Cell("lava", "red")],
    CODE[Cell("goal", "green")],
    UNSEEN,
]


def plain_distances(cells, bounds, targets, lenient):
    """Steps to the nearest target by the textbook; a dict of what can be reached."""
    x0, y0, x1, y1 = bounds
    inside = {(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)}
    steps = dict.fromkeys(targets, 0)
    queue = deque(targets)
    while queue:
        x, y = queue.popleft()
        for dx, dy in HEADINGS:
            near = (x + dx, y + dy)
            if near in inside and near not in steps:
                code = cells[near[1], near[0]]
                if WALKABLE[code] or (lenient and REMOVABLE[code]):
                    steps[near] = steps[x, y] + 1
                    queue.append(near)
    return steps


def random_map(rng, size=30):
    """A cluttered patch of seen cells in the middle of an unseen map."""
    cells = np.zeros((size, size), np.uint8)
    bounds = np.array([6, 5, 6 + rng.integers(2, 16), 5 + rng.integers(2, 16)], np.int64)
    shape = (bounds[3] - bounds[1] + 1, bounds[2] - bounds[0] + 1)
    kinds = [EMPTY, WALL, *THINGS]
    patch = rng.choice(kinds, shape, p=[0.6, 0.2, *[0.2 / len(THINGS)] * len(THINGS)])
    cells[bounds[1] : bounds[3] + 1, bounds[0] : bounds[2] + 1] = patch
    return cells, bounds


@pytest.mark.parametrize("lenient", [False, True])
def test_distances_are_those_of_plain_breadth_first_search(lenient):
    rng = np.random.default_rng(0)
    for _ in range(200):
        cells, bounds = random_map(rng)
        size = cells.shape[0]
        targets, distance, queue = work_space(size)
        distance[:] = rng.integers(0, 9, distance.shape)  # left over from an earlier call
        x0, y0, x1, y1 = bounds.tolist()
        places = {
            (int(rng.integers(x0 - 1, x1 + 2)), int(rng.integers(y0 - 1, y1 + 2)))
            for _ in range(rng.integers(1, 4))
        }
        for x, y in places:
            targets[y, x] = True
        flood(cells, bounds, targets, lenient, distance, queue)
        steps = plain_distances(cells, (x0, y0, x1, y1), places, lenient)
        for y in range(y0 - 1, y1 + 2):
            for x in range(x0 - 1, x1 + 2):
                assert distance[y, x] == steps.get((x, y), FAR)


def agent_frame(pose, dx, dy):
    fx, fy = HEADINGS[pose[2]]
    return dx * fx + dy * fy, -dx * fy + dy * fx


def test_a_subgoal_is_grounded_as_plain_python_would():
    rng = np.random.default_rng(1)
    seen = {"strict": 0, "lenient": 0, "no way": 0, "nothing": 0}
    for _ in range(400):
        cells, bounds = random_map(rng)
        targets, distance, queue = work_space(cells.shape[0])
        x0, y0, x1, y1 = bounds.tolist()
        pose = np.array([rng.integers(x0, x1 + 1), rng.integers(y0, y1 + 1), rng.integers(4)])
        x, y = int(pose[0]), int(pose[1])
        cells[y, x] = EMPTY
        subgoal = Subgoal("go to", "red", "key")
        planes = np.full((2, 7, 7), 9, np.float32)
        found, steps, ahead, right = ground(
            *(cells, bounds, pose, np.array(SPACE.as_integers(subgoal))),
            *(targets, distance, queue, planes),
        )
        places = {(int(kx), int(ky)) for ky, kx in np.argwhere(cells == CODE[Cell("key", "red")])}
        assert found == len(places)
        if not places:
            assert steps == FAR and not planes.any()
            seen["nothing"] += 1
            continue
        way = plain_distances(cells, (x0, y0, x1, y1), places, lenient=False)
        case = "strict"
        if (x, y) not in way:
            way = plain_distances(cells, (x0, y0, x1, y1), places, lenient=True)
            case = "lenient"
        if (x, y) not in way:
            case = "no way"
        seen[case] += 1
        assert steps == way.get((x, y), FAR)
        # The target told is one of the nearest: by the way, or as the crow flies if there is none.
        told = {agent_frame(pose, kx - x, ky - y): (kx, ky) for kx, ky in places}[ahead, right]
        if case == "no way":
            crow = {place: abs(place[0] - x) + abs(place[1] - y) for place in places}
            assert crow[told] == min(crow.values())
        else:
            alone = plain_distances(cells, (x0, y0, x1, y1), {told}, lenient=case == "lenient")
            assert alone[x, y] == steps
        for row in range(7):
            for col in range(7):
                a, r = 6 - row, col - 3
                fx, fy = HEADINGS[pose[2]]
                place = (x + fx * a - fy * r, y + fy * a + fx * r)
                assert planes[0, row, col] == (place in places)
                gain = 1.0
                if place in way and case != "no way":
                    gain = min(1.0, max(-1.0, (way[place] - steps) / 6))
                assert planes[1, row, col] == pytest.approx(gain)
    assert min(seen.values()) >= 10, seen


def grounded(play, text):
    play.tracker.pursue(0, SPACE.parse(text))
    result = play.tracker.ground()
    return int(result.steps[0]), result.place[0].tolist(), int(result.found[0])


def see_all(drawing):
    play = play_room(drawing, see_through_walls=True)
    play.reset(0)
    return play


def test_the_place_is_in_fifths_of_a_cell_ahead_and_right_and_twentieths_of_a_step():
    play = play_room("""
        # # # # # # #
        # > . . . . #
        # . . . Kr . #
        # . . . . . #
        # # # # # # #
    """)
    play.reset(0)
    steps, place, found = grounded(play, "go to the red key")
    assert (steps, found) == (4, 1)
    assert place == pytest.approx([3 / 5, 1 / 5, 4 / 20, 1.0])
    play.step(RIGHT)
    assert grounded(play, "go to the red key")[1] == pytest.approx([1 / 5, -3 / 5, 4 / 20, 1.0])
    play.step(RIGHT)
    assert grounded(play, "go to the red key")[1] == pytest.approx([-3 / 5, -1 / 5, 4 / 20, 1.0])


def test_the_way_round_is_what_counts():
    play = see_all("""
        # # # # # #
        # > # Kr . #
        # . # . . #
        # . . . . #
        # # # # # #
    """)
    # Down two, right two, up two: six steps to a key two cells ahead.
    steps, place, _ = grounded(play, "go to the red key")
    assert steps == 6 and place == pytest.approx([2 / 5, 0.0, 6 / 20, 1.0])
    closer = play.tracker.grounding.planes[0, 1]
    assert closer[6, 3] == 0.0
    assert closer[6, 4] == pytest.approx(-1 / 6)  # to its right, where the way leads
    assert closer[5, 3] == 1.0  # the wall


@pytest.mark.parametrize("thing", ["Ab", "Db", "Lb"])
def test_what_can_be_removed_is_passed_where_there_is_no_other_way(thing):
    barred = see_all(f"""
        # # # # # # # #
        # > . {thing} . . Kr #
        # # # # # # # #
    """)
    assert grounded(barred, "go to the red key")[0] == 5
    with_a_way_round = see_all(f"""
        # # # # # # # #
        # > . {thing} . . Kr #
        # . . . . . . #
        # # # # # # # #
    """)
    assert grounded(with_a_way_round, "go to the red key")[0] == 7


def test_an_open_door_is_no_obstacle_walls_and_lava_always_are():
    drawing = """
        # # # # # #
        # > . {} Kr #
        # # # # # #
    """
    assert grounded(see_all(drawing.format("Ob")), "go to the red key")[0] == 3
    for barrier in ("#", "~"):
        steps, place, found = grounded(see_all(drawing.format(barrier)), "go to the red key")
        assert (steps, found) == (FAR, 1)
        assert place == pytest.approx([3 / 5, 0.0, 2.0, 1.0])


def test_exploring_leads_to_the_nearest_unseen_cell_beside_the_known_floor():
    play = play_room("""
        # # # # # # # # # # # #
        # > . . . . . . . . . #
        # # # # # # # # # # # #
    """)
    percept = play.reset(0)
    steps, place, _ = grounded(play, "explore")
    mask = SPACE.target_mask(percept, SPACE.parse("explore"))
    # Unseen: behind the agent, one step off, and seven ahead, where the view ends.
    offsets = [(x - percept.x, y - percept.y) for y, x in np.argwhere(mask).tolist()]
    assert sorted(offsets) == [(0, -7), (0, 1)]
    assert steps == 1 and place == pytest.approx([-1 / 5, 0.0, 1 / 20, 1.0])
    for _ in range(4):
        play.step(RIGHT)
    steps, place, found = grounded(play, "explore")
    assert (steps, found) == (7, 1) and place == pytest.approx([7 / 5, 0.0, 7 / 20, 1.0])
    for _ in range(5):
        play.step(FORWARD)
    assert grounded(play, "explore") == (FAR, [0.0] * 4, 0)


def test_a_door_is_a_frontier_once_open():
    play = play_room("""
        # # # # # # #
        # > Dr . . . #
        # # # # # # #
    """)
    play.reset(0)
    for _ in range(4):
        play.step(RIGHT)
    assert grounded(play, "explore")[2] == 0
    play.step(TOGGLE)
    assert grounded(play, "explore")[2] == 0  # now it sees to the end
    assert grounded(play, "go to the red door")[0] == 1


def test_without_a_subgoal_everything_is_zero():
    play = Play("BabyAI-GoToObj-v0")
    play.reset(0)
    assert grounded(play, "explore")[2] > 0
    play.tracker.pursue(0, None)
    result = play.tracker.ground()
    assert not result.planes.any() and not result.place.any()
    assert result.steps[0] == FAR and result.found[0] == 0
