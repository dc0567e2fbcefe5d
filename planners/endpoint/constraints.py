"""Ways to hold a chat server to the candidates, so that it can answer with nothing else.

Servers differ in how they are asked for it, and many ignore what they do not know. So a server is
tried at the start, see :class:`hier.planners.endpoint.server_check.ServerCheck`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from hier.planners.endpoint.answers import AnswerToken, ChatAnswer

_CLOSED = re.compile(r'".*', re.DOTALL)  # the quotation mark after a sentence, and what follows


class Constraint(NamedTuple):
    """One way.

    Attributes:
        name: for messages.
        fields: of the request body, from the sentences that may be answered.
        read: from the server's answer to the sentence alone.
        room: tokens that an answer takes beside its sentence.
    """

    name: str
    fields: Callable[[Sequence[str]], dict[str, Any]]
    read: Callable[[ChatAnswer], ChatAnswer]
    room: int = 0


def _choice(sentences: Sequence[str]) -> dict[str, Any]:
    # The second name is the one of vLLM before version 0.11.
    return {"structured_outputs": {"choice": list(sentences)}, "guided_choice": list(sentences)}


def _grammar(sentences: Sequence[str]) -> dict[str, Any]:
    return {"grammar": "root ::= " + " | ".join(map(json.dumps, sentences))}


def _schema(sentences: Sequence[str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"subgoal": {"type": "string", "enum": list(sentences)}},
        "required": ["subgoal"],
        "additionalProperties": False,
    }
    described = {"name": "subgoal", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": described}}


def _as_it_is(answer: ChatAnswer) -> ChatAnswer:
    return answer


def _from_json(answer: ChatAnswer) -> ChatAnswer:
    """The sentence in ``{"subgoal": "..."}``, and the tokens that spell it and its end."""
    try:
        sentence = json.loads(answer.text)["subgoal"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return answer
    if not isinstance(sentence, str):
        return answer
    return replace(answer, text=sentence, tokens=_inside(answer.tokens or (), sentence))


def _inside(tokens: Sequence[AnswerToken], sentence: str) -> tuple[AnswerToken, ...] | None:
    before = "".join(token.text for token in tokens).find(sentence)
    kept, place = list[AnswerToken](), 0
    for token in tokens if sentence and before >= 0 else ():
        lead = token.text[: max(before - place, 0)]  # of a token that begins before the sentence
        if before <= place <= before + len(sentence) or place < before < place + len(token.text):
            others = [(o, p) for o, p in token.alternatives if o.startswith(lead)]
            kept.append(
                AnswerToken(
                    _spoken(token.text, lead),
                    token.log_prob,
                    [(_spoken(other, lead), p) for other, p in others],
                )
            )
        place += len(token.text)
    return tuple(kept) or None


def _spoken(text: str, lead: str) -> str:
    """What a token adds to the sentence; the mark that closes it counts as a full stop."""
    return _CLOSED.sub(".", text.removeprefix(lead))


CONSTRAINTS = (
    Constraint("a list of choices (vLLM)", _choice, _as_it_is),
    Constraint("a grammar (llama.cpp)", _grammar, _as_it_is),
    Constraint("a JSON schema (OpenAI, Ollama, SGLang)", _schema, _from_json, room=16),
)
