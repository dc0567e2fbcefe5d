"""The memory map: poses, views stitched together, discoveries, and its edge."""

import numpy as np
import pytest

from hier import envs
from hier.envs import PerceptionError, batched
from hier.envs.gridworld.cells import (
    CELLS,
    CODE,
    EMPTY,
    UNSEEN,
    WALL,
    Cell,
    code_of,
)
from hier.perception.gridworld.memory import extend_map, start_map
from hier.perception.gridworld.tracker import GridTracker
from tests.drawn_levels import play_room
from tests.scripted_play import FORWARD, LEFT, PICK_UP, RIGHT, TOGGLE

SIZE = 40
KEY = CODE[Cell("key", "red")]


class Memory:
    """A map and its pose, moved by hand."""

    def __init__(self, size=SIZE):
        self.cells = np.full((size, size), 9, np.uint8)
        self.pose, self.bounds = np.zeros(3, np.int64), np.zeros(4, np.int64)
        start_map(self.cells, self.pose, self.bounds)

    def move(self, ahead=0, right=0, turn=0, view=None):
        view = np.zeros((7, 7), np.uint8) if view is None else view
        odometry = np.array([ahead, right, turn], np.int8)
        state = self.cells, self.pose, self.bounds
        return extend_map(*state, odometry, view)


def view_of(*cells):
    """A view of nothing but ``(ahead, right, code)`` cells."""
    view = np.zeros((7, 7), np.uint8)
    view[6, 3] = EMPTY
    for ahead, right, code in cells:
        view[6 - ahead, 3 + right] = code
    return view


def test_a_map_starts_unseen_with_the_agent_in_the_middle_facing_up():
    memory = Memory()
    assert not (memory.cells != UNSEEN).any()
    assert memory.pose.tolist() == [20, 20, 3] and memory.bounds.tolist() == [20] * 4


def test_moves_add_up_in_the_agents_own_frame():
    memory = Memory()
    memory.move(ahead=2)
    assert memory.pose.tolist() == [20, 18, 3]  # facing -y
    memory.move(turn=1)
    assert memory.pose.tolist() == [20, 18, 0]
    memory.move(ahead=3)
    assert memory.pose.tolist() == [23, 18, 0]  # +x
    memory.move(right=1)
    assert memory.pose.tolist() == [23, 19, 0]  # right of +x is +y
    memory.move(turn=-1)
    memory.move(turn=-1)
    assert memory.pose.tolist() == [23, 19, 2]
    memory.move(ahead=1, turn=2)
    assert memory.pose.tolist() == [22, 19, 0]


@pytest.mark.parametrize(
    ("turns", "place"), [(0, (22, 15)), (1, (25, 22)), (2, (18, 25)), (3, (15, 18))]
)
def test_a_view_is_written_where_the_agent_looks(turns, place):
    memory = Memory()
    for _ in range(turns):
        memory.move(turn=1)
    assert memory.move(view=view_of((5, 2, KEY))) == 1
    assert [(x, y) for y, x in np.argwhere(memory.cells == KEY).tolist()] == [place]
    (x, y), start = place, 20
    assert memory.bounds.tolist() == [min(x, start), min(y, start), max(x, start), max(y, start)]


def test_a_thing_is_discovered_once_and_unseen_cells_erase_nothing():
    memory = Memory()
    assert memory.move(view=view_of((1, 0, KEY), (2, 0, WALL))) == 1
    assert memory.move(view=view_of((1, 0, KEY))) == 0
    assert memory.cells[18, 20] == WALL
    # It moves by a cell: a place known to be empty is no discovery.
    assert memory.move(view=view_of((1, 0, EMPTY), (3, 0, KEY))) == 1
    assert memory.move(view=view_of((1, 0, KEY))) == 0


def test_the_agents_own_cell_is_what_was_seen_there_or_bare_floor():
    for kind, kept in (("door", True), ("goal", True), ("floor", True), ("ball", False)):
        color, state = ("green", "open" if kind == "door" else "")
        code = CODE[Cell(kind, color, state)]
        memory = Memory()
        assert memory.cells[20, 20] == UNSEEN
        memory.move(view=view_of((1, 0, code)))
        assert memory.cells[20, 20] == EMPTY
        held = view_of()
        held[6, 3] = KEY  # in hand, not on the floor
        memory.move(ahead=1, view=held)
        assert memory.cells[19, 20] == (code if kept else EMPTY)


def test_a_map_too_small_is_refused_before_anything_is_written():
    memory = Memory(size=18)
    assert memory.move(ahead=0, view=view_of((6, 0, KEY))) == 1
    before = memory.cells.copy()
    assert memory.move(ahead=2, view=view_of((6, 3, WALL))) == -1
    np.testing.assert_array_equal(memory.cells, before)


def test_the_tracker_says_which_environment_walked_off_its_map():
    env = envs.make_env("MiniGrid-Empty-16x16-v0")
    tracker = GridTracker(1, map_size=18)
    observation, _ = env.reset(seed=0)
    tracker.reset(batched(observation))
    with pytest.raises(
        PerceptionError, match=r"environment 0 walked off .* of 18 cells.*at most 9 cells a side"
    ):
        for _ in range(4):
            observation = env.step(FORWARD)[0]
            tracker.update(batched(observation))


def test_every_registered_level_fits_on_the_map():
    for level in envs.domain_named("gridworld").env_ids():
        simulator = envs.make_env(level).simulator
        # As far as the agent can walk one way, and eight cells on (see extend_map).
        assert max(simulator.width, simulator.height) - 2 + 8 < 80 // 2


def test_a_room_walked_through_is_on_the_map_as_drawn():
    play = play_room("""
        # # # # # # #
        # > Kr . Db . #
        # . . By # . #
        # # # # # # #
    """)
    play.reset(0)
    around = (RIGHT, RIGHT, RIGHT, RIGHT)
    to_the_door = (FORWARD, FORWARD, TOGGLE, FORWARD, FORWARD)
    for action in (PICK_UP, *around, *to_the_door, *around):
        percept = play.step(action)
    assert CELLS[percept.carrying] == ("key", "red", "")
    assert percept.discoveries == 3  # key, door, box
    # Drawn looking right; on the map that is up.
    drawn = np.array([code_of(obj) for obj in play.simulator.grid.grid]).reshape(4, 7)
    middle = percept.map.shape[0] // 2
    corner_x, corner_y = middle - 1, middle - 5  # the drawing's upper right, the map's upper left
    on_map = percept.map[corner_y : corner_y + 7, corner_x : corner_x + 4]
    np.testing.assert_array_equal(np.rot90(on_map, -1), drawn)


def test_a_percept_is_live_and_its_snapshot_is_not():
    play = play_room("""
        # # # # #
        # > . Kr #
        # # # # #
    """)
    play.reset(0)
    live = play.tracker.percept(0)
    kept = live.snapshot()
    before = kept.map.copy(), kept.frame.copy()
    play.step(LEFT)
    assert not np.array_equal(live.map, kept.map)
    np.testing.assert_array_equal(kept.map, before[0])
    np.testing.assert_array_equal(kept.frame, before[1])


def test_a_new_episode_forgets_the_old_map_of_that_environment_alone():
    env = envs.make_env("BabyAI-GoToLocal-v0")
    first, _ = env.reset(seed=0)
    second, _ = env.reset(seed=1)
    tracker = GridTracker(2)
    both = {key: np.stack([first[key], second[key]]) for key in first}
    tracker.reset(both)
    kept = tracker.maps[0].copy()
    swapped = {key: np.stack([second[key], first[key]]) for key in first}
    tracker.reset(swapped, [1])
    np.testing.assert_array_equal(tracker.maps[0], kept)
    np.testing.assert_array_equal(tracker.maps[1], kept)
    assert tracker.percept(0).mission == tracker.percept(1).mission
    assert tracker.percept(0).discoveries == tracker.percept(1).discoveries
