"""How the tests play: one environment with its perception, and a random player that does things."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from minigrid.minigrid_env import MiniGridEnv

from hier import envs
from hier.envs.domain import batched
from hier.envs.gridworld.env import GridworldEnv
from hier.envs.gridworld.percept import GridPercept
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.envs.subgoal import Subgoal
from hier.perception.gridworld.scripted_controller import GridScriptedController
from hier.perception.gridworld.tracker import GridTracker

SPACE = GridworldSubgoals()
LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, DONE = range(7)
MAX_DURATION = 40  # steps after which a subgoal is given up, as by default in hier

# Rooms, mazes, corridors; doors, keys, boxes, lava, goals; moving balls; walls one sees through;
# an agent that starts with something in hand; side words and long instructions.
LEVELS = (
    "BabyAI-BlockedUnlockPickup-v0",
    "BabyAI-BossLevel-v0",
    "BabyAI-GoToRedBallGrey-v0",
    "BabyAI-KeyCorridorS3R3-v0",
    "BabyAI-KeyInBox-v0",
    "BabyAI-MiniBossLevel-v0",
    "BabyAI-OpenDoorLoc-v0",
    "BabyAI-PickupLoc-v0",
    "BabyAI-PutNextLocal-v0",
    "BabyAI-PutNextS5N2Carrying-v0",
    "BabyAI-SynthLoc-v0",
    "BabyAI-UnlockPickup-v0",
    "MiniGrid-DistShift1-v0",
    "MiniGrid-DoorKey-8x8-v0",
    "MiniGrid-Dynamic-Obstacles-8x8-v0",
    "MiniGrid-Fetch-8x8-N3-v0",
    "MiniGrid-GoToDoor-8x8-v0",
    "MiniGrid-LavaCrossingS9N2-v0",
    "MiniGrid-LockedRoom-v0",
    "MiniGrid-MemoryS13Random-v0",
    "MiniGrid-MultiRoom-N6-v0",
    "MiniGrid-ObstructedMaze-Full-v1",
    "MiniGrid-Playground-v0",
    "MiniGrid-PutNear-8x8-N3-v0",
    "MiniGrid-RedBlueDoors-8x8-v0",
)


def busy_action(simulator: MiniGridEnv, rng: np.random.Generator) -> int:
    """A random action that prefers what has an effect, so that things get moved and opened."""
    ahead = simulator.grid.get(*simulator.front_pos)
    draw = rng.random()
    if draw < 0.1:
        return int(rng.integers(7))
    if ahead is None:
        if simulator.carrying is not None and draw < 0.2:
            return DROP
        return FORWARD if draw < 0.75 else int(rng.integers(2))
    if ahead.type == "door":
        if not ahead.is_open:
            return TOGGLE if draw < 0.6 else int(rng.integers(2))
        return FORWARD if draw < 0.8 else TOGGLE
    if ahead.type in ("key", "ball", "box") and draw < 0.6:
        return TOGGLE if ahead.type == "box" and draw < 0.25 else PICK_UP
    if ahead.can_overlap() and ahead.type != "lava":
        return FORWARD
    return int(rng.integers(2))


class Play:
    """An environment and the perception of it.

    Args:
        env: from :func:`envs.make_env`, or an id for it.
    """

    def __init__(self, env: GridworldEnv | str):
        self.env = envs.make_env(env) if isinstance(env, str) else env
        self.simulator = self.env.simulator
        self.tracker = GridTracker(1)
        self.frame = np.zeros(0, np.uint8)
        self.reward = 0.0
        self.ended = False

    def reset(self, seed: int | None = None) -> GridPercept:
        """Start an episode; a percept that later steps leave alone."""
        observation, _ = self.env.reset(seed=seed)
        self.reward, self.ended = 0.0, False
        self.frame = observation["image"]
        self.tracker.reset(batched(observation))
        return self.tracker.percept(0).snapshot()

    def step(self, action: int) -> GridPercept:
        """One step; ``reward`` and ``ended`` tell the rest."""
        observation, self.reward, terminated, truncated, _ = self.env.step(action)
        self.ended = terminated or truncated
        self.frame = observation["image"]
        self.tracker.update(batched(observation))
        return self.tracker.percept(0).snapshot()

    def follow_expert(
        self, seed: int, random_action: float = 0.0, first: Sequence[int] = ()
    ) -> Iterator[tuple[Subgoal, int, GridPercept, GridPercept]]:
        """Play an episode on the expert's subgoals, with chance where it knows none.

        Args:
            seed: of the level and of everything drawn.
            random_action: probability of any action instead of the one that serves the subgoal.
            first: actions taken before the expert is asked.

        Yields:
            Subgoal, action, percept before and percept after, step by step.
        """
        rng = np.random.default_rng(seed)
        before = self.reset(seed)
        for action in first:
            before = self.step(action)
        expert = self.env.get_wrapper_attr("expert")()
        subgoal: Subgoal | None = None
        duration = 0
        while not self.ended:
            if subgoal is None:
                candidates = SPACE.candidates(before)
                duration = 0
                by_chance = candidates[int(rng.integers(len(candidates)))]
                subgoal = expert.subgoal(before, candidates) or by_chance
            slipped = rng.random() < random_action
            action = int(rng.integers(7)) if slipped else pursue(before, subgoal, rng)
            after = self.step(action)
            yield subgoal, action, before, after
            duration += 1
            if (
                duration == MAX_DURATION
                or SPACE.is_complete(subgoal, before, after)
                or after.carrying != before.carrying
                or not SPACE.target_mask(after, subgoal).any()
            ):
                subgoal = None
            before = after


_CONTROLLER = GridScriptedController()
pursue = _CONTROLLER.action
