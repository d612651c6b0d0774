"""What becomes of an agent's networks as it learns: units that fall silent, directions that are left, weights that grow."""

import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rlprune.training import policies

if TYPE_CHECKING:
    from stable_baselines3.common.policies import ActorCriticPolicy

SAMPLES = 1000
"""The latest observations of training that networks are looked at with."""


def latest(rollout: int) -> deque[Tensor]:
    """Return what keeps as many of the latest rollouts, of so many observations each, as hold ``SAMPLES``."""
    return deque(maxlen=-(-SAMPLES // rollout))


@torch.no_grad()
def measures(policy: "ActorCriticPolicy", features: Tensor) -> dict[str, float]:
    """Return ``dormant``, ``rank`` and ``norm`` of actor and critic of an MLP policy; without observations, nothing.

    Args:
        features: observations as the networks are given them, [samples, features].
    """
    values = {}
    for name, (body, head) in policies.networks(policy).items() if len(features) else ():
        hidden = _activations(body, features)
        parameters = [*body.parameters(), *head.parameters()]
        norms = [torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in parameters]
        values[f"dormant_{name}"] = dormant(hidden)
        values[f"rank_{name}"] = effective_rank(hidden[-1])
        values[f"norm_{name}"] = float(torch.linalg.vector_norm(torch.stack(norms)))
    return values


def _activations(body: nn.Sequential, features: Tensor) -> list[Tensor]:
    """Return what each hidden layer puts out, [samples, units]."""
    hidden = []
    for layer in body:
        features = layer(features)
        if not isinstance(layer, nn.Linear):
            hidden.append(features)
    return hidden


def dormant(layers: Sequence[Tensor], threshold: float = 0.025) -> float:
    """Return the share of units whose mean ``|a|`` is at most ``threshold`` times the mean over their layer (Sokar et al., 2023).

    Args:
        layers: activations [samples, units] of each.
    """
    sizes = [layer.abs().mean(0) for layer in layers]
    return sum(int((size <= threshold * size.mean()).sum()) for size in sizes) / sum(len(size) for size in sizes)


def effective_rank(activations: Tensor, share: float = 0.99) -> float:
    """Return how many of the largest singular values make this share of the sum of all (Kumar et al., 2021).

    NaN for activations that are no finite numbers. Singular values below 1e-8 of the largest, which make no share, drown
    in rounding: they are taken from the product of the matrix with itself, several times as fast.
    """
    matrix = activations.double()
    product = (matrix.mT @ matrix).cpu()
    if not bool(product.isfinite().all()):
        return math.nan
    values = torch.linalg.eigvalsh(product).clamp(min=0).sqrt().flip(0)
    return float((values.cumsum(0) - values < share * values.sum()).sum())
