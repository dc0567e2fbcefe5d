"""ArCHer's actor: policy gradient under an off-policy critic of subgoals."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hier.feedback.objectives.base import Lessons, Objective


@dataclass(frozen=True)
class Archer(Objective):
    """``L = -E[c A(s,g) log p(g|s)]`` with ``A = Q(s,g) - V(s)`` (arXiv 2402.19446, eq. 5).

    ArCHer draws afresh from its actor; ours learns from what was pursued under the behaviour μ, so
    each lesson is weighed by ``c = min(p / μ, most)``, held constant. With ``c = p / μ`` the
    gradient is exactly that of ``E_p[A]``.

    Attributes:
        most: largest correction.
    """

    most: float = 5.0

    def loss(self, lessons: Lessons) -> Tensor:
        """See the class."""
        log_p = lessons.of(lessons.choice)
        correction = (log_p.detach() - lessons.behaviour).exp().clamp(max=self.most)
        return -(correction * lessons.advantage * log_p).mean()
