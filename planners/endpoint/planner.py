"""A planner behind any server with OpenAI's chat completions."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hier.envs.domain import Domain
from hier.envs.errors import ConfigError, UnknownNameError
from hier.envs.registry import default_domain
from hier.envs.subgoal import Subgoal, SubgoalSyntaxError
from hier.planners.endpoint.answer_cache import AnswerCache
from hier.planners.endpoint.answers import ChatAnswer, answer_log_probs
from hier.planners.endpoint.chat_request import COMPLAINT, RequestFormat, conversation, picture_url
from hier.planners.endpoint.chat_server import ChatServer, ServerError
from hier.planners.endpoint.server_check import ServerCheck
from hier.planners.language.pictures import BLANK, check_images, pictures_of
from hier.planners.language.prompts import question_of
from hier.planners.protocol import (
    PlannerError,
    PlannerQuery,
    PlannerReply,
    certain_of,
    uniform_over,
)
from hier.planners.scripted import OraclePlanner

FALLBACKS = ("random", "oracle", "first", "error")
_COUNTS = ("queries", "unparsed", "fallbacks", "cache_hits", "seconds")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The result of one query, gathered in a thread and counted outside it."""

    log_probs: NDArray[np.float32] | None
    unparsed: int = 0
    cache_hits: int = 0
    trouble: str = ""
    fault: bool = False


@dataclass(eq=False, repr=False)
class EndpointPlanner:
    """Asks a chat model over HTTP for one of the candidates.

    A user message holds the pictures, the mission, the scene in words, recent subgoals with their
    outcomes and the numbered candidates (some chat templates have no system role). Each rejected
    proposal then adds an assistant message with the proposal and a user message with its advantage
    and the candidates left; the roles alternate strictly.

    The answer must be a candidate's sentence; letter case, outer blanks and a full stop do not
    matter, and a number is no answer. Any other answer, such as a rejected subgoal, is counted
    (``unparsed``) and the model is asked once more, with a complaint as a further message; then the
    fall-back decides. A server that can be held to the candidates gives no such answers: whether it
    can is tried at the start, see :mod:`hier.planners.endpoint.constraints`. The model is not
    asked about a single candidate.

    If the server gives log-probabilities, they become a distribution over the candidates, see
    :func:`.answer_log_probs`; otherwise the answer gets ``confidence`` and the other candidates
    share the rest.

    While the server does not answer (see :class:`.ChatServer`), the fall-back decides, with one
    warning; ``stats()["fallbacks"]`` counts these queries.

    Args:
        model: the server's name of the model.
        base_url: the server's address, up to and including ``/v1``.
        api_key_env: *name* of the environment variable that holds the key, which need not be set
            for a server without keys.
        images: ``view`` sends a picture of what is seen now (so does ``True``), another name of the
            domain's pictures such as ``map`` sends that one, ``both`` sends both, and ``False``
            sends none. Pictures need a model with image input.
        scale: factor by which pictures are enlarged; ``None`` makes them about 448 pixels wide.
        as_trained: ask the question on which ``hier pretrain`` trains, without the candidates, for
            its models behind a server. Such a model reads no conversation: after a rejection the
            question stays the same, and the answer's probabilities are restricted to the
            candidates left; a complaint is appended to the question.
        logprobs: ask for log-probabilities.
        timeout: longest time for a reply, in seconds.
        retries: further attempts after time-outs, lost connections, 429, 5xx, malformed replies.
        backoff: seconds before the second attempt, doubled before each further one, with jitter.
        cooldown: seconds for which a dead server gets no requests, before one query tries again.
        concurrency: most requests at the same time.
        cache: folder for answers, see :class:`.AnswerCache`; ``None`` for no cache.
        fallback: for queries without a usable answer: ``random`` (no preference), ``oracle`` (the
            privileged expert), ``first`` (the first candidate) or ``error`` (stop).
        confidence: probability of an answer without log-probabilities, in (0, 1).
        max_tokens: longest answer, in tokens; a subgoal takes about ten.
        request: more fields of the request body, which override the default ones; ``null`` removes
            a field. For example
            ``{"max_tokens": null, "max_completion_tokens": 24}`` for OpenAI's newer models, or
            ``{"chat_template_kwargs": {"enable_thinking": false}}`` for reasoning models.
        check: send a few requests at start-up, which find a wrong address, a wrong model, a model
            without image input, and how the server is held to the candidates; ``False`` allows the
            planner to start before the server, which then is not held to them.
        domain: supplies the pictures; see :func:`.default_domain` for the default.
        seed: sent if ``request`` sets a temperature above the default of 0.

    Raises:
        ConfigError: for an option out of range.
        PlannerError: if the check fails, with the value and the remedy.
    """

    version: ClassVar[int] = 0

    model: str
    base_url: str
    api_key_env: str = "OPENAI_API_KEY"
    images: bool | str = "view"
    scale: int | None = None
    as_trained: bool = False
    logprobs: bool = True
    timeout: float = 30.0
    retries: int = 3
    backoff: float = 0.5
    cooldown: float = 30.0
    concurrency: int = 8
    cache: str | Path | None = None
    fallback: str = "random"
    confidence: float = 0.9
    max_tokens: int = 24
    request: Mapping[str, Any] | None = None
    check: bool = True
    domain: Domain | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.fallback not in FALLBACKS:
            raise UnknownNameError("planner.options.fallback", self.fallback, FALLBACKS)
        self._require("timeout", float, lambda value: value > 0, "a number above 0")
        self._require("retries", int, lambda value: value >= 0, "an integer from 0")
        self._require("backoff", float, lambda value: value >= 0, "a number from 0")
        self._require("cooldown", float, lambda value: value >= 0, "a number from 0")
        self._require("concurrency", int, lambda value: value >= 1, "an integer from 1")
        self._require("confidence", float, lambda value: 0 < value < 1, "between 0 and 1")
        self._require("max_tokens", int, lambda value: value >= 1, "an integer from 1")
        if self.scale is not None:
            self._require("scale", int, lambda value: value >= 1, "an integer from 1")
        self._domain = self.domain or default_domain()
        self._images: tuple[str, ...] = ()
        if self.images is not False:
            images = "view" if self.images is True else self.images
            self._images = check_images(images, self._domain)
        self.privileged = self.fallback == "oracle"
        self._form = RequestFormat(
            self.model, self.logprobs, self.max_tokens, self.seed, dict(self.request or {})
        )
        self._server = ChatServer(
            self.base_url,
            self.api_key_env,
            timeout=self.timeout,
            retries=self.retries,
            backoff=self.backoff,
            cooldown=self.cooldown,
        )
        self._cache = None if self.cache is None else AnswerCache(self.cache)
        self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="endpoint-planner")
        self._counts: dict[str, float] = dict.fromkeys(_COUNTS, 0)
        self._warned: set[bool] = set()  # of faults, and of answers that name no candidate
        if self.check:
            pictures = tuple(picture_url(BLANK, self.scale) for _ in self._images)
            self._form = ServerCheck(self._server, pictures, self.fallback).run(self._form)

    def _require(self, option: str, kind: type, holds: Callable[[Any], bool], needed: str) -> None:
        value = getattr(self, option)
        kinds = (int, float) if kind is float else (kind,)
        if isinstance(value, bool) or not isinstance(value, kinds) or not holds(value):
            raise ConfigError(f"planner.options.{option} is {value!r}; it must be {needed}")

    def for_evaluation(self, seed: int) -> EndpointPlanner:
        """The same planner, server and counts with another ``seed``."""
        twin = copy.copy(self)
        twin._form = replace(self._form, seed=seed)
        return twin

    def stats(self) -> dict[str, float]:
        """Counts since the start, the start-up check included.

        Returns:
            ``queries`` put to :meth:`score`; HTTP ``requests``, of which ``retries`` second and
            later attempts; ``unparsed`` answers; ``fallbacks``, queries that the fall-back
            decided; ``cache_hits``; ``seconds`` of wall time in :meth:`score`.
        """
        server = {"requests": self._server.requests, "retries": self._server.retries_made}
        return server | self._counts

    def score(self, queries: Sequence[PlannerQuery]) -> list[PlannerReply]:
        """See :class:`hier.planners.protocol.Planner`.

        Raises:
            PlannerError: if a query has no usable answer and ``fallback`` is ``error``.
        """
        started = time.perf_counter()
        # The next step changes percepts, so they are read here, before any thread runs.
        asked = [query for query in queries if len(query.candidates) > 1]
        talks = [self._talk(query) for query in asked]
        attempts = iter(list(self._pool.map(self._ask, asked, talks)))
        replies = []
        for query in queries:
            if len(query.candidates) == 1:
                replies.append(certain_of(0, 1))
                continue
            attempt = next(attempts)
            self._counts["unparsed"] += attempt.unparsed
            self._counts["cache_hits"] += attempt.cache_hits
            if attempt.log_probs is None:
                replies.append(self._fall_back(query, attempt))
            else:
                replies.append(PlannerReply(attempt.log_probs))
        self._counts["queries"] += len(queries)
        self._counts["seconds"] += time.perf_counter() - started
        return replies

    def _talk(self, query: PlannerQuery) -> tuple[list[str], tuple[str, ...]]:
        """The turns and the pictures' data URLs."""
        pictures = pictures_of(query.percept, self._images, self._domain)
        urls = tuple(picture_url(picture, self.scale) for picture in pictures)
        if self.as_trained:
            return [question_of(query, scene=False)], urls
        return conversation(query, [self._domain.pictures[name] for name in self._images]), urls

    def _ask(self, query: PlannerQuery, talk: tuple[list[str], tuple[str, ...]]) -> _Attempt:
        turns, pictures = talk
        # The question of pre-training omits rejections, so its answer may be a rejected one.
        among = query.offered if self.as_trained and query.offered else query.candidates
        sentences = [str(candidate) for candidate in query.candidates]
        hits = 0
        for unparsed in range(2):
            body = self._form.body(turns, pictures, sentences)
            answer = self._cache.get(body) if self._cache else None
            hits += answer is not None
            if answer is None:
                try:
                    answer = self._server.answer(body)
                except ServerError as fault:
                    return _Attempt(None, unparsed, hits, str(fault), fault=True)
                if self._cache:
                    self._cache.put(body, answer)
            if self._form.constraint is not None:
                answer = self._form.constraint.read(answer)
            choice = _choice(answer.text, query, among)
            if choice is not None:
                log_probs = self._log_probs(answer, among, choice)
                left = log_probs[[i for i, g in enumerate(among) if g in query.candidates]]
                return _Attempt(left - np.logaddexp.reduce(left), unparsed, hits)
            # A text from JSON may hold half a character, which no request can.
            said = " ".join(answer.text.encode(errors="replace").decode().split())[:200]
            if self.as_trained:
                turns = [f"{turns[0]}\n\n{COMPLAINT}"]
            else:
                # Some servers refuse empty messages.
                turns = [*turns, said or "(nothing)", COMPLAINT]
        return _Attempt(None, 2, hits, f"it answered {said!r}")

    def _log_probs(
        self, answer: ChatAnswer, among: Sequence[Subgoal], choice: int
    ) -> NDArray[np.float32]:
        if answer.tokens is not None:
            sentences = [str(candidate).lower() for candidate in among]
            found = answer_log_probs(answer.tokens, sentences, choice)
            if found is not None:
                return found
        n = len(among)
        log_probs = np.full(n, np.log((1.0 - self.confidence) / (n - 1)), np.float32)
        log_probs[choice] = np.log(self.confidence)
        return log_probs

    def _fall_back(self, query: PlannerQuery, attempt: _Attempt) -> PlannerReply:
        self._counts["fallbacks"] += 1
        place = f"{self._form.model!r} at {self._server.base_url}"
        if attempt.fault:
            problem = f"the planner {place} does not answer ({attempt.trouble})"
        else:
            problem = f"the planner {place} names no candidate, asked twice ({attempt.trouble})"
        if self.fallback == "error":
            raise PlannerError(
                f"{problem}; mend it, or go on without it: planner.options.fallback=random"
            )
        if attempt.fault not in self._warned:
            self._warned.add(attempt.fault)
            warnings.warn(
                f"{problem}; going on with planner.options.fallback={self.fallback} wherever it "
                "gives no usable answer (counted as fallbacks, not warned of again)",
                RuntimeWarning,
                stacklevel=3,
            )
        if self.fallback == "oracle":
            return OraclePlanner().score([query])[0]
        n = len(query.candidates)
        return certain_of(0, n) if self.fallback == "first" else uniform_over(n)


def _choice(text: str, query: PlannerQuery, among: Sequence[Subgoal]) -> int | None:
    """Index of the one of ``among`` that ``text`` names; ``None`` if it names none."""
    try:
        return list(among).index(query.space.parse(text))
    except (SubgoalSyntaxError, ValueError):
        return None
