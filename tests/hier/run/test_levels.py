"""Which levels episodes play, and how they are varied."""

import numpy as np

from hier.envs import make_env
from hier.envs.registry import domain_named
from hier.run.levels import SeededEpisodes, VariedEpisodes

LEVEL = "BabyAI-GoToLocal-v0"


def test_given_seeds_are_played_in_turn_and_then_nothing_moves():
    env, plain = SeededEpisodes(make_env(LEVEL, max_steps=3), [5, 8]), make_env(LEVEL)
    for seed in (5, 8):
        first, _ = env.reset(seed=99)
        assert np.array_equal(first["image"], plain.reset(seed=seed)[0]["image"])
        ended = [env.step(0)[3] for _ in range(3)]  # turns, up to the limit
        assert ended == [False, False, True]
    still, _ = env.reset()
    assert np.array_equal(still["image"], plain.reset(seed=8)[0]["image"])
    for _ in range(5):
        observation, reward, terminated, truncated, _ = env.step(0)
        assert np.array_equal(observation["image"], still["image"])
        assert (reward, terminated, truncated) == (0.0, False, False)
        observation["image"][:] = 0  # the next one is not touched


def test_a_varied_level_depends_on_the_seed_alone():
    vary = domain_named("gridworld").variations().vary
    varied = [VariedEpisodes(make_env(LEVEL), vary, 1.0) for _ in range(2)]
    plain, changed = make_env(LEVEL), 0
    for seed in range(8):
        (one, _), (other, _) = (env.reset(seed=seed) for env in varied)
        for key in ("image", "mission"):
            assert np.array_equal(one[key], other[key])
        untouched, _ = plain.reset(seed=seed)
        changed += not all(np.array_equal(one[k], untouched[k]) for k in ("image", "mission"))
    assert changed >= 4
    none = VariedEpisodes(make_env(LEVEL), vary, 0.0)
    assert np.array_equal(none.reset(seed=3)[0]["image"], plain.reset(seed=3)[0]["image"])
