"""Answers of a chat server, and the probabilities of all candidates that follow from one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_FLOOR = 1e-9  # probability of a candidate that a server rules out; keeps logarithms finite
_ROUNDING = 1e-2  # by which servers' log-probabilities may exceed 0
_END = re.compile(r"[\s.]*(<.*)?")  # blanks, a full stop, an end-of-turn token such as <|im_end|>


class AnswerToken(NamedTuple):
    """One generated token.

    Attributes:
        text: the token's part of the answer.
        log_prob: natural logarithm of the token's probability.
        alternatives: the likeliest tokens at its place, with their log-probabilities; they may
            include the token itself.
    """

    text: str
    log_prob: float
    alternatives: Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A completion.

    Attributes:
        text: the text that the model generated.
        tokens: its tokens with log-probabilities; ``None`` if the server gives none.
        prompt_tokens: the server's count of the prompt's tokens, images included; 0 if unknown.
    """

    text: str
    tokens: tuple[AnswerToken, ...] | None = None
    prompt_tokens: int = 0

    @classmethod
    def from_completion(cls, data: Any) -> ChatAnswer:
        """Read the JSON of a ``chat.completion``.

        Raises:
            ValueError: if ``data`` is not one. Log-probabilities that cannot be read are left out.
        """
        try:
            choice = data["choices"][0]
            text = choice["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise ValueError("no choices[0].message.content") from None
        if isinstance(text, list):  # of parts, of which some servers make a content
            parts = [part.get("text") for part in text if isinstance(part, dict)]
            spoken = [part for part in parts if isinstance(part, str)]
            text = "".join(spoken) if spoken else text
        if not isinstance(text, str | None):
            raise ValueError(f"choices[0].message.content is a {type(text).__name__}")
        try:
            prompt_tokens = int(data["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError, OverflowError):
            prompt_tokens = 0
        return cls(text or "", _tokens_of(choice.get("logprobs")), prompt_tokens)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers that :meth:`from_json` reads back."""
        return {"text": self.text, "tokens": self.tokens, "prompt_tokens": self.prompt_tokens}

    @classmethod
    def from_json(cls, data: Any) -> ChatAnswer:
        """Read what :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: for anything else.
        """
        tokens = data["tokens"]
        if tokens is not None:
            tokens = tuple(_token(text, p, others) for text, p, others in tokens)
        if not isinstance(data["text"], str):
            raise TypeError("text is not a string")
        return cls(data["text"], tokens, int(data["prompt_tokens"]))


def _tokens_of(logprobs: Any) -> tuple[AnswerToken, ...] | None:
    try:
        tokens = tuple(
            _token(
                item["token"],
                item["logprob"],
                [(other["token"], other["logprob"]) for other in item["top_logprobs"] or ()],
            )
            for item in logprobs["content"]
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return tokens or None


def _token(text: Any, log_prob: Any, alternatives: Sequence[tuple[Any, Any]]) -> AnswerToken:
    """A token with checked numbers.

    Raises:
        TypeError, ValueError, OverflowError: if a text is none, a probability is above 1 or NaN, or
            that of the token itself is 0.
    """
    listed = [(text, float(log_prob)), *((other, float(p)) for other, p in alternatives)]
    for other, p in listed:
        if not isinstance(other, str) or not p <= _ROUNDING:  # also catches NaN
            raise ValueError(f"token {other!r} with the log-probability {p}")
    if np.isinf(listed[0][1]):
        raise ValueError(f"token {text!r} was chosen, but has no probability")
    return AnswerToken(*listed[0], listed[1:])


def answer_log_probs(
    tokens: Sequence[AnswerToken], sentences: Sequence[str], answer: int
) -> NDArray[np.float32] | None:
    """A distribution over all candidates from the tokens of the one that was answered.

    The candidates form a tree of texts, and the answer is one path through it. At each token of the
    answer the probability is divided:

    - an alternative token gives its probability to the candidates that continue with it, in equal
      parts, since how they continue was not computed; if there are none, it is left out;
    - candidates that continue with a token that is not listed share the probability that the listed
      tokens leave, and none gets more than the least likely listed token;
    - the rest continues with the answer's token, until the answer is the only candidate left.

    The numbers are exact if every candidate differs from the answer at a listed token of its own,
    and too even among candidates that differ from it at the same token. They are normalized at the
    end: the distribution is conditional on the model naming a candidate.

    Args:
        tokens: the answer's tokens, in order.
        sentences: the candidates, in lower case.
        answer: index of the candidate that was answered.

    Returns:
        ``(len(sentences),)`` normalized natural logarithms, at least about -20; ``None`` if the
        tokens do not spell the answer.
    """
    mass = np.zeros(len(sentences))
    remaining, text, alive = 1.0, "", list(range(len(sentences)))
    for token in tokens:
        if alive == [answer]:
            break
        listed = {other: np.exp(p) for other, p in token.alternatives}
        listed[token.text] = np.exp(token.log_prob)
        going = {other: _going_on(text + other, sentences, alive) for other in listed}
        for other, probability in listed.items():
            if other != token.text and going[other]:
                mass[going[other]] += remaining * probability / len(going[other])
        unlisted = sorted(set(alive).difference(*going.values()))
        if unlisted:
            left = max(0.0, 1.0 - sum(listed.values()))
            mass[unlisted] += remaining * min(left / len(unlisted), min(listed.values()))
        text += token.text
        remaining *= listed[token.text]
        alive = going[token.text]
    if answer not in alive:
        return None
    mass[answer] += remaining
    mass = np.maximum(mass, _FLOOR)
    return np.log(mass / mass.sum()).astype(np.float32)


def _going_on(text: str, sentences: Sequence[str], among: Sequence[int]) -> list[int]:
    """The candidates among ``among`` that begin with ``text`` or are equal to it."""
    text = text.lower().lstrip()
    return [
        i
        for i in among
        if sentences[i].startswith(text)
        or (text.startswith(sentences[i]) and _END.fullmatch(text[len(sentences[i]) :]))
    ]
