"""A gate before a big planner: a slim one answers, and the big one is asked where that is unsure.

The idea is SlimPLM's (Tan et al. 2024, arXiv 2402.12052), where the slim model's draft decides
whether the big one's help is needed. Here the slim planner's entropy over the candidates decides,
and a budget says how often.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Domain
from hier.envs.errors import ConfigError
from hier.planners.protocol import Planner, PlannerQuery, PlannerReply, ask
from hier.planners.registry import build_planner, part_arguments

WINDOW = 1000  # questions with whose entropies the present one is compared
BY_CHANCE = 0.5  # of the budget
_COUNTS = ("questions", "asked", "agreed", "big_seconds")


@dataclass(eq=False, repr=False)
class GatedPlanner:
    """Asks a big planner about a share of the questions, those where a slim planner is unsure.

    The slim planner answers every question. A share ``budget`` of them is put to the big planner,
    too, whose distribution then is the reply. Half of these are the questions at which the entropy
    of the slim one's answer is among the highest of the last 1000; where entropies are equal,
    chance decides. The other half are drawn by chance: a planner that is wrong and sure, and so
    goes round in circles, is not asked about otherwise. A question with one candidate is not put to
    the big planner, and does not count.

    Values and hidden states of replies are always the slim planner's, so that whatever learns from
    them sees one kind.

    Args:
        big: the planner to be asked seldom: a mapping with ``type`` and, where that takes them,
            ``model`` and ``options``, as in the section ``planner``.
        slim: the planner that answers first, given likewise; the domain's built-in planner if
            omitted.
        budget: share of the questions that the big planner is asked, in [0, 1].
        domain: handed to both planners.
        seed: of both planners, and of the questions drawn by chance.

    Raises:
        ConfigError: for a budget out of range, or a wrong ``big`` or ``slim``.
    """

    big: Mapping[str, Any]
    _: KW_ONLY
    slim: Mapping[str, Any] | None = None
    budget: float = 0.1
    domain: Domain | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        number = isinstance(self.budget, int | float) and not isinstance(self.budget, bool)
        if not number or not 0 <= self.budget <= 1:
            raise ConfigError(
                f"planner.options.budget is {self.budget!r}; give the share of questions that the "
                "big planner is asked, in [0, 1]"
            )
        self._slim = self._built("slim", {"type": "vlm"} if self.slim is None else self.slim)
        self._big = self._built("big", self.big)
        self.privileged = self._slim.privileged or self._big.privileged
        self._entropies: deque[float] = deque(maxlen=WINDOW)
        self._counts: dict[str, float] = dict.fromkeys(_COUNTS, 0)
        self._rng = np.random.default_rng(self.seed)

    def _built(self, part: str, given: Any) -> Planner:
        name, options = part_arguments(part, given)
        planner = build_planner(name, **{"seed": self.seed, "domain": self.domain, **options})
        assert planner is not None  # part_arguments refuses the name of no planner
        return planner

    @property
    def version(self) -> int:
        """How often feedback changed either planner."""
        return self._slim.version + self._big.version

    @property
    def keeps_states(self) -> bool:
        """Whether the slim planner's replies carry hidden states; only where it can."""
        return bool(self._slim.keeps_states)  # type: ignore[attr-defined]

    @keeps_states.setter
    def keeps_states(self, kept: bool) -> None:
        self._slim.keeps_states = kept  # type: ignore[attr-defined]

    def for_evaluation(self, seed: int) -> GatedPlanner:
        """The same planner with other randomness, and doubts and counts of its own."""
        twin = copy.copy(self)
        twin._slim, twin._big = (
            part.for_evaluation(seed) if hasattr(part, "for_evaluation") else part
            for part in (self._slim, self._big)
        )
        twin._entropies = self._entropies.copy()
        twin._counts = dict.fromkeys(_COUNTS, 0)
        twin._rng = np.random.default_rng(seed)
        return twin

    def score(self, queries: Sequence[PlannerQuery]) -> list[PlannerReply]:
        """See :class:`hier.planners.protocol.Planner`.

        Raises:
            PlannerError: if one of the two planners fails.
        """
        replies = ask(self._slim, queries)
        unsure = [i for i, reply in enumerate(replies) if self._is_unsure(reply)]
        if not unsure:
            return replies
        started = time.perf_counter()
        answers = ask(self._big, [queries[i] for i in unsure])
        self._counts["big_seconds"] += time.perf_counter() - started
        for i, answer in zip(unsure, answers, strict=True):
            same = np.argmax(answer.log_probs) == np.argmax(replies[i].log_probs)
            self._counts["agreed"] += bool(same)
            replies[i] = replace(replies[i], log_probs=answer.log_probs)
        return replies

    def _is_unsure(self, reply: PlannerReply) -> bool:
        """Whether to ask the big planner; notes the entropy and counts the question."""
        if len(reply.log_probs) == 1:
            return False
        entropy = entropy_of(reply.log_probs)
        self._entropies.append(entropy)
        asked = bool(self._rng.random() < self._share(entropy))
        self._counts["questions"] += 1
        self._counts["asked"] += asked
        return asked

    def _share(self, entropy: float) -> float:
        """Probability of asking at an entropy, so that ``budget`` of the recent ones are asked."""
        recent = np.array(self._entropies)
        higher, equal = np.mean(recent > entropy), np.mean(recent == entropy)
        # By the rank of the entropy: of ties, what the higher ones leave. By chance of all others.
        share = (1.0 - BY_CHANCE) * self.budget
        ranked = np.clip((share - higher) / equal, 0.0, 1.0)
        return float(ranked + (1.0 - ranked) * (self.budget - share) / (1.0 - share))

    def stats(self) -> dict[str, float]:
        """Figures since the start, or since the start of a resumed run.

        Returns:
            ``asked``, questions put to the big planner, and ``asked_share`` of all; ``agreement``,
            the share of them in which it had the slim planner's favorite; ``seconds_saved``, what
            the big planner would have taken for the others by the mean of those asked; and the
            statistics of both planners, after ``slim/`` and ``big/``.
        """
        counts = self._counts
        asked = max(counts["asked"], 1)
        spared = counts["questions"] - counts["asked"]
        figures = {
            "asked": counts["asked"],
            "asked_share": counts["asked"] / max(counts["questions"], 1),
            "agreement": counts["agreed"] / asked,
            "seconds_saved": spared * counts["big_seconds"] / asked,
        }
        for name, part in (("slim", self._slim), ("big", self._big)):
            for key, value in getattr(part, "stats", dict)().items():
                figures[f"{name}/{key}"] = value
        return figures

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the recent entropies and the counts."""
        return {"entropies": list(self._entropies), "counts": self._counts}

    def take_state(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state`.

        Raises:
            KeyError, TypeError, ValueError: for anything else.
        """
        entropies = [float(entropy) for entropy in state["entropies"]]
        counts = {name: float(state["counts"][name]) for name in _COUNTS}
        if not np.isfinite([*entropies, *counts.values()]).all():
            raise ValueError("a number is not finite")
        self._entropies, self._counts = deque(entropies, maxlen=WINDOW), counts


def entropy_of(log_probs: NDArray[np.floating[Any]]) -> float:
    """Entropy in nats of a distribution given by natural logarithms."""
    logs = log_probs.astype(np.float64)
    return float(-(np.exp(logs) * np.where(np.isneginf(logs), 0.0, logs)).sum())
