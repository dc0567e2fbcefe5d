"""Crafter (Hafner 2022) as a domain of one's own; its achievements are the subgoals.

    PYTHONPATH=examples hier train goto env.id=crafter_domain:Crafter/survival \
        planner.type=random controller.gamma=0.99 eval.videos=0

It needs ``pip install crafter``. The controller sees the nine by seven cells around the player by
the simulator's own map, so this is a privileged variant: what a picture shows is left out here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from hier.envs import Domain, SimulatorError, Subgoal, SubgoalSyntaxError, normalized
from hier.envs.domain import FAR

ACHIEVEMENTS = (
    "collect coal", "collect diamond", "collect drink", "collect iron", "collect sapling",
    "collect stone", "collect wood", "defeat skeleton", "defeat zombie", "eat cow", "eat plant",
    "make iron pickaxe", "make iron sword", "make stone pickaxe", "make stone sword",
    "make wood pickaxe", "make wood sword", "place furnace", "place plant", "place stone",
    "place table", "wake up",
)  # fmt: skip
NEEDS = {  # what must have been achieved before; the rest can be tried at once
    "collect stone": "make wood pickaxe", "collect coal": "make wood pickaxe",
    "collect iron": "make stone pickaxe", "collect diamond": "make iron pickaxe",
    "place table": "collect wood", "make wood pickaxe": "place table",
    "make wood sword": "place table", "make stone pickaxe": "collect stone",
    "make stone sword": "collect stone", "place stone": "collect stone",
    "place furnace": "collect stone", "make iron pickaxe": "collect iron",
    "make iron sword": "collect iron", "place plant": "collect sapling",
    "eat plant": "place plant",
}  # fmt: skip
N_ITEMS, N_CODES, VIEW = 16, 19, (9, 7)


class Percept(NamedTuple):
    """What is known: the picture, the cells around the player, its items, what was achieved."""

    frame: np.ndarray
    cells: np.ndarray
    items: np.ndarray
    achieved: np.ndarray
    mission: str = "survive and achieve all you can"

    def snapshot(self) -> Percept:
        return Percept(*(v.copy() if isinstance(v, np.ndarray) else v for v in self))


class CrafterEnv(gym.Env):
    """Crafter by Gymnasium's rules; success is to have made one's first pickaxe."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, max_steps: int | None):
        try:
            import crafter
        except ImportError as error:
            raise SimulatorError("crafter is missing; pip install crafter") from error
        self._make, self._length = crafter.Env, max_steps or 10_000
        self._env: Any = None
        self.action_space = spaces.Discrete(17)
        self.observation_space = spaces.Dict(
            {
                "mission": spaces.Box(0, 1, (1,), np.int64),
                "frame": spaces.Box(0, 255, (64, 64, 3), np.uint8),
                "cells": spaces.Box(0, N_CODES - 1, VIEW, np.int64),
                "items": spaces.Box(0, 9, (N_ITEMS,), np.int64),
                "achieved": spaces.Box(0, 1, (len(ACHIEVEMENTS),), np.int64),
            }
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        # The simulator seeds itself once, when it is made, and steps without its time limit.
        self._env = self._make(length=None, seed=int(self.np_random.integers(2**31)))
        self._steps, frame = 0, self._env.reset()
        return self._observe(frame), {}

    def step(self, action: Any) -> Any:
        frame, reward, dead, _ = self._env.step(int(action))
        self._steps += 1
        observation = self._observe(frame)
        truncated = not dead and self._steps >= self._length
        first = bool(observation["achieved"][ACHIEVEMENTS.index("make wood pickaxe")])
        info = {"is_success": first} if dead or truncated else {}
        return observation, float(reward), bool(dead), truncated, info

    def render(self) -> Any:
        return self._env.render((256, 256))

    def expert(self) -> CrafterEnv:
        return self

    def subgoal(self, percept: Percept, candidates: Any) -> Subgoal | None:
        """The expert's advice: toward the pickaxe, by the order that the rules ask for."""
        wanted = ("collect wood", "place table", "make wood pickaxe")
        return next((g for text in wanted for g in candidates if str(g) == text), None)

    def _observe(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        player, half = self._env._player, (VIEW[0] // 2, VIEW[1] // 2)
        around = np.pad(self._env._sem_view(), [(n, n) for n in half])
        x, y = player.pos
        achieved = [player.achievements[name.replace(" ", "_")] > 0 for name in ACHIEVEMENTS]
        return {
            "mission": np.ones(1, np.int64),
            "frame": frame.astype(np.uint8),
            "cells": around[x : x + VIEW[0], y : y + VIEW[1]].astype(np.int64),
            "items": np.array(list(player.inventory.values()), np.int64),
            "achieved": np.array(achieved, np.int64),
        }


class Subgoals:
    """One subgoal for each achievement."""

    verbs = ACHIEVEMENTS
    encoding_size = len(ACHIEVEMENTS)

    def candidates(self, percept: Percept) -> list[Subgoal]:
        done = {text for text, d in zip(ACHIEVEMENTS, percept.achieved, strict=True) if d}
        possible = [text for text in ACHIEVEMENTS if NEEDS.get(text, text) in done | {text}]
        return [Subgoal(text) for text in possible if text not in done] or [Subgoal("wake up")]

    def parse(self, text: str) -> Subgoal:
        sentence = normalized(text)
        if sentence not in ACHIEVEMENTS:
            raise SubgoalSyntaxError(f"{text!r} is no subgoal; write for example 'collect wood'")
        return Subgoal(sentence)

    def encode(self, subgoal: Subgoal | None) -> np.ndarray:
        return np.array([str(subgoal) == text for text in ACHIEVEMENTS], np.float32)

    def is_complete(self, subgoal: Subgoal, before: Percept, after: Percept) -> bool:
        return bool(after.achieved[ACHIEVEMENTS.index(str(subgoal))])

    def is_interrupted(self, subgoal: Subgoal, before: Percept, after: Percept) -> bool:
        return False

    def is_repeatable(self, subgoal: Subgoal, percept: Percept) -> bool:
        return False

    def describe(self, percept: Percept) -> str:
        done = [text for text, d in zip(ACHIEVEMENTS, percept.achieved, strict=True) if d]
        return f"You have achieved: {', '.join(done) or 'nothing'}."

    def target_mask(self, percept: Percept, subgoal: Subgoal) -> np.ndarray:
        return np.ones(VIEW, np.bool_)  # an achievement is no place


class Grounding(NamedTuple):
    """No place; there is always something to do."""

    place: np.ndarray
    steps: np.ndarray
    found: np.ndarray


class Tracker:
    """Hands on what it is told; the way to an achievement is not known."""

    wait_action = 0

    def __init__(self, n: int):
        self.grounding = Grounding(np.zeros((n, 1), np.float32), np.full(n, FAR), np.ones(n, int))

    def reset(self, observation: Any, which: Any = None) -> None:
        self._seen = observation

    update = reset

    def percept(self, i: int) -> Percept:
        return Percept(*(self._seen[key][i] for key in ("frame", "cells", "items", "achieved")))

    def pursue(self, i: int, subgoal: Subgoal | None) -> None:
        self.grounding.found[i] = subgoal is not None

    def ground(self, which: Any = None) -> Grounding:
        return self.grounding

    def controller_spaces(self, observation_space: spaces.Dict) -> dict[str, spaces.Space]:
        size = VIEW[0] * VIEW[1] * N_CODES + N_ITEMS
        return {"state": spaces.Box(0.0, 1.0, (size,), np.float32)}

    def controller_entries(self, observation: Any) -> dict[str, np.ndarray]:
        cells = np.eye(N_CODES, dtype=np.float32)[observation["cells"]].reshape(
            len(observation["cells"]), -1
        )
        return {"state": np.hstack([cells, observation["items"].astype(np.float32) / 9])}

    def unsafe_actions(self, actions: np.ndarray, kinds: Any) -> np.ndarray:
        return np.zeros(len(actions), np.bool_)

    def imagine(self, percept: Percept, subgoal: Subgoal) -> None:
        return None


class Crafter(Domain):
    """The domain itself: what the dotted path ``crafter_domain:Crafter`` names."""

    name = "crafter"

    def env_ids(self) -> tuple[str, ...]:
        return ("survival",)

    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        return CrafterEnv(max_steps)

    def subgoal_space(self) -> Any:
        return Subgoals()

    def tracker(self, n: int) -> Any:
        return Tracker(n)
