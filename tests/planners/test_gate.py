"""A gate asks the big planner as often as it may, where the slim one is least sure."""

import json

import numpy as np
import pytest

from hier.config import HierConfig
from hier.controllers.checkpoint import add_member
from hier.envs import UnknownNameError
from hier.envs.errors import ConfigError, RunFolderError
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.envs.subgoal import Subgoal
from hier.planners import PlannerQuery, PlannerReply, build_planner
from hier.planners.gate import entropy_of
from hier.planners.protocol import KeepsStates, Resumable, certain_of, uniform_over
from hier.run.curves import read_scalar
from hier.run.folder import RunFolder
from hier.run.planner_state import MEMBER, PlannerState
from hier.run.setup import Setup
from hier.run.training import train
from hier.testing import check_planner

ME = "tests.planners.test_gate"
CANDIDATES = [Subgoal("go to", color, "ball") for color in ("red", "green", "blue", "yellow")]


class Wavering:
    """As unsure as a question has steps behind it, up to 100; always for the first candidate."""

    privileged = False
    version = 2
    keeps_states = False

    def score(self, queries):
        return [self._reply(query) for query in queries]

    def _reply(self, query):
        n = len(query.candidates)
        p = np.full(n, query.elapsed / 100 / n)
        p[0] += 1 - query.elapsed / 100
        states = np.ones((n + 1, 2), np.float32) if self.keeps_states else None
        return PlannerReply(np.log(p + 1e-12).astype(np.float32), 0.25, states)

    def stats(self):
        return {"seconds": 1.5}


class Last:
    """Always the last candidate, and of another opinion about the value."""

    privileged = False
    version = 3

    def __init__(self):
        self.asked = []

    def score(self, queries):
        self.asked += [query.elapsed for query in queries]
        return [certain_of(len(query.candidates) - 1, len(query.candidates)) for query in queries]


def gate(**options):
    given = {"big": {"type": f"{ME}.Last"}, "slim": {"type": f"{ME}.Wavering"}}
    return build_planner("gated", **{**given, **options})


def questions(elapsed):
    space = GridworldSubgoals()
    return [PlannerQuery(None, CANDIDATES, space, elapsed=int(steps)) for steps in elapsed]


@pytest.fixture
def many():
    """2,000 questions of all degrees of doubt, in an order by chance."""
    return questions(np.random.default_rng(0).permutation(np.arange(2000) % 100))


@pytest.mark.parametrize("budget", [0.0, 0.05, 0.3, 1.0])
def test_the_share_asked_is_the_budget(budget, many):
    planner = gate(budget=budget)
    for start in range(0, len(many), 16):
        planner.score(many[start : start + 16])
    stats = planner.stats()
    assert stats["asked"] == len(planner._big.asked)
    assert abs(stats["asked_share"] - budget) <= 0.02


def test_half_is_asked_where_the_slim_one_is_least_sure_and_half_by_chance(many):
    planner = gate(budget=0.1)
    planner.score(many)
    late = np.array(planner._big.asked[50:])  # when the gate has seen what is usual
    assert 0.4 < np.mean(late >= 93) < 0.65
    assert 0.1 < np.mean(late < 40) < 0.3


def test_equal_doubts_are_drawn_by_chance():
    planner = gate(budget=0.2, slim={"type": "random"})
    planner.score(questions([0] * 2000))
    assert 0.17 < planner.stats()["asked_share"] < 0.23


def test_the_share_follows_a_slim_planner_that_becomes_sure():
    rng = np.random.default_rng(1)
    planner = gate(budget=0.1)
    planner.score(questions(rng.integers(50, 100, 1500)))
    before = planner.stats()["asked"]
    planner.score(questions(rng.integers(0, 10, 1000)))  # forgets what was usual
    forgotten = planner.stats()["asked"]
    planner.score(questions(rng.integers(0, 10, 1000)))
    assert 30 <= forgotten - before <= 85  # by chance, and at last by rank
    assert 70 <= planner.stats()["asked"] - forgotten <= 130


def test_a_reply_is_of_the_planner_that_answered_and_values_are_the_slim_ones():
    planner = gate(budget=1.0)
    assert isinstance(planner, KeepsStates)
    planner.keeps_states = True
    (asked,) = planner.score(questions([50]))
    assert np.argmax(asked.log_probs) == len(CANDIDATES) - 1
    assert asked.value == 0.25 and asked.states.shape == (len(CANDIDATES) + 1, 2)
    never = gate(budget=0.0)
    assert np.argmax(never.score(questions([50]))[0].log_probs) == 0
    assert planner.version == 5 and not planner.privileged
    assert not isinstance(gate(slim={"type": "random"}), KeepsStates)


def test_a_single_candidate_is_no_question():
    planner = gate(budget=1.0)
    planner.score([PlannerQuery(None, CANDIDATES[:1], GridworldSubgoals())])
    assert planner.stats()["asked"] == 0 and not planner._big.asked


def test_statistics_tell_what_was_saved_and_what_the_parts_tell(many):
    planner = gate(budget=0.1)
    assert planner.stats()["seconds_saved"] == 0
    planner.score(many)
    stats = planner.stats()
    assert stats["agreement"] == 0 and stats["slim/seconds"] == 1.5
    each = planner._counts["big_seconds"] / stats["asked"]
    assert stats["seconds_saved"] == pytest.approx((len(many) - stats["asked"]) * each)


def test_evaluation_leaves_no_trace(many):
    planner = gate(budget=0.1)
    planner.score(many[:500])
    before = json.dumps(planner.state())
    twins = [planner.for_evaluation(7) for _ in range(2)]
    replies = [[reply.log_probs for reply in twin.score(many)] for twin in twins]
    assert np.array_equal(*replies)
    assert json.dumps(planner.state()) == before


def test_entropy():
    assert entropy_of(uniform_over(8).log_probs) == pytest.approx(np.log(8), abs=1e-6)
    assert entropy_of(np.array([0.0, -np.inf])) == 0.0


@pytest.mark.parametrize(
    "slim", [{"type": "random"}, {"type": "noisy", "options": {"accuracy": 0.6}}, None]
)
def test_it_keeps_a_planners_contract(slim):
    planner = build_planner("gated", big={"type": "oracle"}, slim=slim, budget=0.3, seed=0)
    check_planner(planner, "BabyAI-UnlockPickup-v0")
    assert planner.privileged


WRONG = {
    "planner.options.big.type=orcale": "did you mean 'oracle'",
    "planner.options.big=oracle": "name the planner, such as planner.options.big.type=oracle",
    "planner.options.big.modle=x": r"key in planner.options.big 'modle'.*did you mean 'model'",
    "planner.options.big.type=none": "'none', which cannot be a part of a gated planner",
    "planner.options.big.type=gated": "'gated', which cannot be a part of a gated planner",
    "planner.options.big.options=5": "planner.options.big.options is 5; write options by name",
    "planner.options.slim.model=x": "name the planner, such as planner.options.slim.type=oracle",
}


@pytest.mark.parametrize(("line", "complaint"), WRONG.items())
def test_a_wrong_part_is_refused_with_the_configuration(line, complaint):
    with pytest.raises((ConfigError, UnknownNameError), match=complaint):
        HierConfig.load("demo", ["planner.type=gated", "planner.options.big.type=oracle", line])


@pytest.mark.parametrize("budget", [-0.1, 1.5, "much", True, float("nan")])
def test_a_budget_is_a_share(budget):
    with pytest.raises(ConfigError, match=r"planner\.options\.budget is .*in \[0, 1\]"):
        gate(budget=budget)


def test_it_needs_a_big_planner():
    with pytest.raises(ConfigError, match=r"'gated' needs planner\.options\.big"):
        build_planner("gated")


@pytest.mark.parametrize(
    "state", [{}, {"entropies": ["x"], "counts": {}}, {"entropies": [], "counts": {}}, [], None]
)
def test_a_damaged_state_changes_nothing(state, many):
    planner = gate()
    planner.score(many[:40])
    before = json.dumps(planner.state())
    with pytest.raises((KeyError, TypeError, ValueError)):
        planner.take_state(state)
    assert json.dumps(planner.state()) == before


@pytest.mark.slow
def test_a_run_logs_the_gate_and_goes_on_with_it(tmp_path):
    config = HierConfig.load(
        "demo",
        [
            "env.id=BabyAI-GoToObj-v0", "env.n_envs=8", "controller.options.n_steps=32",
            "total_timesteps=1024", "eval.episodes=2", "eval.every=0", "eval.videos=0",
            "torch_threads=1", "subgoal.max_duration=8", "planner.type=gated",
            "planner.options.big.type=oracle", "planner.options.slim.type=random",
            "planner.options.budget=0.25",
        ],
    )  # fmt: skip
    result = train(config, folder=tmp_path / "run", progress=False)
    run = RunFolder.open(result.folder)
    (*_, (_, share)) = read_scalar(run, "planner/asked_share")
    assert 0.1 < share < 0.4
    checkpoint = run.latest_checkpoint()
    resumed = Setup.resume(run, run.config(), checkpoint).planner
    assert isinstance(resumed, Resumable)
    assert resumed.stats()["asked_share"] == pytest.approx(share, abs=0.05)


def test_a_damaged_checkpoint_says_so(tmp_path):
    checkpoint = tmp_path / "step.zip"
    run = RunFolder(tmp_path)
    PlannerState(gate()).save(run, checkpoint)
    PlannerState(gate()).load(run, checkpoint)
    checkpoint.unlink()
    add_member(checkpoint, MEMBER, b"{")
    with pytest.raises(RunFolderError, match=r"planner's state .* cannot be read"):
        PlannerState(gate()).load(run, checkpoint)
