"""Where subgoals point: cell by cell against plain Python, and the cases that took thought."""

import numpy as np
import pytest

from hier.envs.gridworld.cells import CELLS, EMPTY, UNSEEN, WALKABLE
from hier.envs.gridworld.percept import HEADINGS
from tests.drawn_levels import play_room
from tests.scripted_play import (
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


def around(percept, x, y):
    return [int(percept.map[y + dy, x + dx]) for dx, dy in HEADINGS]


def is_named(code, subgoal):
    return (CELLS[code].color, CELLS[code].kind) == (subgoal.color, subgoal.kind)


def on_side(percept, subgoal, x, y):
    start = percept.map.shape[0] // 2
    sides = {"left": x < start, "right": x > start, "front": y < start, "behind": y > start}
    return sides.get(subgoal.where, True)


def keeps_ways_open(percept, x, y):
    ring = [(-1, -1), (0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0)]
    places = [(x + dx, y + dy) for dx, dy in ring]
    codes = [int(percept.map[py, px]) for px, py in places]
    agent = (percept.x, percept.y)
    free = [
        bool(WALKABLE[code]) or place == agent for code, place in zip(codes, places, strict=True)
    ]
    changes = sum(free[k] != free[k - 1] for k in range(8))
    enclosed = any(
        CELLS[codes[k]].kind != "wall" and not (free[k] or free[k - 1] or free[(k + 1) % 8])
        for k in range(8)
    )
    return changes <= 2 and not enclosed


def points_at(percept, subgoal, x, y, second_best):
    """Whether a cell is a target; ``second_best`` where no cell is one at first sight."""
    code = int(percept.map[y, x])
    underfoot = (x, y) == (percept.x, percept.y)
    match subgoal.verb:
        case "explore":
            return code == UNSEEN and any(WALKABLE[near] for near in around(percept, x, y))
        case "reach":
            return is_named(code, subgoal)
        case "drop":
            open_still = second_best or keeps_ways_open(percept, x, y)
            return code == EMPTY and not underfoot and open_still
        case "put next to":
            draw_side_by_side = any(
                is_named(int(percept.map[y + dy, x + dx]), subgoal)
                and on_side(percept, subgoal, x + dx, y + dy)
                for dx, dy in HEADINGS
            )
            return code == EMPTY and draw_side_by_side and (second_best or not underfoot)
        case "open":
            states = ("closed", "locked") if second_best else ("closed",)
            right = CELLS[code].state in states
        case "pick up":
            codes = [CELLS[near] for near in around(percept, x, y)]
            in_the_way = any(c.kind == "door" and c.state != "open" for c in codes)
            right = not underfoot and (second_best or in_the_way)
        case "go to":
            right = second_best or not underfoot
        case _:
            right = not underfoot
    return right and is_named(code, subgoal) and on_side(percept, subgoal, x, y)


@pytest.mark.parametrize("level", LEVELS)
def test_the_mask_is_what_plain_python_says(level):
    play, rng = Play(level), np.random.default_rng(4)
    percept = play.reset(4)
    for step in range(150):
        if step % 25 == 0:
            x0, y0, x1, y1 = percept.bounds
            cells = [(x, y) for x in range(x0 - 1, x1 + 2) for y in range(y0 - 1, y1 + 2)]
            for subgoal in SPACE.candidates(percept):
                for second_best in (False, True):
                    wanted = {c for c in cells if points_at(percept, subgoal, *c, second_best)}
                    if wanted or subgoal.verb in ("explore", "reach", "toggle"):
                        break
                mask = SPACE.target_mask(percept, subgoal)
                assert {(int(x), int(y)) for y, x in np.argwhere(mask)} == wanted, str(subgoal)
        percept = play.reset() if play.ended else percept
        percept = play.step(busy_action(play.simulator, rng))


def targets(play, text):
    """Target cells as ``(right, ahead)`` of the first pose."""
    percept = play.tracker.percept(0)
    middle = percept.map.shape[0] // 2
    mask = SPACE.target_mask(percept, SPACE.parse(text))
    return {(int(x) - middle, middle - int(y)) for y, x in np.argwhere(mask)}


def start(drawing, *actions):
    play = play_room(drawing)
    play.reset(0)
    for action in actions:
        play.step(action)
    return play


def test_a_thing_is_not_put_down_before_a_door():
    play = start(
        """
        # # # # # #
        # . . . . #
        # . . . . Dr
        # Kb ^ . . #
        # # # # # #
        """,
        *(LEFT, PICK_UP, RIGHT, RIGHT),
    )
    # Not at (2, 1), where it would bar the door.
    assert targets(play, "drop") >= {(0, 2), (1, 2), (0, 1)}
    assert (2, 1) not in targets(play, "drop")


def test_in_a_corridor_a_dead_end_is_best_and_else_any_free_cell_will_do():
    look = (PICK_UP, RIGHT, RIGHT)
    corridor = """
        # # # # # #
        {} Kb < . . {}
        # # # # # #
    """
    assert targets(start(corridor.format("#", "#"), *look), "drop") == {(0, 1), (0, -2)}
    between_doors = start(corridor.format("Lr", "Dr"), *look)
    assert targets(between_doors, "drop") == {(0, 1), (0, -1), (0, -2)}


def test_a_closed_door_is_opened_before_a_locked_one_of_its_color():
    drawing = """
        # # # # #
        {} . ^ . {}
        # # # # #
    """
    assert targets(start(drawing.format("Lr", "Dr")), "open the red door") == {(2, 0)}
    assert targets(start(drawing.format("Dr", "Lr")), "open the red door") == {(-2, 0)}
    assert targets(start(drawing.format("Lr", "Lr")), "open the red door") == {(-2, 0), (2, 0)}
    assert targets(start(drawing.format("Lr", "Or")), "open the red door") == {(-2, 0)}


def test_of_things_alike_the_one_before_a_shut_door_is_picked_up():
    drawing = """
        # # # # # #
        # . . . . #
        # Ag ^ . Ag {}
        # . . . . #
        # # # # # #
    """
    for door in ("Dr", "Lr"):
        assert targets(start(drawing.format(door)), "pick up the green ball") == {(2, 0)}
    for open_or_none in ("Or", "#"):
        both = targets(start(drawing.format(open_or_none)), "pick up the green ball")
        assert both == {(-1, 0), (2, 0)}


def test_the_doorway_the_agent_stands_in_counts_only_if_there_is_no_other():
    one = start("""
        # # # # # #
        # > Dr . . #
        # # # # # #
    """)
    assert targets(one, "go to the red door") == {(0, 1)}
    one.step(TOGGLE)
    one.step(FORWARD)
    assert targets(one, "go to the red door") == {(0, 1)}
    one.step(FORWARD)
    assert targets(one, "go to the red door") == {(0, 1)}
    two = start(
        """
        # # # # # #
        # > Or . Dr #
        # # # # # #
        """,
        FORWARD,
    )
    assert targets(two, "go to the red door") == {(0, 3)}


def test_the_last_cell_beside_a_thing_counts_even_underfoot():
    play = start(
        """
        # # # # #
        # Kr < Ab #
        # # # # #
        """,
        *(RIGHT, RIGHT, LEFT, LEFT, PICK_UP),
    )
    text = "put next to the blue ball"
    assert targets(play, text) == {(0, 0)}
    for action in (FORWARD, RIGHT, RIGHT):
        before = play.step(action)
    assert targets(play, text) == {(0, 0)}
    assert SPACE.is_complete(SPACE.parse(text), before, play.step(DROP))
