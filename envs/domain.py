"""The domain: all that a family of simulators supplies, behind one interface.

Nothing outside ``envs`` and ``perception`` names a simulator. Whoever needs something of one asks
:func:`hier.envs.registry.domain_of` for the domain of an environment id and takes it from there.
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

FAR = 1 << 20  # a distance to where no way is known; compiled code keeps it: do not change
CRITIC_VIEW = 15  # cells a side of the map in a :class:`CriticState`

Observation = dict[str, NDArray]


def batched(observation: Observation) -> Observation:
    """The observation of one environment as a batch of one, without a copy."""
    return {key: value[None] for key, value in observation.items()}


class Grounding(Protocol):
    """Where the current subgoals are, for ``n`` environments."""

    @property
    def place(self) -> NDArray[np.float32]:
        """``(n, k)`` in [-3, 3]: the target as the controller is told it; zeros for none."""

    @property
    def steps(self) -> NDArray[Any]:
        """``(n,)`` way to the target in the domain's cells; ``FAR`` if none is known."""

    @property
    def found(self) -> NDArray[np.int64]:
        """``(n,)`` number of targets; 0 ends a subgoal as failed."""


class CriticState(NamedTuple):
    """One moment as a critic of subgoals sees it.

    Attributes:
        map: ``(15, 15)`` uint8 cell codes around the agent.
        mission: ``(m,)`` int64 word ids, ``m`` the same for the whole domain; 0 is padding.
        subgoals: ``(n, k)`` float32, what tells each of the ``n`` candidates from the others.
    """

    map: NDArray[np.uint8]
    mission: NDArray[np.int64]
    subgoals: NDArray[np.float32]


class Imagined(NamedTuple):
    """What a subgoal will probably lead to.

    Attributes:
        percept: then; it shares no array with the one now.
        steps: way to the target, in the domain's cells.
    """

    percept: Any
    steps: int


class Tracker(Protocol):
    """Perception of ``n`` environments that step together: observations in, percepts out."""

    @property
    def grounding(self) -> Grounding:
        """What :meth:`ground` found last."""

    @property
    def wait_action(self) -> Any:
        """The action that changes nothing, taken instead of an unsafe one."""

    def reset(self, observation: Observation, which: Sequence[int] | None = None) -> None:
        """Begin episodes in the environments ``which``, all when omitted.

        Args:
            observation: batched over *all* environments.
            which: environments that begin.

        Raises:
            PerceptionError: for an observation that cannot be understood.
        """

    def update(self, observation: Observation) -> None:
        """Take in one more step of every environment; raises like :meth:`reset`."""

    def percept(self, i: int) -> Any:
        """The latest percept of environment ``i`` (:class:`hier.envs.subgoal.Percept`)."""

    def pursue(self, i: int, subgoal: Subgoal | None) -> None:
        """Set the subgoal that :meth:`ground` places for environment ``i``."""

    def ground(self, which: Sequence[int] | None = None) -> Grounding:
        """Place the subgoals of ``which`` (all when omitted); the next call overwrites it."""

    def controller_spaces(self, observation_space: spaces.Dict) -> dict[str, spaces.Space]:
        """What a controller sees beside ``subgoal``, by name.

        Args:
            observation_space: of one environment.
        """

    def controller_entries(self, observation: Observation) -> Observation:
        """These entries for a batched observation, by :meth:`ground`'s last finding."""

    def unsafe_actions(self, actions: NDArray[Any], kinds: Sequence[str]) -> NDArray[np.bool_]:
        """``(n,)`` which actions would do harm, as far as is seen.

        Args:
            actions: one per environment.
            kinds: of the domain's :attr:`Domain.hazards`.
        """

    def critic_state(self, percept: Any, subgoals: Sequence[Subgoal]) -> CriticState:
        """How ``subgoals`` (at least one) look from a percept, to a critic; new arrays."""

    def imagine(self, percept: Any, subgoal: Subgoal) -> Imagined | None:
        """What achieving a subgoal will probably lead to; ``None`` where that cannot be told."""


class ScriptedController(Protocol):
    """A controller that learns nothing and reaches what the percept shows a way to.

    It is made anew for every episode, of which it may remember something.
    """

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the actions, by number; empty where they are no choice among a few."""

    @property
    def patience(self) -> int:
        """Steps after which it gives a subgoal up."""

    def action(self, percept: Any, subgoal: Subgoal, rng: np.random.Generator) -> Any:
        """The next action as the environment takes it, an index into ``actions`` if any."""

    def random_action(self, rng: np.random.Generator) -> Any:
        """An action by chance, as the environment takes it."""


class Relabeled(NamedTuple):
    """``b`` transitions as they would have been with other targets.

    Attributes:
        valid: ``(b,)`` bool, whether the rest means anything: the subgoal has a target that can be
            moved, and was not at the new one before the step.
        observation, next_observation: batched, as a controller sees them.
        steps, next_steps: ``(b,)`` way to the target before and after, in the domain's cells.
        done: ``(b,)`` bool, whether the step completed the subgoal.
        reward: ``(b,)`` what the environment would have paid, as far as is seen.
        terminal: ``(b,)`` bool, whether it would have ended the episode.
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
    """Hindsight: what would have been, had the target been elsewhere. It can be pickled."""

    def relabel(
        self, observation: Observation, next_observation: Observation, reached: Observation
    ) -> Relabeled:
        """Move the targets of ``b`` transitions to places that were reached.

        Args:
            observation, next_observation: batched, as controllers see them.
            reached: a controller's observation at the place that each target is moved to; it came
                after ``observation`` while the same subgoal was pursued.

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

    A subclass takes no arguments and is made once. Its environments return a Dict observation with
    ``mission``, ``(m,)`` word ids, and whatever its tracker reads; put ``is_success`` into the info
    of an episode's last step; and have ``expert()`` (:class:`.Expert`) and ``render()``
    (``(height, width, 3)`` uint8, for people). Where the expert goes by what no percept shows, a
    ``teacher()``, an expert without that, is whom planners learn from. One with ``max_steps``, the
    steps after which an episode ends, has results without the first points of a training, where
    only successes ended.

    The abstract methods are all that training, evaluation, agents and the oracle need. Each of the
    others serves one more feature and otherwise raises :class:`hier.envs.errors.ConfigError`.

    Attributes:
        name: of the domain, in messages and model cards.
        hazards: things that can be stepped onto and should not be (``safety.avoid``).
        action_names: what a planner calls the controller's actions, by number; empty where it
            cannot speak of them, which ``guidance.actions`` needs.
        source_levels: ids that the domain's planners learned on, and should not forget.
        planner: name of the planner that ships for this domain; empty where none does.
        pictures: what planners that look can be shown, by name and in words (*A picture shows
            ...*), the default first; empty where nothing is seen. ``view`` is for what the agent
            sees now, ``map`` for what it has seen so far.
    """

    name: ClassVar[str]
    hazards: ClassVar[tuple[str, ...]] = ()
    action_names: ClassVar[tuple[str, ...]] = ()
    source_levels: ClassVar[tuple[str, ...]] = ()
    planner: ClassVar[str] = ""
    pictures: ClassVar[Mapping[str, str]] = MappingProxyType({"view": "what the agent sees now"})

    @abstractmethod
    def env_ids(self) -> tuple[str, ...]:
        """Every id that :meth:`make_env` knows, sorted."""

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
        """The subgoal vocabulary."""

    @abstractmethod
    def tracker(self, n: int) -> Tracker:
        """Perception for ``n`` environments."""

    def picture(self, percept: Any, name: str) -> NDArray[np.uint8]:
        """What a planner is shown: the percept's frame, unless a domain says otherwise.

        Args:
            percept: read at once.
            name: one of :attr:`pictures`.

        Returns:
            ``(height, width, 3)`` uint8, always of one size.
        """
        return percept.frame

    def random_action(self, env: gym.Env, rng: np.random.Generator) -> Any:
        """An action for aimless play in ``env``, drawn with ``rng``."""
        env.action_space.seed(int(rng.integers(2**31)))
        return env.action_space.sample()

    def critic_state_sizes(self) -> tuple[int, int, int]:
        """Sizes of an :class:`CriticState`: cell codes, mission words, a candidate's numbers.

        Raises:
            ConfigError: where there is no critic state.
        """
        raise self._without(
            "critic state for a critic",
            "set guidance.soft_choice=none guidance.requery_rounds=0, and feedback.objective=none "
            "or grpo",
        )

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
        """How hindsight moves the targets of subgoals.

        Raises:
            ConfigError: where it cannot.
        """
        raise self._without("hindsight", "set controller.hindsight=0")

    def draw_scene(self, scene: Scene) -> NDArray[np.uint8]:
        """One moment as a picture.

        Returns:
            ``(height, width, 3)`` uint8 with even sides. The size depends on nothing but whether
            there is a picture of the level, so that the frames of an episode fit together.

        Raises:
            ConfigError: where nothing can be drawn.
        """
        raise self._without("pictures", "set eval.videos=0")

    def coverage(self, env_ids: Sequence[str]) -> str:
        """What the missions of these levels ask for, as Markdown; empty where that is not told."""
        return ""

    def _without(self, what: str, remedy: str) -> ConfigError:
        return ConfigError(
            f"the domain {self.name!r} has no {what}; {remedy}, or add it to {type(self).__name__}"
        )
