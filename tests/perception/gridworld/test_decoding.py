"""Decoding is the exact inverse of painting, and says where it cannot be."""

import numpy as np
import pytest

from hier import envs
from hier.envs import PerceptionError
from hier.envs.gridworld.cells import CARRYABLE, CELLS, EMPTY, N_CODES
from hier.envs.gridworld.rendering import TILE, tile_atlas
from hier.perception.gridworld.decoding import UNKNOWN, as_words, decode, decode_frame, tile_table
from hier.perception.gridworld.tracker import GridTracker

HANDS = [EMPTY, *np.flatnonzero(CARRYABLE).tolist()]


def painted(view):
    """The frame of a view, laid tile by tile."""
    codes = view.astype(int)
    codes[6, 3] += N_CODES
    return np.concatenate([np.concatenate(list(tile_atlas()[row]), axis=1) for row in codes])


def random_views(n):
    rng = np.random.default_rng(0)
    views = rng.integers(0, N_CODES, (n, 7, 7)).astype(np.uint8)
    views[:, 6, 3] = rng.choice(HANDS, n)
    return views


def test_what_was_painted_is_what_is_decoded():
    for view in random_views(200):
        np.testing.assert_array_equal(decode(painted(view)), view)


@pytest.mark.parametrize("code", range(N_CODES), ids=lambda code: " ".join(CELLS[code]).strip())
def test_every_cell_is_known_in_every_place(code):
    view = np.full((7, 7), code, np.uint8)
    view[6, 3] = code if code in HANDS else EMPTY
    np.testing.assert_array_equal(decode(painted(view)), view)


def test_decoding_leaves_the_frame_alone_and_takes_it_from_any_memory():
    view = random_views(1)[0]
    frame = painted(view)
    wide = np.repeat(frame, 2, axis=1)[:, ::2]
    assert not wide.flags.c_contiguous
    np.testing.assert_array_equal(decode(wide), view)
    np.testing.assert_array_equal(frame, painted(view))


def test_one_wrong_bit_is_noticed_and_its_tile_named():
    rng = np.random.default_rng(1)
    for view in random_views(100):
        frame = painted(view)
        y, x, channel = rng.integers(56), rng.integers(56), rng.integers(3)
        frame[y, x, channel] ^= 1 << rng.integers(8)
        with pytest.raises(
            PerceptionError, match=f"row {y // TILE}, column {x // TILE} .*unscaled image"
        ):
            decode(frame)


def test_the_agent_is_only_ever_in_its_own_place():
    view = np.full((7, 7), EMPTY, np.uint8)
    frame = painted(view)
    agent, floor = frame[48:, 24:32].copy(), frame[:8, :8].copy()
    frame[16:24, 8:16] = agent
    with pytest.raises(PerceptionError, match="row 2, column 1"):
        decode(frame)
    frame[16:24, 8:16] = floor
    frame[48:, 24:32] = floor
    with pytest.raises(PerceptionError, match="row 6, column 3"):
        decode(frame)


def test_the_first_of_several_unknown_tiles_is_named_and_the_rest_decoded():
    view = random_views(1)[0]
    frame = painted(view)
    frame[8:16, 16:24] = frame[40:48, 0:8] = 77
    got = np.zeros((7, 7), np.uint8)
    assert decode_frame(as_words(frame), *tile_table(), got) == 1 * 7 + 2
    view[1, 2] = view[5, 0] = UNKNOWN
    np.testing.assert_array_equal(got, view)


def test_the_tracker_names_the_environment_too():
    observation, _ = envs.make_env("BabyAI-GoToObj-v0").reset(seed=0)
    batch = {key: np.stack([value] * 3) for key, value in observation.items()}
    tracker = GridTracker(3)
    tracker.reset(batch)
    batch["image"][2, 30, 50] = 1
    with pytest.raises(PerceptionError, match="row 3, column 6 of environment 2"):
        tracker.update(batch)
