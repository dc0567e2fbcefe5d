"""Building environments, what they return, and the errors on the way."""

import re
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

from hier import envs
from hier.envs import SimulatorError, UnknownNameError
from hier.envs.gridworld.env import GridworldEnv
from hier.envs.gridworld.missions import MISSION_CODEC
from hier.envs.gridworld.percept import HEADINGS
from tests.scripted_play import DROP, LEVELS, SPACE, Play, busy_action, pursue

SEEDS = 10
FEW = (
    "BabyAI-BossLevel-v0",
    "BabyAI-PutNextS5N2Carrying-v0",
    "BabyAI-UnlockPickup-v0",
    "MiniGrid-Dynamic-Obstacles-8x8-v0",
    "MiniGrid-LavaGapS7-v0",
    "MiniGrid-Playground-v0",
)


def test_there_are_188_ids_of_one_domain():
    domain = envs.domain_named("gridworld")
    ids = domain.env_ids()
    assert len(ids) == len(set(ids)) == 188
    assert list(ids) == sorted(ids)
    assert {envs.domain_of(name) for name in ids} == {domain} and set(ids) <= set(envs.env_ids())


@pytest.mark.parametrize("level", FEW)
@pytest.mark.parametrize("check", [check_gymnasium, check_sb3], ids=["gymnasium", "sb3"])
def test_the_environment_checkers_have_nothing_to_say(check, level):
    arguments = {"skip_render_check": True}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(envs.make_env(level), **arguments)
    said = [str(warning.message) for warning in caught]
    # Gymnasium would rather check what is inside a wrapper; ours changes every observation.
    assert [text for text in said if "different from the unwrapped version" not in text] == []


@pytest.mark.parametrize("level", envs.domain_named("gridworld").env_ids())
def test_every_id_builds_with_missions_that_survive_encoding(level):
    env = envs.make_env(level)
    if "-WFC-" in level:
        with pytest.raises(SimulatorError, match=f"{level}.*install minigrid from its repository"):
            env.reset(seed=0)
        return
    for seed in range(SEEDS):
        observation, info = env.reset(seed=seed)
        assert observation in env.observation_space and info == {}
        mission = env.simulator.mission
        assert MISSION_CODEC.decode(observation["mission"]) == mission
        np.testing.assert_array_equal(observation["mission"], MISSION_CODEC.encode(mission))
    assert env.step(0)[0] in env.observation_space


def test_the_longest_mission_fits():
    clause = "put the yellow ball in front of you next to a purple box on your left"
    longest = f"{clause} and {clause} after you {clause} and {clause}"
    assert MISSION_CODEC.decode(MISSION_CODEC.encode(longest)) == longest
    assert np.count_nonzero(MISSION_CODEC.encode(longest)) <= MISSION_CODEC.length


def test_missions_that_cannot_be_encoded_say_what_to_change():
    with pytest.raises(SimulatorError, match=r"\['teapot'\].*MissionCodec"):
        MISSION_CODEC.encode("pick up the teapot")
    with pytest.raises(SimulatorError, match="81 words, more than 80; raise the length"):
        MISSION_CODEC.encode("go " * 81)


def test_the_vocabulary_holds_each_word_once():
    assert len(set(MISSION_CODEC.words)) == len(MISSION_CODEC.words)


def test_an_unknown_id_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'BabyAI-UnlockPickup-v0'") as caught:
        envs.make_env("BabyAI-UnlockPickpu-v0")
    assert caught.value.nearest == "BabyAI-UnlockPickup-v0"
    with pytest.raises(UnknownNameError, match="environment id 'CartPole-v1'"):
        envs.domain_of("CartPole-v1")
    with pytest.raises(UnknownNameError, match="did you mean 'gridworld'"):
        envs.domain_named("gridwrold")


def test_another_view_size_is_refused():
    simulator = gym.make("MiniGrid-Empty-8x8-v0", agent_view_size=5, disable_env_checker=True)
    with pytest.raises(SimulatorError, match=r"view of 5 cells.* expects 7"):
        GridworldEnv(simulator.unwrapped)


@pytest.mark.parametrize("level", ("BabyAI-BossLevel-v0", "MiniGrid-Empty-8x8-v0"))
def test_max_steps_ends_the_episode(level):
    env = envs.make_env(level, max_steps=9)
    env.reset(seed=0)
    ends = [env.step(0)[3] for _ in range(9)]
    assert ends == [False] * 8 + [True]


def test_a_seed_and_actions_fix_the_episode():
    def episode():
        env = envs.make_env("MiniGrid-Dynamic-Obstacles-8x8-v0")
        frames = [env.reset(seed=4)[0]["image"]]
        frames += [env.step(action)[0]["image"] for action in (0, 0, 1, 1, 0, 6)]
        return np.stack(frames)

    np.testing.assert_array_equal(episode(), episode())


def test_gymnasium_can_make_it_anew_from_its_spec():
    env = envs.make_env("BabyAI-UnlockPickup-v0", max_steps=33)
    again = gym.make(env.spec, disable_env_checker=True)
    assert isinstance(again, GridworldEnv) and again.simulator.max_steps == 33
    wanted, got = env.reset(seed=2)[0], again.reset(seed=2)[0]
    assert all(np.array_equal(wanted[key], got[key]) for key in wanted)


@pytest.mark.parametrize("level", LEVELS)
def test_odometry_adds_up_to_the_simulators_pose(level):
    env = envs.make_env(level)
    simulator = env.simulator
    rng = np.random.default_rng(2)
    moved = 0
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        assert not observation["odometry"].any()
        (x, y), heading = simulator.agent_pos, simulator.agent_dir
        for _ in range(100):
            observation, _, terminated, truncated, _ = env.step(busy_action(simulator, rng))
            ahead, right, turn = observation["odometry"].tolist()
            assert turn in (-1, 0, 1)
            fx, fy = HEADINGS[heading]
            x, y = x + fx * ahead - fy * right, y + fy * ahead + fx * right
            heading = (heading + turn) % 4
            moved += abs(ahead) + abs(right)
            assert (x, y) == tuple(simulator.agent_pos) and heading == simulator.agent_dir
            if terminated or truncated:
                break
    assert moved > 10


@pytest.mark.parametrize(
    "level",
    (
        "BabyAI-GoToSeqS5R2-v0",
        "BabyAI-MiniBossLevel-v0",
        "BabyAI-PutNextLocal-v0",
        "BabyAI-PutNextS5N2Carrying-v0",
        "BabyAI-SynthS5R2-v0",
    ),
)
def test_moved_things_are_judged_as_by_minigrid(level):
    """BabyAI keeps lists of where things lie; ours are refreshed only when something moved."""
    official = gym.make(level, disable_env_checker=True).unwrapped
    play = Play(level)
    wins = drops = 0
    for seed in range(8):
        official.reset(seed=seed)
        for _, action, _, _ in play.follow_expert(seed, random_action=0.2):
            drops += action == DROP
            _, reward, terminated, truncated, _ = official.step(action)
            assert (play.reward, play.ended) == (reward, terminated or truncated)
        wins += play.reward > 0
    assert wins >= 4 and drops >= 2


def test_a_thing_moved_first_counts_where_it_lies_now():
    """The mission's fixed object is carried elsewhere before the other is put next to it."""
    official = gym.make("BabyAI-PutNextLocal-v0", disable_env_checker=True).unwrapped
    play, rng = Play("BabyAI-PutNextLocal-v0"), np.random.default_rng(0)
    wins = 0
    for seed in range(8):
        official.reset(seed=seed)
        percept = play.reset(seed)
        moved, fixed = re.fullmatch("put the (.*) next to the (.*)", percept.mission).groups()
        for text in (
            f"pick up the {fixed}",
            "drop",
            f"pick up the {moved}",
            f"put next to the {fixed}",
        ):
            done = False
            while not (done or play.ended):
                subgoal = SPACE.parse(text)
                seen = subgoal in SPACE.candidates(percept)
                action = pursue(percept, subgoal if seen else SPACE.parse("explore"), rng)
                before, percept = percept, play.step(action)
                done = SPACE.is_complete(subgoal, before, percept)
                _, reward, terminated, truncated, _ = official.step(action)
                assert (play.reward, play.ended) == (reward, terminated or truncated)
        wins += play.reward > 0
    assert wins >= 6
