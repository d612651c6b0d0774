"""Observations brought to mean 0 and deviation 1, by numbers that are part of the network and go wherever it goes."""

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor

_MOST = 10.0
"""As far as Stable-Baselines3's VecNormalize lets an observation be from its mean, in deviations."""


class Normaliser(FlattenExtractor):
    """Flat observations less the mean of those that were ``seen``, by their deviation; before the first, as they are.

    Stable-Baselines3 saves it with the agent, and ``load`` imports it from here.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, observation_space: spaces.Space) -> None:  # type: ignore[type-arg]
        super().__init__(observation_space)
        self.register_buffer("mean", torch.zeros(self.features_dim, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(self.features_dim, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(0.0, dtype=torch.float64))

    def forward(self, observations: Tensor) -> Tensor:
        flat = super().forward(observations)
        deviation = (self.variance + 1e-8).sqrt().to(flat.dtype)
        return ((flat - self.mean.to(flat.dtype)) / deviation).clamp(-_MOST, _MOST)

    @torch.no_grad()
    def see(self, observations: Tensor) -> None:
        """Count observations [samples, ...] in (Chan et al., 1979)."""
        new = observations.flatten(1).double()
        total = self.count + len(new)
        gap, share = new.mean(0) - self.mean, len(new) / total
        within = self.variance * (1 - share) + new.var(0, correction=0) * share
        self.variance.copy_(within + gap.square() * share * (1 - share))
        self.mean.add_(gap * share)
        self.count.copy_(total)
