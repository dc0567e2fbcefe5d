"""What every domain must do, from its environment to its subgoals."""

import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

from hier import envs
from hier.envs.domain import CRITIC_VIEW, Scene, batched
from hier.perception.scene_card import BAD, GOOD
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


def play(level, seed, steps=60):
    """Observations and percepts of aimless play."""
    domain, env = envs.domain_of(level), envs.make_env(level)
    tracker, rng = domain.tracker(1), np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    batch = batched(observation)
    tracker.reset(batch)
    found = [(observation, tracker.percept(0).snapshot())]
    for _ in range(steps):
        observation, _, terminated, truncated, info = env.step(domain.random_action(env, rng))
        tracker.update(batched(observation))
        found.append((observation, tracker.percept(0).snapshot()))
        if terminated or truncated:
            assert isinstance(info["is_success"], bool)
            break
    return found


@pytest.mark.parametrize("check", [check_gymnasium, check_sb3], ids=["gymnasium", "sb3"])
def test_the_environment_checkers_pass(check, level):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(envs.make_env(level), skip_render_check=True)


def test_a_seed_and_actions_fix_the_episode(level):
    for (a, _), (b, _) in zip(play(level, 3), play(level, 3), strict=True):
        assert a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
    other = play(level, 4, steps=0)[0][0]
    assert any(not np.array_equal(other[key], play(level, 3, 0)[0][0][key]) for key in other)


def test_there_is_always_a_candidate_that_parses_back_and_points_somewhere(level):
    space = envs.domain_of(level).subgoal_space()
    for _, percept in play(level, 1):
        candidates = space.candidates(percept)
        assert candidates and len(set(candidates)) == len(candidates)
        for subgoal in candidates:
            assert space.parse(str(subgoal)) == subgoal
            assert space.encode(subgoal).shape == (space.encoding_size,)
            assert space.target_mask(percept, subgoal).any()


def test_the_expert_names_a_candidate(level):
    domain, env = envs.domain_of(level), envs.make_env(level)
    space, tracker, answers = domain.subgoal_space(), domain.tracker(1), []
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        tracker.reset(batched(observation))
        candidates = space.candidates(tracker.percept(0))
        answers.append(env.get_wrapper_attr("expert")().subgoal(tracker.percept(0), candidates))
        assert answers[-1] is None or answers[-1] in candidates
    assert any(answers)


def test_what_a_controller_sees_lies_in_its_space(level):
    domain, env = envs.domain_of(level), envs.make_env(level)
    tracker, space = domain.tracker(1), domain.subgoal_space()
    observation, _ = env.reset(seed=2)
    batch = batched(observation)
    tracker.reset(batch)
    subgoal = space.candidates(tracker.percept(0))[0]
    tracker.pursue(0, subgoal)
    grounding = tracker.ground()
    assert grounding.found[0] > 0 and np.abs(grounding.place).max() <= 3
    seen, spaces = (
        tracker.controller_entries(batch),
        tracker.controller_spaces(env.observation_space),
    )
    assert seen.keys() == spaces.keys()
    assert all(spaces[key].contains(seen[key][0]) for key in seen)
    critic_state, sizes = (
        tracker.critic_state(tracker.percept(0), [subgoal]),
        domain.critic_state_sizes(),
    )
    assert (
        critic_state.map.shape == (CRITIC_VIEW, CRITIC_VIEW) and critic_state.map.max() < sizes[0]
    )
    assert critic_state.mission.max() < sizes[1] and critic_state.subgoals.shape == (1, sizes[2])


def test_a_moment_can_be_drawn(level):
    domain, env = envs.domain_of(level), envs.make_env(level)
    env.reset(seed=0)
    sizes = set()
    for _, percept in play(level, 0, steps=3):
        candidates = domain.subgoal_space().candidates(percept)
        shares = np.log(np.full(len(candidates), 1 / len(candidates)))
        gains = np.where(np.arange(len(candidates)) % 2, np.nan, 0.25)
        for scene in (
            Scene(percept, None, level=env.render()),
            Scene(percept, candidates[0], candidates, shares, level=env.render()),
            Scene(percept, candidates[0], candidates, shares, gains, 0.5, level=env.render()),
        ):
            sizes.add(domain.draw_scene(scene).shape)
    assert len(sizes) == 1 and all(side % 2 == 0 for side in sizes.pop()[:2])


def test_advantages_are_drawn_beside_the_candidates(level):
    domain, (_, percept) = envs.domain_of(level), play(level, 0, steps=0)[0]
    candidates = domain.subgoal_space().candidates(percept)

    def pixels(advantage, color):
        scene = Scene(percept, None, candidates, advantages=np.full(len(candidates), advantage))
        return (domain.draw_scene(scene)[:, -440:] == color).all(axis=2).sum()

    for advantage, color in ((0.5, GOOD), (-0.5, BAD)):
        assert pixels(advantage, color) > 0
        assert pixels(-advantage, color) == pixels(0.0, color) == pixels(np.nan, color) == 0
