"""The gridworld's subgoals: the contract, what is offered, and when each verb is done."""

import numpy as np
import pytest

from hier.envs.subgoal import Subgoal
from tests.drawn_levels import play_room
from tests.envs.contracts import SubgoalSpaceContract
from tests.scripted_play import (
    DONE,
    DROP,
    FORWARD,
    LEFT,
    LEVELS,
    PICK_UP,
    RIGHT,
    SPACE,
    TOGGLE,
    Play,
    busy_action,
)


class TestGridworldSubgoals(SubgoalSpaceContract):
    space = SPACE
    nonsense = (
        "",
        "fly",
        "pick up",
        "explore the red key",
        "drop the red key",
        "pick up the red",
        "pick up the key",
        "pick up the pink key",
        "pick up a red key",
        "pick up the red key and",
        "pick up the red key under you",
        "go to the red wall",
        "the red key",
    )

    @pytest.fixture(scope="class")
    @classmethod
    def percepts(cls):
        found = []
        for level in LEVELS:
            play, rng = Play(level), np.random.default_rng(3)
            percept = play.reset(3)
            for step in range(160):
                if step % 8 == 0:
                    found.append(percept)
                percept = play.reset() if play.ended else percept
                percept = play.step(busy_action(play.simulator, rng))
        return found


def offered(percept):
    return [str(subgoal) for subgoal in SPACE.candidates(percept)]


def done(play, text, *actions):
    """After which of the actions the subgoal counts as achieved."""
    subgoal = SPACE.parse(text)
    before = play.tracker.percept(0).snapshot()
    steps = []
    for action in actions:
        after = play.step(action)
        steps.append(bool(SPACE.is_complete(subgoal, before, after)))
        before = after
    return steps


def begin(drawing, mission="go to the goal"):
    play = play_room(drawing, mission)
    return play, play.reset(0)


def look_around(play):
    for _ in range(4):
        percept = play.step(RIGHT)
    return percept


# ------------------------------------------------------------------------------ what is offered


def test_free_hands_are_offered_to_pick_up_and_full_ones_to_put_down():
    play, _ = begin("""
        # # # # # #
        # > Kr . By #
        # # # # # #
    """)
    assert offered(look_around(play)) == [
        "go to the yellow box",
        "go to the red key",
        "pick up the yellow box",
        "pick up the red key",
        "toggle the yellow box",
    ]
    percept = play.step(PICK_UP)
    assert offered(percept) == [
        "go to the yellow box",
        "drop",
        "put next to the yellow box",
        "toggle the yellow box",
    ]


def test_only_shut_doors_are_offered_to_be_opened_and_goals_to_be_reached():
    play, _ = begin("""
        # # Or # #
        # Dg ^ Lb #
        # # . # #
        # # G # #
    """)
    percept = look_around(play)
    assert offered(percept) == [
        "go to the blue door",
        "go to the green door",
        "go to the red door",
        "open the blue door",
        "open the green door",
        "reach the green goal",
    ]


def test_exploring_is_offered_while_something_reachable_is_unseen():
    play, percept = begin("""
        # # # #
        # ^ . #
        # . Kr #
        # # # #
    """)
    assert "explore" in offered(percept) and "go to the red key" not in offered(percept)
    play.step(RIGHT)
    percept = play.step(RIGHT)
    assert offered(percept) == ["go to the red key", "pick up the red key"]


def test_with_nothing_left_to_do_exploring_stands_alone():
    play, _ = begin("""
        # # #
        # > #
        # # #
    """)
    percept = look_around(play)
    assert offered(percept) == ["explore"]
    assert not SPACE.target_mask(percept, SPACE.parse("explore")).any()


SIDES = """
    # # # # #
    # Kr ^ Kr #
    # # # # #
"""


def test_sides_are_offered_only_where_the_mission_speaks_of_them():
    _, percept = begin(SIDES)
    assert not any("your" in text for text in offered(percept))
    _, percept = begin(SIDES, "go to the key on your left")
    texts = offered(percept)
    assert "go to the red key on your left" in texts and "go to the red key" in texts
    assert not any("right" in text for text in texts)


def test_sides_count_from_the_pose_at_the_start():
    drawing = """
        # # # # #
        # . Ar . #
        # Kr {} Kb #
        # . Ab . #
        # # # # #
    """
    missions = {
        "left": "go to the key on your left",
        "right": "go to the key on your right",
        "front": "go to the ball in front of you",
        "behind": "go to the ball behind you",
    }
    # Clockwise from ahead, for an agent that looks up, right, down and left.
    clockwise = ["red ball", "blue key", "blue ball", "red key"]
    for start, token in enumerate("^>v<"):
        ring = clockwise[start:] + clockwise[:start]
        for side, turns in {"front": 0, "right": 1, "behind": 2, "left": 3}.items():
            play, _ = begin(drawing.format(token), missions[side])
            percept = look_around(play)
            named = [g for g in SPACE.candidates(percept) if g.where and g.verb == "go to"]
            assert [f"{g.color} {g.kind}" for g in named] == [ring[turns]]
            mask = SPACE.target_mask(percept, named[0])
            (y, x), middle = np.argwhere(mask)[0], mask.shape[0] // 2
            assert mask.sum() == 1
            assert (x - middle, y - middle) == [(0, -1), (1, 0), (0, 1), (-1, 0)][turns]


# --------------------------------------------------------------------------- when a verb is done


def test_pick_up_is_done_when_the_thing_is_in_hand():
    play, _ = begin("""
        # # # # #
        # > . Kr #
        # # # # #
    """)
    steps = done(play, "pick up the red key", FORWARD, PICK_UP, LEFT)
    assert steps == [False, True, False]
    assert play.simulator.carrying.type == "key"


def test_pick_up_means_the_thing_named():
    play, _ = begin("""
        # # # # #
        # Ar > Kr #
        # # # # #
    """)
    assert done(play, "pick up the red ball", PICK_UP) == [False]
    play.reset(0)
    assert done(play, "pick up the blue key", PICK_UP) == [False]
    play.reset(0)
    # Reaching out with full hands takes nothing.
    assert done(play, "pick up the red ball", PICK_UP, LEFT, LEFT, PICK_UP) == [False] * 4


def test_open_is_done_each_time_the_door_opens():
    play, _ = begin("""
        # # # # #
        # > Dr . #
        # # # # #
    """)
    assert done(play, "open the red door", TOGGLE, TOGGLE, TOGGLE) == [True, False, True]
    # Turning away from and back to an open door opens nothing.
    assert done(play, "open the red door", DONE, LEFT, RIGHT, FORWARD) == [False] * 4


def test_a_locked_door_takes_its_key():
    play, _ = begin("""
        # # # # #
        # Kr > Lr #
        # # # # #
    """)
    assert done(play, "open the red door", TOGGLE, LEFT, LEFT, PICK_UP) == [False] * 4
    assert done(play, "open the red door", LEFT, LEFT, TOGGLE) == [False, False, True]
    assert play.simulator.carrying.type == "key"


def test_opening_another_door_does_not_count():
    play, _ = begin("""
        # # # # #
        # Db > Dr #
        # # # # #
    """)
    assert done(play, "open the blue door", TOGGLE) == [False]


def test_drop_is_done_when_the_hand_is_empty():
    play, _ = begin("""
        # # # # #
        # > Kr . #
        # # # # #
    """)
    assert done(play, "drop", DROP, PICK_UP, LEFT, DROP) == [False] * 4  # against the wall
    assert done(play, "drop", RIGHT, DROP, DROP) == [False, True, False]


def test_put_next_to_is_done_beside_the_thing_and_not_across_a_corner():
    drawing = """
        # # # # # #
        # > Kr . Ab #
        # . . . . #
        # # # # # #
    """
    play, _ = begin(drawing)
    text = "put next to the blue ball"
    # Put down where it was, two cells off; then one cell further on.
    assert done(play, text, PICK_UP, DROP, PICK_UP, FORWARD, DROP) == [False] * 4 + [True]
    play.reset(0)
    # From (2, 1) down and right: dropped on (3, 2), across the corner from the ball.
    steps = done(play, text, PICK_UP, FORWARD, RIGHT, FORWARD, LEFT, DROP)
    assert steps == [False] * 6 and play.simulator.carrying is None
    play.reset(0)
    steps = done(play, "put next to the red ball", PICK_UP, FORWARD, DROP)
    assert steps == [False] * 3


def test_go_to_is_done_when_the_agent_faces_the_thing():
    play, _ = begin("""
        # # # # #
        # ^ . . #
        # . . Kr #
        # # # # #
    """)
    walk = (RIGHT, FORWARD, FORWARD, RIGHT, LEFT)
    assert done(play, "go to the red key", *walk) == [False, False, False, True, False]


def test_go_to_a_door_counts_open_or_shut():
    for door in ("Dr", "Lr", "Or"):
        play, _ = begin(f"""
            # # # # #
            # v . {door} #
            # # # # #
        """)
        assert done(play, "go to the red door", LEFT, FORWARD) == [False, True], door


def test_toggle_is_done_when_the_box_is_open_not_when_it_is_taken():
    for hidden, left in (("By", None), ("By:Kr", "key")):
        play, _ = begin(f"""
            # # # # #
            # > {hidden} . #
            # # # # #
        """)
        assert done(play, "toggle the yellow box", RIGHT, LEFT, TOGGLE) == [False, False, True]
        assert getattr(play.simulator.grid.get(2, 1), "type", None) == left
        play.reset(0)
        assert done(play, "toggle the yellow box", PICK_UP) == [False]
        assert play.simulator.carrying.type == "box"


def test_reach_is_done_on_the_goal_and_ends_the_episode():
    play, _ = begin("""
        # # # # #
        # > . G #
        # # # # #
    """)
    assert done(play, "reach the green goal", FORWARD, FORWARD) == [False, True]
    assert play.ended and play.reward > 0


def test_explore_is_done_when_something_turns_up():
    play, _ = begin("""
        # # # # # # # # #
        # . . . . . . Kr #
        # . . . ^ . . . #
        # . Kb . . . . . #
        # # # # # # # # #
    """)
    # Up: the red key is in view. Right: nothing new, though more of the room. Down: the blue key.
    assert done(play, "explore", RIGHT, RIGHT) == [False, True]


def test_explore_is_done_when_nothing_is_left():
    play, _ = begin("""
        # # # #
        # ^ . #
        # . . #
        # # # #
    """)
    assert done(play, "explore", RIGHT, RIGHT) == [False, True]


@pytest.mark.parametrize(
    ("verb", "thing", "act"),
    [
        ("pick up", "Kr", (PICK_UP,)),
        ("go to", "Kr", (DONE,)),
        ("open", "Dr", (TOGGLE,)),
        ("toggle", "Br", (TOGGLE,)),
    ],
)
def test_the_side_named_is_the_side_that_counts(verb, thing, act):
    noun = {"K": "key", "D": "door", "B": "box"}[thing[0]]
    drawing = f"""
        # # # # #
        # {thing} ^ {thing} #
        # . . . #
        # # # # #
    """
    for side, turn, other in (("left", LEFT, RIGHT), ("right", RIGHT, LEFT)):
        text = f"{verb} the red {noun} on your {side}"
        for turned, wanted in ((turn, True), (other, False)):
            play, _ = begin(drawing, f"go to the {noun} on your {side}")
            play.step(turned)
            assert done(play, text, *act)[-1] is wanted, (text, turned)


def test_put_next_to_minds_the_side():
    drawing = """
        # # # # # # #
        # Ab . . . Ab #
        # . . ^ . . #
        # . . Kr . . #
        # # # # # # #
    """
    for side in ("left", "right"):
        text = f"put next to the blue ball on your {side}"
        for went, turn in (("left", RIGHT), ("right", LEFT)):
            play, _ = begin(drawing, f"go to the ball on your {side}")
            # Take the key from behind, then a step to one side, and put it down ahead.
            steps = done(play, text, RIGHT, RIGHT, PICK_UP, turn, FORWARD, turn, DROP)
            assert steps == [False] * 6 + [went == side]
            assert play.simulator.carrying is None


# --------------------------------------------------------------------------------- descriptions


def test_a_scene_in_words():
    play, percept = begin("""
        # # # # # #
        # > . Kr Db #
        # . . . # #
        # # # # # #
    """)
    assert SPACE.describe(percept) == (
        "Your hands are free. You remember: the red key 2 ahead; the closed blue door 3 ahead. "
        "There are unseen places to explore."
    )
    play.step(FORWARD)
    play.step(PICK_UP)
    percept = play.step(RIGHT)
    assert SPACE.describe(percept).startswith(
        "You carry the red key. You remember: the closed blue door 2 to the left."
    )
    empty, percept = begin("""
        # # #
        # ^ #
        # # #
    """)
    for _ in range(2):
        percept = empty.step(RIGHT)
    assert SPACE.describe(percept) == "Your hands are free. You remember: nothing of note."


def test_parsing_knows_every_side():
    for side, phrase in (
        ("left", "on your left"),
        ("right", "on your right"),
        ("front", "in front of you"),
        ("behind", "behind you"),
    ):
        subgoal = Subgoal("open", "grey", "door", side)
        assert str(subgoal) == f"open the grey door {phrase}"
        assert SPACE.parse(str(subgoal)) == subgoal
