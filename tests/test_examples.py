"""The examples outside of the package keep the contract of a domain."""

import sys
from pathlib import Path

import pytest

from hier import envs
from hier.envs import batched
from hier.testing import check_domain

LEVEL = "crafter_domain:Crafter/survival"


@pytest.fixture
def crafter(monkeypatch):
    pytest.importorskip("crafter")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    yield envs.domain_of(LEVEL)
    sys.modules.pop("crafter_domain", None)


def test_crafter_keeps_a_domains_contract(crafter):
    # Crafter's creatures move in the order of a set, which no seed fixes.
    check_domain(LEVEL, repeatable=False)


def test_nothing_that_is_achieved_is_offered(crafter):
    space, percept = crafter.subgoal_space(), first(crafter)
    for subgoal in space.candidates(percept):
        assert space.encode(subgoal).sum() == 1
        assert not space.is_complete(subgoal, percept, percept)


def first(domain):
    """The percept that an episode begins with."""
    tracker = domain.tracker(1)
    tracker.reset(batched(envs.make_env(LEVEL).reset(seed=0)[0]))
    return tracker.percept(0)


def test_crafters_achievements_open_others(crafter):
    space, percept = crafter.subgoal_space(), first(crafter)
    wood, table = space.parse("collect wood"), space.parse("place table")
    assert table not in space.candidates(percept)
    percept.achieved[space.encode(wood) > 0] = 1
    assert space.is_complete(wood, percept, percept) and table in space.candidates(percept)
    with pytest.raises(envs.SubgoalSyntaxError, match="for example"):
        space.parse("fly")
