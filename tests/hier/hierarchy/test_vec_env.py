"""The hierarchical environment: what it pays, what it re-plans, what it reports."""

from collections import Counter

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from hier.config import HierConfig
from hier.controllers.rewards import RewardWeights
from hier.envs import make_env
from hier.envs.errors import NotFiniteError
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.hierarchy.lanes import Hierarchy
from hier.hierarchy.vec_env import HierarchicalVecEnv, experts_of
from hier.perception.gridworld.tracker import GridTracker
from hier.planners import PlannerReply
from hier.planners.protocol import certain_of
from hier.run.build import build_env, build_planner_of

LEVEL = "BabyAI-UnlockPickup-v0"
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE = range(6)


class Scripted:
    """Chooses the first candidate whose text starts with one of the wishes."""

    privileged = False
    version = 0

    def __init__(self, *wishes):
        self.wishes = wishes
        self.batches = []

    def score(self, queries):
        self.batches.append(len(queries))
        return [self._reply(query) for query in queries]

    def _reply(self, query) -> PlannerReply:
        for wish in self.wishes:
            for i, candidate in enumerate(query.candidates):
                if str(candidate).startswith(wish):
                    return certain_of(i, len(query.candidates))
        return certain_of(0, len(query.candidates))


def build(planner, n=1, level=LEVEL, gamma=1.0, max_duration=1000, upper=None, **rewards):
    venv = DummyVecEnv([lambda: make_env(level)] * n)
    hierarchy = Hierarchy(
        n, planner, GridworldSubgoals(), GridTracker(n),
        max_duration=max_duration, experts=experts_of(venv),
    )  # fmt: skip
    return HierarchicalVecEnv(venv, hierarchy, RewardWeights(**rewards), gamma, upper)


def walk_to_target(env):
    """The action that lowers the walking distance shown in the observation's second plane."""
    planes = env.hierarchy.tracker.grounding.planes[0, 1]
    ahead, left, right = planes[5, 3], planes[6, 2], planes[6, 4]
    if ahead < 0:
        return FORWARD
    return LEFT if left < right else RIGHT


def pursue(env, final_action):
    """Walk to the current target and act on it; returns pay beyond the environment's reward."""
    paid, start = 0.0, env.hierarchy.steps_to_target(0)
    subgoal = env.hierarchy.lanes[0].active.subgoal
    for _ in range(60):
        targets = env.hierarchy.tracker.grounding.planes[0, 0]
        action = final_action if targets[5, 3] else walk_to_target(env)
        _, reward, _, infos = env.step([action])
        paid += float(reward[0])
        if "subgoal" in infos[0]:
            assert infos[0]["subgoal"].subgoal == subgoal
            return paid, start, infos[0]["subgoal"]
    raise AssertionError(f"never completed {subgoal}")


def key_level_seed():
    """A level that shows the key at once."""
    for seed in range(100):
        env = build(Scripted("pick up"))
        env.seed(seed)
        env.reset()
        if str(env.hierarchy.lanes[0].active.subgoal).startswith("pick up"):
            return seed
    raise AssertionError("no such level")


def test_a_completed_subgoal_pays_its_bonus_and_the_distance_walked():
    env = build(Scripted("pick up"), environment=0.0, bonus=0.5, shaping=0.05)
    env.seed(key_level_seed())
    env.reset()
    paid, start, record = pursue(env, PICKUP)
    assert record.outcome == "done" and record.subgoal.verb == "pick up"
    # Undiscounted shaping telescopes to the distance at the start.
    assert paid == pytest.approx(0.5 + 0.05 * start)


def test_picking_up_and_dropping_for_ever_earns_nothing_more():
    env = build(Scripted("drop", "pick up"), environment=0.0, bonus=0.5, shaping=0.05)
    env.seed(key_level_seed())
    env.reset()
    totals = []
    for _ in range(3):
        up, _, first = pursue(env, PICKUP)
        down, _, second = pursue(env, DROP)
        assert (first.outcome, second.outcome) == ("done", "done")
        totals.append(up + down)
    assert totals[0] > 1.0
    assert totals[1:] == [0.0, 0.0]


def test_shaping_is_potential_based_with_the_discount():
    gamma = 0.9
    env = build(Scripted("pick up"), environment=0.0, bonus=0.0, shaping=0.05, shaping_gamma=gamma)
    env.seed(key_level_seed())
    env.reset()
    before = -0.05 * env.hierarchy.steps_to_target(0)
    for action in (LEFT, RIGHT, walk_to_target(env)):
        _, reward, _, infos = env.step([action])
        assert "subgoal" not in infos[0]
        after = -0.05 * env.hierarchy.steps_to_target(0)
        assert reward[0] == pytest.approx(gamma * after - before, abs=1e-6)
        before = after


def test_who_stands_still_is_paid_only_where_the_shaping_is_discounted():
    for gamma, pays in ((0.97, True), (1.0, False)):
        env = build(Scripted("pick up"), bonus=0.0, shaping=0.05, shaping_gamma=gamma)
        env.seed(key_level_seed())
        env.reset()
        away = env.hierarchy.steps_to_target(0)
        paid = sum(float(env.step([DROP])[1][0]) for _ in range(5))  # with empty hands
        assert paid == pytest.approx(5 * (1 - gamma) * 0.05 * away, abs=1e-6)
        assert (paid > 0) == pays


def test_some_subgoals_pay_another_bonus():
    bonuses = {"drop*": 0.0, "pick up the * key": 0.2, "pick up *": 0.9}
    env = build(Scripted("drop", "pick up"), bonus=0.5, bonuses=bonuses, shaping=0.0)
    env.seed(key_level_seed())
    env.reset()
    assert pursue(env, PICKUP)[0] == pytest.approx(0.2)
    assert pursue(env, DROP)[0] == 0.0


def test_only_environments_that_need_a_plan_are_asked_in_one_batch():
    planner = Scripted("pick up", "open", "explore")
    env = build(planner, n=6)
    env.seed(0)
    env.reset()
    assert planner.batches == [6]
    rng = np.random.default_rng(0)
    for _ in range(200):
        planner.batches.clear()
        _, _, dones, infos = env.step(rng.integers(6, size=6))
        need = sum(1 for i in range(6) if dones[i] or "subgoal" in infos[i])
        # Ended episodes begin anew in one batch, closed subgoals in another.
        assert sum(planner.batches) == need and len(planner.batches) <= 2


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_is_named(reward, monkeypatch):
    env = build(Scripted("go to the yellow key"), n=2)
    env.reset()
    level = env.venv.envs[1]
    step = level.step
    monkeypatch.setattr(level, "step", lambda action: (step(action)[0], reward, False, False, {}))
    with pytest.raises(NotFiniteError, match=r"environment 1 gave the reward (nan|inf) in step 1"):
        env.step(np.zeros(2, int))


def test_a_subgoal_times_out():
    env = build(Scripted("pick up"), max_duration=7)
    env.seed(key_level_seed())
    env.reset()
    for step in range(1, 8):
        _, _, _, infos = env.step([LEFT])
        assert ("subgoal" in infos[0]) == (step == 7)
    assert infos[0]["subgoal"].outcome == "timeout" and infos[0]["subgoal"].duration == 7


def test_unasked_change_of_hands_is_a_failure_and_costs_the_penalty():
    env = build(Scripted("pick up"), shaping=0.0, penalty=0.3)
    env.seed(key_level_seed())
    env.reset()
    pursue(env, PICKUP)
    env.hierarchy.planner.wishes = ("open",)
    env.hierarchy.plan([0])
    for action in (DROP, LEFT, DROP, LEFT, DROP):
        _, rewards, _, infos = env.step([action])
        if "subgoal" in infos[0]:
            break
        assert rewards[0] == 0
    assert infos[0]["subgoal"].outcome == "failed"
    assert rewards[0] == pytest.approx(-0.3)


def test_every_end_reports_an_episode_and_a_complete_terminal_observation():
    env = build(Scripted("explore", "pick up"), n=4, level="BabyAI-GoToObjS4-v0")
    env.seed(0)
    env.reset()
    rng, ends = np.random.default_rng(0), 0
    for _ in range(150):
        observation, _, dones, infos = env.step(rng.integers(6, size=4))
        assert env.observation_space.contains({k: v[0] for k, v in observation.items()})
        for i in np.flatnonzero(dones):
            ends += 1
            assert env.observation_space.contains(infos[i]["terminal_observation"])
            assert infos[i]["is_success"] == (infos[i]["episode"]["r"] > 0)
            assert infos[i]["planner_queries"] == len(infos[i]["plan"])
            assert sum(duration for _, duration, _ in infos[i]["plan"]) == infos[i]["episode"]["l"]
    assert ends > 10


def test_records_add_up_to_the_discounted_return():
    gamma = 0.9
    env = build(Scripted("go to"), n=2, level="BabyAI-GoToObjS4-v0", gamma=0.5, upper=gamma)
    env.seed(0)
    env.reset()
    rng = np.random.default_rng(1)
    total, discount = np.zeros(2), np.ones(2)
    checked = Counter()
    for _ in range(300):
        _, _, dones, infos = env.step(rng.integers(3, size=2))
        for i in range(2):
            if "subgoal" in infos[i]:
                record = infos[i]["subgoal"]
                total[i] += discount[i] * record.reward
                discount[i] *= gamma**record.duration
            if dones[i]:
                # MiniGrid pays once, at the last step.
                expected = gamma ** (infos[i]["episode"]["l"] - 1) * infos[i]["episode"]["r"]
                assert total[i] == pytest.approx(expected)
                checked[bool(infos[i]["is_success"])] += 1
                total[i], discount[i] = 0.0, 1.0
    assert checked[True] > 3


def test_without_a_planner_it_is_flat_rl_on_the_same_observation():
    config = HierConfig.load("demo", ["env.n_envs=2", "planner.type=none"])
    env = build_env(config, build_planner_of(config))
    env.seed(0)
    observation = env.reset()
    for _ in range(100):
        assert not observation["target"].any() and not observation["subgoal"].any()
        observation, rewards, dones, infos = env.step([FORWARD, LEFT])
        assert not rewards.any() or dones.any()
        assert all("subgoal" not in info for info in infos)
    with_planner = build_env(HierConfig.load("demo"), build_planner_of(HierConfig.load("demo")))
    assert env.observation_space == with_planner.observation_space


def test_the_same_seed_gives_the_same_rollout():
    def rollout():
        config = HierConfig.load("demo", ["env.n_envs=3", "planner.type=noisy", "seed=5"])
        env = build_env(config, build_planner_of(config))
        env.seed(5)
        rng, trace = np.random.default_rng(0), [env.reset()["cells"].copy()]
        for _ in range(120):
            observation, rewards, _, _ = env.step(rng.integers(6, size=3))
            trace += [rewards.copy(), observation["subgoal"].copy()]
        return trace

    for a, b in zip(rollout(), rollout(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_oracles_failures_are_failed_episodes_not_crashes():
    # BabyAI's bot cannot do these levels (its own documentation says so).
    for level in ("BabyAI-KeyInBox-v0", "BabyAI-PutNextS5N2Carrying-v0", "MiniGrid-MemoryS7-v0"):
        config = HierConfig.load(
            "demo",
            ["planner.type=oracle", f"env.id={level}", "env.n_envs=4", "env.max_steps=60"],
        )
        env = build_env(config, build_planner_of(config))
        env.seed(0)
        env.reset()
        rng, ends = np.random.default_rng(0), 0
        for _ in range(150):
            _, _, dones, _ = env.step(rng.integers(6, size=4))
            ends += int(dones.sum())
        assert ends >= 8
