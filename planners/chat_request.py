"""What a chat server is asked: the question in words, the picture, the request body."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planners.pictures import enlarged
from planners.prompts import situation
from planners.protocol import PlannerQuery

TOP_LOGPROBS = 20  # as many as most servers allow
IMAGE_SIZE = 448  # pixels; frames are enlarged by a whole factor to about this
TASK = (
    "You guide an agent. Choose the subgoal it should pursue now to fulfil its mission. Answer "
    "with exactly one of the numbered subgoals, word for word, without its number and with "
    "nothing else."
)
_SHOWN = {
    "view": "A picture shows what the agent sees now.",
    "map": "A picture shows what it has seen so far, from above; it is in the middle, facing up.",
}


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

    def body(self, text: str, pictures: Sequence[str]) -> dict[str, Any]:
        """The request body; the same question gives the same body, which keys the cache."""
        content: Any = text
        if pictures:
            shown = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
            content = [*shown, {"type": "text", "text": text}]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        if self.logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        if self.extra.get("temperature"):
            body["seed"] = self.seed
        body |= self.extra
        return {name: value for name, value in body.items() if value is not None}


def question_text(query: PlannerQuery, pictures: Sequence[str] = ()) -> str:
    """What a general model reads: mission, scene, past subgoals, feedback and candidates.

    Args:
        query: of one environment.
        pictures: names of what is sent along, of :data:`planners.pictures.IMAGES`.
    """
    lines = [TASK, "", *(_SHOWN[name] for name in pictures)]
    scene = f"Scene: {query.space.describe(query.percept)}"
    lines += situation(query.percept.mission, query.recent, query.feedback, scene)
    lines += ["Subgoals to choose from:"]
    lines += [f"{i}. {candidate}" for i, candidate in enumerate(query.candidates, start=1)]
    return "\n".join(lines)


def picture_url(picture: NDArray[np.uint8], scale: int | None = None) -> str:
    """A picture as the data URL of a PNG, enlarged without smoothing.

    Args:
        picture: ``(height, width, 3)`` uint8.
        scale: by how much; ``None`` gives the longer side about ``IMAGE_SIZE`` pixels.
    """
    from PIL import Image

    scale = scale or max(1, round(IMAGE_SIZE / max(picture.shape)))
    file = io.BytesIO()
    Image.fromarray(enlarged(picture, scale)).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
