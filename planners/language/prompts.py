"""The token ids that a language model reads for a query, and those of its possible answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from hier.planners.protocol import PlannerError, PlannerQuery

_QUESTION = "\u2062question\u2062"  # marks of the question and the answer while a template is read
_ANSWER = "\u2062answer\u2062"
# The questions; the last two serve pre-training and the action-level reference.
WHICH_SUBGOAL = "Which subgoal now?"
WHICH_ACTION = "Subgoal: {subgoal}\nWhich action now?"
WHAT_SCENE = "What do you see?"
# Families that were not trained on conversations; in others a missing template is an error.
WITHOUT_CHAT = frozenset({"paligemma", "blip-2", "git", "kosmos-2", "fuyu"})


class Turn(NamedTuple):
    """What one side of a conversation says and shows.

    Attributes:
        role: ``user`` or ``assistant``.
        text: the words.
        images: ``(height, width, 3)`` uint8 each; shown before the words.
    """

    role: str
    text: str
    images: tuple[NDArray[np.uint8], ...] = ()


class Prompt(NamedTuple):
    """A conversation to which a model answers; so far every planner asks a single question."""

    turns: tuple[Turn, ...]

    @classmethod
    def single(cls, question: str, images: tuple[NDArray[np.uint8], ...] = ()) -> Prompt:
        """One turn of the user."""
        return cls((Turn("user", question, images),))

    @property
    def question(self) -> str:
        """The words of the only turn."""
        (turn,) = self.turns
        return turn.text

    @property
    def images(self) -> tuple[NDArray[np.uint8], ...]:
        """The images of all turns, in order."""
        return tuple(image for turn in self.turns for image in turn.images)


def situation(
    mission: str,
    tried: Sequence[tuple[object, str]] = (),
    rejected: Sequence[tuple[object, float]] = (),
    scene: str = "",
) -> list[str]:
    """The lines at the beginning of every question.

    Args:
        mission: the instruction.
        tried: past subgoals and how each ended, oldest first.
        rejected: proposals rejected in this choice and their advantages, oldest first.
        scene: what was seen in words, for models that see no image.
    """
    lines = [f"Mission: {mission}"]
    if scene:
        lines.append(scene)
    if tried:
        past = "; ".join(f"{subgoal} ({outcome})" for subgoal, outcome in tried)
        lines.append(f"Tried so far: {past}")
    if rejected:
        before = "; ".join(f"{subgoal} (advantage {gain:+.3f})" for subgoal, gain in rejected)
        lines.append(f"Rejected: {before}")
    return lines


def question_of(
    query: PlannerQuery,
    *,
    scene: bool,
    rejected: bool = False,
    ask: str = WHICH_SUBGOAL,
    mission_last: bool = False,
) -> str:
    """The user's turn: mission, what was tried and how it ended, and the question.

    Args:
        query: see :class:`hier.planners.protocol.PlannerQuery`.
        scene: add what was seen in words, for models that see no image.
        rejected: add the rejected proposals, for models that know the words.
        ask: the last line, which asks.
        mission_last: put the mission right before that line, for models that were not trained on
            these questions: small ones heed most what they read last.
    """
    words = query.space.describe(query.percept) if scene else ""
    proposals = query.rejected if rejected else ()
    mission, *rest = situation(query.percept.mission, query.recent, proposals, words)
    lines = [*rest, mission] if mission_last else [mission, *rest]
    return "\n".join([*lines, ask])


class PromptFormat:
    """Turns prompts into a model's inputs, by its chat template or as plain text.

    The template is rendered once with a mark in place of the question, and once with the mark of an
    answer, which shows the text before an answer and the token that ends it.

    Args:
        processor: a processor, or a tokenizer for text-only models.
        n_images: images shown with each question.
        family: ``model_type`` of the model's configuration.
        plain: ask in plain text although there is a template.

    Raises:
        PlannerError: if a model that needs a chat template has none, if its template cannot be
            rendered, or if no token ends an answer.
    """

    def __init__(self, processor: Any, n_images: int, family: str, *, plain: bool = False):
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self._is_processor = self.tokenizer is not processor
        self._n_images = n_images
        self._options: dict[str, Any] = {"padding": True, "return_tensors": "pt"}
        template = getattr(processor, "chat_template", None) or self.tokenizer.chat_template
        end = ""
        if template and not plain:
            self._before, self._after, self._lead, end = self._from_template(template)
        elif family in WITHOUT_CHAT:
            self._before, self._after, self._lead = self._image_marks(), "", ""
        elif plain:
            self._before, self._after, self._lead = self._image_marks(), "\nAnswer:", " "
        else:
            raise PlannerError(
                f"the tokenizer of this {family} model has no chat template; add its "
                "chat_template.jinja to the model's folder, or set planner.options.plain=true to "
                "ask in plain text"
            )
        self._end = self._end_token(end)
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.convert_ids_to_tokens(self._end)
        # As in transformers: a template contains the special tokens, plain text does not.
        bos = self.tokenizer.bos_token
        written = bool(bos) and self._before.startswith(bos)
        if written or (template and not plain and not self._is_processor):
            self._options["add_special_tokens"] = False
        if not self._is_processor:
            self._options["return_token_type_ids"] = False

    def _image_marks(self) -> str:
        mark = str(getattr(self.processor, "image_token", None) or "")
        if self._n_images and not mark:
            raise PlannerError(
                f"{type(self.processor).__name__} does not say how an image is marked in plain "
                "text; leave out planner.options.plain and give the model a chat template"
            )
        return mark * self._n_images

    def _from_template(self, template: Any) -> tuple[str, str, str, str]:
        turns = [Turn("user", _QUESTION), Turn("assistant", _ANSWER)]
        prompt = self._render(template, turns[:1], generate=True)
        answered = self._render(template, turns, generate=False)
        before, mark, after = prompt.partition(_QUESTION)
        if not mark:
            raise PlannerError(
                "the model's chat template drops the user's words; repair chat_template.jinja or "
                "set planner.options.plain=true"
            )
        turn = answered.removeprefix(prompt)
        lead, _, end = turn.partition(_ANSWER)
        # Some templates write more before a new answer than before a given one: then no lead.
        return before, after, lead if turn != answered else "", end

    def _render(self, template: Any, turns: Sequence[Turn], generate: bool) -> str:
        messages = []
        for turn in turns:
            images = [{"type": "image"}] * (self._n_images if turn.role == "user" else 0)
            content = [*images, {"type": "text", "text": turn.text}]
            messages.append(
                {"role": turn.role, "content": content if self._is_processor else turn.text}
            )
        # Reasoning models are asked for the answer without reasoning.
        more = {"enable_thinking": False} if "enable_thinking" in str(template) else {}
        try:
            return self.processor.apply_chat_template(
                messages,
                chat_template=template if isinstance(template, str) else None,
                add_generation_prompt=generate,
                tokenize=False,
                **more,
            )
        except Exception as error:  # a template is a program of the model's author
            raise PlannerError(
                f"the model's chat template cannot be rendered ({type(error).__name__}: {error}); "
                "repair chat_template.jinja or set planner.options.plain=true"
            ) from error

    def _end_token(self, end: str) -> int:
        tokens = self.tokenizer(end.strip(), add_special_tokens=False)["input_ids"] if end else []
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        if tokens and tokens[0] in special:
            return int(tokens[0])
        if self.tokenizer.eos_token_id is None:
            raise PlannerError(
                "the model's tokenizer has no end-of-sequence token, so nothing ends an answer; "
                "set eos_token in its tokenizer_config.json"
            )
        return int(self.tokenizer.eos_token_id)

    def text(self, prompt: Prompt) -> str:
        """The text that the processor gets for ``prompt``, a single turn; image marks included."""
        return f"{self._before}{prompt.question}{self._after}"

    def answer_tokens(self, answer: str) -> tuple[int, ...]:
        """Token ids of ``answer``, with the token that ends the turn.

        Raises:
            PlannerError: if the tokenizer finds no token in it.
        """
        ids = self.tokenizer(self._lead + answer, add_special_tokens=False)["input_ids"]
        if not ids:
            raise PlannerError(
                f"the model's tokenizer turns {answer!r} into no tokens; the folder's tokenizer "
                "files are damaged or another model's"
            )
        return (*ids, self._end)

    def encode(
        self, prompts: Sequence[Prompt], device: torch.device, dtype: torch.dtype
    ) -> dict[str, Any]:
        """The model's inputs for ``prompts``, left-padded to one length.

        Args:
            prompts: at least one, each with ``n_images`` images.
            device: where the tensors go.
            dtype: of the floating-point ones.

        Raises:
            PlannerError: if the processor refuses the prompts.
        """
        texts = [self.text(prompt) for prompt in prompts]
        shown = {"images": [list(prompt.images) for prompt in prompts]} if self._n_images else {}
        try:
            inputs = self.processor(text=texts, **shown, **self._options)
        except (ValueError, TypeError, RuntimeError, LookupError) as error:
            raise PlannerError(
                f"{type(self.processor).__name__} refuses {texts[0]!r} with {self._n_images} "
                f"images ({error}); compare the model's chat template and processor files"
            ) from error
        return {
            key: value.to(device, dtype) if value.is_floating_point() else value.to(device)
            for key, value in inputs.items()
            if key != "labels"
        }
