"""What becomes of an agent's networks as it learns: units that fall silent, directions that are left, weights that grow."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

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


class Part(NamedTuple):
    """Hidden layers with their activations, the layers that read the last, and what the first is given, [samples, features]."""

    body: nn.Sequential
    heads: Sequence[nn.Module]
    inputs: Tensor


def measures(policy: "ActorCriticPolicy", features: Tensor) -> dict[str, float]:
    """Return ``dormant``, ``rank`` and ``norm`` of actor and critic of an MLP policy; without observations, nothing.

    Args:
        features: observations as the networks are given them, [samples, features].
    """
    networks = policies.networks(policy).items() if len(features) else ()
    return measured({name: [Part(body, [head], features)] for name, (body, head) in networks})


@torch.no_grad()
def measured(networks: Mapping[str, Sequence[Part]]) -> dict[str, float]:
    """Return ``dormant``, ``rank`` and ``norm`` of each; of one in several parts all units, the mean rank, and one norm."""
    values = {}
    for name, parts in networks.items():
        hidden = [_activations(part.body, part.inputs) for part in parts]
        parameters = [own for part in parts for layer in (part.body, *part.heads) for own in layer.parameters()]
        norms = [torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in parameters]
        values[f"dormant_{name}"] = dormant([layer for layers in hidden for layer in layers])
        values[f"rank_{name}"] = sum(effective_rank(layers[-1]) for layers in hidden) / len(hidden)
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
