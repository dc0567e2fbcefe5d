"""Training of the vision encoder: what each patch of a map shows, in codes and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_WORD_WEIGHT = 3.0
_PRESENT = 5.0  # weight of a word that applies, relative to one that does not


class MapReader(nn.Module):
    """Two losses on image tokens, for every patch of every picture; used in training only.

    The expert's answers contain too little about a picture: after 350,000 examples of them alone,
    an encoder knew where things are but neither their colors nor which door is open, and the
    decoder chose between doors at random.

    - *Cells*: a linear layer predicts the code of each cell of the patch, so that nothing is lost.
    - *Words*: the token gets a high scaled cosine with the decoder's own embeddings of the words
      for the patch (*yellow*, *door*, *locked*). Attention that copies a word from the mission can
      then copy it from the picture too, and a fifth of the examples suffice to distinguish doors.

    Args:
        size: width of an image token, after the projection to the decoder's width.
        cells: side of the map.
        patches: side of the grid of image tokens, a divisor of ``cells``.
        frequencies: ``(n_codes,)``, how often each code occurs. A label has the inverse of the root
            as its weight, since most cells of a map are empty.
        names: the words for each code, possibly none.
        vocabulary: token id per word; words without one are left out.
    """

    def __init__(
        self,
        size: int,
        cells: int,
        patches: int,
        frequencies: NDArray,
        names: Sequence[Sequence[str]],
        vocabulary: Mapping[str, int],
    ):
        super().__init__()
        n = len(frequencies)
        self.patches, self.side = patches, cells // patches
        self.linear = nn.Linear(size, self.side**2 * n)
        self.scale = nn.Parameter(torch.tensor(8.0))
        self.offset = nn.Parameter(torch.tensor(-3.0))
        weights = torch.as_tensor(frequencies, dtype=torch.float32).clamp(min=1e-5) ** -0.5
        words = sorted({word for name in names[:n] for word in name if word in vocabulary})
        named = torch.tensor([[word in name for word in words] for name in names[:n]])
        self.weights: Tensor
        self.tokens: Tensor
        self.named: Tensor
        self.register_buffer("weights", weights / weights.mean(), persistent=False)
        ids = torch.tensor([vocabulary[word] for word in words])
        self.register_buffer("tokens", ids, persistent=False)
        self.register_buffer("named", named, persistent=False)

    def loss(self, seen: Tensor, codes: Tensor, embeddings: Tensor) -> Tensor:
        """Cross-entropy of the cells' codes plus binary cross-entropy of the patches' words.

        Args:
            seen: image tokens, ``(B, patches ** 2, size)`` float32.
            codes: ``(B, cells, cells)`` int64.
            embeddings: the decoder's, ``(n_tokens, size)``.
        """
        b, p, s = len(codes), self.patches, self.side
        cells = codes.reshape(b, p, s, p, s).transpose(2, 3).reshape(b, p * p, s * s)
        logits = self.linear(seen).reshape(cells.numel(), -1)
        of_cells = functional.cross_entropy(logits, cells.reshape(-1), weight=self.weights)
        there = self.named[cells].any(dim=2).float()
        words = functional.normalize(embeddings[self.tokens], dim=-1)
        cosine = functional.normalize(seen, dim=-1) @ words.T
        of_words = functional.binary_cross_entropy_with_logits(
            self.scale * cosine + self.offset, there, pos_weight=there.new_tensor(_PRESENT)
        )
        return of_cells + _WORD_WEIGHT * of_words


def tokens_a_side(network: Any) -> int:
    """Side of the square of image tokens that a model computes for a picture."""
    vision = network.config.vision_config
    return int(vision.image_size // vision.patch_size)
