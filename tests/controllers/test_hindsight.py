"""Hindsight pays what the wrapper would have paid, and leaves alone what it cannot know."""

from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces

from hier.config import HierConfig
from hier.controllers.hindsight import PAYS, Hindsight, HindsightReplayBuffer
from hier.envs.domain import Relabeled
from hier.envs.errors import ConfigError
from hier.run.build import build_env, build_hindsight, build_planner_of

GAMMA, BONUS, SHAPING, SCALE = 0.9, 1.0, 0.5, 3.0
SPACE = spaces.Dict({"x": spaces.Box(-99, 99, (2,)), "subgoal": spaces.Box(0, 99, (1,))})


class Line:
    """Places on a line; ``x`` is the place and the target, *done* within half a cell."""

    def relabel(self, observation, next_observation, reached):
        target = reached["x"][:, 0]
        seen = []
        for one in (observation, next_observation):
            seen.append({"x": np.stack([one["x"][:, 0], target], 1), "subgoal": one["subgoal"]})
        before, after = (np.abs(one["x"][:, 0] - target) for one in seen)
        done = after < 0.5
        return Relabeled(before >= 0.5, *seen, before, after, done, done.astype(float), done)


def buffer_of(share, size=40, n_envs=1):
    hindsight = Hindsight(share, Line(), GAMMA, SCALE, SHAPING)
    return HindsightReplayBuffer(
        size, SPACE, spaces.Box(-1, 1, (1,)), "cpu", n_envs, hindsight=hindsight
    )


def walk(buffer, places, target=50.0, outcome="timeout", pays=BONUS, stored=-7.0):
    """A subgoal pursued along ``places``, closed with ``outcome``; each reward is ``stored``."""
    for k in range(len(places) - 1):
        last = k == len(places) - 2
        seen = [
            {"x": np.array([[place, target]]), "subgoal": np.array([[1.0]])}
            for place in places[k : k + 2]
        ]
        info = {PAYS: pays}
        if last and outcome is not None:
            info["subgoal"] = SimpleNamespace(outcome=outcome)
        buffer.add(*seen, np.zeros((1, 1)), np.array([stored]), np.array([False]), [info])


def sampled(buffer, n=400):
    np.random.seed(0)
    batch = buffer.sample(n)
    return {
        "from": batch.observations["x"].numpy()[:, 0],
        "to": batch.next_observations["x"].numpy()[:, 0],
        "target": batch.observations["x"].numpy()[:, 1],
        "next_target": batch.next_observations["x"].numpy()[:, 1],
        "reward": batch.rewards.numpy()[:, 0],
        "done": batch.dones.numpy()[:, 0],
    }


def test_rewards_are_those_of_a_target_reached_later():
    buffer = buffer_of(1.0)
    walk(buffer, [0, 1, 2, 3, 4], outcome="done")
    got = sampled(buffer)
    assert set(got["target"]) == {1.0, 2.0, 3.0, 4.0} and (got["target"] >= got["to"]).all()
    np.testing.assert_array_equal(got["target"], got["next_target"])
    done = got["to"] == got["target"]
    np.testing.assert_array_equal(got["done"], done)
    before, after = got["target"] - got["from"], got["target"] - got["to"]
    on_the_way = -GAMMA * SHAPING * after + SHAPING * before
    arrived = SHAPING * before + BONUS + SCALE
    np.testing.assert_allclose(got["reward"], np.where(done, arrived, on_the_way), rtol=1e-6)


def test_without_a_share_everything_is_as_it_was_stored():
    buffer = buffer_of(0.0)
    walk(buffer, [0, 1, 2, 3], outcome="done")
    got = sampled(buffer)
    assert (got["reward"] == -7).all() and (got["target"] == 50).all() and not got["done"].any()


def test_a_share_of_the_samples_is_relabeled():
    buffer = buffer_of(0.25)
    walk(buffer, list(range(20)), outcome="done")
    assert 0.2 < (sampled(buffer, 2000)["target"] != 50).mean() < 0.3


@pytest.mark.parametrize(
    ("outcome", "pays", "places", "relabeled"),
    [
        (None, BONUS, [0, 1, 2], set()),  # pursued still
        ("done", None, [0, 1, 2], set()),  # paid before
        ("timeout", BONUS, [0, 1, 2], {0}),  # but not the step that another subgoal follows on
        ("failed", BONUS, [0, 1, 2], {0}),
        ("episode end", BONUS, [0, 1, 2], {0, 1}),
        ("done", BONUS, [3, 3, 3], set()),  # was there
    ],
)
def test_what_hindsight_cannot_know_is_left_alone(outcome, pays, places, relabeled):
    buffer = buffer_of(1.0)
    walk(buffer, places, outcome=outcome, pays=pays)
    got = sampled(buffer)
    changed = got["target"] != 50
    assert set(got["from"][changed]) == relabeled
    assert (got["reward"][~changed] == -7).all()


def test_targets_stay_within_the_subgoal_when_old_steps_are_overwritten():
    buffer = buffer_of(1.0, size=7)
    for start in (0, 100, 200, 300):  # five steps each, so the third begins at the end
        walk(buffer, [start + k for k in range(6)], outcome="done")
        got = sampled(buffer)
        assert (got["target"] // 100 == got["from"] // 100).all()
        assert (got["target"] >= got["to"]).all()


def test_without_a_planner_the_episode_is_what_is_pursued():
    buffer = buffer_of(1.0)
    for k in range(6):
        seen = [{"x": np.array([[at, 50.0]]), "subgoal": np.zeros((1, 1))} for at in (k, k + 1)]
        buffer.add(*seen, np.zeros((1, 1)), np.zeros(1), np.array([k == 3]), [{}])
    got = sampled(buffer)
    first = got["from"] < 4
    assert set(got["target"][first]) == {1.0, 2.0, 3.0, 4.0}
    assert set(got["target"][~first]) == {50.0}  # an episode that goes on


def test_environments_do_not_mix():
    buffer = buffer_of(1.0, n_envs=2)
    for k in range(6):
        seen = [
            {"x": np.array([[place, 50.0], [20.0 + place, 50.0]]), "subgoal": np.ones((2, 1))}
            for place in (k, k + 1)
        ]
        closed = {PAYS: BONUS, "subgoal": SimpleNamespace(outcome="done")}
        infos = [closed if k % 2 else {PAYS: BONUS}, closed if k == 5 else {PAYS: BONUS}]
        buffer.add(*seen, np.zeros((2, 1)), np.zeros(2), np.zeros(2, bool), infos)
    got = sampled(buffer)
    first = got["from"] < 20
    assert ((got["target"] - got["from"])[first] <= 2).all() and (got["target"][first] <= 6).all()
    assert set(got["target"][~first]) == {21.0, 22.0, 23.0, 24.0, 25.0, 26.0}


def played(config, actions, target=None):
    """Stored transitions of one environment, after the simulator's target was set."""
    env = build_env(config, build_planner_of(config))
    env.seed(5)
    env.reset()
    (inner,) = [made.unwrapped for made in env.venv.envs]
    if target is not None:
        inner.simulator.goal[:] = target
        state = env.venv.envs[0].unwrapped._observation()
        env.hierarchy.begin({key: value[None] for key, value in state.items()})
        env._note_ways([0])
    seen = env.hierarchy.controller_observation({})
    steps = []
    for chosen in actions:
        before = {key: value.copy() for key, value in seen.items()}
        seen, rewards, dones, infos = env.step(chosen[None])
        after = seen if not dones[0] else infos[0]["terminal_observation"]
        after = {key: np.reshape(value, before[key].shape).copy() for key, value in after.items()}
        steps.append((before, after, float(rewards[0]), bool(dones[0])))
        if dones[0]:
            break
    place = inner.gripper[0].copy()
    env.close()
    return steps, place


@pytest.mark.parametrize("planner", ["oracle", "none"])
def test_the_wrapper_would_have_paid_the_same(planner):
    pytest.importorskip("gymnasium_robotics", reason="needs the extra [mujoco]")
    config = HierConfig.load("fetch", ["env.id=privileged/FetchReach-v4", "env.n_envs=1"])
    config = config.override(f"planner.type={planner}", "controller.hindsight=0.5")
    actions = np.tile(np.array([0.6, -0.5, 0.3, 0], np.float32), (8, 1))
    actions[4:] = 0  # and stay there, so that it counts as reached
    first, place = played(config, actions)
    hindsight = build_hindsight(config)
    second, _ = played(config, actions, target=place)
    assert len(first) >= len(second) > 3 and second[-1][3] and not first[len(second) - 1][3]
    bonus = config.subgoal.bonus if planner == "oracle" else 0.0
    reached = first[-1][1]
    for (before, after, _, _), (told, next_told, paid, ended) in zip(first, second, strict=False):
        new = hindsight.relabeling.relabel(before, after, reached)
        assert new.valid.all() and bool(new.done[0]) == ended == bool(new.terminal[0])
        for mine, theirs in ((new.observation, told), (new.next_observation, next_told)):
            for key in theirs:
                np.testing.assert_allclose(mine[key], theirs[key], atol=1e-4)
        potentials = -hindsight.shaping * new.steps[0], -hindsight.shaping * new.next_steps[0]
        pay = hindsight.gamma * potentials[1] * (not ended) - potentials[0]
        pay += ended * (bonus + hindsight.environment)
        assert paid == pytest.approx(pay, abs=1e-4)


def test_domains_and_rewards_without_hindsight_say_so():
    with pytest.raises(ConfigError, match=r"'gridworld' has no hindsight; set controller"):
        build_hindsight(HierConfig.load("demo", ["controller.hindsight=0.5"]))
    with pytest.raises(
        ConfigError, match=r"planner's values of moved targets.*guidance\.value_shaping"
    ):
        build_hindsight(HierConfig.load("fetch", ["guidance.value_shaping=0.1"]))
    assert build_hindsight(HierConfig.load("fetch", ["controller.hindsight=0"])) is None
