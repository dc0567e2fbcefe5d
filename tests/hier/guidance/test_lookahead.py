"""SLINVIT's look-ahead: the value two subgoals deep, by hand and in a whole training."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hier import HierConfig, train
from hier.envs.errors import ConfigError
from hier.envs.subgoal import Subgoal
from hier.guidance.learning import build_guidance
from hier.guidance.lookahead import LOOKAHEAD_WIDTH, LookAhead
from hier.guidance.selector import GuidedSelector, Requery
from hier.guidance.soft_choice import (
    PriorSmoothing,
    Temperature,
    smoothed_prior,
    soft_choice,
    soft_value,
)
from hier.hierarchy.selection import Future
from hier.planners.protocol import PlannerQuery, PlannerReply
from hier.run.build import build_env, build_planner_of
from hier.run.setup import open_trained

GAMMA, LAMBDA = 0.9, 0.3
COLORS = ("red", "green", "blue", "purple", "yellow", "grey")
SUBGOALS = [Subgoal("explore"), *(Subgoal("go to", c, "ball") for c in COLORS)]
LATER = [Subgoal("drop"), Subgoal("explore")]


class Process:
    """A planner, a critic and an imagination of states told by their percepts.

    After the k-th candidate of state ``"s"`` comes state k, ``2 * k`` steps later; what comes after
    *explore*, the first, cannot be told.
    """

    privileged, version, ready = False, 0, True

    def __init__(self):
        self.asked, self.valued = [], []
        self.p = {"s": np.array([0.3, 0.2, 0.2, 0.15, 0.05, 0.05, 0.05])}
        self.q = {"s": np.array([0.1, 0.2, 0.0, 0.3, 0.0, -0.1, 0.0], np.float32)}
        for k in range(1, 7):
            self.p[k] = np.array([0.1 * k, 1 - 0.1 * k])
            self.q[k] = np.array([0.4 * k, -0.2 * k], np.float32)

    def score(self, queries):
        self.asked.append([query.percept for query in queries])
        return [PlannerReply(np.log(self.p[q.percept]).astype(np.float32)) for q in queries]

    def values(self, critic_states):
        self.valued.append(list(critic_states))
        return [self.q[critic_state] for critic_state in critic_states]

    def imagine(self, query, subgoal):
        k = SUBGOALS.index(subgoal)
        after = replace(query, percept=k, candidates=LATER)
        return Future(after, k, 2 * k) if k else None

    def query(self):
        return PlannerQuery(percept="s", candidates=SUBGOALS, space=None)

    def choice(self, lookahead=True, **options):
        return GuidedSelector(
            self, Temperature("fixed", LAMBDA), doubt=PriorSmoothing(0.1),
            lookahead=LookAhead(GAMMA) if lookahead else None, **options,
        )  # fmt: skip

    def decide(self, choice, n=1):
        return choice.decide(self, [self.query()] * n, ["s"] * n, self.imagine)


def expected(process, width):
    """Values two deep by the definition, and which candidates they look past."""
    prior = smoothed_prior(np.log(process.p["s"]), 0.1)
    policy = np.exp(soft_choice(prior, process.q["s"], LAMBDA))
    values, looked = process.q["s"].astype(float).copy(), []
    for g in sorted(range(len(SUBGOALS)), key=lambda g: -policy[g])[:width]:
        if g:
            p, q = 0.9 * process.p[g] + 0.05, process.q[g]
            value = LAMBDA * math.log(sum(p * np.exp(q / LAMBDA)))
            values[g] = max(values[g], GAMMA ** (2 * g) * value)
            looked.append(g)
    return prior, values, sorted(looked)


class TestValue:
    def deepen(self, process, n=1, width=LOOKAHEAD_WIDTH):
        prior = smoothed_prior(np.log(process.p["s"]), 0.1)
        queries, q = [process.query()] * n, process.q["s"]
        return LookAhead(GAMMA, width).deepen(
            process, process, queries, [prior] * n, [q] * n,
            kl_coef=LAMBDA, doubt=0.1, imagine=process.imagine,
        )  # fmt: skip

    @pytest.mark.parametrize("width", [1, 2, 4, 7, 20])
    def test_it_is_the_larger_of_critic_and_imagination(self, width):
        process = Process()
        (values,), (asked,) = self.deepen(process, width=width)
        _, wanted, looked = expected(process, width)
        assert values == pytest.approx(wanted, abs=1e-6)
        assert asked == len(looked) and sorted(process.asked[0]) == looked
        if width >= 4:  # some rise and some do not
            raised = values > process.q["s"] + 1e-6
            assert raised.any() and not raised[looked].all()

    def test_all_environments_are_asked_about_in_one_batch(self):
        process = Process()
        values, asked = self.deepen(process, n=5)
        assert len(process.asked) == len(process.valued) == 1
        assert len(process.asked[0]) == len(process.valued[0]) == sum(asked) == 5 * asked[0]
        assert all(np.array_equal(values[0], v) for v in values)
        assert process.q["s"][1] == np.float32(0.2)  # what the critic said is left as it was

    def test_where_nothing_can_be_imagined_nobody_is_asked(self):
        process = Process()
        process.imagine = lambda query, subgoal: None
        (values,), asked = self.deepen(process)
        assert np.array_equal(values, process.q["s"]) and asked == [0]
        assert not process.asked and not process.valued


class TestChoice:
    def test_choices_follow_the_deeper_values(self):
        process = Process()
        decisions = process.decide(process.choice(), 4000)
        prior, values, looked = expected(process, LOOKAHEAD_WIDTH)
        share = np.bincount([d.choice for d in decisions], minlength=7) / len(decisions)
        assert share == pytest.approx(np.exp(soft_choice(prior, values, LAMBDA)), abs=0.03)
        value = soft_value(prior, values, LAMBDA)
        for d in decisions[:20]:
            assert d.advantage == pytest.approx(values[d.choice] - value, abs=1e-5)
            assert d.queries == 1 + len(looked) and len(d.proposals) == 1

    def test_second_thoughts_go_by_them_too_and_are_counted_apart(self):
        process = Process()
        score = process.score

        def some(queries):
            """Of a planner asked again: its opinion of what is left."""
            if all(len(query.candidates) in (len(SUBGOALS), len(LATER)) for query in queries):
                return score(queries)
            sizes = [len(query.candidates) for query in queries]
            return [PlannerReply(np.full(n, -np.log(n), np.float32)) for n in sizes]

        process.score = some
        decisions = process.decide(process.choice(requery=Requery(2, -0.01)), 50)
        prior, values, looked = expected(process, LOOKAHEAD_WIDTH)
        gains = values - soft_value(prior, values, LAMBDA)
        for d in decisions:
            assert d.queries == len(d.proposals) + len(looked)
            said = {SUBGOALS.index(subgoal): gain for subgoal, gain in d.proposals}
            assert list(said.values()) == pytest.approx(gains[list(said)], abs=1e-5)
        assert max(len(d.proposals) for d in decisions) > 1

    def test_depth_one_imagines_nothing(self):
        process = Process()
        process.imagine = None  # would fail if it were called
        plain = process.decide(process.choice(lookahead=False, seed=3), 50)
        other = Process()
        without = other.choice(lookahead=False, seed=3)
        alone = without.decide(other, [other.query()] * 50, ["s"] * 50)
        assert [d.choice for d in plain] == [d.choice for d in alone]
        assert all(d.queries == 1 for d in plain)

    def test_without_a_ready_critic_nothing_is_looked_ahead(self):
        process = Process()
        process.ready = False
        decisions = process.decide(process.choice(), 5)
        assert all(d.queries == 1 for d in decisions)
        assert len(process.asked) == 1 and not process.valued


SMALL = [
    "planner.type=vlm", "total_timesteps=384", "env.n_envs=8", "controller.options.n_steps=16",
    "eval.episodes=1", "env.max_steps=60", "eval.every=0", "eval.videos=0",
    "torch_threads=1", "subgoal.max_duration=8", "guidance.critic.batch_size=8",
    "guidance.critic.warmup=10", "guidance.soft_choice=fixed",
]  # fmt: skip


class TestTraining:
    @pytest.mark.slow
    def test_a_run_that_looks_ahead(self, tmp_path):
        config = HierConfig.load("demo", [*SMALL, "guidance.lookahead=2"])
        result = train(config, folder=tmp_path / "deep", progress=False)
        guidance = open_trained(result.folder).guidance
        assert guidance.lookahead.gamma == config.guidance.critic.gamma
        # One question for each subgoal, and those about what it leads to.
        plain = train(HierConfig.load("demo", SMALL), folder=tmp_path / "plain", progress=False)
        assert result.planner_queries > 1.5 * plain.planner_queries
        shallow = open_trained(result.folder, ["guidance.lookahead=1"])
        assert shallow.guidance.lookahead is None
        events = EventAccumulator(str(result.folder / "tensorboard"))
        events.Reload()
        assert {e.value for e in events.Scalars("guidance/requeries")} == {0.0}
        (episode,) = result.evaluation.episodes
        assert episode.planner_queries > len(episode.plan)

    def test_imagined_states_are_asked_about_as_if_they_were_reached(self):
        config = HierConfig.load(
            "demo", [*SMALL, "guidance.lookahead=2", "safety.forbid=['drop']", "env.n_envs=4"]
        )
        env = build_env(config, build_planner_of(config), guidance=build_guidance(config))
        env.reset()
        rng, told = np.random.default_rng(0), 0
        for _ in range(60):
            env.step(rng.integers(6, size=4))
            for i in range(4):
                query = env.hierarchy.query(i)
                for subgoal in query.candidates:
                    future = env.hierarchy.imagine(query, subgoal)
                    if future is None:
                        continue
                    told += 1
                    assert future.query.recent[-1] == (subgoal, "done")
                    assert len(future.query.recent) <= 8 and future.duration >= 1
                    assert Subgoal("drop") not in future.query.candidates
                    assert len(future.critic_state.subgoals) == len(future.query.candidates)
        assert told > 100

    @pytest.mark.slow
    @pytest.mark.parametrize("planner", ["oracle", "noisy"])
    def test_a_privileged_planner_cannot_judge_what_is_imagined(self, planner, tmp_path):
        options = [*SMALL[1:], f"planner.type={planner}", "guidance.lookahead=2"]
        config = HierConfig.load("demo", options)
        with pytest.raises(ConfigError, match=rf"guidance.lookahead is 2, but .*'{planner}'"):
            train(config, folder=tmp_path / "run", progress=False)
        assert not (tmp_path / "run").exists()
        # Where nobody looks ahead it says nothing.
        build_planner_of(config.override("guidance.soft_choice=none"))
        build_planner_of(config.override("guidance.lookahead=1"))

    @pytest.mark.parametrize("depth", [0, 3, 1.5])
    def test_other_depths_are_errors(self, depth):
        with pytest.raises(ConfigError, match=r"guidance\.lookahead"):
            HierConfig.load("demo", [f"guidance.lookahead={depth}"])
