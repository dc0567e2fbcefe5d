"""Every planner passes the same contract; the noisy one is as accurate as it says."""

import numpy as np
import pytest

from hier.envs import UnknownNameError
from hier.envs.errors import ConfigError
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.planners import PlannerError, PlannerQuery, PlannerReply, build_planner
from hier.planners.protocol import check_reply, uniform_over
from hier.testing import check_planner
from tests.questions import first_question

LEVELS = ("BabyAI-UnlockPickup-v0", "BabyAI-BossLevel-v0", "MiniGrid-DoorKey-8x8-v0")
OPTIONS = {
    "oracle": {}, "noisy": {"accuracy": 0.7}, "mistaken": {"mistake": "color"}, "random": {},
}  # fmt: skip


class EagerPlanner:
    """A user's own planner: always the last candidate."""

    privileged = False
    version = 0

    def __init__(self, sharpness: float = 5.0):
        self.sharpness = sharpness

    def score(self, queries):
        replies = []
        for query in queries:
            logits = np.zeros(len(query.candidates))
            logits[-1] = self.sharpness
            replies.append(PlannerReply((logits - np.log(np.exp(logits).sum())).astype(np.float32)))
        return replies


@pytest.fixture(scope="module")
def queries():
    return [first_question(env_id, seed) for env_id in LEVELS for seed in range(40)]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", [*OPTIONS, "EagerPlanner"])
def test_it_keeps_a_planners_contract(name, level):
    check_planner(
        build_planner(name, seed=0, **OPTIONS[name]) if name in OPTIONS else EagerPlanner(),
        level,
        episodes=40,
    )


def test_oracle_names_what_the_expert_names(queries):
    replies = build_planner("oracle").score(queries)
    for query, reply in zip(queries, replies, strict=True):
        expected = query.expert.subgoal(query.percept, query.candidates)
        if expected is not None:
            assert query.candidates[int(np.argmax(reply.log_probs))] == expected


@pytest.mark.parametrize("accuracy", [0.0, 0.6, 1.0])
def test_noisy_agrees_with_the_oracle_as_often_as_asked(accuracy, queries):
    # Only where there is a choice can a planner be wrong.
    open_queries = [q for q in queries if len(q.candidates) > 1]
    planner = build_planner("noisy", accuracy=accuracy, seed=1)
    oracle = [int(np.argmax(r.log_probs)) for r in build_planner("oracle").score(open_queries)]
    rounds = 1200 // len(open_queries) + 1
    agree = []
    for _ in range(rounds):
        for reply, best in zip(planner.score(open_queries), oracle, strict=True):
            agree.append(int(np.argmax(reply.log_probs)) == best)
    tolerance = 4 * np.sqrt(max(accuracy * (1 - accuracy), 1e-9) / len(agree))
    assert abs(np.mean(agree) - accuracy) <= tolerance


class FixedExpert:
    """Always wants the same."""

    def __init__(self, subgoal):
        self._subgoal = subgoal

    def subgoal(self, percept, candidates):
        return self._subgoal


@pytest.mark.parametrize(
    ("mistake", "meant", "said"),
    [
        ("order", "pick up the red key", "open the red door"),
        ("order", "open the red door", "open the red door"),
        ("order", "pick up the green ball", "pick up the green ball"),
        ("color", "pick up the green ball", "pick up the blue ball"),
        ("color", "pick up the red key", "pick up the blue ball"),  # no other key
        ("color", "open the red door", "open the red door"),  # no other door
        ("color", "explore", "explore"),
    ],
)
def test_a_mistaken_planner_makes_its_mistake_wherever_it_can(mistake, meant, said):
    space = GridworldSubgoals()
    texts = ("explore", "open the red door", "pick up the blue ball", "pick up the green ball",
             "pick up the red key")  # fmt: skip
    candidates = [space.parse(text) for text in texts]
    query = PlannerQuery(None, candidates, space, expert=FixedExpert(space.parse(meant)))
    (reply,) = build_planner("mistaken", mistake=mistake).score([query])
    assert str(candidates[int(np.argmax(reply.log_probs))]) == said


def test_an_unknown_mistake_is_refused():
    with pytest.raises(UnknownNameError, match=r"mistake 'colr'.*did you mean 'color'"):
        build_planner("mistaken", mistake="colr")


def test_oracle_without_an_expert_says_what_to_do(queries):
    bare = [PlannerQuery(q.percept, q.candidates, q.space) for q in queries[:1]]
    with pytest.raises(PlannerError, match="pass env= to"):
        build_planner("oracle").score(bare)


def test_none_is_no_planner():
    assert build_planner("none") is None


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'oracle'"):
        build_planner("orcale")


def test_a_dotted_path_builds_the_users_own_planner(monkeypatch, tmp_path):
    (tmp_path / "my_planners.py").write_text(
        "class Mine:\n"
        "    privileged = False\n"
        "    version = 0\n"
        "    def __init__(self, sharpness=1.0):\n"
        "        self.sharpness = sharpness\n"
        "    def score(self, queries):\n"
        "        return []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert build_planner("my_planners.Mine", seed=3, sharpness=2.0).sharpness == 2.0
    with pytest.raises(ConfigError, match=r"does not take 'sharp'; it takes sharpness"):
        build_planner("my_planners.Mine", sharp=2.0)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("no.such.Thing", "cannot be imported"),
        ("os.path", "not a class"),
        ("fractions.Fraction", "lacks"),
    ],
)
def test_a_wrong_dotted_path_says_why(path, complaint):
    with pytest.raises(ConfigError, match=complaint):
        build_planner(path)


def test_a_missing_option_is_named():
    with pytest.raises(ConfigError, match=r"'endpoint' needs planner\.model"):
        build_planner("endpoint", base_url="http://localhost:1/v1")


def test_accuracy_out_of_range_is_refused():
    with pytest.raises(ConfigError, match=r"1\.5; it must lie in \[0, 1\]"):
        build_planner("noisy", accuracy=1.5)


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ([0.5, 0.5], "must return PlannerReply"),
        (PlannerReply(np.zeros(99, np.float32)), "one number per candidate"),
        (PlannerReply(np.array([], np.float32)), "one number per candidate"),
    ],
)
def test_an_unusable_reply_is_an_error_that_names_the_planner(reply, complaint, queries):
    with pytest.raises(PlannerError, match=f"EagerPlanner.*{complaint}"):
        check_reply(reply, queries[0], EagerPlanner())


def test_nan_and_unnormalized_replies_are_refused(queries):
    n = len(queries[0].candidates)
    for log_probs in (np.full(n, np.nan), np.zeros(n) + 1.0):
        with pytest.raises(PlannerError, match="normalize log_probs"):
            check_reply(PlannerReply(log_probs.astype(np.float32)), queries[0], EagerPlanner())
    assert check_reply(uniform_over(n), queries[0], EagerPlanner())
