"""The hierarchy itself: what each environment pursues, since when, and when to plan anew."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hier.controllers.guided import REFERENCE
from hier.envs.domain import FAR, Tracker
from hier.envs.subgoal import Expert, Outcome, Percept, Subgoal, SubgoalSpace, outcome_of_step
from hier.hierarchy.selection import Decision, PlannerSelector, SubgoalSelector
from hier.planners.protocol import RECENT, Planner, PlannerQuery

if TYPE_CHECKING:
    from hier.planners.language.prompts import Prompt  # which imports torch


@dataclass(slots=True)
class ActiveSubgoal:
    """A subgoal being pursued.

    Attributes:
        subgoal: what is pursued; ``None`` in flat reinforcement learning.
        candidates: what it was chosen from.
        decision: the choice, with the planner's distribution.
        prompt: what the planner was asked, where the hierarchy keeps prompts.
        duration: environment steps so far (the τ of the SMDP).
    """

    subgoal: Subgoal | None = None
    candidates: Sequence[Subgoal] = ()
    decision: Decision | None = None
    prompt: Prompt | None = None
    duration: int = 0


@dataclass(slots=True)
class Lane:
    """One environment's place in the hierarchy.

    Attributes:
        pursuit: the present subgoal.
        percept: the latest.
        history: subgoals ended in this episode, and how.
        queries: put to the planner in this episode.
        steps: environment steps in this episode.
    """

    env: int
    active: ActiveSubgoal = field(default_factory=ActiveSubgoal)
    percept: Percept | None = None
    history: list[tuple[Subgoal, Outcome]] = field(default_factory=list)
    queries: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Safety:
    """What must not be done.

    Attributes:
        avoid: things not to step onto, of the domain's hazards.
        filter: wait instead of stepping onto them.
        forbid: subgoals never to pursue, as shell patterns over their sentences.
    """

    avoid: Sequence[str] = ()
    filter: bool = False
    forbid: Sequence[str] = ()

    def allows(self, subgoal: Subgoal) -> bool:
        """Whether no pattern forbids it."""
        return not any(fnmatchcase(str(subgoal), pattern) for pattern in self.forbid)


class Reference(Protocol):
    """A reference policy over the controller's actions."""

    def log_probs(self, observation: dict[str, NDArray]) -> NDArray[np.float32]:
        """``(n, n_actions)`` log-probabilities for a batched controller observation."""


class Hierarchy:
    """Percepts, subgoals and re-planning for ``n`` environments that step together.

    It knows no rewards and drives no simulator: :class:`.HierarchicalVecEnv` trains through it,
    :class:`hier.run.agent.Agent` acts through it.

    Args:
        n: number of environments.
        planner: proposes subgoals; ``None`` for flat reinforcement learning.
        space: the domain's subgoals.
        tracker: the domain's perception for ``n`` environments.
        max_duration: steps after which a subgoal times out.
        selector: decides among the candidates; the planner's own draw when omitted.
        safety: what must not be done.
        experts: gives the privileged expert of environment ``i``; used only by privileged planners.
        reference: gives the controller :data:`hier.controllers.guided.REFERENCE`; ``None`` for
            controllers without guidance of their actions.
        keep_prompts: keep with each subgoal what the planner was asked, for feedback to learn from;
            the planner then has ``prompt(query)``.

    Attributes:
        queries: questions put to the planner so far.
        seconds: spent so far, by ``perception`` and ``planner``.
    """

    def __init__(
        self,
        n: int,
        planner: Planner | None,
        space: SubgoalSpace,
        tracker: Tracker,
        *,
        max_duration: int,
        selector: SubgoalSelector | None = None,
        safety: Safety | None = None,
        experts: Callable[[int], Expert] | None = None,
        reference: Reference | None = None,
        keep_prompts: bool = False,
    ):
        self.planner = planner
        self.space = space
        self.tracker = tracker
        self.max_duration = max_duration
        self.lanes = [Lane(env) for env in range(n)]
        self.reference = reference
        self.queries = 0
        self.seconds = {"perception": 0.0, "planner": 0.0}
        self.selector = selector or PlannerSelector()
        self.safety = safety or Safety()
        self._experts = experts
        self._prompt: Callable[[PlannerQuery], Prompt] | None = None
        if keep_prompts:
            self._prompt = getattr(planner, "prompt", None)
        self._vectors = np.zeros((n, space.encoding_size), np.float32)

    def use_reference(self, reference: Reference) -> None:
        """Show controllers another reference policy from now on."""
        self.reference = reference

    def begin(self, observation: dict[str, NDArray], which: Sequence[int] | None = None) -> None:
        """Start episodes in the environments ``which`` (all when omitted) and plan for them.

        Args:
            observation: batched observation of *all* environments.
        """
        which = range(len(self.lanes)) if which is None else which
        started = time.perf_counter()
        self.tracker.reset(observation, which)
        for i in which:
            percept = self.tracker.percept(i) if self.planner else None
            self.lanes[i] = Lane(i, percept=percept)
        self.seconds["perception"] += time.perf_counter() - started
        self.plan(which)

    def advance(self, observation: dict[str, NDArray]) -> list[Outcome | None]:
        """Take in one step of every environment; nothing is re-planned yet.

        Returns:
            Per environment how its subgoal just ended (``done``, ``failed`` or ``timeout``),
            ``None`` while it goes on.
        """
        started = time.perf_counter()
        self.tracker.update(observation)
        outcomes: list[Outcome | None] = [None] * len(self.lanes)
        if self.planner is not None:
            found = self.tracker.ground().found
            for i, lane in enumerate(self.lanes):
                lane.active.duration += 1
                lane.steps += 1
                before, lane.percept = lane.percept, self.tracker.percept(i)
                outcomes[i] = self.should_replan(lane, before, bool(found[i]))
        self.seconds["perception"] += time.perf_counter() - started
        return outcomes

    def should_replan(self, lane: Lane, before: Any, found: bool) -> Outcome | None:
        """Whether a lane plans anew after the step just taken: how its subgoal ended, or ``None``.

        This is the place for whatever may end a subgoal early, such as a gate before the planner.

        Args:
            lane: with the percept after the step.
            before: the percept before the step.
            found: whether perception still knows a target for the subgoal.
        """
        assert before is not None and lane.active.subgoal is not None
        return outcome_of_step(
            self.space, lane.active.subgoal, before, lane.percept,
            found=found, duration=lane.active.duration, max_duration=self.max_duration,
        )  # fmt: skip

    def follow(self, observation: dict[str, NDArray], starts: NDArray[np.bool_]) -> None:
        """Take in one step and plan anew where a subgoal ended or an episode began.

        Args:
            observation: batched observation of all environments.
            starts: ``(n,)`` which environments just began an episode.
        """
        if not starts.all():
            outcomes = self.advance(observation)
            closed = {i: how for i, how in enumerate(outcomes) if how and not starts[i]}
            for i, outcome in closed.items():
                self.close(i, outcome)
            self.plan(list(closed))
        if starts.any():
            self.begin(observation, np.flatnonzero(starts).tolist())

    def close(self, i: int, outcome: Outcome) -> ActiveSubgoal:
        """Note that lane ``i``'s subgoal ended; returns what was pursued."""
        lane = self.lanes[i]
        if lane.active.subgoal is not None:
            lane.history.append((lane.active.subgoal, outcome))
        return lane.active

    def plan(self, which: Sequence[int]) -> None:
        """Ask the planner once for all environments in ``which`` and set their subgoals."""
        if self.planner is None or not len(which):
            return
        started = time.perf_counter()
        queries = [self.query(i) for i in which]
        prompts = [self._prompt(query) for query in queries] if self._prompt else []
        decisions = self.selector.decide(self.planner, queries)
        for k, (i, query, decision) in enumerate(zip(which, queries, decisions, strict=True)):
            lane = self.lanes[i]
            lane.queries += decision.queries
            self.queries += decision.queries
            subgoal = query.candidates[decision.choice]
            prompt = prompts[k] if prompts else None
            lane.active = ActiveSubgoal(subgoal, query.candidates, decision, prompt)
            self.tracker.pursue(i, subgoal)
            self._vectors[i] = self.space.encode(subgoal)
        self.seconds["planner"] += time.perf_counter() - started
        self.tracker.ground(which)

    def query(self, i: int) -> PlannerQuery:
        """What the planner would be asked of environment ``i`` now."""
        lane = self.lanes[i]
        assert self.planner is not None
        expert = self._experts(lane.env) if self.planner.privileged and self._experts else None
        return PlannerQuery(
            percept=lane.percept,
            candidates=self._candidates(lane.percept),
            space=self.space,
            recent=tuple(lane.history[-RECENT:]),
            expert=expert,
            elapsed=lane.steps,
        )

    def _candidates(self, percept: Any) -> list[Subgoal]:
        candidates = self.space.candidates(percept)
        if self.safety.forbid:
            # Where everything is forbidden, something must still be pursued.
            candidates = [g for g in candidates if self.safety.allows(g)] or candidates
        return candidates

    def guard(self, actions: NDArray[np.integer]) -> tuple[NDArray, NDArray[np.bool_]]:
        """Actions as they may be taken, and which of the given ones were unsafe, ``(n,)`` each."""
        unsafe = self.tracker.unsafe_actions(actions, self.safety.avoid)
        if self.safety.filter and unsafe.any():
            actions = np.array(actions)
            actions[unsafe] = self.tracker.wait_action
        return actions, unsafe

    def steps_to_target(self, i: int) -> float | None:
        """Way to the current target, in the domain's cells; ``None`` if none is known."""
        steps = float(self.tracker.grounding.steps[i])
        return None if steps >= FAR else steps

    def controller_observation(self, observation: dict[str, NDArray]) -> dict[str, NDArray]:
        """What the controllers see, batched.

        These are the tracker's entries, ``subgoal`` and, with a reference policy, its log-probs.
        """
        seen = {
            **self.tracker.controller_entries(observation),
            "subgoal": np.concatenate([self._vectors, self.tracker.grounding.place], axis=1),
        }
        if self.reference is not None:
            seen[REFERENCE] = self.reference.log_probs(seen)
        return seen
