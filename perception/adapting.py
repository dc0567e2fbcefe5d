"""Any Gymnasium environment as a domain: its observation as it is, and subgoals of one's own.

``hier adapt ENV_ID`` writes the subclass of :class:`AdaptedDomain` to begin with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hier.envs.domain import FAR, Domain, Observation, Scene
from hier.envs.errors import ConfigError, SimulatorError, in_one_line
from hier.envs.subgoal import Subgoal, SubgoalSyntaxError, normalized
from hier.perception.scene_card import compose

PICTURE, STATE = "picture", "state"
_SIDE = 360  # of drawn pictures, in pixels


class AdaptedPercept(NamedTuple):
    """What the agent knows: the latest observation.

    Attributes:
        observation: the environment's own, ``(k,)`` float32, or a picture ``(height, width, 3)``
            uint8.
        mission: the task in words.
    """

    observation: NDArray[Any]
    mission: str

    @property
    def frame(self) -> NDArray[Any]:
        """The observation, where that is a picture."""
        return self.observation

    def snapshot(self) -> AdaptedPercept:
        """A copy that later steps leave alone."""
        return self._replace(observation=self.observation.copy())


class AdaptedEnv(gym.Wrapper):
    """The environment with a Dict observation, and with ``is_success`` at the end of episodes.

    Pictures stay pictures, all else is flattened to a vector. An episode is a success if the
    environment's info says so, or if its return reaches ``success_return``.

    Args:
        env: any environment whose observations can be flattened.
        success_return: the return from which an episode counts; ``None`` for none.

    Raises:
        SimulatorError: for observations of no fixed size.
    """

    def __init__(self, env: gym.Env, success_return: float | None):
        super().__init__(env)
        seen = env.observation_space
        self._flattens = not _is_picture(seen)
        if self._flattens:
            if not seen.is_np_flattenable:
                raise SimulatorError(
                    f"the observation {seen} has no fixed size; wrap the environment so that it "
                    "returns arrays"
                )
            flat: Any = spaces.flatten_space(seen)
            seen = spaces.Box(flat.low, flat.high, flat.shape, np.float32)
        self._key = STATE if self._flattens else PICTURE
        mission = spaces.Box(0, 1, (1,), np.int64)
        self.observation_space = spaces.Dict({self._key: seen, "mission": mission})
        self._success_return = success_return
        self._return = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._return = 0.0
        return self._dict(observation), info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        if terminated or truncated:
            enough = self._success_return is not None and self._return >= self._success_return
            info = {**info, "is_success": bool(info.get("is_success", enough))}
        return self._dict(observation), float(reward), terminated, truncated, info

    def expert(self) -> AdaptedEnv:
        """Itself, an expert without advice."""
        return self

    def subgoal(self, percept: Any, candidates: Sequence[Subgoal]) -> Subgoal | None:
        """None: the oracle needs an expert of your own."""
        return None

    def _dict(self, observation: Any) -> Observation:
        if self._flattens:
            flat = spaces.flatten(self.env.observation_space, observation)
            observation = np.asarray(flat, np.float32)
        return {self._key: observation, "mission": np.ones(1, np.int64)}


class ListedSubgoals:
    """A fixed list of subgoals, all possible at any time; a subclass says when one is done."""

    names: ClassVar[tuple[str, ...]] = ("do the task",)

    @property
    def verbs(self) -> tuple[str, ...]:
        """The subgoals themselves."""
        return self.names

    @property
    def encoding_size(self) -> int:
        """One number for each subgoal."""
        return len(self.names)

    def candidates(self, percept: AdaptedPercept) -> list[Subgoal]:
        """All of them."""
        return [Subgoal(name) for name in self.names]

    def parse(self, text: str) -> Subgoal:
        """See :meth:`.SubgoalSpace.parse`."""
        sentence = normalized(text)
        if sentence not in self.names:
            raise SubgoalSyntaxError(f"{text!r} is no subgoal; there are {', '.join(self.names)}")
        return Subgoal(sentence)

    def encode(self, subgoal: Subgoal | None) -> NDArray[np.float32]:
        """One-hot."""
        return np.array([str(subgoal) == name for name in self.names], np.float32)

    def is_complete(self, subgoal: Subgoal, before: Any, after: Any) -> bool:
        """See :meth:`.SubgoalSpace.is_complete`; never, unless a subclass says so."""
        return False

    def is_interrupted(self, subgoal: Subgoal, before: Any, after: Any) -> bool:
        """Never."""
        return False

    def is_repeatable(self, subgoal: Subgoal, percept: Any) -> bool:
        """Never: a second time is not rewarded."""
        return False

    def describe(self, percept: AdaptedPercept) -> str:
        """The observation in words; a picture has none."""
        numbers = percept.observation
        return "" if numbers.ndim > 1 else f"You observe {np.round(numbers, 3).tolist()}."

    def target_mask(self, percept: Any, subgoal: Subgoal) -> NDArray[np.bool_]:
        """One cell that is always there: these subgoals are no places."""
        return np.ones((1, 1), np.bool_)


class _Grounding(NamedTuple):
    place: NDArray[np.float32]
    steps: NDArray[np.int64]
    found: NDArray[np.int64]


class _Tracker:
    """Hands on the observation; subgoals have no place."""

    wait_action = 0  # never needed: these domains know of no hazards

    def __init__(self, n: int, mission: str):
        self._mission = mission
        self.grounding = _Grounding(
            np.zeros((n, 1), np.float32), np.full(n, FAR), np.ones(n, np.int64)
        )
        self._seen: NDArray[Any] = np.zeros((n, 0), np.float32)

    def reset(self, observation: Observation, which: Sequence[int] | None = None) -> None:
        self._seen = _own(observation)

    update = reset

    def percept(self, i: int) -> AdaptedPercept:
        return AdaptedPercept(self._seen[i], self._mission)

    def pursue(self, i: int, subgoal: Subgoal | None) -> None:
        self.grounding.found[i] = subgoal is not None

    def ground(self, which: Sequence[int] | None = None) -> _Grounding:
        return self.grounding

    def controller_spaces(self, observation_space: spaces.Dict) -> dict[str, spaces.Space]:
        return {
            key: observation_space[key]
            for key in (STATE, PICTURE)
            if key in observation_space.spaces
        }

    def controller_entries(self, observation: Observation) -> Observation:
        return {key: observation[key] for key in (STATE, PICTURE) if key in observation}

    def unsafe_actions(self, actions: NDArray[Any], kinds: Sequence[str]) -> NDArray[np.bool_]:
        return np.zeros(len(actions), np.bool_)

    def imagine(self, percept: Any, subgoal: Subgoal) -> None:
        return None


class AdaptedDomain(Domain):
    """A domain of Gymnasium environments, to be subclassed.

    Attributes:
        ids: Gymnasium's ids of its environments.
        mission: the task in words, for planners.
        subgoals: class of its subgoals.
        success_return: the return from which an episode counts as a success; the environment's
            own threshold when ``None``.
    """

    ids: ClassVar[tuple[str, ...]]
    mission: ClassVar[str] = "do the task"
    subgoals: ClassVar[type[ListedSubgoals]] = ListedSubgoals
    success_return: ClassVar[float | None] = None

    def env_ids(self) -> tuple[str, ...]:
        """:attr:`ids`."""
        return self.ids

    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        """See :meth:`.Domain.make_env`."""
        env = make_plain(env_id, max_steps=max_steps)
        own = self.success_return
        if own is None and env.spec is not None:
            own = env.spec.reward_threshold
        return AdaptedEnv(env, own)

    def subgoal_space(self) -> ListedSubgoals:
        """An object of :attr:`subgoals`."""
        return self.subgoals()

    def tracker(self, n: int) -> Any:
        """Hands on the observations."""
        return _Tracker(n, self.mission)

    def draw_scene(self, scene: Scene) -> NDArray[np.uint8]:
        """The environment's own picture beside the card of the decision."""
        seen = scene.percept.observation
        pictures = [("observation", seen)] if seen.ndim == 3 else []
        return np.array(compose(scene, pictures, _SIDE))


def make_plain(env_id: str, *, max_steps: int | None = None) -> gym.Env:
    """Build one of Gymnasium's environments that can be drawn.

    Raises:
        SimulatorError: if that fails, with the reason.
    """
    options = {} if max_steps is None else {"max_episode_steps": max_steps}
    try:
        return gym.make(env_id, render_mode="rgb_array", disable_env_checker=True, **options)
    except Exception as error:
        reason = in_one_line(error)
        raise SimulatorError(f"{env_id} could not be built: {reason}") from error


def _is_picture(space: spaces.Space) -> bool:
    return (
        isinstance(space, spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) == 3
        and space.shape[-1] == 3
    )


def _own(observation: Observation) -> NDArray[Any]:
    return observation[STATE] if STATE in observation else observation[PICTURE]


def module_name(env_id: str) -> str:
    """A name for a Python module after an environment id: ``ALE/Pong-v5`` is ``ale_pong_v5``."""
    return re.sub(r"\W+", "_", env_id).strip("_").lower()


def domain_file(env_id: str, module: str) -> str:
    """The text of a Python file with a domain for one environment, to be filled in.

    Args:
        env_id: Gymnasium's id.
        module: name of the file without ``.py``.

    Raises:
        SimulatorError: if the environment cannot be built, or has observations of no fixed size.
        ConfigError: if ``module`` is no name for a Python module.
    """
    if not module.isidentifier():
        raise ConfigError(f"{module!r} is no name for a Python module; use letters, digits and _")
    env = AdaptedEnv(make_plain(env_id), None)
    name = "".join(part.title() for part in re.split(r"\W+|_", re.sub(r"-v\d+$", "", env_id)))
    text = _TEMPLATE.format(
        env_id=env_id,
        module=module,
        name=name if name.isidentifier() else f"Env{name}",
        observation=env.env.observation_space,
        actions=env.action_space,
        threshold=None if env.spec is None else env.spec.reward_threshold,
    )
    env.close()
    return text


_TEMPLATE = '''"""{env_id} as a domain of one's own.

    PYTHONPATH=. hier train goto env.id={module}:{name}/{env_id} planner.type=none   # flat
    PYTHONPATH=. hier train goto env.id={module}:{name}/{env_id} planner.type=random # subgoals

Observation: {observation}
Actions: {actions}
"""

from hier.envs import Subgoal
from hier.perception.adapting import AdaptedDomain, AdaptedPercept, ListedSubgoals


class Subgoals(ListedSubgoals):
    """Steps on the way that a planner chooses among."""

    names = ("do the task",)  # replace: what has to be done on the way, in the planner's words

    def is_complete(
        self, subgoal: Subgoal, before: AdaptedPercept, after: AdaptedPercept
    ) -> bool:
        """Whether the step from ``before`` to ``after`` achieved it; see ``.observation``."""
        return False  # replace: one condition for each of the names


class {name}(AdaptedDomain):
    """What ``{module}:{name}`` names in ``env.id``."""

    name = "{module}"
    ids = ("{env_id}",)
    mission = "do the task"  # replace: the task in words, which planners read
    subgoals = Subgoals
    success_return = {threshold}  # an episode counts as a success from this return on
'''
