"""A closed set of answers as a trie of tokens, so that shared prefixes are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TokenTree:
    """Answers as a trie.

    An *edge* is a token after a prefix; edge ``e`` leads from ``source[e]`` (0 is the prompt,
    ``k`` is the fed token ``k - 1``) to ``token[e]``. A token is *fed* to the model if some answer
    continues after it.

    Attributes:
        source, token: ``(n_edges,)`` int64.
        fed: ``(n_fed,)`` int64 tokens; ``behind`` their depth, 1 for the first after the prompt;
            ``sees`` ``(n_fed, n_fed)`` bool, each token's ancestors and itself.
        steps: ``(2, sum of answer lengths)`` int64, pairs of answer and edge.
        n_answers: number of answers.
        depth: length of the longest.
    """

    source: NDArray[np.int64]
    token: NDArray[np.int64]
    fed: NDArray[np.int64]
    behind: NDArray[np.int64]
    sees: NDArray[np.bool_]
    steps: NDArray[np.int64]
    n_answers: int
    depth: int


@lru_cache(maxsize=4096)
def token_tree(answers: tuple[tuple[int, ...], ...]) -> TokenTree:
    """The trie of ``answers``, cached because the same sets of candidates recur."""
    # Number the edges in the order of their first use, and list each answer's edges.
    edge_after: dict[tuple[int, int], int] = {}  # (edge before or -1, token) to edge
    steps: list[tuple[int, int]] = []
    for number, answer in enumerate(answers):
        edge = -1
        for token in answer:
            edge = edge_after.setdefault((edge, token), len(edge_after))
            steps.append((number, edge))
    before = [edge for edge, _ in edge_after]
    token_of = [token for _, token in edge_after]
    # Feed the tokens that are followed by another; a token sees its ancestors and itself.
    fed_edges = sorted(set(before) - {-1})
    slot = {edge: i for i, edge in enumerate(fed_edges)}
    sees = np.eye(len(fed_edges), dtype=np.bool_)
    behind = np.ones(len(fed_edges), np.int64)
    for edge, i in slot.items():
        if before[edge] >= 0:  # the ancestor comes earlier in the order, so its row is complete
            sees[i] |= sees[slot[before[edge]]]
            behind[i] += behind[slot[before[edge]]]
    return TokenTree(
        source=np.array([slot[edge] + 1 if edge >= 0 else 0 for edge in before], np.int64),
        token=np.array(token_of, np.int64),
        fed=np.array([token_of[edge] for edge in fed_edges], np.int64),
        behind=behind,
        sees=sees,
        steps=np.array(steps, np.int64).T,
        n_answers=len(answers),
        depth=max(map(len, answers)),
    )


class PackedTrees(NamedTuple):
    """Several tries, one row each, padded with tokens that see only themselves.

    Attributes:
        ids, behind: ``(B, N)`` int64 fed tokens and their depths.
        sees: ``(B, N, N)`` bool.
        edges: ``(3, n_edges)`` int64: row, source and token of every edge of every trie.
        steps: ``(2, n)`` int64 pairs of answer and edge, both numbered across all tries.
        counts: number of answers of each trie.
    """

    ids: NDArray[np.int64]
    behind: NDArray[np.int64]
    sees: NDArray[np.bool_]
    edges: NDArray[np.int64]
    steps: NDArray[np.int64]
    counts: list[int]


def pack_trees(trees: Sequence[TokenTree]) -> PackedTrees:
    """Put tries side by side for one forward pass."""
    b, n = len(trees), max(1, *(len(tree.fed) for tree in trees))
    ids, behind = np.zeros((2, b, n), np.int64)
    sees = np.broadcast_to(np.eye(n, dtype=np.bool_), (b, n, n)).copy()
    edges, steps = [], []
    n_edges = n_answers = 0
    for i, tree in enumerate(trees):
        k = len(tree.fed)
        ids[i, :k], behind[i, :k], sees[i, :k, :k] = tree.fed, tree.behind, tree.sees
        edges.append(np.stack([np.full_like(tree.source, i), tree.source, tree.token]))
        steps.append(tree.steps + np.array([[n_answers], [n_edges]]))
        n_edges, n_answers = n_edges + len(tree.source), n_answers + tree.n_answers
    counts = [tree.n_answers for tree in trees]
    return PackedTrees(ids, behind, sees, np.hstack(edges), np.hstack(steps), counts)
