"""Batches of demonstrations: token ids, painted maps, and symmetries drawn at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hier.envs.variations import CodedMaps, Symmetry
from hier.planners.language.prompts import (
    WHAT_SCENE,
    WHICH_ACTION,
    WHICH_SUBGOAL,
    Prompt,
    PromptFormat,
    situation,
)
from hier.planners.language.token_tree import pack_trees, token_tree
from hier.planners.pretraining.demonstrations import CELLS, Demonstration

TASKS = ("subgoal", "action", "scene")
_NEAREST = 4  # things named in the description of a scene; all of them would be most of the text
_WRONG = 5  # wrong answers in an example; all of them would be most of the tokens
_AT_A_TIME = 40  # batches whose examples are sorted by length together


@dataclass(frozen=True, slots=True)
class Batch:
    """The examples of one gradient step: each a prompt, then the trie of its possible answers.

    With ``L`` the longest prompt and ``N`` the largest trie, ``T = L + N``.

    Attributes:
        ids: ``(B, T)`` int64 token ids, image tokens included.
        positions: ``(B, T)`` int64; a trie's token stands as far behind its prompt as it is deep.
        mask: ``(B, 1, T, T)`` float32, 0 where a token sees another, else very negative.
        pixels: ``(B, 3, H, W)`` float32 as the model's image processor makes them.
        codes: ``(B, cells, cells)`` int64, the map that each picture shows; ``None`` where
            pictures are not maps.
        last: ``(B,)`` int64, position of each prompt's last token; the tries begin at ``L``.
        edges, steps: see :class:`hier.planners.language.token_tree.PackedTrees`.
        counts: ``(B,)`` int64, number of answers of each example.
        right: ``(B,)`` int64, index of the expert's among an example's answers.
        task: ``(B,)`` int64 indices into :data:`TASKS`.
        value: ``(B,)`` float32 discounted return, NaN where unknown.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    pixels: Tensor
    codes: Tensor | None
    last: Tensor
    edges: Tensor
    steps: Tensor
    counts: Tensor
    right: Tensor
    task: Tensor
    value: Tensor


class LabeledQuestion(NamedTuple):
    """A question, its possible answers, and the index ``right`` of the expert's."""

    question: str
    answers: Sequence[str]
    right: int


def labeled_questions(
    demonstration: Demonstration, actions: Sequence[str]
) -> list[LabeledQuestion]:
    """One question per task of :data:`TASKS`; a scene has one answer, the others a closed set.

    Where the controller's actions have no names, no question asks for one.
    """
    d = demonstration
    lines = situation(d.mission, d.tried)
    scene, _, rest = d.scene.partition("; ")
    scene = "; ".join([scene, *rest.split("; ")[: _NEAREST - 1]]) if rest else scene
    found = [LabeledQuestion("\n".join([*lines, WHICH_SUBGOAL]), d.candidates, d.answer)]
    if d.action is not None:
        action = WHICH_ACTION.format(subgoal=d.candidates[d.pursued])
        found.append(LabeledQuestion("\n".join([*lines, action]), actions, d.action))
    return [*found, LabeledQuestion("\n".join([*lines, WHAT_SCENE]), [scene], 0)]


def middle(codes: NDArray[np.uint8], cells: int) -> NDArray[np.uint8]:
    """The middle ``(..., cells, cells)`` of stored maps ``(..., 21, 21)``."""
    edge = (CELLS - cells) // 2
    return codes[..., edge : CELLS - edge, edge : CELLS - edge]


class Examples:
    """Demonstrations ready for training.

    Args:
        demonstrations: at least one.
        actions: names of the controller's actions; empty if they have no names.
        form: turns prompts into token ids; its tokenizer must be word-level, so that a symmetry can
            exchange token ids.
        maps: paints pictures; ``None`` where demonstrations hold the pictures themselves.
        symmetries: one of them, drawn at random, is applied to each example; none if empty.
    """

    def __init__(
        self,
        demonstrations: Sequence[Demonstration],
        actions: Sequence[str],
        form: PromptFormat,
        maps: CodedMaps | None = None,
        symmetries: Sequence[Symmetry] = (),
    ):
        self.n = len(demonstrations)
        self.pad = int(form.tokenizer.pad_token_id)
        self._tasks = np.array([i for i, name in enumerate(TASKS) if name != "action" or actions])
        self._maps = maps
        shown = [middle(d.shown, maps.cells) if maps else d.shown for d in demonstrations]
        self._shown = np.stack(shown)
        self._value = np.array([d.value for d in demonstrations], np.float32)
        self._read(demonstrations, actions, form)
        self._symmetries(symmetries, form.tokenizer)

    def frequencies(self) -> NDArray[np.float64]:
        """``(n_codes,)``, the share of the maps' cells with each code, averaged over symmetries."""
        counts = np.bincount(self._shown.reshape(-1), minlength=self._cells.shape[1])
        everywhere = np.zeros(len(counts))
        for codes in self._cells:
            np.add.at(everywhere, codes, counts)
        there = np.flatnonzero(everywhere)
        return everywhere[: there[-1] + 1] / everywhere.sum()

    def _read(
        self, demonstrations: Sequence[Demonstration], actions: Sequence[str], form: PromptFormat
    ) -> None:
        processor = form.processor
        mark = processor.image_token
        images = mark * (processor.image_processor.size["height"] // processor.patch_size) ** 2
        answer_tokens = lru_cache(maxsize=None)(form.answer_tokens)
        prompts: list[NDArray[np.int16]] = []
        self._answers: list[tuple[tuple[int, ...], ...]] = []
        right = []
        for start in range(
            0, self.n, 1000
        ):  # a tokenizer's output takes a hundred times the memory of its ids
            some = demonstrations[start : start + 1000]
            asked = [one for d in some for one in labeled_questions(d, actions)]
            texts = [form.text(Prompt.single(one.question)).replace(mark, images) for one in asked]
            ids = form.tokenizer(texts, add_special_tokens=False)["input_ids"]
            prompts += [np.array(i, np.int16) for i in ids]
            self._answers += [tuple(map(answer_tokens, one.answers)) for one in asked]
            right += [one.right for one in asked]
        self._right = np.array(right)
        self._length = np.array([len(prompt) for prompt in prompts])
        self._start = np.cumsum(self._length) - self._length
        self._ids = np.concatenate(prompts)

    def _symmetries(self, symmetries: Sequence[Symmetry], tokenizer: Any) -> None:
        vocabulary = tokenizer.get_vocab()
        n = max(1, len(symmetries))
        self._words = np.tile(np.arange(len(vocabulary), dtype=np.int64), (n, 1))
        self._cells = np.tile(np.arange(256, dtype=np.uint8), (n, 1))
        self._mirrored = np.zeros(n, bool)
        for i, symmetry in enumerate(symmetries):
            self._cells[i, : len(symmetry.codes)] = symmetry.codes
            self._mirrored[i] = symmetry.mirrored
            for word, other in symmetry.words.items():
                if word in vocabulary and other in vocabulary:
                    self._words[i, vocabulary[word]] = vocabulary[other]

    def batches(
        self, size: int, shares: Sequence[float], rng: np.random.Generator
    ) -> Iterator[Batch]:
        """One pass over the demonstrations, one question of each, similar lengths together.

        Args:
            size: examples per batch; the last examples are left out if they do not fill one.
            shares: odds of each task of :data:`TASKS`, among those that can be asked.
            rng: draws order, tasks, answers and symmetries.
        """
        order = rng.permutation(self.n)
        odds = np.asarray(shares)[self._tasks]
        tasks = rng.choice(len(self._tasks), self.n, p=odds / odds.sum())
        lengths = self._length[order * len(self._tasks) + tasks]
        for start in range(0, self.n, size * _AT_A_TIME):
            chunk = np.arange(start, min(start + size * _AT_A_TIME, self.n))
            chunk = chunk[np.lexsort((lengths[chunk], tasks[chunk] == len(self._tasks) - 1))]
            whole = chunk[: len(chunk) // size * size].reshape(-1, size)
            for some in whole[rng.permutation(len(whole))]:
                yield self._batch(order[some], tasks[some], rng)

    def _batch(self, which: NDArray, tasks: NDArray, rng: np.random.Generator) -> Batch:
        # Choose the answers of each example, and build their tries.
        b = len(which)
        example = which * len(self._tasks) + tasks
        symmetry = rng.integers(len(self._words), size=b)
        some = [self._some_answers(i, rng) for i in example]
        trees = pack_trees([token_tree(answers) for answers, _ in some])
        # Prompts, padded behind to the longest.
        length = self._length[example]
        longest = int(length.max())
        prompt = np.full((b, longest), self.pad, np.int64)
        for row, start, n in zip(prompt, self._start[example], length, strict=True):
            row[:n] = self._ids[start : start + n]
        place = np.arange(longest)
        there = place < length[:, None]
        # A prompt's token sees those before it; a trie's the prompt, its ancestors and itself.
        n = trees.ids.shape[1]
        sees = np.zeros((b, 1, longest + n, longest + n), bool)
        sees[:, 0, :longest, :longest] = (place[:, None] >= place) & there[:, None, :]
        sees[:, 0, longest:, :longest] = there[:, None, :]
        sees[:, 0, longest:, longest:] = trees.sees
        # Exchange words by the symmetry of each example; a trie's positions follow its prompt.
        row, source, token = trees.edges
        edges = np.stack([row, source, self._words[symmetry[row], token]])
        ids = self._words[symmetry[:, None], np.hstack([prompt, trees.ids])]
        positions = np.hstack(
            [np.broadcast_to(place, (b, longest)), length[:, None] - 1 + trees.behind]
        )
        pixels, codes = self._pictures(which, symmetry)
        mask = torch.zeros(sees.shape)
        return Batch(
            ids=torch.from_numpy(ids),
            positions=torch.from_numpy(positions),
            mask=mask.masked_fill_(torch.from_numpy(~sees), torch.finfo(mask.dtype).min),
            pixels=normalized(pixels),
            codes=None if codes is None else torch.from_numpy(codes.astype(np.int64)),
            last=torch.from_numpy(length - 1),
            edges=torch.from_numpy(edges),
            steps=torch.from_numpy(trees.steps),
            counts=torch.tensor(trees.counts),
            right=torch.tensor([right for _, right in some]),
            task=torch.from_numpy(self._tasks[tasks]),
            value=torch.from_numpy(self._value[which]),
        )

    def _pictures(
        self, which: NDArray, symmetry: NDArray
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Pictures, and the codes of the maps that they show; ``None`` where they are not maps."""
        if self._maps is None:
            return self._shown[which], None
        codes = self._cells[symmetry[:, None, None], self._shown[which]]
        flip = self._mirrored[symmetry]
        codes[flip] = codes[flip, :, ::-1]
        return self._maps.paint(codes), codes

    def _some_answers(
        self, example: int, rng: np.random.Generator
    ) -> tuple[tuple[tuple[int, ...], ...], int]:
        """The expert's answer and a few others, and the index of the expert's."""
        answers, right = self._answers[example], int(self._right[example])
        if len(answers) <= _WRONG + 1:
            return answers, right
        others = rng.choice(len(answers) - 1, _WRONG, replace=False)
        others += others >= right
        return (answers[right], *(answers[i] for i in sorted(others))), 0


def normalized(pictures: NDArray[np.uint8]) -> Tensor:
    """What SigLIP's image processor makes of pictures of its own size.

    Args:
        pictures: ``(B, H, W, 3)`` uint8.

    Returns:
        ``(B, 3, H, W)`` float32 in [-1, 1].
    """
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
