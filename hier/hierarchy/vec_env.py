"""The hierarchy as a Stable-Baselines3 environment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from hier.controllers.guided import REFERENCE, reference_space
from hier.controllers.hindsight import PAYS
from hier.controllers.rewards import RewardWeights, SubgoalStep, shaping_reward
from hier.envs.errors import ConfigError, NotFiniteError
from hier.envs.subgoal import Expert, Outcome, Subgoal
from hier.hierarchy.lanes import Hierarchy
from hier.hierarchy.records import SubgoalRecord, discount_of


class _Account:
    """One episode's running sums in one environment."""

    def __init__(self) -> None:
        self.episode_return = 0.0
        self.length = 0
        self.subgoal_reward = 0.0
        self.discount = 1.0
        self.steps: float | None = None  # way to the target; None if unknown
        self.completed: set[Subgoal] = set()
        self.plan: list[tuple[str, int, str]] = []
        self.violations = self.prevented = 0


class HierarchicalVecEnv(VecEnvWrapper):
    """Wraps a vector of domain environments so that an SB3 algorithm trains the controller.

    At every step it turns observations into percepts, tests subgoals, pays bonuses and shaping,
    and asks the planner, in one batch, for those environments alone whose subgoal closed.

    The observation is a dict of what the domain's tracker shows a controller
    (:meth:`.Tracker.controller_spaces`) and ``subgoal`` ``(k,)`` float32, the encoding,
    then the target's place (:class:`hier.envs.domain.Grounding`). ``infos[i]`` carries
    :data:`hier.controllers.hindsight.PAYS`, ``subgoal`` (a
    :class:`SubgoalRecord`) when one closed and, at the end of an episode, ``episode`` (SB3's:
    the environment's own return and length), ``is_success``, ``plan`` (text, duration, outcome
    per subgoal), ``planner_queries``, ``violations`` (unsafe steps taken), ``prevented`` (filtered)
    and a ``terminal_observation`` with every key.

    Args:
        venv: environments of one domain, from :func:`hier.envs.make_env`.
        hierarchy: for ``venv.num_envs`` environments; without a planner this is flat RL.
        rewards: what the controller is paid.
        gamma: discount per step of the controller.
        upper_gamma: discount per step of the upper level, that of records; ``gamma`` if omitted.
    """

    def __init__(
        self,
        venv: VecEnv,
        hierarchy: Hierarchy,
        rewards: RewardWeights,
        gamma: float,
        upper_gamma: float | None = None,
    ):
        assert isinstance(venv.observation_space, spaces.Dict)
        size = hierarchy.space.encoding_size + hierarchy.tracker.grounding.place.shape[1]
        seen: dict[str, spaces.Space] = {
            **hierarchy.tracker.controller_spaces(venv.observation_space),
            "subgoal": spaces.Box(-3.0, 3.0, (size,), np.float32),
        }
        if hierarchy.reference is not None:
            assert isinstance(venv.action_space, spaces.Discrete)
            seen[REFERENCE] = reference_space(int(venv.action_space.n))
        super().__init__(venv, spaces.Dict(seen))
        self.hierarchy = hierarchy
        self.rewards = rewards
        self.terms = rewards.terms()
        self.gamma = gamma
        self.upper_gamma = gamma if upper_gamma is None else upper_gamma
        self.seconds = {"env": 0.0}
        self._accounts = [_Account() for _ in range(self.num_envs)]
        self._ended = [0] * self.num_envs  # episodes
        self._values = np.zeros(self.num_envs)  # the planner's, where its shaping is on
        self._started = time.time()

    def reset(self) -> dict[str, NDArray]:
        """Start an episode everywhere."""
        observation: Any = self.venv.reset()
        self._accounts = [_Account() for _ in range(self.num_envs)]
        self.hierarchy.begin(observation)
        self._note_ways(range(self.num_envs))
        if self.rewards.value:
            self._values = self._planner_values()
        return self.hierarchy.controller_observation(observation)

    def step_async(self, actions: NDArray) -> None:
        """Take actions, all but those that are filtered."""
        actions, unsafe = self.hierarchy.guard(actions)
        for i in np.flatnonzero(unsafe):
            if self.hierarchy.safety.filter:
                self._accounts[i].prevented += 1
            else:
                self._accounts[i].violations += 1
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[dict[str, NDArray], NDArray, NDArray, list[dict[str, Any]]]:
        """One step of every environment; see the class for what the infos carry."""
        started = time.perf_counter()
        observation: Any
        observation, env_rewards, dones, infos = self.venv.step_wait()
        self.seconds["env"] += time.perf_counter() - started
        if not np.isfinite(env_rewards).all():
            i = int(np.flatnonzero(~np.isfinite(env_rewards))[0])
            raise NotFiniteError(
                f"environment {i} gave the reward {env_rewards[i]} in step "
                f"{self._accounts[i].length + 1} of its episode; mend the simulator's reward"
            )
        ended = np.flatnonzero(dones).tolist()
        # The last frame of an ended episode counts too: SB3 hands it over in the info.
        latest = _with_terminal(observation, infos, ended) if ended else observation
        outcomes = self.hierarchy.advance(latest)
        rewards = env_rewards * self.rewards.environment
        closed = []
        for i, outcome in enumerate(outcomes):
            self._book(i, float(env_rewards[i]))
            if self.hierarchy.planner is not None:
                infos[i][PAYS] = self._pays(i)
                rewards[i] += self._pay(i, outcome)
                if outcome is not None or dones[i]:
                    infos[i]["subgoal"] = self._record(
                        i, outcome or Outcome.EPISODE_END, bool(dones[i])
                    )
                    closed.append(i)
        if ended:
            final = self.hierarchy.controller_observation(latest)
            for i in ended:
                infos[i]["terminal_observation"] = {key: value[i] for key, value in final.items()}
                infos[i].update(self._episode_info(i))
                self._accounts[i] = _Account()
                self._ended[i] += 1
            self.hierarchy.begin(observation, ended)
        again = [i for i in closed if not dones[i]]
        self.hierarchy.plan(again)
        self._note_ways(again + ended)
        if self.rewards.value:
            rewards += self.rewards.value * self._value_shaping(dones, infos)
        return self.hierarchy.controller_observation(observation), rewards, dones, infos

    def _book(self, i: int, reward: float) -> None:
        account = self._accounts[i]
        account.episode_return += reward
        account.length += 1
        account.subgoal_reward += account.discount * reward
        account.discount *= self.upper_gamma

    def _pays(self, i: int) -> float | None:
        """What completing the present subgoal pays; ``None`` once it was paid."""
        subgoal = self.hierarchy.lanes[i].active.subgoal
        assert subgoal is not None
        return None if subgoal in self._accounts[i].completed else self.rewards.bonus_of(subgoal)

    def _pay(self, i: int, outcome: Outcome | None) -> float:
        """What the step just taken is paid for the subgoal pursued."""
        account, lane = self._accounts[i], self.hierarchy.lanes[i]
        subgoal, done = lane.active.subgoal, outcome == Outcome.DONE
        assert subgoal is not None
        first = subgoal not in account.completed
        step = SubgoalStep(
            subgoal,
            outcome,
            found=bool(self.hierarchy.tracker.grounding.found[i]),
            first=first,
            progress=first or self.hierarchy.space.is_repeatable(subgoal, lane.percept),
            before=account.steps,
            after=0.0 if done else self.hierarchy.steps_to_target(i),
        )
        account.steps = step.after
        if done:
            account.completed.add(subgoal)
        return sum(term(step) for term in self.terms)

    def _note_ways(self, which: Sequence[int]) -> None:
        """Remember how far it is to targets that were just chosen."""
        if self.hierarchy.planner is not None:
            for i in which:
                self._accounts[i].steps = self.hierarchy.steps_to_target(i)

    def _value_shaping(self, dones: NDArray, infos: list[dict[str, Any]]) -> NDArray:
        before, now = self._values, self._planner_values()
        # The state in which a time limit struck was not valued; its potential is the last one.
        cut = np.array([bool(info.get("TimeLimit.truncated")) for info in infos])
        after = np.where(dones & cut, before, now)
        self._values = now
        return shaping_reward(before, after, dones & ~cut, self.gamma)

    def _planner_values(self) -> NDArray:
        values = [
            lane.active.decision.value if lane.active.decision else np.nan
            for lane in self.hierarchy.lanes
        ]
        if np.isnan(values).any():
            name = type(self.hierarchy.planner).__name__
            raise ConfigError(
                f"guidance.value_shaping is {self.rewards.value}, but the planner {name} gives no "
                "value; choose one with a value head, such as the built-in planner, or set it to 0"
            )
        return np.array(values)

    def _record(self, i: int, outcome: Outcome, terminal: bool) -> SubgoalRecord:
        account, active = self._accounts[i], self.hierarchy.close(i, outcome)
        assert active.subgoal is not None and active.decision is not None
        assert self.hierarchy.planner is not None
        account.plan.append((str(active.subgoal), active.duration, outcome))
        record = SubgoalRecord(
            subgoal=active.subgoal,
            candidates=active.candidates,
            decision=active.decision,
            prompt=active.prompt,
            duration=active.duration,
            discount=0.0 if terminal else discount_of(active.duration, self.upper_gamma),
            reward=account.subgoal_reward,
            outcome=outcome,
            terminal=terminal,
            planner_version=self.hierarchy.planner.version,
            episode=self._ended[i],
        )
        account.subgoal_reward, account.discount = 0.0, 1.0
        return record

    def _episode_info(self, i: int) -> dict[str, Any]:
        account = self._accounts[i]
        return {
            "episode": {
                "r": account.episode_return,
                "l": account.length,
                "t": time.time() - self._started,
            },
            "plan": account.plan,
            "planner_queries": self.hierarchy.lanes[i].queries,
            "violations": account.violations,
            "prevented": account.prevented,
        }


def experts_of(venv: VecEnv) -> Any:
    """Access to the privileged experts of a vector of environments, one call per question."""

    def expert(i: int) -> Expert:
        return venv.env_method("expert", indices=[i])[0]

    return expert


def _with_terminal(
    observation: dict[str, NDArray], infos: list[dict[str, Any]], ended: list[int]
) -> dict[str, NDArray]:
    merged = {key: value.copy() for key, value in observation.items()}
    for i in ended:
        for key, value in merged.items():
            value[i] = infos[i]["terminal_observation"][key]
    return merged
