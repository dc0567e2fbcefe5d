"""The examples outside of the package keep the contract of a domain."""

import sys
from pathlib import Path

import numpy as np
import pytest

from hier import envs
from hier.envs import batched

LEVEL = "crafter_domain:Crafter/survival"


@pytest.fixture
def crafter(monkeypatch):
    pytest.importorskip("crafter")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    yield envs.domain_of(LEVEL)
    sys.modules.pop("crafter_domain", None)


def play(domain, seed, steps=40):
    env, tracker, rng = envs.make_env(LEVEL), domain.tracker(1), np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    tracker.reset(batched(observation))
    found = [(observation, tracker.percept(0).snapshot())]
    for _ in range(steps):
        observation = env.step(int(rng.integers(17)))[0]
        assert env.observation_space.contains(observation)
        tracker.update(batched(observation))
        found.append((observation, tracker.percept(0).snapshot()))
    return found


def test_crafter_keeps_a_domains_contract(crafter):
    space = crafter.subgoal_space()
    # A seed fixes the world; Crafter's creatures move in the order of a set, which it does not.
    (a, _), (b, _) = play(crafter, 3, steps=0)[0], play(crafter, 3, steps=0)[0]
    assert all(np.array_equal(a[key], b[key]) for key in a)
    for _, percept in play(crafter, 3):
        candidates = space.candidates(percept)
        assert candidates and len(set(candidates)) == len(candidates)
        for subgoal in candidates:
            assert space.parse(f" {str(subgoal).upper()}. ") == subgoal
            assert space.encode(subgoal).sum() == 1 and subgoal.verb in space.verbs
            assert not space.is_complete(subgoal, percept, percept)


def test_crafters_achievements_open_others(crafter):
    space, (_, percept) = crafter.subgoal_space(), play(crafter, 0, steps=0)[0]
    wood, table = space.parse("collect wood"), space.parse("place table")
    assert table not in space.candidates(percept)
    percept.achieved[space.encode(wood) > 0] = 1
    assert space.is_complete(wood, percept, percept) and table in space.candidates(percept)
    with pytest.raises(envs.SubgoalSyntaxError, match="for example"):
        space.parse("fly")
