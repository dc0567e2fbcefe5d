"""Frames, rewards and ends against MiniGrid's own pixels, and the atlas they are made of."""

from collections import Counter

import gymnasium as gym
import numpy as np
import pytest
from minigrid.wrappers import RGBImgPartialObsWrapper

from hier import envs
from hier.envs.gridworld.cells import CARRYABLE, EMPTY, N_CODES
from hier.envs.gridworld.missions import MISSION_CODEC
from hier.envs.gridworld.rendering import TILE, tile_atlas
from tests.scripted_play import LEVELS, busy_action

STEPS = 400


@pytest.mark.parametrize("level", LEVELS)
def test_an_episode_is_minigrids_own_to_the_bit(level):
    official = RGBImgPartialObsWrapper(gym.make(level, disable_env_checker=True).unwrapped, TILE)
    ours = envs.make_env(level)
    rng = np.random.default_rng(1)
    wanted, _ = official.reset(seed=7)
    got, _ = ours.reset(seed=7)
    for step in range(STEPS):
        np.testing.assert_array_equal(got["image"], wanted["image"], f"{level}, step {step}")
        assert MISSION_CODEC.decode(got["mission"]) == wanted["mission"].lower()
        action = busy_action(official.unwrapped, rng)
        wanted, *theirs = official.step(action)
        got, *same = ours.step(action)
        assert same[:3] == theirs[:3], f"{level}, step {step}: reward, terminated, truncated"
        assert same[3] == ({"is_success": theirs[0] > 0} if theirs[1] or theirs[2] else {})
        if theirs[1] or theirs[2]:
            # No seed: the generators must have gone the same way, too.
            wanted, _ = official.reset()
            got, _ = ours.reset()


def test_the_player_opens_carries_drops_and_toggles():
    """What the comparison above is worth: the player's actions do change the world."""
    done = Counter()
    for level in LEVELS:
        env = envs.make_env(level)
        simulator = env.simulator
        rng = np.random.default_rng(1)
        env.reset(seed=7)
        for _ in range(STEPS):
            ahead, held = simulator.grid.get(*simulator.front_pos), simulator.carrying
            was_open = ahead is not None and ahead.type == "door" and ahead.is_open
            _, reward, terminated, truncated, _ = env.step(busy_action(simulator, rng))
            after = simulator.grid.get(*simulator.front_pos)
            done["picked up"] += held is None and simulator.carrying is not None
            done["dropped"] += held is not None and simulator.carrying is None
            if ahead is not None and ahead.type == "door" and after is ahead:
                done["door opened"] += ahead.is_open and not was_open
                done["door closed"] += was_open and not ahead.is_open
            if ahead is not None and ahead.type == "box" and simulator.carrying is held:
                # An open box leaves what it held, or nothing.
                done["box opened"] += after is ahead.contains and after is not ahead
            done["won"] += reward > 0
            done["ended unrewarded"] += terminated and reward <= 0
            if terminated or truncated:
                env.reset()
    kinds = ("picked up", "dropped", "door opened", "door closed", "box opened", "won")
    assert all(done[kind] >= 10 for kind in (*kinds, "ended unrewarded")), done


def test_every_tile_of_the_atlas_is_distinct():
    carried = [EMPTY, *np.flatnonzero(CARRYABLE).tolist()]
    codes = [*range(N_CODES), *(N_CODES + code for code in carried)]
    tiles = tile_atlas()[codes].reshape(len(codes), -1)
    assert len(np.unique(tiles, axis=0)) == len(codes)


def test_the_atlas_cannot_be_painted_over():
    with pytest.raises(ValueError, match="read-only"):
        tile_atlas()[0] = 0


def test_render_fills_the_frame_it_is_given():
    env = envs.make_env("BabyAI-GoToRedBall-v0")
    observation, _ = env.reset(seed=3)
    frame = np.full(env.renderer.frame_shape, 255, np.uint8)
    assert env.renderer.render(frame) is frame
    np.testing.assert_array_equal(frame, observation["image"])


def test_the_renderer_follows_a_grid_changed_from_outside():
    env = envs.make_env("MiniGrid-Empty-8x8-v0")
    before, _ = env.reset(seed=0)
    simulator = env.simulator
    x, y = simulator.front_pos
    simulator.grid.set(int(x), int(y), simulator.grid.get(0, 0))
    env.renderer.update()
    after = env.renderer.render()
    wanted = RGBImgPartialObsWrapper(simulator, TILE).observation({})["image"]
    assert not np.array_equal(after, before["image"])
    np.testing.assert_array_equal(after, wanted)
