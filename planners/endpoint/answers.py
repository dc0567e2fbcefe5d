"""What a chat server answered, and what its token log-probabilities say about every candidate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_FLOOR = 1e-9  # probability of what a server is sure against; keeps logarithms finite
_END = re.compile(r"[\s.]*(<.*)?")  # blanks, a full stop, an end-of-turn token such as <|im_end|>


class AnswerToken(NamedTuple):
    """One generated token.

    Attributes:
        text: what it adds to the answer.
        log_prob: its natural logarithm of probability.
        alternatives: the likeliest tokens at its place with theirs, possibly itself among them.
    """

    text: str
    log_prob: float
    alternatives: Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A completion.

    Attributes:
        text: what the model wrote.
        tokens: token by token with log-probabilities; ``None`` where the server gives none.
        prompt_tokens: length of the prompt by the server's count, images included; 0 if unknown.
    """

    text: str
    tokens: tuple[AnswerToken, ...] | None = None
    prompt_tokens: int = 0

    @classmethod
    def from_completion(cls, data: Any) -> ChatAnswer:
        """Read the JSON of a ``chat.completion``.

        Raises:
            ValueError: if it is none. Log-probabilities that cannot be read count as not given.
        """
        try:
            choice = data["choices"][0]
            text = choice["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise ValueError("no choices[0].message.content") from None
        if not isinstance(text, str | None):
            raise ValueError(f"choices[0].message.content is a {type(text).__name__}")
        try:
            prompt_tokens = int(data["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError):
            prompt_tokens = 0
        return cls(text or "", _tokens_of(choice.get("logprobs")), prompt_tokens)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers that :meth:`from_json` reads back."""
        return {"text": self.text, "tokens": self.tokens, "prompt_tokens": self.prompt_tokens}

    @classmethod
    def from_json(cls, data: Any) -> ChatAnswer:
        """What :meth:`to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: for anything else.
        """
        tokens = data["tokens"]
        if tokens is not None:
            tokens = tuple(
                AnswerToken(str(text), float(p), [(str(other), float(q)) for other, q in others])
                for text, p, others in tokens
            )
        if not isinstance(data["text"], str):
            raise TypeError("text is not a string")
        return cls(data["text"], tokens, int(data["prompt_tokens"]))


def _tokens_of(logprobs: Any) -> tuple[AnswerToken, ...] | None:
    try:
        tokens = tuple(
            AnswerToken(
                item["token"],
                float(item["logprob"]),
                [(other["token"], float(other["logprob"])) for other in item["top_logprobs"] or ()],
            )
            for item in logprobs["content"]
        )
    except (KeyError, TypeError, ValueError):
        return None
    known = all(not np.isnan(p) for token in tokens for _, p in ((0, token.log_prob), *token[2]))
    return tokens if tokens and known else None


def answer_log_probs(
    tokens: Sequence[AnswerToken], sentences: Sequence[str], answer: int
) -> NDArray[np.float32] | None:
    """A distribution over all candidates from the tokens of the one that was answered.

    The candidates form a tree of texts, and the answer is one path through it. At each of its
    tokens the probability is dealt out:

    - an alternative token takes its probability to the candidates that go on with it, in equal
      parts, since nobody looked at how they go on; what leads to no candidate is left out;
    - candidates that part here with a token that is not listed share what the listed tokens leave
      of the probability, none more than the least likely listed token;
    - what remains goes on with the answer's token, until the answer is the only candidate left.

    So the numbers are exact where every candidate parts from the answer with a listed token of its
    own, and too even among candidates that part from the answer together. All is normalized at
    the end: the distribution is conditional on the model naming a candidate.

    Args:
        tokens: of the answer, in order.
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
    """Which candidates begin with ``text``, or are it."""
    text = text.lower().lstrip()
    return [
        i
        for i in among
        if sentences[i].startswith(text)
        or (text.startswith(sentences[i]) and _END.fullmatch(text[len(sentences[i]) :]))
    ]
