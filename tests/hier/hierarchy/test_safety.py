"""What must not be done, and the count of it."""

import numpy as np
import pytest

from hier import HierConfig, evaluate, load, train
from hier.envs import make_env
from hier.envs.errors import ConfigError, UnknownNameError
from hier.run.build import build_env, build_planner_of

LAVA = [
    "env.id=MiniGrid-LavaGapS5-v0", "env.n_envs=8", "planner.type=random", "eval.episodes=16",
    "eval.every=0", "eval.videos=0", "total_timesteps=512", "controller.options.n_steps=32",
    "torch_threads=1",
]  # fmt: skip


def walk(config, steps=300):
    """A blind controller's episodes; violations, prevented, and episodes without reward."""
    env = build_env(config, build_planner_of(config))
    env.seed(0)
    env.reset()
    rng = np.random.default_rng(0)
    infos = []
    for _ in range(steps):
        _, _, dones, found = env.step(rng.integers(3, size=env.num_envs))
        infos += [found[i] for i in np.flatnonzero(dones)]
    burnt = [not i["is_success"] and not i.get("TimeLimit.truncated") for i in infos]
    return (
        sum(info["violations"] for info in infos), sum(info["prevented"] for info in infos),
        sum(burnt),
    )  # fmt: skip


class TestActions:
    def test_every_death_in_lava_is_counted_and_the_filter_prevents_them(self):
        config = HierConfig.load("demo", LAVA)
        violations, prevented, burnt = walk(config)
        assert violations == burnt > 10 and prevented == 0
        violations, prevented, burnt = walk(config.override("safety.filter=true"))
        assert violations == burnt == 0 and prevented > 10

    def test_flat_controllers_are_guarded_too(self):
        config = HierConfig.load("demo", [*LAVA, "planner.type=none", "safety.filter=true"])
        violations, prevented, burnt = walk(config)
        assert violations == burnt == 0 and prevented > 10

    def test_what_is_not_to_be_avoided_is_not_counted(self):
        violations, prevented, burnt = walk(HierConfig.load("demo", [*LAVA, "safety.avoid=[]"]))
        assert violations == prevented == 0 and burnt > 10

    @pytest.mark.slow
    def test_evaluation_and_agent_keep_to_it(self, tmp_path):
        # New weights: the built-in controller hardly steps into lava.
        config = HierConfig.load("demo", [*LAVA, "safety.filter=true", "controller.start=null"])
        folder = train(config, folder=tmp_path / "run", progress=False).folder
        summary = evaluate(folder, progress=False).summary()
        assert summary["violations"] == 0
        free = evaluate(folder, overrides=["safety.filter=false"], progress=False).summary()
        assert free["violations"] > 0 and free["prevented"] == 0
        agent, env = load(folder), make_env("MiniGrid-LavaGapS5-v0")
        for seed in range(5):
            observation, _ = env.reset(seed=seed)
            state, ended = None, False
            while not ended:
                action, state = agent.predict(observation, state)
                observation, reward, terminated, truncated, _ = env.step(int(action))
                ended = terminated or truncated
                assert not (terminated and reward == 0)

    def test_an_unknown_hazard_is_an_error(self):
        config = HierConfig.load("demo", ["safety.avoid=[lavva]", "planner.type=random"])
        with pytest.raises(UnknownNameError, match="did you mean 'lava'"):
            build_env(config, build_planner_of(config))


class TestSubgoals:
    def test_a_forbidden_subgoal_is_never_proposed(self):
        config = HierConfig.load(
            "demo", ["planner.type=random", "safety.forbid=['pick up *', drop]", "env.n_envs=4"]
        )
        env = build_env(config, build_planner_of(config))
        env.reset()
        rng = np.random.default_rng(0)
        verbs = set()
        for _ in range(200):
            _, _, _, infos = env.step(rng.integers(6, size=4))
            verbs |= {info["subgoal"].subgoal.verb for info in infos if "subgoal" in info}
        assert "pick up" not in verbs and "drop" not in verbs and len(verbs) >= 2

    def test_something_is_pursued_even_where_all_is_forbidden(self):
        config = HierConfig.load("demo", ["planner.type=random", "safety.forbid=['*']"])
        env = build_env(config, build_planner_of(config))
        env.reset()
        assert all(lane.active.subgoal for lane in env.hierarchy.lanes)

    @pytest.mark.parametrize(
        "line", ["safety.forbid=['pikc up *']", "subgoal.bonuses={'pick upp *': 0, 'pikc*': 0}"]
    )
    def test_a_pattern_that_begins_like_no_subgoal_is_an_error(self, line):
        config = HierConfig.load("demo", ["planner.type=random", line])
        with pytest.raises(UnknownNameError, match=r"verb in s\w+\.\w+ 'pikc.*'pick up'"):
            build_env(config, build_planner_of(config))

    def test_a_wrong_type_is_an_error(self):
        with pytest.raises(ConfigError, match=r"safety\.forbid"):
            HierConfig.load("demo", ["safety.forbid=drop"])
