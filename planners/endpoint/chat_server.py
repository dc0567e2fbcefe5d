"""Requests to a server with OpenAI's chat completions, and what to do when they fail."""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from importlib import import_module
from typing import Any

from hier.envs.errors import ConfigError
from hier.planners.endpoint.answers import ChatAnswer
from hier.planners.protocol import PlannerError

_OF_THIS_REQUEST = (400, 413, 422)  # refusals that concern only this request
_TRANSIENT = (408, 409, 425, 429)  # and 500 or above
_LONGEST_PAUSE = 30.0
_PROBING_SHARE = 0.1  # of the time that requests to a dead server may take
_LONGEST_REPLY = 4 * 2**20  # bytes; an answer is a few hundred
_NO_KEY = "none"  # the openai client requires a key; local servers do not


@dataclass(eq=False)
class ServerError(Exception):
    """A request got no answer.

    Attributes:
        reason: why, in words.
        status: the HTTP status; ``None`` where there was no reply.
        transient: whether another attempt may help.
        retry_after: seconds that the server wants the client to wait.
    """

    reason: str
    _: KW_ONLY
    status: int | None = None
    transient: bool = True
    retry_after: float = 0.0

    def __str__(self) -> str:
        return self.reason


@dataclass(eq=False, repr=False)
class ChatServer:
    """Sends requests to one server, with a limited number of retries. Threads may share it.

    After a fault that may pass (no connection, time-out, malformed reply, 408, 409, 425, 429, 5xx)
    the next attempt follows after ``backoff``, ``2 backoff``, ``4 backoff`` ... seconds, each times
    a random factor in [0.5, 1.5], which keeps threads from coming back together, or after the
    seconds of the server's ``Retry-After``, up to ``timeout``. If a request uses up its attempts
    and no other one got an answer meanwhile, the server counts as dead. It gets no requests for
    ``cooldown`` seconds, or so long that requests take at most a tenth of the time; then a single
    request makes one attempt.

    Args:
        base_url: address up to and including ``/v1``.
        api_key_env: name of the environment variable with the key, which is sent as a bearer
            token and appears in no message; the variable need not be set.
        timeout: longest time for a whole reply, in seconds.
        retries: attempts after the first.
        backoff: seconds before the second attempt.
        cooldown: seconds for which a dead server gets no requests.

    Attributes:
        requests: number of attempts so far.
        retries_made: number of second and later attempts.

    Raises:
        ConfigError: if the address, the variable's name or the key is malformed.
        PlannerError: if the ``openai`` package is missing.
    """

    base_url: str
    api_key_env: str
    _: KW_ONLY
    timeout: float
    retries: int
    backoff: float
    cooldown: float

    def __post_init__(self) -> None:
        try:
            import openai
        except ImportError:
            raise PlannerError(
                "the endpoint planner needs the openai package: pip install openai"
            ) from None
        self.base_url = _checked_url(self.base_url)
        self.requests = 0
        self.retries_made = 0
        self._openai = openai
        self._key = _key_from(self.api_key_env)
        self._client = openai.OpenAI(
            base_url=self.base_url,
            api_key=self._key or _NO_KEY,
            timeout=self.timeout,
            max_retries=0,
            default_headers={"Accept-Encoding": "identity"},  # a few bytes can unpack to gigabytes
            http_client=openai.DefaultHttpxClient(
                follow_redirects=False,  # to a host that nobody has named
                event_hooks={"request": [_note_time], "response": [_bounded(self.timeout)]},
            ),
        )
        weakref.finalize(self, self._client.close)
        self._random = random.Random()  # jitter must differ between processes: no seed
        self._lock = threading.Lock()
        self._answered_at = float("-inf")
        self._resting_until: float | None = None
        self._why_resting = ""

    @property
    def has_key(self) -> bool:
        """Whether a key is sent."""
        return bool(self._key)

    def answer(self, request: Mapping[str, Any]) -> ChatAnswer:
        """The completion of a request body.

        Raises:
            ServerError: if all attempts fail, if the server refuses the request, or, without any
                attempt, during the cooldown of a dead server.
        """
        attempts, begun = self._admit(), time.monotonic()
        for attempt in range(attempts):
            sent = time.monotonic()
            try:
                answer = self.send(request)
            except ServerError as error:
                fault = error
                last = attempt == attempts - 1 or not fault.transient
                if last or not self._pause(attempt, fault):
                    break
            else:
                return answer
        self._note_fault(fault, begun, time.monotonic() - sent)
        raise fault

    def models(self) -> list[str]:
        """Names of the models the server lists; empty where it lists none or does not answer."""
        client = self._client.with_options(max_retries=1)  # see send()
        try:
            return [str(model.id) for model in client.models.list().data]
        except (self._openai.OpenAIError, ServerError, AttributeError, TypeError, ValueError):
            return []

    def _admit(self) -> int:
        """Number of attempts of the next request."""
        with self._lock:
            now = time.monotonic()
            if self._resting_until is None:
                return self.retries + 1
            if now < self._resting_until:
                raise ServerError(self._why_resting)
            # This request probes; the others wait for its result.
            self._resting_until = now + self.timeout + self.cooldown
            return 1

    def _pause(self, attempt: int, fault: ServerError) -> bool:
        """Wait before the next attempt; ``False`` if another thread found the server dead."""
        delay = min(self.backoff * 2.0**attempt, _LONGEST_PAUSE) * self._random.uniform(0.5, 1.5)
        time.sleep(max(delay, min(fault.retry_after, self.timeout)))
        with self._lock:
            if self._resting_until is not None:
                return False
            self.retries_made += 1
            return True

    def _note_fault(self, fault: ServerError, begun: float, took: float) -> None:
        with self._lock:
            if fault.status in _OF_THIS_REQUEST:
                self._resting_until = None  # a server that refuses is not dead
            elif self._answered_at < begun:
                rest = max(self.cooldown, took / _PROBING_SHARE)
                self._resting_until = time.monotonic() + rest
                self._why_resting = str(fault)

    def send(self, request: Mapping[str, Any]) -> ChatAnswer:
        """The completion of a request body, in one attempt, also during the cooldown.

        Some servers close the connection after an error; the next attempt on it then fails.

        Raises:
            ServerError: if the attempt fails.
        """
        with self._lock:
            self.requests += 1
        rest = {name: value for name, value in request.items() if name not in ("model", "messages")}
        try:
            with self._client.chat.completions.with_streaming_response.create(
                model=request["model"], messages=request["messages"], extra_body=rest
            ) as response:
                body = b"".join(response.iter_bytes())
        except ServerError:
            raise
        except self._openai.APITimeoutError:
            raise ServerError(f"no answer within {self.timeout:g} s") from None
        except self._openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise ServerError(f"no connection: {self._brief(cause)}") from None
        except self._openai.APIStatusError as error:
            raise self._refusal(error) from None
        except Exception as error:  # from the HTTP library, which the client does not wrap
            raise ServerError(
                f"the reply broke off: {type(error).__name__} {self._brief(error)}".rstrip()
            ) from None
        try:
            answer = ChatAnswer.from_completion(json.loads(body))
        except (ValueError, RecursionError) as error:
            start = self._brief(body.decode(errors="replace"), 60)
            raise ServerError(f"malformed reply {start!r} ({error})") from None
        with self._lock:
            self._answered_at = time.monotonic()
            self._resting_until = None
        return answer

    def _refusal(self, error: Any) -> ServerError:
        status = int(error.status_code)
        try:
            retry_after = float(error.response.headers.get("retry-after", 0.0))
        except ValueError:  # a date; the back-off applies instead
            retry_after = 0.0
        words = self._brief(_words_of(error))
        if 300 <= status < 400:
            location = self._brief(error.response.headers.get("location", "nowhere"))
            words = f"it redirects to {location}, which is not followed"
        return ServerError(
            f"status {status}: {words}",
            status=status,
            transient=status in _TRANSIENT or status >= 500,
            retry_after=retry_after,
        )

    def _brief(self, what: object, length: int = 300) -> str:
        """One line of at most ``length`` characters without the key."""
        line = "".join(c if c.isprintable() else " " for c in str(what))
        line = " ".join(line.split())
        if self._key:
            line = line.replace(self._key, "***")
        return line if len(line) <= length else line[: length - 3] + "..."


def _note_time(request: Any) -> None:
    request.extensions["began"] = time.monotonic()


def _bounded(timeout: float) -> Callable[[Any], None]:
    """A hook that bounds the bodies of replies, whatever their status, in size and in time."""
    import openai

    # httpx, or the successor of it that this version of openai uses.
    client = next(c for c in openai.DefaultHttpxClient.__mro__ if c.__name__ == "Client")
    http = import_module(client.__module__.partition(".")[0])

    class Bounded(http.SyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, pieces: Any, deadline: float):
            self._pieces, self._deadline = pieces, deadline

        def __iter__(self) -> Iterator[bytes]:
            size = 0
            # The client's time-out counts anew for each piece, so a server that keeps sending
            # blanks would never reach it.
            for piece in self._pieces:
                size += len(piece)
                if size > _LONGEST_REPLY:
                    raise ServerError(f"a reply of more than {_LONGEST_REPLY >> 20} MiB")
                if time.monotonic() > self._deadline:
                    raise ServerError(f"no whole answer within {timeout:g} s")
                yield piece

        def close(self) -> None:
            self._pieces.close()

    def bound(response: Any) -> None:
        response.headers.pop("content-encoding", None)  # nothing is unpacked
        deadline = response.request.extensions["began"] + timeout
        response.stream = Bounded(response.stream, deadline)

    return bound


def _words_of(error: Any) -> object:
    """The server's message, if the JSON body has one in one of the usual places."""
    body = error.body
    if isinstance(body, dict):
        for name in ("message", "detail", "error"):
            if body.get(name):
                return body[name]
    return body or error.message


def _checked_url(url: str) -> str:
    if not re.match(r"https?://[^/@]+(/[^@]*)?$", url):
        raise ConfigError(
            f"planner.options.base_url is {url.rpartition('@')[2]!r}; write http://HOST:PORT/v1 or "
            "https://..., without user or password (keys go into an environment variable)"
        )
    return url.rstrip("/")


def _key_from(variable: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        # It may be the key itself, which must not appear in a message.
        raise ConfigError(
            "planner.options.api_key_env must be the name of an environment variable, such as "
            "OPENAI_API_KEY; put the key into that variable, not into the configuration"
        )
    key = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise ConfigError(
            f"the key in the environment variable {variable} holds blanks or letters that no HTTP "
            "header may hold; copy it again"
        )
    return key
