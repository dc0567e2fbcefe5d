"""The domain: all that a family of simulators supplies, behind one interface.

No module outside ``envs`` and ``perception`` names a simulator. The others get the domain of an
environment id from :func:`hier.envs.registry.domain_of` and everything else from that domain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from hier.envs.errors import ConfigError
from hier.envs.subgoal import Subgoal, SubgoalSpace
from hier.envs.variations import Variations

# The distance to a place to which no way is known. Compiled code has it built in: do not change it.
FAR = 1 << 20

Observation = dict[str, NDArray]


def batched(observation: Observation) -> Observation:
    """The observation of one environment as a batch of one, without a copy."""
    return {key: value[None] for key, value in observation.items()}


class Grounding(Protocol):
    """Where the current subgoals are, for ``n`` environments."""

    @property
    def place(self) -> NDArray[np.float32]:
        """``(n, k)`` in [-3, 3]: the target's place in the controller's observation, or zeros."""

    @property
    def steps(self) -> NDArray[Any]:
        """``(n,)`` length of the way to the target in the domain's cells; ``FAR`` if unknown."""

    @property
    def found(self) -> NDArray[np.int64]:
        """``(n,)`` number of targets. A subgoal without one has failed."""


class Imagined(NamedTuple):
    """What a subgoal will probably lead to.

    Attributes:
        percept: the percept after the subgoal; it shares no array with the present one.
        steps: length of the way to the target, in the domain's cells.
    """

    percept: Any
    steps: int


class Tracker(Protocol):
    """Perception of ``n`` environments that step together: observations in, percepts out."""

    @property
    def grounding(self) -> Grounding:
        """The latest result of :meth:`ground`."""

    @property
    def wait_action(self) -> Any:
        """An action that changes nothing; it replaces unsafe ones."""

    def reset(self, observation: Observation, which: Sequence[int] | None = None) -> None:
        """Begin episodes.

        Args:
            observation: the first observations, batched over *all* environments.
            which: the environments that begin an episode; all when omitted.

        Raises:
            PerceptionError: if perception cannot read an observation.
        """

    def update(self, observation: Observation) -> None:
        """Take in one more step of every environment.

        Args:
            observation: batched over all environments.

        Raises:
            PerceptionError: if perception cannot read an observation.
        """

    def percept(self, i: int) -> Any:
        """The latest percept of environment ``i`` (:class:`hier.envs.subgoal.Percept`)."""

    def pursue(self, i: int, subgoal: Subgoal | None) -> None:
        """Set the subgoal of environment ``i`` for :meth:`ground`; ``None`` for none."""

    def ground(self, which: Sequence[int] | None = None) -> Grounding:
        """Find the targets of the subgoals that are pursued.

        Args:
            which: the environments to look at; all when omitted.

        Returns:
            Arrays over all environments. The next call overwrites them.
        """

    def controller_spaces(self, observation_space: spaces.Dict) -> dict[str, spaces.Space]:
        """The spaces of a controller's entries by name, without ``subgoal``.

        Args:
            observation_space: of one environment.
        """

    def controller_entries(self, observation: Observation) -> Observation:
        """A controller's entries, batched; they may use the latest :attr:`grounding`.

        Args:
            observation: the latest one, batched over all environments.
        """

    def unsafe_actions(self, actions: NDArray[Any], kinds: Sequence[str]) -> NDArray[np.bool_]:
        """Which actions would do harm, ``(n,)``, as far as perception knows.

        Args:
            actions: ``(n, ...)``, one for each environment.
            kinds: the hazards to avoid, out of :attr:`Domain.hazards`.
        """

    def imagine(self, percept: Any, subgoal: Subgoal) -> Imagined | None:
        """Predict what achieving a subgoal leads to.

        Args:
            percept: the percept from which the agent starts.
            subgoal: one of its candidates.

        Returns:
            ``None`` where the domain cannot predict it.
        """


class ScriptedController(Protocol):
    """A controller that follows rules instead of learning, by the percept alone.

    It is made anew for every episode and may remember things during that episode.
    """

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the actions by number; empty where actions are not discrete."""

    @property
    def patience(self) -> int:
        """Number of steps after which it gives a subgoal up."""

    def action(self, percept: Any, subgoal: Subgoal, rng: np.random.Generator) -> Any:
        """The next action for the environment; an index into ``actions`` if there are any.

        Args:
            percept: the latest one.
            subgoal: what to pursue.
            rng: source of all randomness.
        """

    def random_action(self, rng: np.random.Generator) -> Any:
        """A random action for the environment, drawn with ``rng``."""


class Relabeled(NamedTuple):
    """``b`` transitions as they would have been with other targets.

    Attributes:
        valid: ``(b,)`` bool. Where it is false, the other entries mean nothing: the target cannot
            be moved, or the agent was at the new target before the step.
        observation, next_observation: a controller's observations, batched.
        steps, next_steps: ``(b,)`` length of the way to the target before and after the step, in
            the domain's cells.
        done: ``(b,)`` bool, whether the step completed the subgoal.
        reward: ``(b,)`` the reward that the environment would have paid, as far as perception
            knows.
        terminal: ``(b,)`` bool, whether the step would have ended the episode.
    """

    valid: NDArray[np.bool_]
    observation: Observation
    next_observation: Observation
    steps: NDArray[np.floating]
    next_steps: NDArray[np.floating]
    done: NDArray[np.bool_]
    reward: NDArray[np.floating]
    terminal: NDArray[np.bool_]


class Relabeling(Protocol):
    """Hindsight: transitions as if the target had been elsewhere. It can be pickled."""

    def relabel(
        self, observation: Observation, next_observation: Observation, reached: Observation
    ) -> Relabeled:
        """Move the targets of ``b`` transitions to places that the agent reached.

        Args:
            observation, next_observation: a controller's observations, batched.
            reached: the controller's observation at the place to which each target is moved. It
                came after ``observation``, during the same subgoal.

        Returns:
            New arrays.
        """


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of an episode, to be drawn by :meth:`Domain.draw_scene`.

    Attributes:
        percept: what the agent knows.
        subgoal: what the controller pursues; ``None`` in flat reinforcement learning.
        candidates: the subgoals from which it was chosen.
        log_probs: ``(n,)`` the planner's log-probability of each candidate.
        advantages: ``(n,)`` the critic's advantage of each candidate; NaN where it is unknown.
        value: the estimated value of the state.
        caption: one short line.
        level: ``env.render()``, to be shown beside.

    Raises:
        ValueError: if there is not one log-probability or advantage for each candidate.
    """

    percept: Any
    subgoal: Subgoal | None = None
    candidates: Sequence[Subgoal] = ()
    log_probs: NDArray[np.floating] | None = None
    advantages: NDArray[np.floating] | None = None
    value: float | None = None
    caption: str = ""
    level: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        for name in ("log_probs", "advantages"):
            numbers = getattr(self, name)
            if numbers is not None and len(numbers) != len(self.candidates):
                raise ValueError(f"{len(numbers)} {name} for {len(self.candidates)} candidates")


class Domain(ABC):
    """A family of simulators that share subgoals and perception.

    A subclass takes no arguments and is made once. Each of its environments

    - returns a Dict observation with ``mission``, ``(m,)`` word ids, and the entries that the
      domain's tracker reads;
    - puts ``is_success`` into the info of an episode's last step;
    - has a method ``expert()``, which returns an :class:`.Expert`, and a method ``render()``, which
      returns a picture for people, ``(height, width, 3)`` uint8;
    - may have a method ``teacher()``: an expert that knows only what percepts can show. Planners
      learn from it where there is one;
    - may have an attribute ``max_steps``, the episode limit. Learning curves then leave out the
      first points of a training, at which only successful episodes have ended.

    The abstract methods are all that training, evaluation, agents and the oracle need. Each of the
    other methods serves one more feature; the default of most raises
    :class:`hier.envs.errors.ConfigError`.

    Attributes:
        name: the domain's name in messages and model cards.
        hazards: kinds of things that the agent can step onto and should not (``safety.avoid``).
        action_names: the planner's words for the controller's actions, by number, for
            ``guidance.actions``; empty where there are none.
        source_levels: ids of the levels on which the domain's planners were trained.
        planner: name of the built-in planner for this domain; empty where there is none.
        pictures: the pictures that a planner can get, by name, each with words for it (*A picture
            shows ...*); the first is the default. ``view`` is what the agent sees now, ``map`` what
            it has seen so far. Empty where there are no pictures.
    """

    name: ClassVar[str]
    hazards: ClassVar[tuple[str, ...]] = ()
    action_names: ClassVar[tuple[str, ...]] = ()
    source_levels: ClassVar[tuple[str, ...]] = ()
    planner: ClassVar[str] = ""
    pictures: ClassVar[Mapping[str, str]] = MappingProxyType({"view": "what the agent sees now"})

    @abstractmethod
    def env_ids(self) -> tuple[str, ...]:
        """Every id that :meth:`make_env` accepts, sorted."""

    @abstractmethod
    def make_env(self, env_id: str, *, max_steps: int | None = None) -> gym.Env:
        """Build an environment.

        Args:
            env_id: one of :meth:`env_ids`.
            max_steps: episode limit in steps; the level's own when ``None``.

        Raises:
            SimulatorError: if the simulator cannot be built, with the reason.
        """

    @abstractmethod
    def subgoal_space(self) -> SubgoalSpace:
        """The domain's subgoals."""

    @abstractmethod
    def tracker(self, n: int) -> Tracker:
        """Perception of ``n`` environments that step together."""

    def picture(self, percept: Any, name: str) -> NDArray[np.uint8]:
        """A picture for a planner; by default the percept's frame.

        Args:
            percept: what the agent knows; it is not kept.
            name: one of :attr:`pictures`.

        Returns:
            ``(height, width, 3)`` uint8, always of one size.
        """
        return percept.frame

    def random_action(self, env: gym.Env, rng: np.random.Generator) -> Any:
        """An action for random play in ``env``, drawn with ``rng``."""
        env.action_space.seed(int(rng.integers(2**31)))
        return env.action_space.sample()

    def scripted_controller(self) -> ScriptedController:
        """A scripted controller for demonstrations.

        Raises:
            ConfigError: where there is none.
        """
        raise self._without(
            "scripted controller",
            "pre-train on another domain, and set feedback.objective=none in this one",
        )

    def variations(self) -> Variations:
        """How levels and instructions may be changed for pre-training; by default not at all."""
        return Variations()

    def relabeling(self) -> Relabeling:
        """Hindsight for the controller's replay buffer.

        Raises:
            ConfigError: where there is none.
        """
        raise self._without("hindsight", "set controller.hindsight=0")

    def draw_scene(self, scene: Scene) -> NDArray[np.uint8]:
        """Draw one moment of an episode, for people.

        Returns:
            ``(height, width, 3)`` uint8 with even sides. The size depends on nothing but whether
            there is a picture of the level, so that the frames of an episode fit together.

        Raises:
            ConfigError: where nothing can be drawn.
        """
        raise self._without("pictures", "set eval.videos=0")

    def coverage(self, env_ids: Sequence[str]) -> str:
        """A Markdown page on what the missions of these levels need; empty where there is none."""
        return ""

    def _without(self, what: str, remedy: str) -> ConfigError:
        return ConfigError(
            f"the domain {self.name!r} has no {what}; {remedy}, or add it to {type(self).__name__}"
        )


class LevelsDomain(Domain):
    """A base for domains of a few levels, each of which has a privileged variant.

    Attributes:
        levels: the simulator's ids.
        privileged: whether it is the variant, in which the simulator supplies what pictures would
            show. Its ids begin with ``privileged/``.
    """

    levels: ClassVar[tuple[str, ...]]
    privileged: ClassVar[bool] = False

    def env_ids(self) -> tuple[str, ...]:
        """The levels, listed whether the simulator is installed or not."""
        prefix = "privileged/" if self.privileged else ""
        return tuple(prefix + level for level in self.levels)

    @staticmethod
    def level_of(env_id: str) -> str:
        """The simulator's id of one of :meth:`env_ids`."""
        return env_id.removeprefix("privileged/")


class Privileged:
    """What the privileged variant of a :class:`LevelsDomain` has in common; for ablations."""

    source_levels: ClassVar[tuple[str, ...]] = ()
    planner: ClassVar[str] = ""
    pictures: ClassVar[Mapping[str, str]] = MappingProxyType({})
    privileged: ClassVar[bool] = True
