"""What is seen of a table, held against the simulator; and hands that do what they are told."""

import sys

import numpy as np
import pytest

from hier import envs
from hier.config import HierConfig
from hier.controllers.hindsight import HindsightReplayBuffer
from hier.controllers.saved import SavedController, save_controller
from hier.envs import ConfigError, PerceptionError, SimulatorError, batched
from hier.envs.fetch.percept import CARRY_TASK, MISSION_CODEC, PUSH_TASK, REACH_TASK
from hier.envs.fetch.subgoals import CARRY, GRASP, NEAR, PUSH, REACH_TARGET, FetchSubgoals
from hier.perception.fetch.relabeling import FetchRelabeling
from hier.perception.fetch.scripted_controller import FetchScriptedController
from hier.perception.fetch.tracker import CENTER, FetchTracker
from hier.perception.fetch.vision import locate, see_block, see_target
from hier.run.build import build_env, build_model, build_planner_of
from tests.installed import made

SPACE = FetchSubgoals()
TASKS = ("FetchReach-v4", "FetchPush-v4", "FetchPickAndPlace-v4")


def test_block_and_target_are_where_the_simulator_has_them():
    env = made("FetchPickAndPlace-v4")
    blocks, targets = [], []
    for seed in range(40):
        frame = env.reset(seed=seed)[0]["image"]
        block, target = see_block(frame), see_target(frame)
        middle = np.array([1.3, 0.75, 0.5])
        if block.whole >= 2:
            blocks.append(np.abs(locate(block, middle) - env.block[0]).max())
        if target.whole >= 2:
            targets.append(np.abs(locate(target, middle) - env.target).max())
    assert len(blocks) >= 30 and len(targets) >= 30
    assert np.median(blocks) < 0.004 and max(blocks) < 0.015
    assert np.median(targets) < 0.004 and max(targets) < 0.015


def test_one_picture_fixes_a_place_near_the_expected_one():
    env = made("FetchPush-v4")
    sight = see_block(env.reset(seed=1)[0]["image"])
    alone = sight._replace(weights=sight.weights * (1, 0, 0))
    expected = env.block[0] + 0.01
    assert np.abs(locate(alone, expected) - env.block[0]).max() < 0.015
    nothing = sight._replace(weights=np.zeros(3))
    np.testing.assert_allclose(locate(nothing, expected), expected, atol=1e-6)


@pytest.mark.parametrize("level", [*TASKS, *(f"privileged/{task}" for task in TASKS)])
def test_an_expert_followed_by_a_scripted_hand_succeeds(level):
    env = made(level)
    tracker, space = FetchTracker(1), envs.domain_of(level).subgoal_space()
    scripted_controller, rng = FetchScriptedController(), np.random.default_rng(0)
    tolerance = 1e-5 if level.startswith("privileged") else 0.03
    for seed in range(2):
        observation, _ = env.reset(seed=seed)
        tracker.reset(batched(observation))
        subgoal, ended, achieved = None, False, []
        while not ended:
            before = tracker.percept(0)
            if subgoal is None:
                subgoal = env.expert().subgoal(before, space.candidates(before))
            action = scripted_controller.action(before, subgoal, rng)
            observation, reward, terminated, truncated, info = env.step(action)
            tracker.update(batched(observation))
            after, ended = tracker.percept(0), terminated or truncated
            np.testing.assert_allclose(after.target, env.target, atol=tolerance)
            if env.block is not None:
                np.testing.assert_allclose(after.block, env.block[0], atol=tolerance)
            if space.is_complete(subgoal, before, after):
                if subgoal in (REACH_TARGET, CARRY, PUSH):
                    moved = env.gripper[0] if env.block is None else env.block[0]
                    assert np.linalg.norm(moved - env.target) < NEAR + 0.02
                elif subgoal.verb == "grasp":
                    assert env.held
                achieved.append(subgoal.verb)
            if space.is_complete(subgoal, before, after) or space.is_interrupted(
                subgoal, before, after
            ):
                subgoal = None
        assert terminated and reward == 1.0 and info["is_success"], achieved


def seen_with(hands, poses, mission, subgoals):
    """What controllers see of privileged observations, with the ways and who is there."""
    tracker = FetchTracker(len(hands))
    words = np.tile(MISSION_CODEC.encode(mission), (len(hands), 1))
    observation = {"mission": words, "hand": hands, "poses": poses}
    tracker.reset(observation)
    for i, subgoal in enumerate(subgoals):
        tracker.pursue(i, subgoal)
    grounding = tracker.ground()
    vectors = np.stack([SPACE.encode(subgoal) for subgoal in subgoals])
    percepts = [tracker.percept(i) for i in range(len(hands))]
    there = [SPACE.is_complete(g, p, p) for g, p in zip(subgoals, percepts, strict=True)]
    lost = [SPACE.is_interrupted(g, p, p) for g, p in zip(subgoals, percepts, strict=True)]
    seen = {**tracker.controller_entries(observation)}
    seen["subgoal"] = np.concatenate([vectors, grounding.place], axis=1)
    return seen, grounding.steps.copy(), np.array(there), np.array(lost)


@pytest.mark.parametrize(
    ("mission", "subgoal"),
    [(REACH_TASK, REACH_TARGET), (PUSH_TASK, PUSH), (CARRY_TASK, CARRY), (CARRY_TASK, GRASP)],
)
def test_hindsight_shows_what_the_tracker_would_with_the_target_moved(mission, subgoal):
    rng, n, subgoals = np.random.default_rng(0), 300, [subgoal] * 300

    def scene():
        hands = np.zeros((n, 7), np.float32)
        hands[:, :3] = CENTER + rng.uniform(-0.15, 0.15, (n, 3))
        hands[:, 3:6] = rng.uniform(-0.15, 0.15, (n, 3))
        poses = np.zeros((n, 9), np.float32)
        if mission != REACH_TASK:
            poses[:, :3] = hands[:, :3] + rng.uniform(-0.05, 0.05, (n, 3))
            poses[:, 3:6] = rng.uniform(-0.15, 0.15, (n, 3))
        poses[:, 6:] = CENTER + rng.uniform(-0.15, 0.15, (n, 3))
        return hands, poses

    before, after, later = scene(), scene(), scene()
    later[0][: n // 2], later[1][: n // 2] = after[0][: n // 2], after[1][: n // 2]
    new = FetchRelabeling().relabel(
        *(seen_with(*moment, mission, subgoals)[0] for moment in (before, after, later))
    )
    if subgoal == GRASP:
        assert not new.valid.any()
        return
    target = later[0][:, :3] if mission == REACH_TASK else later[1][:, :3]
    for _, poses in (before, after):
        poses[:, 6:] = target
    seen, steps, there, lost = seen_with(*before, mission, subgoals)
    next_seen, next_steps, next_there, next_lost = seen_with(*after, mission, subgoals)
    for mine, theirs in ((new.observation, seen), (new.next_observation, next_seen)):
        for key in theirs:
            np.testing.assert_allclose(mine[key], theirs[key], atol=1e-4)
    np.testing.assert_allclose(new.steps, steps, atol=1e-4)
    np.testing.assert_allclose(new.next_steps, next_steps, atol=1e-4)
    np.testing.assert_array_equal(new.done, next_there)
    np.testing.assert_array_equal(new.terminal, new.reward > 0)
    possible = ~there & ~((lost | next_lost) if subgoal == PUSH else False)
    np.testing.assert_array_equal(new.valid, possible)
    assert new.valid.any() and new.done.any()


@pytest.mark.parametrize("mission", [REACH_TASK, CARRY_TASK])
def test_hindsight_without_a_planner_moves_the_target_of_the_mission(mission):
    hands, poses = np.zeros((3, 7), np.float32), np.zeros((3, 9), np.float32)
    hands[:, 0], poses[:, 6:] = (1.1, 1.2, 1.3), (1.5, 0.8, 0.5)
    if mission != REACH_TASK:
        poses[:, :3] = hands[:, :3] + np.array([0.01, 0.02, 0.03], np.float32)
    seen = {"mission": np.stack([MISSION_CODEC.encode(mission)] * 3), "hand": hands, "poses": poses}
    tracker = FetchTracker(3)
    tracker.reset(seen)
    first, second, last = (
        {"state": state[None], "subgoal": np.zeros((1, 13), np.float32)}
        for state in tracker.controller_entries(seen)["state"]
    )
    new = FetchRelabeling().relabel(first, second, last)
    assert new.valid.all() and not new.done.any() and not new.observation["subgoal"].any()
    np.testing.assert_allclose(new.steps, [2.0], atol=1e-4)  # of 10 cm
    arrived = FetchRelabeling().relabel(first, last, last)
    assert arrived.done.all() and arrived.terminal.all() and arrived.reward == 1


def test_a_table_without_a_block_is_refused():
    observation = {
        "mission": MISSION_CODEC.encode(CARRY_TASK)[None],
        "hand": np.zeros((1, 7), np.float32),
        "image": np.zeros((1, 128, 384, 3), np.uint8),
    }
    with pytest.raises(PerceptionError, match="environment 0 shows no yellow block"):
        FetchTracker(1).reset(observation)


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(SimulatorError, match=r"pip install 'hier-agent\[mujoco\]'"):
        envs.make_env("FetchPush-v4")


def test_without_opengl_the_privileged_twin_is_named(monkeypatch):
    mujoco = pytest.importorskip("mujoco", reason="needs the extra [mujoco]")
    from hier.envs.fetch.camera import Camera

    def fail(*_):
        raise RuntimeError("no display")

    monkeypatch.setattr(mujoco, "Renderer", fail)
    with pytest.raises(SimulatorError, match=r"no display.*libegl1.*privileged/FetchReach-v4"):
        Camera("FetchReach-v4")


def test_a_controller_trains_at_the_table_with_hindsight(tmp_path):
    made("privileged/FetchReach-v4")
    config = HierConfig.load(
        "fetch",
        [
            "env.id=privileged/FetchReach-v4", "env.n_envs=2", "controller.net_arch=[16]",
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
    save_controller(model, tmp_path / "model.zip")
    again = build_model(config, env, SavedController(tmp_path / "model.zip"))
    assert isinstance(again.replay_buffer, HindsightReplayBuffer)
    assert again.replay_buffer.hindsight.share == config.controller.hindsight
    again.learn(40)
    other = config.override("controller.algorithm=ppo", "controller.options={}")
    with pytest.raises(ConfigError, match=r"'ppo' replays nothing.*dqn, sac, td3"):
        build_model(other, env)
