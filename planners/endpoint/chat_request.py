"""What a chat server is asked: the conversation in words, the pictures, the request body."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.planners.language.pictures import as_png, enlarged
from hier.planners.language.prompts import situation
from hier.planners.protocol import PlannerQuery

TOP_LOGPROBS = 20  # as many as most servers allow
IMAGE_SIZE = 448  # pixels; frames are enlarged by a whole factor to about this
TASK = (
    "You guide an agent. Choose the subgoal it should pursue now to fulfil its mission. Answer "
    "with exactly one of the numbered subgoals, word for word, without its number and with "
    "nothing else."
)
ANOTHER = (
    "The estimated advantage of that subgoal is {advantage:+.3f}: so much more reward it brings "
    "than the usual choice. Choose another one of those left:"
)
COMPLAINT = "That is none of the subgoals left to choose from. Copy one of them, word for word."


@dataclass(frozen=True)
class RequestFormat:
    """How a question becomes a request body.

    Attributes:
        model: the server's name for it.
        logprobs: ask for log-probabilities.
        max_tokens: longest answer.
        seed: sent along where ``extra`` sets a temperature above our 0.
        extra: more fields, over our own; ``None`` removes one.
    """

    model: str
    logprobs: bool
    max_tokens: int
    seed: int
    extra: Mapping[str, Any]

    def body(self, turns: Sequence[str], pictures: Sequence[str]) -> dict[str, Any]:
        """The request body; the same conversation gives the same body, which keys the cache.

        Args:
            turns: the user's and the assistant's alternately, the user's first and last.
            pictures: data URLs, shown with the first.
        """
        messages: list[dict[str, Any]] = [
            {"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)
        ]
        if pictures:
            shown = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
            messages[0]["content"] = [*shown, {"type": "text", "text": turns[0]}]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        if self.extra.get("temperature"):
            body["seed"] = self.seed
        body |= self.extra
        return {name: value for name, value in body.items() if value is not None}


def conversation(query: PlannerQuery, pictures: Sequence[str] = ()) -> list[str]:
    """The user's and the assistant's turns alternately: what a general model reads.

    First the question as first asked: mission, scene, past subgoals and all candidates. Then, for
    each rejected proposal, that as the assistant's turn, and its advantage with the candidates left
    as the user's.

    Args:
        query: of one environment.
        pictures: what those sent along show, in words (:attr:`hier.envs.domain.Domain.pictures`).
    """
    offered = query.offered or query.candidates
    left = {candidate: f"{i}. {candidate}" for i, candidate in enumerate(offered, start=1)}
    lines = [TASK, "", *(f"A picture shows {words}." for words in pictures)]
    scene = f"Scene: {query.space.describe(query.percept)}"
    lines += situation(query.percept.mission, query.recent, scene=scene)
    turns = ["\n".join([*lines, "Subgoals to choose from:", *left.values()])]
    for subgoal, advantage in query.rejected:
        del left[subgoal]
        turns += [str(subgoal), "\n".join([ANOTHER.format(advantage=advantage), *left.values()])]
    return turns


def picture_url(picture: NDArray[np.uint8], scale: int | None = None) -> str:
    """A picture as the data URL of a PNG, enlarged without smoothing.

    Args:
        picture: ``(height, width, 3)`` uint8.
        scale: by how much; ``None`` gives the longer side about ``IMAGE_SIZE`` pixels.
    """
    scale = scale or max(1, round(IMAGE_SIZE / max(picture.shape)))
    return "data:image/png;base64," + base64.b64encode(as_png(enlarged(picture, scale))).decode()
