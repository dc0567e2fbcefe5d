"""The network's eye: one feature per tile, conditioned on the subgoal."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

INPUTS = ("image", "mission", "target", "subgoal")  # observation keys read; others are ignored


class SubgoalFeatures(BaseFeaturesExtractor):
    """Features of the hierarchy's dict observation, for any SB3 ``MultiInputPolicy``.

    An 8x8 convolution of stride 8 reads one tile at a time; two 3x3 convolutions see them
    together with the grounded target, scaled and shifted by the subgoal and the mission (FiLM,
    arXiv 1709.07871). Without a planner the target and the subgoal are zero and the mission
    alone conditions.

    Args:
        observation_space: Dict of ``image`` ``(3, 56, 56)``, ``target`` ``(2, 7, 7)``,
            ``subgoal`` ``(k,)`` and ``mission`` ``(80,)`` word ids (:data:`INPUTS`); further keys,
            such as the guidance's reference, are not looked at.
        features_dim: width of the output.
        channels: width of the convolutions.
    """

    def __init__(self, observation_space: spaces.Dict, features_dim: int = 128, channels: int = 32):
        super().__init__(observation_space, features_dim)
        image, target = observation_space["image"], observation_space["target"]
        subgoal, mission = observation_space["subgoal"], observation_space["mission"]
        assert isinstance(mission, spaces.Box) and image.shape and target.shape and subgoal.shape
        colors, height, _ = image.shape
        tile = height // target.shape[1]
        words = int(mission.high.max()) + 1
        self.tiles = nn.Conv2d(colors, channels, tile, stride=tile)
        self.near = nn.Conv2d(channels + target.shape[0], channels, 3, padding=1)
        self.far = nn.Conv2d(channels, channels, 3)
        self.mission = nn.EmbeddingBag(words, channels, mode="mean", padding_idx=0)
        self.condition = nn.Linear(subgoal.shape[0] + channels, 2 * channels)
        cells = (target.shape[1] - 2) * (target.shape[2] - 2)
        self.join = nn.Linear(channels * cells + subgoal.shape[0] + channels, features_dim)

    def forward(self, observations: dict[str, torch.Tensor]) -> torch.Tensor:
        """``(batch, features_dim)`` from SB3's preprocessed observations."""
        aim = torch.cat(
            [observations["subgoal"], self.mission(observations["mission"].long())], dim=1
        )
        scale, shift = self.condition(aim)[:, :, None, None].chunk(2, dim=1)
        x = torch.relu(self.tiles(observations["image"]))
        x = self.near(torch.cat([x, observations["target"]], dim=1))
        x = torch.relu(x * (1 + scale) + shift)
        x = torch.relu(self.far(x)).flatten(1)
        return torch.relu(self.join(torch.cat([x, aim], dim=1)))
