"""A request to a chat server at start-up, and the remedy if it fails."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hier.planners.endpoint.answers import ChatAnswer
from hier.planners.endpoint.chat_request import RequestFormat
from hier.planners.endpoint.chat_server import ChatServer, ServerError
from hier.planners.endpoint.constraints import CONSTRAINTS
from hier.planners.protocol import PlannerError

_QUESTION = "Answer with the word ready."
_SENTENCES = ("violin", "harbor")  # which no planner answers unless it is held to them


@dataclass(frozen=True)
class ServerCheck:
    """Sends one request of the planner's kind, and simpler ones if it fails, to find the cause.

    Args:
        server: receives the requests.
        pictures: blank pictures, of the number and size that the planner will send.
        fallback: the planner's fall-back, for the messages.
    """

    server: ChatServer
    pictures: tuple[str, ...]
    fallback: str

    def run(self, form: RequestFormat) -> RequestFormat:
        """The format that the server accepts: ``form``, perhaps without log-probabilities.

        It holds the server to the candidates in the first way that the server heeds, if there is
        one (:mod:`hier.planners.endpoint.constraints`). Warns if the server gives no
        log-probabilities.

        Raises:
            PlannerError: for a server without an answer, a wrong key, a wrong model or a model
                without image input, with the value and the remedy.
        """
        try:
            seen = self.server.answer(_probe(form, self.pictures))
        except ServerError as fault:
            seen, form = self._diagnose(fault, form)
        if form.logprobs and seen.tokens is None:
            self._warn_without_logprobs(form.model, "gives none")
        if self.pictures and seen.prompt_tokens:
            # A server may drop pictures silently; its count of prompt tokens shows it.
            bare = self._try(form, ())
            if bare is not None and seen.prompt_tokens <= bare.prompt_tokens:
                raise self._blind(form.model, "its prompt is no longer with a picture than without")
        return self._constrained(form)

    def _constrained(self, form: RequestFormat) -> RequestFormat:
        """``form`` with the constraint that the server heeds: others ignore or refuse it."""
        for constraint in CONSTRAINTS:
            held = replace(form, constraint=constraint)
            try:
                answer = self.server.send(held.body([_QUESTION], (), _SENTENCES))
            except ServerError:
                continue
            if constraint.read(answer).text.strip() in _SENTENCES:
                return held
        return form

    def _diagnose(
        self, fault: ServerError, form: RequestFormat
    ) -> tuple[ChatAnswer, RequestFormat]:
        """Answer and format without log-probabilities if those caused the fault; else raises."""
        url = self.server.base_url
        if fault.status is None or fault.status in (408, 429, 503):
            raise PlannerError(
                f"no answer from planner.options.base_url={url} ({fault}); start the server, "
                "correct the address (it usually ends in /v1), or say planner.options.check=false "
                f"to begin with planner.options.fallback={self.fallback}"
            ) from None
        if fault.status in (401, 403):
            state = "is not the right one" if self.server.has_key else "is not set"
            raise PlannerError(
                f"{url} wants a key ({fault}), and that in the environment variable "
                f"{self.server.api_key_env} {state}; set it, or name another variable in "
                "planner.options.api_key_env"
            ) from None
        if 300 <= fault.status < 400:
            raise PlannerError(
                f"{url} does not answer itself ({fault}); if you trust that address, name it in "
                "planner.options.base_url"
            ) from None
        if form.logprobs:
            form = replace(form, logprobs=False)
            answer = self._try(form, self.pictures)
            if answer is not None:
                self._warn_without_logprobs(form.model, f"refuses them: {fault}")
                return answer, form
        if self.pictures and self._try(form, ()) is not None:
            raise self._blind(form.model, str(fault)) from None
        raise self._refused(form.model, fault) from None

    def _try(self, form: RequestFormat, pictures: Sequence[str]) -> ChatAnswer | None:
        for _ in range(2):
            try:
                return self.server.send(_probe(form, pictures))
            except ServerError as fault:
                if fault.status is not None:
                    break
        return None

    def _warn_without_logprobs(self, model: str, problem: str) -> None:
        warnings.warn(
            f"no log-probabilities from {model!r} at {self.server.base_url} ({problem}); its "
            "answers get the probability planner.options.confidence. Say "
            "planner.options.logprobs=false not to ask for them",
            RuntimeWarning,
            stacklevel=4,
        )

    def _blind(self, model: str, why: str) -> PlannerError:
        return PlannerError(
            f"planner.model={model!r} at {self.server.base_url} takes no images ({why}); "
            "name a model with image input, or let it read the scene in words: "
            "planner.options.images=false (planner.options.check=false if it does see)"
        )

    def _refused(self, model: str, fault: ServerError) -> PlannerError:
        known = self.server.models()
        place = f"{self.server.base_url} refuses planner.model={model!r} ({fault})"
        if model in known:
            return PlannerError(
                f"{place}, though it lists the model; planner.options.request changes or removes "
                "fields of the request"
            )
        if not known:
            return PlannerError(
                f"{place} and lists no models; correct the name, or planner.options.base_url if it "
                "is no OpenAI-compatible server (the address usually ends in /v1)"
            )
        near = difflib.get_close_matches(model, known, n=1, cutoff=0.3)
        hint = f"did you mean {near[0]!r}? " if near else ""
        more = f" and {len(known) - 12} more" if len(known) > 12 else ""
        return PlannerError(f"{place}; {hint}It lists {', '.join(sorted(known)[:12])}{more}")


def _probe(form: RequestFormat, pictures: Sequence[str]) -> dict[str, object]:
    return form.body([_QUESTION], pictures)
