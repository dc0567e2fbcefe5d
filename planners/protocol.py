"""The planner's side of the code: a query goes in, a reply comes out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hier.envs.errors import UserError, place_of
from hier.envs.subgoal import Expert, Outcome, Subgoal, SubgoalSpace

RECENT = 8  # past subgoals that a query holds, at most


class PlannerError(UserError, RuntimeError):
    """A planner could not be built, or its reply cannot be used."""


@dataclass(frozen=True, slots=True)
class PlannerQuery:
    """One environment's question: which of these subgoals now?

    Attributes:
        percept: what the agent knows; read it at once, for the next step changes its map.
        candidates: the closed set to score, at least one.
        space: the domain's subgoals, for planners that read the scene as text (``describe``) or
            answer in words (``parse``).
        recent: subgoals already tried in this episode, oldest first, with how each ended.
        expert: privileged; set only for planners with ``privileged = True``.
        rejected: proposals that a critic rejected in this choice, oldest first, with the advantages
            that it gave them, in environment reward; they are not among the candidates.
        offered: the candidates before any was rejected, in that order; empty if none was rejected.
        elapsed: environment steps since the episode began.
    """

    percept: Any
    candidates: Sequence[Subgoal]
    space: SubgoalSpace
    recent: Sequence[tuple[Subgoal, Outcome]] = ()
    expert: Expert | None = None
    rejected: Sequence[tuple[Subgoal, float]] = ()
    offered: Sequence[Subgoal] = ()
    elapsed: int = 0


@dataclass(frozen=True, slots=True)
class PlannerReply:
    """A distribution over the candidates.

    Attributes:
        log_probs: ``(len(candidates),)`` float32, normalized natural logarithms.
        value: expected discounted return from here in the environment's reward, NaN if unknown.
        states: ``(len(candidates) + 1, k)`` float32, the planner's hidden states that predict the
            end of each candidate's answer, then the one at the end of the question; ``None`` for
            planners without a value head, or that were not asked to keep them.
    """

    log_probs: NDArray[np.float32]
    value: float = float("nan")
    states: NDArray[np.float32] | None = None


@runtime_checkable
class Planner(Protocol):
    """Scores candidate subgoals.

    A planner with randomness also has ``for_evaluation(seed)``, which returns the same planner with
    randomness apart from training's. A planner may have ``stats()``, a dict of numbers that
    training logs under ``planner/``.

    Attributes:
        privileged: whether the planner uses ``query.expert``, which reads the simulator's state.
        version: how often feedback changed the planner; 0 for a fixed planner.
    """

    @property
    def privileged(self) -> bool:
        """See the class."""

    @property
    def version(self) -> int:
        """See the class."""

    def score(self, queries: Sequence[PlannerQuery]) -> list[PlannerReply]:
        """One reply per query, in order; called once for all environments that need a plan."""


@runtime_checkable
class KeepsStates(Protocol):
    """A planner whose replies carry hidden states if it is told to keep them."""

    keeps_states: bool


@runtime_checkable
class Resumable(Protocol):
    """A planner with a state of its own, which the checkpoints of a run keep."""

    def state(self) -> dict[str, Any]:
        """The state, in what JSON can write."""

    def take_state(self, state: Any) -> None:
        """Go on from :meth:`state`; raises any error for anything else."""


_FLOOR = 1e-9  # probability of a candidate that a planner rules out; keeps logarithms finite


def certain_of(index: int, n: int) -> PlannerReply:
    """A reply with probability 1e-9 for each of ``n`` candidates and the rest for ``index``."""
    log_probs = np.full(n, np.log(_FLOOR), np.float32)
    log_probs[index] = np.log1p(-_FLOOR * (n - 1))
    return PlannerReply(log_probs)


def uniform_over(n: int) -> PlannerReply:
    """A reply without preference among ``n`` candidates."""
    return PlannerReply(np.full(n, -np.log(n), np.float32))


def check_reply(reply: Any, query: PlannerQuery, planner: Planner) -> PlannerReply:
    """Return ``reply`` if it is usable.

    Raises:
        PlannerError: if its length, numbers or total probability are wrong, naming the planner.
    """
    name = type(planner).__name__
    if not isinstance(reply, PlannerReply):
        raise PlannerError(
            f"planner {name} answered a {type(reply).__name__}; score() must return PlannerReply"
        )
    log_probs = np.asarray(reply.log_probs)
    if log_probs.shape != (len(query.candidates),):
        raise PlannerError(
            f"planner {name} answered log_probs of shape {log_probs.shape} for "
            f"{len(query.candidates)} candidates; return one number per candidate"
        )
    total = float(np.exp(log_probs.astype(np.float64)).sum())
    if not abs(total - 1.0) < 1e-3:  # also catches NaN
        raise PlannerError(
            f"planner {name} answered probabilities that sum to {total:.4g}; normalize log_probs"
        )
    if math.isinf(reply.value):
        raise PlannerError(f"planner {name} gave the value {reply.value}; give NaN where unknown")
    return reply


def ask(planner: Planner, queries: Sequence[PlannerQuery]) -> list[PlannerReply]:
    """The planner's checked replies.

    Raises:
        PlannerError: if one cannot be used, or the planner fails.
    """
    name = type(planner).__name__
    try:
        replies = list(planner.score(queries))
        if len(replies) != len(queries):
            raise PlannerError(
                f"planner {name} gave {len(replies)} replies to {len(queries)} queries; score() "
                "must give one reply per query"
            )
        return [check_reply(r, query, planner) for query, r in zip(queries, replies, strict=True)]
    except UserError:
        raise
    except Exception as error:
        raise PlannerError(
            f"planner {name} failed with {type(error).__name__}: {error} ({place_of(error)}); mend "
            "it, or choose another planner.type"
        ) from error


def draw(log_probs: NDArray, rng: np.random.Generator) -> int:
    """Index of a candidate, drawn by its probability (Gumbel-max)."""
    return int(np.argmax(log_probs + rng.gumbel(size=len(log_probs))))
