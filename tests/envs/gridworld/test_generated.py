"""Generated worlds: they can be solved, differ from held-out levels, and a seed gives one world."""

import gymnasium as gym
import numpy as np
import pytest
from minigrid.core.world_object import Box, Door, Key

from hier.envs.gridworld.generated import PREFIX, SIZES, STOP_SIZES
from hier.envs.registry import make_env
from hier.planners.play import NO_MISTAKES, Player
from hier.planners.scripted import OraclePlanner
from hier.pretraining.config import PretrainConfig

WORLDS = [f"{PREFIX}Rooms-{rows}x{columns}-S{size}-v0" for rows, columns, size in SIZES]


def simulators(world, seeds):
    env = make_env(world)
    for seed in seeds:
        env.reset(seed=seed)
        yield env.simulator


def things(simulator):
    return [thing for thing in simulator.grid.grid if thing is not None]


@pytest.mark.parametrize("world", WORLDS)
def test_every_lock_has_a_key_that_can_be_reached(world):
    for simulator in simulators(world, range(30)):
        keys, found = set(), {simulator.room_from_pos(*simulator.agent_pos)}
        for _ in range(20):  # walk as far as doors and keys allow
            for thing in things(simulator):
                if thing.type != "wall" and not isinstance(thing, Door):
                    inside = thing.contains if isinstance(thing, Box) else thing
                    if isinstance(inside, Key) and simulator.room_from_pos(*thing.cur_pos) in found:
                        keys.add(inside.color)
            for room in list(found):
                for door, neighbor in zip(room.doors, room.neighbors, strict=True):
                    if isinstance(door, Door) and (not door.is_locked or door.color in keys):
                        found.add(neighbor)
        assert len(found) == simulator.num_rows * simulator.num_cols


def test_locks_boxed_keys_and_blocked_doors_all_occur():
    locked = boxed = blocked = compound = 0
    for simulator in simulators("Hier-Rooms-2x3-S5-v0", range(60)):
        for thing in things(simulator):
            boxed += isinstance(thing, Box) and isinstance(thing.contains, Key)
            if isinstance(thing, Door):
                locked += thing.is_locked
                x, y = thing.cur_pos
                around = [simulator.grid.get(x + dx, y) for dx in (-1, 1)]
                around += [simulator.grid.get(x, y + dy) for dy in (-1, 1)]
                blocked += any(t is not None and t.type in ("key", "ball", "box") for t in around)
        compound += " then " in simulator.mission or " and " in simulator.mission
    assert min(locked, boxed, blocked, compound) >= 5


@pytest.mark.parametrize("world", ["Hier-Rooms-2x2-S7-v0", "Hier-Stop-2x2-S6-v0"])
def test_most_can_be_solved_by_the_expert(world):
    player = Player(world, NO_MISTAKES)
    assert np.mean([player.solve(OraclePlanner(), seed) for seed in range(20)]) >= 0.75


def test_a_seed_gives_one_world():
    one, other = make_env(WORLDS[4]), make_env(WORLDS[4])
    for seed in (3, 4):
        (a, _), (b, _) = one.reset(seed=seed), other.reset(seed=seed)
        assert one.simulator.mission == other.simulator.mission
        assert np.array_equal(a["image"], b["image"])
        assert one.simulator.grid.encode().tolist() == other.simulator.grid.encode().tolist()


def test_no_held_out_level_has_their_rooms():
    for level in PretrainConfig.load("gridworld").held_out:
        simulator = gym.make(level, disable_env_checker=True).unwrapped
        if hasattr(simulator, "room_size"):
            rooms = simulator.num_rows, simulator.num_cols, simulator.room_size
            assert rooms not in SIZES, level


@pytest.mark.parametrize("world", [f"{PREFIX}Stop-{r}x{c}-S{s}-v0" for r, c, s in STOP_SIZES])
def test_to_stop_is_to_say_so_where_the_mission_leads(world):
    env = make_env(world)
    for seed in range(5):
        env.reset(seed=seed)
        simulator, done = env.simulator, env.simulator.actions.done
        assert simulator.mission.startswith("go to ")
        place = simulator.instrs.desc.obj_poss[0]
        for at, right in ((place, True), ((0, 0), False)):
            env.reset(seed=seed)
            simulator.agent_pos = np.array([at[0] - 1, at[1]])
            simulator.agent_dir = 0  # faces it
            assert not env.step(simulator.actions.drop)[2]
            _, reward, ended, *_ = env.step(done)
            assert ended == (reward > 0) == right
        _, reward, ended, *_ = env.step(simulator.actions.toggle)
        assert ended and reward == 0
