"""Value guidance: potential-based shaping, which leaves the optimal policy as it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
