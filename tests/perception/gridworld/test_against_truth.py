"""Perception and completion tests against the simulator, step by step.

The truth is read off MiniGrid alone: its own view, its grid and its objects, never our renderer.
With ``--full`` every level that can be built is played, more than 100,000 steps in all.
"""

from collections import Counter

import numpy as np
import pytest

from hier import envs
from hier.envs.gridworld.cells import CODE, EMPTY, NAMED, UNSEEN, WALL, Cell, code_of
from hier.envs.gridworld.percept import HEADINGS
from hier.envs.gridworld.targets import VERBS
from hier.perception.gridworld.decoding import decode
from tests.scripted_play import LEVELS, SPACE, Play, busy_action

STEPS, FULL_STEPS = 800, 700  # per level; 20,000 and 120,400 steps in all
GRIDWORLD = envs.domain_named("gridworld")
FULL_LEVELS = tuple(name for name in GRIDWORLD.env_ids() if "-WFC-" not in name)
LAVA = CODE[Cell("lava", "red")]
PAD = 48  # around the grid, so that every cell of the agent's map has a place
tally: Counter[str] = Counter()


def pytest_generate_tests(metafunc):
    if "level" in metafunc.fixturenames:
        full = metafunc.config.getoption("--full")
        metafunc.parametrize("level", FULL_LEVELS if full else LEVELS)


class Truth:
    """What the agent may know by now, kept from the simulator's own state."""

    def __init__(self, simulator, map_size):
        self.simulator = simulator
        self.start = tuple(int(v) for v in simulator.agent_pos)
        self.heading = int(simulator.agent_dir)
        shape = (simulator.height + 2 * PAD, simulator.width + 2 * PAD)
        self.seen = np.full(shape, UNSEEN, np.uint8)
        self.seen[self.start[1] + PAD, self.start[0] + PAD] = EMPTY
        self.new_names = 0
        # Where each cell of the map lies in the simulator: the map's start looks up.
        rows, cols = np.mgrid[:map_size, :map_size]
        ahead, right = map_size // 2 - rows, cols - map_size // 2
        fx, fy = HEADINGS[self.heading]
        self._x = self.start[0] + fx * ahead - fy * right + PAD
        self._y = self.start[1] + fy * ahead + fx * right + PAD
        self._inside = (self._x >= 0) & (self._x < shape[1]) & (self._y >= 0) & (self._y < shape[0])
        self._x[~self._inside] = self._y[~self._inside] = 0

    def look(self):
        """Take in what MiniGrid shows now; its view as codes, ``(7, 7)``."""
        simulator = self.simulator
        grid, lit = simulator.gen_obs_grid()
        view = np.zeros((7, 7), np.uint8)
        (x, y), (fx, fy) = simulator.agent_pos, HEADINGS[simulator.agent_dir]
        self.new_names = 0
        for row in range(7):
            for col in range(7):
                if not lit[col, row]:
                    continue
                view[row, col] = code_of(grid.get(col, row))
                ahead, right = 6 - row, col - 3
                if not (ahead or right):
                    continue
                wx, wy = int(x + fx * ahead - fy * right), int(y + fy * ahead + fx * right)
                code = self.code_at(wx, wy)
                self.new_names += bool(NAMED[code] and self.seen[wy + PAD, wx + PAD] == UNSEEN)
                self.seen[wy + PAD, wx + PAD] = code
        underfoot = self.code_at(int(x), int(y))
        self.seen[y + PAD, x + PAD] = EMPTY if underfoot == LAVA else underfoot
        return view

    def code_at(self, x, y):
        grid = self.simulator.grid
        inside = 0 <= x < grid.width and 0 <= y < grid.height
        return code_of(grid.get(x, y)) if inside else WALL

    def map(self):
        """What the agent's map must hold."""
        return np.where(self._inside, self.seen[self._y, self._x], UNSEEN)

    def pose(self, middle):
        """The pose on the agent's map."""
        (x, y), (fx, fy) = self.simulator.agent_pos, HEADINGS[self.heading]
        dx, dy = x - self.start[0], y - self.start[1]
        ahead, right = dx * fx + dy * fy, -dx * fy + dy * fx
        return middle + right, middle - ahead, (3 + self.simulator.agent_dir - self.heading) % 4

    def stale_cells(self):
        """Seen cells that are no longer as they were seen."""
        grid = self.simulator.grid
        now = np.array([code_of(obj) for obj in grid.grid]).reshape(grid.height, grid.width)
        seen = self.seen[PAD:-PAD, PAD:-PAD]
        return int(((seen != UNSEEN) & (seen != now)).sum())

    def on_side(self, where, position):
        """BabyAI's meaning of the side words."""
        v = np.subtract(position, self.start)
        fx, fy = HEADINGS[self.heading]
        ahead, right = v @ (fx, fy), v @ (-fy, fx)
        sides = {"left": right < 0, "right": right > 0, "front": ahead > 0, "behind": ahead < 0}
        return bool(sides.get(where, True))


class Moment:
    """The simulator's objects at one moment, kept to compare with the next."""

    def __init__(self, simulator):
        self.position = tuple(int(v) for v in simulator.agent_pos)
        self.carrying = simulator.carrying
        self.front = tuple(int(v) for v in simulator.front_pos)
        self.objects = list(simulator.grid.grid)
        self.width = simulator.grid.width
        self.open = {id(obj): obj.is_open for obj in self.objects if obj and obj.type == "door"}

    def at(self, x, y):
        return self.objects[y * self.width + x]


def named(obj, subgoal):
    return obj is not None and (obj.color, obj.type) == (subgoal.color, subgoal.kind)


def achieved(subgoal, truth, before, after, frontier):
    """Whether the step brought about what the subgoal says, by the simulator's objects."""
    match subgoal.verb:
        case "explore":
            return truth.new_names > 0 or not frontier
        case "reach":
            return named(after.at(*after.position), subgoal)
        case "go to":
            thing = after.at(*after.front)
            return named(thing, subgoal) and truth.on_side(subgoal.where, after.front)
        case "pick up":
            taken = before.carrying is None and named(after.carrying, subgoal)
            return taken and truth.on_side(subgoal.where, before.front)
        case "open":
            return any(
                named(obj, subgoal)
                and obj.type == "door"
                and after.open[id(obj)]
                and not before.open[id(obj)]
                and truth.on_side(subgoal.where, (i % after.width, i // after.width))
                for i, obj in enumerate(after.objects)
            )
        case "toggle":
            x, y = before.front
            gone = named(before.at(x, y), subgoal) and after.at(x, y) is not before.at(x, y)
            taken = after.carrying is not before.carrying
            return gone and not taken and truth.on_side(subgoal.where, (x, y))
    dropped = before.carrying is not None and after.carrying is None
    if subgoal.verb == "drop" or not dropped:
        return dropped
    x, y = next(
        (i % after.width, i // after.width)
        for i, obj in enumerate(after.objects)
        if obj is before.carrying
    )
    return any(
        named(after.at(x + dx, y + dy), subgoal) and truth.on_side(subgoal.where, (x + dx, y + dy))
        for dx, dy in HEADINGS
    )


def check_percept(play, percept, truth):
    view = truth.look()
    np.testing.assert_array_equal(decode(play.frame), view)
    np.testing.assert_array_equal(percept.view, view)
    assert percept.carrying == code_of(play.simulator.carrying)
    middle = percept.map.shape[0] // 2
    assert (percept.x, percept.y, percept.heading) == truth.pose(middle)
    np.testing.assert_array_equal(percept.map, truth.map())
    y, x = np.nonzero(percept.map)
    assert percept.bounds == (x.min(), y.min(), x.max(), y.max())


def test_percepts_and_completion_agree_with_the_simulator(level, full):
    play, rng = Play(level), np.random.default_rng(9)
    simulator = play.simulator
    play.ended = True
    for step in range(FULL_STEPS if full else STEPS):
        where = f"{level}, step {step}"
        if play.ended:
            percept = play.reset(9 if step == 0 else None)
            truth = Truth(simulator, percept.map.shape[0])
            check_percept(play, percept, truth)
            discoveries = truth.new_names
        before, offered = Moment(simulator), SPACE.candidates(percept)
        previous, percept = percept, play.step(busy_action(simulator, rng))
        after = Moment(simulator)
        check_percept(play, percept, truth)
        discoveries += truth.new_names
        assert percept.discoveries == discoveries, where
        died = code_of(simulator.grid.get(*after.position)) == LAVA
        if (play.ended or step % 20 == 0) and not died and "Dynamic" not in level:
            # Nothing moves where the agent does not look: the whole map is still right.
            assert truth.stale_cells() == 0, where
        frontier = SPACE.target_mask(percept, SPACE.parse("explore")).any()
        for subgoal in offered:
            wanted = achieved(subgoal, truth, before, after, frontier)
            got = SPACE.is_complete(subgoal, previous, percept)
            assert got == wanted, f"{where}: {subgoal}"
            tally[subgoal.verb] += wanted
        tally["steps"] += 1
    tally["levels"] += 1


def test_every_verb_was_both_done_and_left_undone(full):
    """What the agreement above is worth."""
    if tally["levels"] < len(FULL_LEVELS if full else LEVELS):
        pytest.skip("counts only when all levels were played in this process")
    print(dict(tally))
    assert tally["steps"] >= (100_000 if full else 20_000)
    assert all(tally[verb] >= 10 for verb in VERBS), tally
