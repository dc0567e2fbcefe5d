"""Manipulation without a simulator: the subgoal contract, ways, and what follows on what."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from hier.envs.fetch.expert import FetchExpert
from hier.envs.fetch.percept import (
    CARRY_TASK,
    MISSION_CODEC,
    PUSH_TASK,
    REACH_TASK,
    FetchPercept,
)
from hier.envs.fetch.subgoals import (
    BEHIND,
    CARRY,
    GET_BEHIND,
    GRASP,
    PUSH,
    REACH_BLOCK,
    REACH_TARGET,
    RELEASE,
    FetchSubgoals,
)
from tests.envs.contracts import SubgoalSpaceContract

SPACE = FetchSubgoals()
FRAME = np.zeros((128, 384, 3), np.uint8)
BLOCK, TARGET = np.array([1.3, 0.7, 0.425]), np.array([1.3, 0.9, 0.425])
REST = np.zeros(3, np.float32)


def by(x, y, z):
    """A place beside the block."""
    return BLOCK + np.array([x, y, z])


def percept_at(gripper, mission, *, block=BLOCK, target=TARGET, opening=0.0):
    places = [np.asarray(p, np.float32) for p in (gripper, block, target)]
    gripper, block, target = places
    block = None if mission == REACH_TASK else block
    return FetchPercept(FRAME, gripper, REST, opening, block, REST, target, mission)


class TestSubgoals(SubgoalSpaceContract):
    space = SPACE
    nonsense = ("grasp the block", "carry the yellow block", "reach the green target", "")

    @pytest.fixture(scope="class")
    @classmethod
    def percepts(cls):
        grippers = [by(*offset) for offset in product((-0.06, 0, 0.2), (-0.06, 0), (0, 0.06))]
        return [
            percept_at(gripper, mission, opening=opening)
            for mission in (REACH_TASK, PUSH_TASK, CARRY_TASK)
            for gripper in grippers
            for opening in (0.0, 0.048, 0.1)
        ]


@pytest.mark.parametrize("mission", [REACH_TASK, PUSH_TASK, CARRY_TASK])
def test_missions_are_spelled_with_known_words(mission):
    assert MISSION_CODEC.decode(MISSION_CODEC.encode(mission)) == mission
    assert MISSION_CODEC.encode(mission).max() < len(MISSION_CODEC.words)


def test_what_is_offered_follows_on_what_was_done():
    start = percept_at([1.3, 0.75, 0.53], CARRY_TASK)
    assert SPACE.candidates(start) == [REACH_BLOCK]
    above = percept_at(by(0, 0, 0.06), CARRY_TASK, opening=0.1)
    assert SPACE.is_complete(REACH_BLOCK, start, above) and SPACE.candidates(above) == [GRASP]
    assert not SPACE.is_complete(REACH_BLOCK, start, replace(above, opening=0.04))
    held = percept_at(BLOCK, CARRY_TASK, opening=0.048)
    assert SPACE.is_complete(GRASP, above, held) and SPACE.candidates(held) == [CARRY, RELEASE]
    assert not SPACE.is_complete(GRASP, above, replace(held, opening=0.02))
    dropped = replace(held, opening=0.09)
    assert SPACE.is_interrupted(CARRY, held, dropped) and SPACE.is_complete(RELEASE, held, dropped)
    there = replace(held, block=TARGET.astype(np.float32) - 0.02)
    assert SPACE.is_complete(CARRY, held, there) and not SPACE.is_complete(CARRY, held, held)
    flying = replace(there, block_velocity=np.array([0.3, 0, 0], np.float32))
    assert not SPACE.is_complete(CARRY, held, flying)


def test_a_push_begins_behind_the_block_and_ends_beside_it():
    behind = percept_at(by(0, -BEHIND, 0), PUSH_TASK)
    assert SPACE.candidates(behind) == [PUSH]
    assert SPACE.is_complete(GET_BEHIND, behind, behind)
    before = percept_at(by(0, BEHIND, 0), PUSH_TASK)
    assert SPACE.candidates(before) == [GET_BEHIND] and SPACE.is_interrupted(PUSH, behind, before)
    aside = percept_at(by(0.05, -0.04, 0), PUSH_TASK)
    assert SPACE.is_interrupted(PUSH, behind, aside)
    near = replace(aside, target=aside.block + np.array([0.02, 0, 0], np.float32))
    assert not SPACE.is_interrupted(PUSH, behind, near) and PUSH in SPACE.candidates(near)


def test_the_way_behind_leads_around_the_block():
    aim = by(0, -BEHIND, 0)
    angles = np.linspace(np.pi / 2, -np.pi / 2, 60)  # from before the block to behind it
    arc = [by(0.1 * np.cos(a), 0.1 * np.sin(a), 0) for a in angles]
    steps = [SPACE.steps(percept_at(place, PUSH_TASK), GET_BEHIND) for place in arc]
    assert (np.diff(steps) < 0).all()
    assert steps[0] > np.linalg.norm(arc[0] - aim) / 0.1 + 0.1  # longer than straight through
    assert steps[-1] == pytest.approx(np.linalg.norm(arc[-1] - aim) / 0.1)


def test_closing_the_fingers_counts_around_the_block_alone():
    def steps(height, opening):
        place = by(0, 0, height)
        return SPACE.steps(percept_at(place, CARRY_TASK, opening=opening), GRASP)

    assert steps(0.0, 0.05) < steps(0.0, 0.07) < steps(0.0, 0.1)
    assert steps(0.06, 0.05) == pytest.approx(steps(0.06, 0.1))
    falls = np.diff([steps(h, 0.1) for h in np.linspace(0.06, 0, 20)])
    assert (falls < 0).all()


def test_the_expert_trusts_contacts_more_than_the_percept():
    held = percept_at(BLOCK, CARRY_TASK, opening=0.048)
    candidates = SPACE.candidates(held)
    assert FetchExpert(held=True).subgoal(held, candidates) == CARRY
    assert FetchExpert(held=False).subgoal(held, candidates) == RELEASE
    assert FetchExpert(held=False).subgoal(held, [REACH_TARGET]) == REACH_TARGET
    assert FetchExpert(held=False).subgoal(held, []) is None
