"""Planners that are language models: ``vlm`` looks at pixels, ``llm`` reads the scene as text.

Both compute the exact probability of each candidate as the answer to one question. Any hub model or
local folder will do, and no generated text is parsed.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from hier.envs.domain import Domain
from hier.envs.errors import ConfigError
from hier.envs.registry import default_domain
from hier.envs.subgoal import Subgoal
from hier.planners.language.models import built_in_planner, load_model
from hier.planners.language.pictures import check_images, enlarged, pictures_of
from hier.planners.language.prompts import (
    WHICH_ACTION,
    WHICH_SUBGOAL,
    Prompt,
    PromptFormat,
    question_of,
)
from hier.planners.language.scoring import Scores, candidate_log_probs
from hier.planners.protocol import PlannerError, PlannerQuery, PlannerReply

SETTINGS = "planner.json"  # beside a saved model: the planner's version, and how it was asked


@dataclass(eq=False, repr=False)
class LanguagePlanner:
    """What :class:`VLMPlanner` and :class:`LLMPlanner` share.

    A reply's ``log_probs`` are log softmax over the candidates of log p(answer | prompt) / T: the
    model's own distribution over whole answers, end of turn included, given that it answers with
    one of them. Its ``value`` is the value head's, NaN without one. Rejected proposals are not
    among the candidates. The prompt lists them with their advantages if the tokenizer has the words
    for that, which those of the built-in planners lack.

    Args:
        model: hub id, local folder, folder of a LoRA adapter that names its base model, or name
            of a built-in planner (:func:`hier.planners.language.models.built_in_planner`).
        dtype, device, lora, quantization: see :func:`hier.planners.language.models.load_model`.
        temperature: T; below 1 it sharpens the distribution, above 1 it flattens it.
        plain: ask without the chat template.
        cache_size: number of queries whose replies are kept.
        batch_size: most queries in one forward pass.
        seed: of a new adapter's weights; scoring itself is deterministic.

    Attributes:
        loaded: the :class:`hier.planners.language.models.PlannerModel`.
        version: how often feedback changed the weights, see :meth:`weights_changed`.

    Raises:
        PlannerError, ConfigError: see :func:`hier.planners.language.models.load_model` and
            :class:`hier.planners.language.prompts.PromptFormat`.
    """

    privileged: ClassVar[bool] = False
    keeps_states = False  # set on a planner whose replies are to carry their hidden states

    model: str
    _: KW_ONLY
    dtype: str = "auto"
    device: str = "auto"
    temperature: float = 1.0
    lora: int | str | Mapping[str, Any] | None = None
    quantization: Mapping[str, Any] | None = None
    plain: bool = False
    cache_size: int = 4096
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("temperature", 1e-3), ("cache_size", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if not value >= low:
                raise ConfigError(f"planner.options.{name} is {value}; it must be at least {low}")
        pictures = self._pictures()
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.loaded = load_model(
                self.model,
                images=bool(pictures),
                dtype=self.dtype,
                device=self.device,
                lora=self.lora,
                quantization=self.quantization,
            )
        settings = _settings(self.loaded.folder)
        self.version = settings["version"]
        self._mission_last = settings["mission_last"]
        self.format = PromptFormat(
            self.loaded.processor, len(pictures), self.loaded.family, plain=self.plain
        )
        self._answer = lru_cache(maxsize=4096)(self.format.answer_tokens)
        self._kept: OrderedDict[bytes, PlannerReply] = OrderedDict()
        self._knows_rejections = self._knows("Rejected: (advantage -0.1)")

    def _knows(self, words: str) -> bool:
        """Whether the tokenizer has all these words."""
        tokenizer = self.format.tokenizer
        ids = tokenizer(words, add_special_tokens=False)["input_ids"]
        return tokenizer.unk_token_id is None or tokenizer.unk_token_id not in ids

    def _pictures(self) -> tuple[str, ...]:
        """Names of the pictures shown with each question."""
        return ()

    def prompt(self, query: PlannerQuery, ask: str = WHICH_SUBGOAL) -> Prompt:
        """What the model is asked; reads the percept at once."""
        raise NotImplementedError

    def answers(self, query: PlannerQuery) -> tuple[tuple[int, ...], ...]:
        """The candidates as token ids, one tuple each, end of turn included.

        Raises:
            PlannerError: if the tokenizer cannot tell two candidates apart.
        """
        return self.answers_of([str(candidate) for candidate in query.candidates])

    def answers_of(self, words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Sentences as token ids; errors as :meth:`answers`."""
        answers = tuple(self._answer(answer) for answer in words)
        if len(set(answers)) < len(set(words)):
            raise PlannerError(
                f"the tokenizer of planner model {self.model!r} writes some of "
                f"{', '.join(words)} alike; its vocabulary lacks their words, "
                "use a model that has them"
            )
        return answers

    def encode(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        """The model's inputs for ``prompts``, see :meth:`PromptFormat.encode`."""
        return self.format.encode(prompts, self.loaded.device, self.loaded.network.dtype)

    def candidate_scores(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[Sequence[Sequence[int]]],
        *,
        grad: bool = False,
        network: Any = None,
    ) -> Scores:
        """Log-probabilities of whole answers as tensors, for learning.

        Args:
            prompts: from :meth:`prompt`.
            answers: from :meth:`answers`, one set per prompt.
            grad: keep the graph.
            network: scores instead of the planner's own network, such as the frozen reference.
        """
        with self.loaded.mixed_precision():
            return candidate_log_probs(
                self.loaded.network if network is None else network,
                self.encode,
                prompts,
                answers,
                grad=grad,
                hidden=self.loaded.value_head is not None,
            )

    def score(self, queries: Sequence[PlannerQuery]) -> list[PlannerReply]:
        """See :class:`.Planner`; a query that was asked before gets the kept reply.

        Raises:
            PlannerError: if the model's numbers are not finite; see also :meth:`answers`.
        """
        return self._scored(
            [self.prompt(query) for query in queries], [self.answers(query) for query in queries]
        )

    def action_log_probs(
        self,
        queries: Sequence[PlannerQuery],
        subgoals: Sequence[Subgoal],
        actions: Sequence[str],
    ) -> list[NDArray[np.float32]]:
        """The planner as an action-level reference policy: log π_ref(a|s,g).

        Asks :data:`.WHICH_ACTION` and scores the names of the actions as :meth:`score` scores
        candidates, with the same temperature, kept replies and errors.

        Args:
            queries: one per environment; their candidates are not used.
            subgoals: the subgoal that is pursued, one per query.
            actions: names of all the controller's actions, in its order. A domain gives
                them as :attr:`hier.envs.domain.Domain.action_names`. MiniGrid's ``done`` is among
                them, which no demonstration takes.

        Returns:
            Per query ``(len(actions),)`` float32, normalized natural logarithms.
        """
        prompts = [
            self.prompt(query, WHICH_ACTION.format(subgoal=subgoal))
            for query, subgoal in zip(queries, subgoals, strict=True)
        ]
        replies = self._scored(prompts, [self.answers_of(actions)] * len(prompts))
        return [reply.log_probs for reply in replies]

    def _scored(
        self, prompts: Sequence[Prompt], answers: Sequence[tuple[tuple[int, ...], ...]]
    ) -> list[PlannerReply]:
        """One reply per prompt over its answers; kept replies are used again."""
        keys = [self._key(*pair) for pair in zip(prompts, answers, strict=True)]
        replies = {key: self._kept[key] for key in keys if key in self._kept}
        new = {key: i for i, key in enumerate(keys) if key not in replies}
        # Prompts of about the same length share a batch: less padding.
        order = sorted(new, key=lambda key: len(prompts[new[key]].question))
        for start in range(0, len(order), self.batch_size):
            some = order[start : start + self.batch_size]
            chosen = [new[key] for key in some]
            scores = self.candidate_scores(
                [prompts[i] for i in chosen], [answers[i] for i in chosen]
            )
            replies.update(zip(some, self._replies(scores), strict=True))
        for key in keys:
            self._kept[key] = replies[key]
            self._kept.move_to_end(key)
        while len(self._kept) > self.cache_size:
            self._kept.popitem(last=False)
        return [replies[key] for key in keys]

    def _key(self, prompt: Prompt, answers: tuple[tuple[int, ...], ...]) -> bytes:
        words = f"{self.temperature}\n{prompt.question}\n{answers}"
        key = hashlib.blake2b(words.encode())
        for image in prompt.images:
            key.update(image.tobytes())
        return key.digest()

    def _replies(self, scores: Scores) -> list[PlannerReply]:
        values = [float("nan")] * len(scores.log_probs)
        if self.loaded.value_head is not None and scores.hidden is not None:
            with torch.no_grad():
                values = self.loaded.value_head(scores.hidden.float()).squeeze(-1).tolist()
        replies = []
        for i, (totals, value) in enumerate(zip(scores.log_probs, values, strict=True)):
            log_probs = torch.log_softmax(totals.double() / self.temperature, dim=0)
            if not torch.isfinite(log_probs).all():
                raise PlannerError(
                    f"planner model {self.model!r} answered numbers that are not finite in "
                    f"{self.loaded.network.dtype}; try planner.options.dtype=float32"
                )
            states = None
            if self.keeps_states and scores.states is not None and scores.hidden is not None:
                states = (
                    torch.cat([scores.states[i], scores.hidden[i : i + 1]]).float().cpu().numpy()
                )
            replies.append(PlannerReply(log_probs.float().cpu().numpy(), value, states))
        return replies

    def forget_answers(self) -> None:
        """Compute every reply anew from now on, also to queries scored before."""
        self._kept.clear()

    def weights_changed(self) -> None:
        """Note that feedback changed the weights: the version goes up, kept replies are dropped."""
        self.version += 1
        self.forget_answers()

    def take_weights(self, folder: str | Path) -> None:
        """Load the planner saved in ``folder`` into this one; the frozen reference is unchanged.

        Raises:
            PlannerError: if the weights are missing, damaged or those of another model.
        """
        self.loaded.take_weights(folder)
        self.version = _settings(str(folder))["version"]
        self.forget_answers()

    def save(self, folder: str | Path, card: str = "") -> None:
        """Write the model (see :meth:`.PlannerModel.save`) and the version."""
        settings = {"version": self.version, "mission_last": self._mission_last}
        self.loaded.save(folder, card, {SETTINGS: json.dumps(settings)})


@dataclass(eq=False, repr=False)
class LLMPlanner(LanguagePlanner):
    """Any causal language model; it reads the scene in the words of the domain's ``describe``."""

    def prompt(self, query: PlannerQuery, ask: str = WHICH_SUBGOAL) -> Prompt:
        """What the model is asked; reads the percept at once."""
        return Prompt.single(
            question_of(
                query,
                scene=True,
                rejected=self._knows_rejections,
                ask=ask,
                mission_last=self._mission_last,
            )
        )


@dataclass(eq=False, repr=False)
class VLMPlanner(LanguagePlanner):
    """Any vision-language model that transformers loads; it sees pixels and no scene text.

    Args:
        model: as for every language planner; the domain's built-in planner by default.
        images: name of one of the domain's pictures (:attr:`.Domain.pictures`): ``view``
            (what is seen now), in the gridworld also ``map`` (all that was seen) or ``both``; the
            domain's default if empty.
        scale: factor by which pictures are enlarged, for models that see little in small ones.
        domain: the domain that the planner plans in; see :func:`.default_domain` for the default.

    Raises:
        ConfigError: if the domain has no pictures, or neither a built-in planner nor ``model``.
    """

    model: str = ""
    images: str = ""
    scale: int = 1
    domain: Domain | None = None

    def __post_init__(self) -> None:
        self._domain = self.domain or default_domain()
        self._names = check_images(self.images, self._domain)  # before a model is loaded in vain
        self.model = self.model or built_in_planner(self._domain)
        super().__post_init__()

    def _pictures(self) -> tuple[str, ...]:
        if self.scale < 1:
            raise ConfigError(f"planner.options.scale is {self.scale}; it must be at least 1")
        return self._names

    def prompt(self, query: PlannerQuery, ask: str = WHICH_SUBGOAL) -> Prompt:
        """What the model is asked and shown; reads the percept at once."""
        pictures = pictures_of(query.percept, self._names, self._domain)
        scaled = tuple(enlarged(picture, self.scale) for picture in pictures)
        question = question_of(query, scene=False, rejected=self._knows_rejections, ask=ask)
        return Prompt.single(question, scaled)


def _settings(folder: str) -> dict[str, Any]:
    """What :meth:`LanguagePlanner.save` wrote; a model from elsewhere is at version 0."""
    try:
        found = json.loads((Path(folder) / SETTINGS).read_text())
        # A planner goes on being asked as it was taught; older files taught the mission first.
        return {
            "version": int(found["version"]),
            "mission_last": bool(found.get("mission_last", False)),
        }
    except (FileNotFoundError, NotADirectoryError):
        return {"version": 0, "mission_last": True}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise PlannerError(
            f"{folder}/{SETTINGS} is damaged ({error}); delete it to start at version 0"
        ) from error
