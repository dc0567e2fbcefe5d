"""Levels that change on the way: what changes, that it is seen, and that missions stay sound."""

import numpy as np
import pytest
from minigrid.wrappers import RGBImgPartialObsWrapper

from hier import envs
from hier.envs import UnknownNameError
from hier.envs.gridworld.disturbance import DISTURBANCES, Disturbed
from hier.envs.gridworld.rendering import TILE
from tests.drawn_levels import play_room
from tests.scripted_play import DROP, FORWARD, LEFT, PICK_UP, RIGHT, SPACE, TOGGLE, Play

LEVEL = "BabyAI-UnlockPickup-v0"


def disturbed(play, kind):
    play.env = Disturbed(play.env, kind)
    return play


def official_frame(simulator):
    return RGBImgPartialObsWrapper(simulator, TILE).observation({})["image"]


def objects(simulator):
    """Everything but walls, as text, with its place; what is in hand at (-1, -1)."""
    grid = simulator.grid
    found = {
        (i % grid.width, i // grid.width): (thing.type, thing.color, getattr(thing, "is_open", 0))
        for i, thing in enumerate(grid.grid)
        if thing is not None and thing.type != "wall"
    }
    held = simulator.carrying
    return {**found, (-1, -1): held and (held.type, held.color, 0)}


def clauses(instruction):
    parts = [getattr(instruction, name, None) for name in ("instr_a", "instr_b")]
    return [c for part in parts if part for c in clauses(part)] or [instruction]


def assert_positions_are_right(simulator):
    """BabyAI's lists of where things lie, which it renews when something is dropped."""
    for clause in clauses(simulator.instrs):
        for name in ("desc", "desc_move", "desc_fixed"):
            if hasattr(clause, name):
                desc = getattr(clause, name)
                grid = simulator.grid
                lie = [
                    (x, y)
                    for x in range(grid.width)
                    for y in range(grid.height)
                    if any(grid.get(x, y) is thing for thing in desc.obj_set)
                ]
                assert desc.obj_poss == lie
    for i, thing in enumerate(simulator.grid.grid):
        if thing is not None and thing.type in ("key", "ball", "box"):
            assert tuple(thing.cur_pos) == (i % simulator.width, i // simulator.width)


class TestObjectMoved:
    ROOM = """
        # # # # # # #
        # > . . # . #
        # . . . Lr . #
        # . Kr . # . #
        # # # # # # #
    """

    def test_the_key_lies_elsewhere_in_its_room_in_nobodys_way(self):
        places = set()
        for seed in range(20):
            play = disturbed(play_room(self.ROOM), "object moved")
            play.reset(seed)
            before = objects(play.simulator)
            for _ in range(3):
                play.step(LEFT)
            assert objects(play.simulator) == before and not play.env.disturbed
            play.step(LEFT)
            assert play.env.disturbed
            np.testing.assert_array_equal(play.frame, official_frame(play.simulator))
            after = objects(play.simulator)
            (place,) = set(after) - set(before)
            assert {**before, place: before[2, 3]} == {(2, 3): before[2, 3], **after}
            places.add(place)
            play.step(LEFT)
            assert objects(play.simulator) == after  # once per episode
        # Not under the agent, not before the door, nor where it cuts off a corner.
        assert (1, 1) not in places and (3, 2) not in places
        assert places <= {(x, y) for x in (1, 2, 3) for y in (1, 2, 3)} and len(places) >= 3

    def test_what_is_carried_is_left_alone(self):
        play = disturbed(play_room("# # # # #\n# > Kr Lr #\n# . . # #\n# # # # #"), "object moved")
        play.reset(0)
        for action in (PICK_UP, LEFT, LEFT, LEFT, LEFT):
            play.step(action)
        assert not play.env.disturbed and play.simulator.carrying is not None

    @pytest.mark.parametrize("level", ["BabyAI-PutNextLocal-v0", "BabyAI-GoToSeqS5R2-v0"])
    def test_missions_know_where_the_thing_went(self, level):
        changed = wins = 0
        for seed in range(8):
            play = disturbed(Play(level), "object moved")
            known = False
            for _ in play.follow_expert(seed, first=[LEFT] * 3):
                if play.env.disturbed and not known:
                    assert_positions_are_right(play.simulator)
                known = play.env.disturbed
            changed += known
            wins += play.reward > 0
        assert changed >= 5 and wins >= 6


class TestDoorClosed:
    ROOM = """
        # # # # # # #
        # . . # . . #
        # > . Dr . . #
        # . . # . . #
        # # # # # # #
    """

    def opened(self):
        play = disturbed(play_room(self.ROOM), "door closed")
        play.reset(0)
        for action in (FORWARD, TOGGLE):
            play.step(action)
        assert play.simulator.grid.get(3, 2).is_open
        return play, play.simulator.grid.get(3, 2)

    def test_it_shuts_again_behind_the_agents_back_and_stays_unlocked(self):
        play, door = self.opened()
        play.step(LEFT)
        assert door.is_open and not play.env.disturbed
        play.step(LEFT)  # looks away
        assert not door.is_open and not door.is_locked and play.env.disturbed
        for action in (RIGHT, RIGHT):
            play.step(action)
            np.testing.assert_array_equal(play.frame, official_frame(play.simulator))
        play.step(TOGGLE)
        assert door.is_open
        for action in (LEFT, LEFT, LEFT):
            play.step(action)
        assert door.is_open  # once per episode

    def test_it_is_seen_at_once(self):
        play, _ = self.opened()
        play.step(LEFT)
        percept = play.step(RIGHT)
        np.testing.assert_array_equal(play.frame, official_frame(play.simulator))
        assert "closed red door 1 ahead" in SPACE.describe(percept)

    def test_not_on_the_agent_and_not_once_it_is_through(self):
        play, door = self.opened()
        for action in (FORWARD, LEFT, RIGHT, FORWARD, LEFT, LEFT):
            play.step(action)
            assert door.is_open and not play.env.disturbed
        play.step(FORWARD)  # in the doorway again
        assert door.is_open
        play.step(FORWARD)
        assert not door.is_open


class TestKeyTaken:
    ROOM = """
        # # # # # # #
        # > Kr . # . #
        # . . . Lr . #
        # . . . # . #
        # # # # # # #
    """

    def begun(self, seed=0, door="Lr"):
        play = disturbed(play_room(self.ROOM.replace("Lr", door)), "key taken")
        play.reset(seed)
        return play

    def test_it_leaves_the_hand_after_three_steps(self):
        places = set()
        for seed in range(20):
            play = self.begun(seed)
            key = play.simulator.grid.get(2, 1)
            play.step(PICK_UP)
            for _ in range(2):
                play.step(RIGHT)
                assert play.simulator.carrying is key and not play.env.disturbed
            percept = play.step(RIGHT)
            assert play.simulator.carrying is None and play.env.disturbed
            assert not percept.hands_full
            np.testing.assert_array_equal(play.frame, official_frame(play.simulator))
            place = tuple(key.cur_pos)
            assert play.simulator.grid.get(*place) is key
            places.add(place)
        assert len(places) >= 3 and places <= {(x, y) for x in (1, 2, 3) for y in (1, 2, 3)}

    def test_a_key_that_opens_nothing_stays(self):
        play = self.begun(door="Dr")
        for action in (PICK_UP, LEFT, LEFT, LEFT, LEFT):
            play.step(action)
        assert play.simulator.carrying is not None and not play.env.disturbed

    def test_dropping_it_starts_the_count_again(self):
        play = self.begun()
        for action in (PICK_UP, RIGHT, DROP, PICK_UP, LEFT, LEFT):
            play.step(action)
            assert not play.env.disturbed
        play.step(LEFT)
        assert play.env.disturbed

    def test_the_next_thing_picked_up_counts(self):
        """BabyAI compares the hand with that of the step before, which held the key."""
        play = disturbed(Play(LEVEL), "key taken")
        for seed in range(20):
            play.reset(seed)
            simulator = play.simulator
            key = next(t for t in simulator.grid.grid if t is not None and t.type == "key")
            box = simulator.instrs.desc.obj_set[0]
            simulator.grid.set(*key.cur_pos, None)
            simulator.grid.set(*box.cur_pos, None)
            simulator.carrying = key
            for _ in range(4):
                play.step(LEFT)
            assert play.env.disturbed and simulator.carrying is None
            if simulator.grid.get(*simulator.front_pos) is None:
                simulator.grid.set(*simulator.front_pos, box)
                play.step(PICK_UP)
                assert play.reward > 0 and play.ended
                return
        raise AssertionError("never a free cell ahead")


@pytest.mark.parametrize("kind", DISTURBANCES)
class TestRealLevels:
    def episode(self, kind, seed):
        play = disturbed(Play(LEVEL), kind)
        frames, known = [], False
        for _ in play.follow_expert(seed):
            np.testing.assert_array_equal(play.frame, official_frame(play.simulator))
            if play.env.disturbed and not known:
                assert_positions_are_right(play.simulator)
            known = play.env.disturbed
            frames.append(play.frame)
        return play, np.stack(frames)

    def test_frames_are_minigrids_positions_right_and_missions_achievable(self, kind):
        struck = [play for seed in range(12) if (play := self.episode(kind, seed)[0]).env.disturbed]
        assert len(struck) >= 8
        # What went out of sight is not always found again in the level's 72 steps.
        assert sum(play.reward > 0 for play in struck) >= len(struck) / 2

    def test_the_seed_decides(self, kind):
        assert np.array_equal(self.episode(kind, 3)[1], self.episode(kind, 3)[1])

    def test_a_new_episode_is_as_made(self, kind):
        play, _ = self.episode(kind, 0)
        assert play.env.disturbed
        fresh = envs.make_env(LEVEL)
        fresh.reset(seed=5)
        observation, info = play.env.reset(seed=5)
        assert info == {"disturbed": False} and not play.env.disturbed
        assert objects(play.simulator) == objects(fresh.simulator)
        assert play.env.step(LEFT)[-1] == {"disturbed": False}
        assert observation in play.env.observation_space


def test_an_unknown_kind_is_an_error():
    with pytest.raises(UnknownNameError, match="did you mean 'key taken'"):
        Disturbed(envs.make_env(LEVEL), "key takn")
