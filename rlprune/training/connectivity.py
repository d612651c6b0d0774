"""Linear mode connectivity: how much worse than two networks those on the straight line between them are.

Source: Frankle et al., 2020, section 2.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rlprune.costs.measures import Measure

POINTS = 11
"""Networks that are measured on a line, its ends among them."""


class Measured(Protocol):
    """A network and what measures it: of a ``Trainer`` the part that is needed here."""

    @property
    def module(self) -> nn.Module: ...
    def evaluate(self) -> Mapping[str, float]: ...
    def normalise_anew(self) -> None: ...


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the weights and statistics of a network."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def between(first: Mapping[str, Tensor], second: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Return ``(1 − α) first + α second``; of what counts, the second's."""
    return {
        name: torch.lerp(first[name].to(end.device), end, alpha) if end.is_floating_point() else end
        for name, end in second.items()
    }


def barrier(values: Sequence[float], metric: Measure) -> float:
    """Return ``max_α E(α) − (E(0) + E(1)) / 2``, E being what is lacking of the metric as a share of its range.

    Args:
        values: the metric on the line, from end to end.
        metric: what it is; its range must be known.

    Raises:
        ValueError: it is not.
    """
    if metric.span is None:
        raise ValueError(f"nobody says how far {metric.title} goes: give its Measure a span")
    errors = -metric.sign * np.array(values) / metric.span
    return float(errors.max() - (errors[0] + errors[-1]) / 2)


def measured(trainer: Measured, first: Mapping[str, Tensor], metric: Measure) -> dict[str, float]:
    """Measure the line from some weights to those of a trainer's network, which are its own again afterwards.

    Statistics of normalisation layers are taken anew at every point, the ends included: those between do not belong to
    the weights between.
    """
    second, values = weights(trainer.module), []
    try:
        for alpha in np.linspace(0, 1, POINTS):
            trainer.module.load_state_dict(between(first, second, float(alpha)))
            trainer.normalise_anew()
            values.append(trainer.evaluate()[metric.name])
    finally:
        trainer.module.load_state_dict(second)
    return {"barrier": barrier(values, metric), "line_ends": (values[0] + values[-1]) / 2}
