"""A trained run as an agent: raw observations in, actions out, like an SB3 model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from hier.config import HierConfig
from hier.envs.domain import batched
from hier.envs.errors import ConfigError
from hier.guidance.learning import SubgoalGuidance
from hier.hierarchy.lanes import Hierarchy
from hier.hierarchy.vec_env import experts_of
from hier.planners.protocol import Planner
from hier.run.build import build_hierarchy, build_planner_of
from hier.run.setup import open_trained


@dataclass(slots=True)
class AgentState:
    """What an agent remembers between two observations.

    Attributes:
        hierarchy: percepts, subgoals and history, one lane per environment.
        controller: the SB3 model's own recurrent state, if it has one.
    """

    hierarchy: Hierarchy
    controller: Any = None


class Agent:
    """Planner and controller together, acting on observations of :func:`hier.envs.make_env`.

    It follows SB3's recurrent convention: hand the returned state back, with ``episode_start``
    set where an episode begins. So ``stable_baselines3.common.evaluation.evaluate_policy``
    accepts it.

    Args:
        model: the SB3 controller.
        config: of the run.
        planner: proposes subgoals; ``None`` for flat control.
        env: the environment acted in; needed by privileged planners alone.
        guidance: of the choice among subgoals; ``None`` leaves it to the planner.

    Raises:
        ConfigError: if a privileged planner comes without ``env``.
    """

    def __init__(
        self,
        model: Any,
        config: HierConfig,
        planner: Planner | None,
        env: gym.Env | VecEnv | None = None,
        guidance: SubgoalGuidance | None = None,
    ):
        if planner is not None and planner.privileged and env is None:
            raise ConfigError(
                f"the planner {config.planner.type!r} looks into the simulator: pass env=, or "
                "choose one that does not, e.g. overrides=['planner.type=random']"
            )
        self.model = model
        self.config = config
        self.planner = planner
        self.guidance = guidance
        self._env = env

    def predict(
        self,
        observation: dict[str, NDArray],
        state: AgentState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray, AgentState]:
        """Choose actions.

        Args:
            observation: of one environment, or batched along the first axis.
            state: what the last call returned; ``None`` begins episodes everywhere.
            episode_start: ``(n,)`` bool, which environments just began an episode.
            deterministic: take the likeliest action.

        Returns:
            The action (an array of one per environment for a batch), and the state;
            ``state.hierarchy.lanes`` shows percept, subgoal and history.
        """
        single = observation["mission"].ndim == 1
        if single:
            observation = batched(observation)
        n = len(observation["mission"])
        if state is None:
            state = AgentState(
                build_hierarchy(
                    self.config,
                    n,
                    self.planner,
                    seed=self.config.seed,
                    experts=self._experts,
                    guidance=self.guidance,
                )
            )
            starts = np.ones(n, bool)
        else:
            starts = np.zeros(n, bool) if episode_start is None else np.asarray(episode_start)
        state.hierarchy.follow(observation, starts)
        actions, controller = self.model.predict(
            state.hierarchy.controller_observation(observation),
            state=state.controller,
            episode_start=starts,
            deterministic=deterministic,
        )
        actions, _ = state.hierarchy.guard(actions)
        return (actions[0] if single else actions), AgentState(state.hierarchy, controller)

    def _experts(self, i: int) -> Any:
        if isinstance(self._env, VecEnv):
            return experts_of(self._env)(i)
        assert self._env is not None
        return self._env.get_wrapper_attr("expert")()


def load(
    run: str | Path,
    *,
    env: gym.Env | VecEnv | None = None,
    overrides: Sequence[str] = (),
    trust_code: bool = False,
) -> Agent:
    """Load a trained run as an :class:`Agent`.

    Args:
        run: its folder; or, for the built-in agent, a level's id, or ``shipped``.
        env: what it will act in; needed by privileged planners (oracle, noisy) alone.
        overrides: change the configuration, e.g. ``planner.type=random``.
        trust_code: run code that the run's configuration names, such as a planner of your own.

    Raises:
        RunFolderError: if the folder is no run or has no readable checkpoint.
        UntrustedCodeError: if it names code that is not trusted.
        ConfigError: for a wrong override, or a privileged planner without ``env``.

    >>> from hier.envs import make_env
    >>> env = make_env("BabyAI-UnlockPickup-v0")  # doctest: +SKIP
    >>> agent = load("runs/demo", env=env)  # doctest: +SKIP
    >>> observation, _ = env.reset(seed=1)  # doctest: +SKIP
    >>> action, state = agent.predict(observation)  # doctest: +SKIP
    """
    trained = open_trained(run, overrides, trust_code=trust_code)
    planner = build_planner_of(trained.config)
    return Agent(trained.model, trained.config, planner, env, trained.guidance)
