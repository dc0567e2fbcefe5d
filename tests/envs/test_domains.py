"""What every domain must do, from its environment to its subgoals."""

import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

from hier import envs
from hier.envs.domain import Scene, batched
from hier.perception.scene_card import BAD, GOOD
from hier.testing import check_domain
from tests.installed import made

LEVELS = (
    "BabyAI-UnlockPickup-v0",
    "privileged/PointMaze_UMaze-v3",
    "PointMaze_UMaze-v3",
    "privileged/FetchPickAndPlace-v4",
    "FetchPickAndPlace-v4",
    "FetchPush-v4",
    "FetchReach-v4",
    "privileged/MiniWorld-FourRooms-v0",
    "MiniWorld-PickupObjects-v0",
)


@pytest.fixture(scope="module", params=LEVELS)
def level(request):
    """An id whose simulator is installed and works on this machine."""
    made(request.param)
    return request.param


@pytest.mark.parametrize("check", [check_gymnasium, check_sb3], ids=["gymnasium", "sb3"])
def test_the_environment_checkers_pass(check, level):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(envs.make_env(level), skip_render_check=True)


def test_it_keeps_a_domains_contract(level):
    check_domain(level)


def first(level, seed):
    """The first observation of an episode."""
    return envs.make_env(level).reset(seed=seed)[0]


def test_another_seed_is_another_episode(level):
    one, other = first(level, 3), first(level, 4)
    assert any(not np.array_equal(one[key], other[key]) for key in one)


def test_advantages_are_drawn_beside_the_candidates(level):
    domain = envs.domain_of(level)
    tracker = domain.tracker(1)
    tracker.reset(batched(first(level, 0)))
    percept = tracker.percept(0)
    candidates = domain.subgoal_space().candidates(percept)

    def pixels(advantage, color):
        scene = Scene(percept, None, candidates, advantages=np.full(len(candidates), advantage))
        return (domain.draw_scene(scene)[:, -440:] == color).all(axis=2).sum()

    for advantage, color in ((0.5, GOOD), (-0.5, BAD)):
        assert pixels(advantage, color) > 0
        assert pixels(-advantage, color) == pixels(0.0, color) == pixels(np.nan, color) == 0
