"""Learning to see: which cells each patch of the map shows."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


class MapReader(nn.Module):
    """Reads the cells of its patch off every image token, as a loss for the vision encoder.

    The expert's answers alone say too little about what is in a picture: an encoder trained on
    them for 350,000 examples showed where things are, but neither colours nor which door is open.
    Here every picture gives as many labels as it has cells. Dropped after training.

    Args:
        size: width of an image token, after the projection to the decoder's width.
        cells: side of the map.
        patches: side of the grid of image tokens, a divisor of ``cells``.
        frequencies: ``(n_codes,)``, how often each code occurs. A label weighs the inverse of its
            root, since most of a map is bare.
    """

    def __init__(self, size: int, cells: int, patches: int, frequencies: NDArray):
        super().__init__()
        self.patches, self.side = patches, cells // patches
        self.linear = nn.Linear(size, self.side**2 * len(frequencies))
        weights = torch.as_tensor(frequencies, dtype=torch.float32).clamp(min=1e-5) ** -0.5
        self.weights: Tensor
        self.register_buffer("weights", weights / weights.mean(), persistent=False)

    def loss(self, tokens: Tensor, codes: Tensor) -> Tensor:
        """Weighted cross-entropy of the cells' codes.

        Args:
            tokens: ``(B, patches ** 2, size)`` float32.
            codes: ``(B, cells, cells)`` int64.
        """
        b, p, s = len(codes), self.patches, self.side
        wanted = codes.reshape(b, p, s, p, s).transpose(2, 3).reshape(-1)
        logits = self.linear(tokens).reshape(len(wanted), -1)
        return functional.cross_entropy(logits, wanted, weight=self.weights)


def tokens_a_side(network: Any) -> int:
    """Side of the square of image tokens that a model makes of a picture."""
    vision = network.config.vision_config
    return int(vision.image_size // vision.patch_size)
