"""A domain's scripted controller plays levels on the subgoals of an expert or of a planner."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import batched
from hier.envs.registry import domain_of, make_env
from hier.envs.subgoal import Expert, Outcome, Subgoal, outcome_of_step
from hier.planners.protocol import RECENT, Planner, PlannerQuery, PlannerReply, ask

# The numbers of steps below suit a domain whose controller has so many steps for one subgoal. They
# are scaled in proportion where it has more or fewer.
_USUAL_PATIENCE = 40
_LONGEST_WALK = 14  # random steps at the start of an episode
_LONGEST_HASTE = 11  # steps spent on a subgoal that is given up early
_MOST_STEPS, _MOST_SUBGOALS = 250, 20  # of one episode


@dataclass(frozen=True, slots=True)
class Mistakes:
    """What goes wrong while an expert is followed, so that a planner learns to recover.

    Attributes:
        random_subgoal_rate: share of subgoals drawn at random instead of the expert's.
        random_action_rate: share of random actions, in every other episode.
        random_start_rate: share of episodes that begin with a random walk.
        early_end_rate: share of subgoals given up early.
        midway_rate: share of steps at which the expert is asked although the subgoal goes on, in
            domains that give a subgoal 40 steps; in others about as often during a subgoal.
    """

    random_subgoal_rate: float = 0.15
    random_action_rate: float = 0.1
    random_start_rate: float = 0.3
    early_end_rate: float = 0.1
    midway_rate: float = 0.08


NO_MISTAKES = Mistakes(0.0, 0.0, 0.0, 0.0, 0.0)


class LabeledQuery(NamedTuple):
    """A question for a planner, with the expert's answer to it.

    Attributes:
        query: the question; read its percept at once.
        answer: index of the candidate that the expert names.
        pursued: index of the candidate that the controller pursues from here.
        step: environment steps since the episode began.
    """

    query: PlannerQuery
    answer: int
    pursued: int
    step: int


class Moment(NamedTuple):
    """A moment of an episode that can be steered; attributes as in :class:`LabeledQuery`.

    Attributes:
        answer: ``None`` where the expert has none.
        open: whether a subgoal is chosen now; if not, one goes on.
    """

    query: PlannerQuery
    answer: int | None
    pursued: int
    step: int
    open: bool


class Pursued(NamedTuple):
    """A subgoal that ended.

    Attributes:
        reply: the planner's, when it was chosen.
        choice: index of the subgoal among the candidates.
        duration: environment steps.
        outcome: how it ended.
    """

    reply: PlannerReply
    choice: int
    duration: int
    outcome: Outcome


class Player:
    """Plays episodes of one level with the domain's scripted controller.

    Args:
        level: environment id.
        mistakes: what goes wrong while the expert is followed.
        variation: factor on the odds that a level is changed, in [0, 1]; 0 plays it as it is.

    Attributes:
        rng: draws everything that happens in the current episode, from its seed.
        ended: whether the environment ended the current episode. An episode is also cut off, not
            ended, after about six times the steps that the controller has for one subgoal: some
            mistakes cannot be undone, and then the expert goes round in circles.
        success: whether the last step solved the level.
        reward: that of the last step.
        steps: environment steps since the episode began.
    """

    def __init__(self, level: str, mistakes: Mistakes | None = None, *, variation: float = 0.0):
        self.level = level
        self.mistakes = mistakes or Mistakes()
        self.variation = variation
        self.domain = domain_of(level)
        self.controller = self.domain.scripted_controller()
        self.variations = self.domain.variations()
        self.env = make_env(level)
        self.space = self.domain.subgoal_space()
        self.tracker = self.domain.tracker(1)
        self.rng = np.random.default_rng()
        self.ended = self.success = False
        self.reward = 0.0
        self.steps = 0
        self._pace = self.controller.patience / _USUAL_PATIENCE
        self._max_steps = round(_MOST_STEPS * self._pace)
        self._max_subgoals = round(_MOST_SUBGOALS * self._pace)

    def first_picture(self) -> NDArray[np.uint8]:
        """The domain's default picture at the start of the first level."""
        self._reset(0)
        return self.picture(self.tracker.percept(0))

    def picture(self, percept: Any) -> NDArray[np.uint8]:
        """The domain's default picture of a percept, ``(height, width, 3)`` uint8."""
        return self.domain.picture(percept, next(iter(self.domain.pictures)))

    def solve(self, planner: Planner, seed: int) -> bool:
        """Play one level as it is on a planner's likeliest subgoals; whether it succeeded.

        Args:
            planner: proposes subgoals; a privileged one gets the expert.
            seed: of the level.
        """
        for _ in self.pursue(planner, seed, lambda _, reply: int(np.argmax(reply.log_probs))):
            pass
        return self.success

    def pursue(
        self, planner: Planner, seed: int, choose: Callable[[PlannerQuery, PlannerReply], int]
    ) -> Iterator[Pursued]:
        """Play one level as it is, without mistakes, on chosen subgoals.

        Args:
            planner: proposes subgoals; a privileged one gets the expert.
            seed: of the level.
            choose: index of the candidate to pursue; reads the query's percept at once.

        Yields:
            Every subgoal when it ends.
        """
        self._reset(seed, vary=False)
        history: list[tuple[Subgoal, Outcome]] = []
        patience = self.controller.patience
        while not self.ended and len(history) < self._max_steps:
            query = self._query(history)
            if planner.privileged:
                query = replace(query, expert=self._expert())
            (reply,) = ask(planner, [query])
            choice = choose(query, reply)
            outcome, duration = None, 0
            while outcome is None:
                duration += 1
                outcome = self._advance(query.candidates[choice], duration, patience)
            history.append((query.candidates[choice], outcome))
            yield Pursued(reply, choice, duration, outcome)

    def play(self, seed: int) -> Iterator[LabeledQuery]:
        """Play one episode on the expert's subgoals, with mistakes.

        Args:
            seed: of the level and of all mistakes.

        Yields:
            Every question that a planner would be asked, where the expert has an answer.
        """
        for query, answer, pursued, step, _ in self.steer(seed):
            if answer is not None:
                yield LabeledQuery(query, answer, pursued, step)

    def steer(self, seed: int) -> Generator[Moment, int | None]:
        """As :meth:`play`, for somebody else to choose what is pursued.

        Args:
            seed: of the level and of all mistakes.

        Yields:
            Every question that a planner would be asked. Where it is open, the index that is sent
            back is pursued instead of the expert's subgoal.
        """
        self._reset(seed)
        rng, mistakes = self.rng, self.mistakes
        random_action_rate = mistakes.random_action_rate if rng.random() < 0.5 else 0.0
        if rng.random() < mistakes.random_start_rate:
            for _ in range(int(rng.integers(1, round(_LONGEST_WALK * self._pace) + 1))):
                if not self.ended:
                    self._step(self.controller.random_action(rng))
        history: list[tuple[Subgoal, Outcome]] = []
        while not self.ended and self.steps < self._max_steps and len(history) < self._max_subgoals:
            # Choose a subgoal: the expert's, or one at random by mistake.
            query, answer = self._ask_teacher(history)
            pursued = int(rng.integers(len(query.candidates)))
            if answer is not None and rng.random() >= mistakes.random_subgoal_rate:
                pursued = answer
            chosen = yield Moment(query, answer, pursued, self.steps, open=True)
            subgoal = query.candidates[pursued if chosen is None else chosen]
            limit = self.controller.patience
            if rng.random() < mistakes.early_end_rate:
                limit = int(rng.integers(1, round(_LONGEST_HASTE * self._pace) + 1))
            # Pursue it, now and then asking the expert again or taking a random action.
            outcome, duration = None, 0
            while outcome is None:
                duration += 1
                if duration > 1 and rng.random() < mistakes.midway_rate / self._pace:
                    # The question asked while it goes on.
                    query, answer = self._ask_teacher(history)
                    if subgoal in query.candidates:
                        pursued = query.candidates.index(subgoal)
                        yield Moment(query, answer, pursued, self.steps, open=False)
                by_chance = rng.random() < random_action_rate
                outcome = self._advance(subgoal, duration, limit, by_chance)
            history.append((subgoal, outcome))

    def _ask_teacher(
        self, history: Sequence[tuple[Subgoal, Outcome]]
    ) -> tuple[PlannerQuery, int | None]:
        """The question now, and the index of the candidate that the teacher names, if any."""
        query = self._query(history)
        wanted = self._teacher().subgoal(query.percept, query.candidates)
        return query, None if wanted is None else query.candidates.index(wanted)

    def _query(self, history: Sequence[tuple[Subgoal, Outcome]]) -> PlannerQuery:
        percept = self.tracker.percept(0)
        candidates = self.space.candidates(percept)
        return PlannerQuery(
            percept, candidates, self.space, tuple(history[-RECENT:]), elapsed=self.steps
        )

    def _expert(self) -> Expert:
        """The expert for this moment: some read the simulator when they are made."""
        return self.env.get_wrapper_attr("expert")()

    def _teacher(self) -> Expert:
        """The expert that a planner learns from: one that knows no more than can be perceived."""
        teaches = self.env.has_wrapper_attr("teacher")
        return self.env.get_wrapper_attr("teacher")() if teaches else self._expert()

    def _reset(self, seed: int, vary: bool = True) -> None:
        self.rng = np.random.default_rng(seed)
        options = {}
        if vary and self.variation and self.variations.vary:
            change = partial(self.variations.vary, rng=self.rng, share=self.variation)
            options = {"vary": change}
        observation, _ = self.env.reset(seed=seed, options=options)
        self.ended, self.success, self.reward, self.steps = False, False, 0.0, 0
        self.controller = self.domain.scripted_controller()
        self.tracker.reset(batched(observation))

    def _advance(
        self, subgoal: Subgoal, duration: int, limit: int, by_chance: bool = False
    ) -> Outcome | None:
        """Take one step toward ``subgoal``, or one at random; how it ended, ``None`` if it goes on.

        Args:
            subgoal: what is pursued.
            duration: steps spent on it, this one included.
            limit: steps after which it times out.
            by_chance: take a random action.
        """
        before = self.tracker.percept(0)
        self._step(
            self.controller.random_action(self.rng)
            if by_chance
            else self.controller.action(before, subgoal, self.rng)
        )
        after = self.tracker.percept(0)
        found = bool(self.space.target_mask(after, subgoal).any())
        outcome = outcome_of_step(
            self.space, subgoal, before, after, found=found, duration=duration, max_duration=limit
        )
        return outcome or (Outcome.EPISODE_END if self.ended else None)

    def _step(self, action: Any) -> None:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.ended, self.reward = terminated or truncated, float(reward)
        self.success = bool(info.get("is_success"))
        self.steps += 1
        self.tracker.update(batched(observation))
