"""The picture of the memory map shows what the frames showed, turned so that the agent looks up."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from hier import envs
from hier.envs import UserError, batched
from hier.envs.gridworld.cells import CODE, EMPTY, N_CODES, UNSEEN, Cell
from hier.envs.gridworld.rendering import TILE, tile_atlas
from hier.perception.gridworld.map_image import map_image
from hier.perception.gridworld.tracker import GridTracker

KEY = CODE[Cell("key", "red")]
VIEW = 7


def tiles_of(image):
    """``(rows, columns)`` atlas indices of a picture; fails if a tile is in no atlas entry."""
    atlas = {tile.tobytes(): index for index, tile in reversed(list(enumerate(tile_atlas())))}
    n = len(image) // TILE
    blocks = image.reshape(n, TILE, n, TILE, 3).swapaxes(1, 2)
    return np.array([[atlas[block.tobytes()] for block in row] for row in blocks])


@pytest.fixture(scope="module")
def percepts():
    found, rng = [], np.random.default_rng(0)
    for env_id in ("BabyAI-BossLevel-v0", "BabyAI-UnlockPickup-v0"):
        env, tracker = envs.make_env(env_id), GridTracker(1)
        observation, _ = env.reset(seed=3)
        tracker.reset(batched(observation))
        for _ in range(120):
            found.append(tracker.percept(0).snapshot())
            action = int(rng.choice([1, 2, 2, 2, 3, 5]))  # right, forward, pick up, toggle
            observation, _, ended, cut, _ = env.step(action)
            if ended or cut:
                break
            tracker.update(batched(observation))
    return found


def test_the_upper_middle_of_the_picture_is_the_latest_frame(percepts):
    # The agent sees 7 x 7 cells with itself at the bottom middle: in a 15-cell map these are the
    # rows 1..7 and columns 4..10. Cells out of sight may be remembered.
    for percept in percepts:
        seen = map_image(percept)[1 * TILE : 8 * TILE, 4 * TILE : 11 * TILE]
        visible = np.kron(percept.view != UNSEEN, np.ones((TILE, TILE), bool))
        visible[-TILE:, 3 * TILE : 4 * TILE] = True
        assert np.array_equal(seen[visible], percept.frame[visible])
    assert {percept.heading for percept in percepts} == {0, 1, 2, 3}
    assert any(percept.hands_full for percept in percepts)


@pytest.mark.parametrize(("heading", "row", "column"), [(3, 5, 8), (0, 6, 5), (1, 9, 6), (2, 8, 9)])
def test_a_key_two_north_one_east_turns_with_the_agent(percepts, heading, row, column):
    cells = np.zeros((80, 80), np.uint8)
    cells[40 - 2, 40 + 1] = KEY
    percept = replace(percepts[0], map=cells, x=40, y=40, heading=heading, carrying=EMPTY)
    tiles = tiles_of(map_image(percept))
    assert np.argwhere(tiles == KEY).tolist() == [[row, column]]
    assert tiles[7, 7] >= N_CODES
    assert (tiles == UNSEEN).sum() == 15 * 15 - 2


def test_the_agents_tile_shows_what_it_carries(percepts):
    held = map_image(replace(percepts[0], carrying=KEY))[7 * TILE : 8 * TILE, 7 * TILE : 8 * TILE]
    assert np.array_equal(held, tile_atlas()[N_CODES + KEY])


def test_beyond_the_edge_of_the_map_is_unseen(percepts):
    cells = np.full((80, 80), EMPTY, np.uint8)
    percept = replace(percepts[0], map=cells, x=1, y=79, heading=3)
    tiles = tiles_of(map_image(percept, cells=9))
    assert tiles.shape == (9, 9)
    assert (tiles[5:] == UNSEEN).all() and (tiles[:, :3] == UNSEEN).all()
    assert (tiles[:4, 3:] == EMPTY).all()


def test_the_picture_is_a_copy(percepts):
    percept = percepts[0]
    image, before = map_image(percept), percept.map.copy()
    image[:] = 0
    assert np.array_equal(percept.map, before)
    assert map_image(percept).any()


@pytest.mark.parametrize("cells", [0, -3, 8])
def test_without_a_middle_it_is_refused(percepts, cells):
    with pytest.raises(UserError, match=f"{cells} cells a side"):
        map_image(percepts[0], cells)


def test_it_takes_a_fraction_of_a_millisecond(percepts):
    best = min(_seconds(percepts[0]) for _ in range(200))
    assert best < 200e-6


def _seconds(percept):
    start = time.perf_counter()
    map_image(percept)
    return time.perf_counter() - start
