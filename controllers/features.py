"""The network's eye: one feature per cell, conditioned on the subgoal."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

INPUTS = ("cells", "mission", "target", "subgoal")  # observation keys read; others are ignored

# Larger embeddings drown the grounded target at first: at 1.0, UnlockPickup takes twice the steps.
_EMBEDDING_STD = 0.15


class SubgoalFeatures(BaseFeaturesExtractor):
    """Features of the hierarchy's dict observation, for any SB3 ``MultiInputPolicy``.

    A cell is the sum of the embeddings of its attributes; two 3x3 convolutions see the cells
    together with the grounded target, scaled and shifted by the subgoal and the mission (FiLM,
    arXiv 1709.07871). Without a planner the target and the subgoal are zero and the mission
    alone conditions.

    Args:
        observation_space: Dict of ``cells`` ``(h, w, k)``, attributes as whole numbers from 0 to
            the space's ``high``; ``target`` ``(2, h, w)``; ``subgoal`` ``(m,)``; and ``mission``
            ``(80,)`` word ids (:data:`INPUTS`). Further keys, such as the guidance's reference, are
            not looked at.
        features_dim: width of the output.
        channels: width of embeddings and convolutions.
    """

    # Embeddings are looked up as products with counts: gradients of those are faster on a CPU.
    first: torch.Tensor  # row of each attribute's value 0

    def __init__(self, observation_space: spaces.Dict, features_dim: int = 128, channels: int = 16):
        super().__init__(observation_space, features_dim)
        cells, target = observation_space["cells"], observation_space["target"]
        subgoal, mission = observation_space["subgoal"], observation_space["mission"]
        assert isinstance(cells, spaces.Box) and isinstance(mission, spaces.Box)
        assert target.shape and subgoal.shape
        sizes = cells.high.max(axis=(0, 1)).astype(int) + 1
        self.register_buffer("first", torch.tensor([0, *sizes[:-1].cumsum()]), persistent=False)
        self.cells = nn.Embedding(int(sizes.sum()), channels)
        nn.init.normal_(self.cells.weight, std=_EMBEDDING_STD)
        self.near = nn.Conv2d(channels + target.shape[0], channels, 3, padding=1)
        self.far = nn.Conv2d(channels, channels, 3)
        words = int(mission.high.max()) + 1
        self.mission = nn.Embedding(words, channels, padding_idx=0)
        self.condition = nn.Linear(subgoal.shape[0] + channels, 2 * channels)
        inner = (target.shape[1] - 2) * (target.shape[2] - 2)
        self.join = nn.Linear(channels * inner + subgoal.shape[0] + channels, features_dim)

    def look(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """``(batch, channels, h, w)``: the cells, each by itself."""
        values = observations["cells"].long() + self.first
        n, height, width, k = values.shape
        marks = self.cells.weight.new_zeros(n * height * width, len(self.cells.weight))
        marks.scatter_(1, values.reshape(-1, k), 1.0)
        return (marks @ self.cells.weight).view(n, height, width, -1).permute(0, 3, 1, 2)

    def read(self, mission: torch.Tensor) -> torch.Tensor:
        """``(batch, channels)``, the mean over the words' embeddings; 0 fills up and is no word."""
        ids, weight = mission.long(), self.mission.weight
        counts = weight.new_zeros(len(ids), len(weight))
        counts.scatter_add_(1, ids, (ids > 0).to(weight.dtype))
        return counts @ weight / counts.sum(dim=1, keepdim=True).clamp(min=1)

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """``(batch, features_dim)`` from SB3's preprocessed observations."""
        aim = torch.cat([observations["subgoal"], self.read(observations["mission"])], dim=1)
        scale, shift = self.condition(aim)[:, :, None, None].chunk(2, dim=1)
        x = torch.cat([torch.relu(self.look(observations)), observations["target"]], dim=1)
        x = x.contiguous(memory_format=torch.channels_last)  # convolves twice as fast on a CPU
        x = torch.relu(self.near(x) * (1 + scale) + shift)
        x = torch.relu(self.far(x)).flatten(1)
        return torch.relu(self.join(torch.cat([x, aim], dim=1)))
