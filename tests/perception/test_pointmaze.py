"""What is seen of a maze, held against the simulator; and a controller that learns in one."""

import sys

import numpy as np
import pytest

from hier import envs
from hier.config import HierConfig
from hier.envs import ConfigError, PerceptionError, SimulatorError, batched
from hier.envs.pointmaze.maps import GOAL_RADIUS
from hier.envs.pointmaze.subgoals import REACH_GOAL
from hier.perception.pointmaze.relabeling import MazeRelabeling
from hier.perception.pointmaze.tracker import MazeTracker
from hier.perception.pointmaze.vision import see_agent, see_scene
from hier.run.build import build_env, build_model, build_planner_of
from tests.installed import made

MAZES = ("PointMaze_UMaze-v3", "PointMaze_Medium-v3", "PointMaze_Large-v3")


@pytest.mark.parametrize("level", MAZES)
def test_walls_goal_and_agent_are_where_the_simulator_has_them(level):
    env = made(level)
    for seed in range(5):
        frame = env.reset(seed=seed)[0]["image"]
        scene = see_scene(frame)
        np.testing.assert_array_equal(scene.walls, env.walls)
        np.testing.assert_allclose(scene.goal, env.goal, atol=0.05)
        np.testing.assert_allclose(see_agent(frame, scene.corner), env.position, atol=0.05)


@pytest.mark.parametrize("level", ["PointMaze_Medium-v3", "privileged/PointMaze_Medium-v3"])
def test_an_expert_followed_by_simple_steering_arrives(level):
    env = made(level)
    tracker, space = MazeTracker(1), envs.domain_of(level).subgoal_space()
    exact = level.startswith("privileged")
    for seed in range(2):
        observation, _ = env.reset(seed=seed)
        tracker.reset(batched(observation))
        subgoal, ended = None, False
        while not ended:
            before = tracker.percept(0)
            if subgoal is None:
                subgoal = env.expert().subgoal(before, space.candidates(before))
            force = 3.0 * (space.place(before, subgoal) - before.position) - 0.6 * before.velocity
            action = np.clip(force * (1, -1), -1, 1).astype(np.float32)  # rows count downwards
            observation, reward, terminated, truncated, info = env.step(action)
            tracker.update(batched(observation))
            after, ended = tracker.percept(0), terminated or truncated
            error = np.abs(after.position - env.position).max()
            assert error < (1e-5 if exact else 0.08)
            if space.is_complete(subgoal, before, after):
                away = np.hypot(*(space.place(after, subgoal) - env.position))
                assert away < GOAL_RADIUS + 0.1
                subgoal = None if subgoal != REACH_GOAL else subgoal
        assert terminated and reward == 1.0 and info["is_success"]


def test_hindsight_shows_what_the_tracker_would_with_the_goal_moved():
    rng, n = np.random.default_rng(0), 200
    size = envs.domain_of(MAZES[0]).subgoal_space().encoding_size + 4

    def seen(state):
        tracker = MazeTracker(n)
        tracker.reset({"state": state, "walls": np.zeros((n, 12, 12), np.uint8)})
        return tracker.controller_entries({}) | {"subgoal": np.zeros((n, size), np.float32)}

    states = rng.uniform(1, 11, (3, n, 6)).astype(np.float32)
    states[2, :, :2] = states[0, :, :2] + rng.normal(0, 0.5, (n, 2))  # near, so that some arrive
    states[1, :, :2] = states[2, :, :2] + rng.normal(0, 0.5, (n, 2))
    new = MazeRelabeling().relabel(*map(seen, states))
    states[:2, :, 4:] = states[2, :, :2]
    for mine, state in ((new.observation, states[0]), (new.next_observation, states[1])):
        np.testing.assert_allclose(mine["state"], seen(state)["state"], atol=1e-5)
    away = np.linalg.norm(states[:2, :, :2] - states[2, :, :2], axis=2)
    np.testing.assert_array_equal(new.valid, away[0] > GOAL_RADIUS)
    np.testing.assert_array_equal(new.done, away[1] <= GOAL_RADIUS)
    assert new.done.any() and new.valid.any() and not new.done.all()
    under_a_planner = seen(states[0])
    under_a_planner["subgoal"][:, 0] = 1
    assert not MazeRelabeling().relabel(under_a_planner, *map(seen, states[1:])).valid.any()


def test_a_discrete_controller_is_refused_in_a_maze():
    made("privileged/PointMaze_UMaze-v3")
    level = "env.id=privileged/PointMaze_UMaze-v3"
    other = ["controller.algorithm=dqn", "controller.options={}"]
    config = HierConfig.load("pointmaze", [level, "env.n_envs=1", *other])
    with pytest.raises(ConfigError, match=r"'dqn' cannot choose among Box.*ppo, a2c.*sac, td3"):
        build_model(config, build_env(config, build_planner_of(config)))


def test_what_is_no_maze_is_refused():
    with pytest.raises(PerceptionError, match="no maze of 3 to 12 cells a side"):
        see_scene(np.zeros((120, 120, 3), np.uint8))


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(SimulatorError, match=r"pip install 'hier-agent\[mujoco\]'"):
        envs.make_env("PointMaze_UMaze-v3")


@pytest.mark.parametrize(("algorithm", "planner"), [("sac", "oracle"), ("td3", "none")])
def test_a_continuous_controller_trains_in_a_maze(algorithm, planner):
    made("privileged/PointMaze_UMaze-v3")
    config = HierConfig.load(
        "pointmaze",
        [
            "env.id=privileged/PointMaze_UMaze-v3", "env.n_envs=2", f"planner.type={planner}",
            f"controller.algorithm={algorithm}", "controller.net_arch=[16]",
            "controller.options={learning_starts: 20, buffer_size: 200, batch_size: 8}",
        ],
    )  # fmt: skip
    env = build_env(config, build_planner_of(config))
    model = build_model(config, env)
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(60)
    assert any((a != b).any() for a, b in zip(before, model.policy.parameters(), strict=True))
    observation = env.reset()
    assert env.observation_space.contains({key: value[0] for key, value in observation.items()})
    assert observation["subgoal"].any() == (planner == "oracle")
