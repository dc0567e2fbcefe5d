"""What the controller is paid: the environment's reward, and terms for the subgoal it pursues."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hier.envs.subgoal import Outcome, Subgoal


class SubgoalStep(NamedTuple):
    """One environment step in the pursuit of a subgoal, as reward terms see it.

    Attributes:
        subgoal: what is pursued.
        outcome: how the step ended the subgoal; ``None`` while it goes on.
        found: whether perception still knows a target for it.
        first: whether the subgoal was not completed before in this episode.
        progress: whether completing it is progress: the first time, or when it is repeatable.
        before: way to the target before the step, in the domain's cells; ``None`` if unknown.
        after: way to the target after it, 0 once the subgoal is done; ``None`` if unknown.
    """

    subgoal: Subgoal
    outcome: Outcome | None
    found: bool
    first: bool
    progress: bool
    before: float | None
    after: float | None


RewardTerm = Callable[[SubgoalStep], float]  # what one step is paid, in the controller's reward


@dataclass(frozen=True, slots=True)
class Shaping:
    """Pay for the way gained to the subgoal's target (potential-based, Ng et al. 1999).

    Attributes:
        weight: the potential is ``-weight`` times the way that is left, in the domain's cells.
        gamma: discount between the potentials of two steps.
    """

    weight: float
    gamma: float

    def between(self, before: ArrayLike, after: ArrayLike, done: ArrayLike) -> NDArray[np.float64]:
        """The pay for steps from ways ``before`` to ways ``after``, of their common shape.

        Args:
            before: way to the target before each step.
            after: way to it after each step.
            done: whether the step completed the subgoal, whose last potential is then 0.
        """
        was, now = (-self.weight * np.asarray(way, np.float64) for way in (before, after))
        return shaping_reward(was, now, done, self.gamma)

    def __call__(self, step: SubgoalStep) -> float:
        """See :data:`RewardTerm`; a subgoal that is no progress is not shaped, or it is farmed."""
        if not step.progress or step.before is None or step.after is None:
            return 0.0
        return float(self.between(step.before, step.after, step.outcome == Outcome.DONE))


@dataclass(frozen=True, slots=True)
class RewardWeights:
    """What the controller is paid.

    Attributes:
        environment: factor on the environment's own reward.
        bonus: for completing a subgoal, once per episode for each subgoal.
        bonuses: instead, for subgoals whose sentence matches a shell pattern; the first counts.
        shaping: per step of walking distance gained, see :class:`Shaping`; not for a subgoal
            already completed in this episode, unless it is repeatable, so that it cannot be farmed.
        shaping_gamma: discount between the potentials of two steps. A subgoal's shaping is charged
            up to its end alone, so below 1 an agent that stands still is paid.
        penalty: taken for a step that spoils the subgoal (``SubgoalSpace.is_interrupted``), not for
            a target that perception lost.
        value: per unit of potential, which is the planner's value of the state in which the
            present subgoal was chosen.
    """

    environment: float = 2.0
    bonus: float = 0.5
    bonuses: Mapping[str, float] = field(default_factory=dict)
    shaping: float = 0.05
    shaping_gamma: float = 1.0
    penalty: float = 0.0
    value: float = 0.0

    def bonus_of(self, subgoal: Subgoal) -> float:
        """What completing a subgoal pays for the first time."""
        for pattern, bonus in self.bonuses.items():
            if fnmatchcase(str(subgoal), pattern):
                return bonus
        return self.bonus

    def terms(self) -> list[RewardTerm]:
        """The terms that are summed at every step of a subgoal."""
        return [self._bonus, self._penalty, Shaping(self.shaping, self.shaping_gamma)]

    def _bonus(self, step: SubgoalStep) -> float:
        earned = step.outcome == Outcome.DONE and step.first
        return self.bonus_of(step.subgoal) if earned else 0.0

    def _penalty(self, step: SubgoalStep) -> float:
        return -self.penalty if step.outcome == Outcome.FAILED and step.found else 0.0


def shaping_reward(
    before: ArrayLike, after: ArrayLike, terminal: ArrayLike, gamma: float
) -> NDArray[np.float64]:
    """``F = γ Φ(s', g') - Φ(s, g)``, with ``Φ = 0`` in terminal states (Ng et al. 1999).

    What F adds to a return telescopes: from any state s on, whatever is done, it is ``-Φ(s, g)``.
    That holds only if

    - an episode that *terminates* ends at potential zero; otherwise an agent is paid for ending
      episodes at high potential (Grzes 2017). A time limit that the algorithm bootstraps through
      (``TimeLimit.truncated``) is no termination: Φ stays;
    - ``before`` is the very number that was ``after`` one step earlier, even if the planner has
      changed its mind since (Devlin & Kudenko 2012), and whichever of the two subgoals g and g'
      each was computed for.

    Args:
        before: Φ(s, g), in units of the controller's reward, such as the planner's value.
        after: Φ(s', g') after the step, with the subgoal then pursued.
        terminal: whether the episode terminated with the step.
        gamma: the controller's discount per environment step.

    Returns:
        The rewards to add, of the arguments' common shape.
    """
    left = np.where(terminal, 0.0, after)
    return gamma * left - np.asarray(before, np.float64)
