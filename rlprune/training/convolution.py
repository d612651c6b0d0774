"""The convolution of small pixel games: what MinAtar's own network has before its hidden layer (Young and Tian, 2019)."""

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn


class Convolution(BaseFeaturesExtractor):
    """Images [batch, channels, height, width] to ``filters`` flattened maps, by one 3x3 convolution.

    Stable-Baselines3 saves it with the agent, and ``load`` imports it from here.
    """

    def __init__(self, observation_space: spaces.Box, filters: int = 16) -> None:
        channels, *sides = observation_space.shape
        super().__init__(observation_space, filters * (sides[0] - 2) * (sides[1] - 2))
        self.convolution = nn.Conv2d(channels, filters, 3)
        self.flatten = nn.Flatten()

    def forward(self, observations: Tensor) -> Tensor:
        flat: Tensor = self.flatten(torch.relu(self.convolution(observations)))
        return flat
