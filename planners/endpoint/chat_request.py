"""Requests to a chat server: the conversation, the pictures, the request body."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hier.planners.endpoint.constraints import Constraint
from hier.planners.language.pictures import as_png, enlarged
from hier.planners.language.prompts import situation
from hier.planners.protocol import PlannerQuery

TOP_LOGPROBS = 20  # alternatives per token; most servers allow no more
IMAGE_SIZE = 448  # pixels; pictures are enlarged by a whole factor to about this width
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
    """Builds request bodies.

    Attributes:
        model: the server's name of the model.
        logprobs: ask for log-probabilities.
        max_tokens: longest answer, in tokens.
        seed: sent if ``extra`` sets a temperature above the default of 0.
        extra: more fields, which override the default ones; ``None`` removes a field.
        constraint: how the server is held to the candidates; ``None`` where it cannot be.
    """

    model: str
    logprobs: bool
    max_tokens: int
    seed: int
    extra: Mapping[str, Any]
    constraint: Constraint | None = None

    def body(
        self, turns: Sequence[str], pictures: Sequence[str], sentences: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The request body; it depends on the conversation only, so that the cache can find it.

        Args:
            turns: texts of the user and the assistant in alternation, the user first and last.
            pictures: data URLs, sent with the first turn.
            sentences: all that may be answered; empty for no constraint.
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
        if self.constraint is not None and sentences:
            body |= self.constraint.fields(sentences)
            body["max_tokens"] += self.constraint.room
        if self.extra.get("temperature"):
            body["seed"] = self.seed
        body |= self.extra
        return {name: value for name, value in body.items() if value is not None}


def conversation(query: PlannerQuery, pictures: Sequence[str] = ()) -> list[str]:
    """The turns of the user and the assistant in alternation, for a general model.

    The first turn is the question: mission, scene, past subgoals and all candidates. Each rejected
    proposal adds two turns: the proposal by the assistant, then its advantage and the candidates
    left by the user.

    Args:
        query: of one environment.
        pictures: what the pictures show, in words (:attr:`hier.envs.domain.Domain.pictures`).
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
        scale: factor; ``None`` gives the longer side about ``IMAGE_SIZE`` pixels.
    """
    scale = scale or max(1, round(IMAGE_SIZE / max(picture.shape)))
    return "data:image/png;base64," + base64.b64encode(as_png(enlarged(picture, scale))).decode()
