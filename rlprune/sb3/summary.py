"""What became of an agent's networks: sizes, sparsity, latency and energy beside those of the dense ones."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from rlprune.costs import cost
from rlprune.costs.energy import Energy, joules
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.probe import evaluating
from rlprune.sb3.agents import Agent, dense
from rlprune.training import networks

_SECONDS = 3.0
_One: TypeAlias = tuple[Any, Mapping[str, Tensor]]


class Summary(dict[str, Any]):
    """``layers``: of every weight its shape, and how many entries it had and has; ``costs``: the dense agent's and its own.

    Printed, it is two tables.
    """

    def __str__(self) -> str:
        layers = [("weights", "dense", "left", "removed", "shape")]
        for name, layer in self["layers"].items():
            counts = f"{layer['dense']:,.0f}", f"{layer['kept']:,.0f}", f"{1 - layer['kept'] / layer['dense']:.1%}"
            layers.append((name, *counts, " x ".join(map(str, layer["shape"]))))
        costs = [("", "dense", "now"), *((name, *map(_shown, pair)) for name, pair in self["costs"].items())]
        return "\n\n".join(filter(None, (_table(layers), _table(costs), self["note"])))


def summary(pruning: PlanFollower, agent: Agent, actions_a_second: float | None = None) -> Summary:
    """Return what is left of an agent, beside a dense one of the sizes that it began with.

    Args:
        actions_a_second: measure energy, three seconds an agent, and give it for an hour of so many.

    Raises:
        ValueError: a number of actions that is not positive and finite.
    """
    number = isinstance(actions_a_second, int | float | np.number) and not isinstance(actions_a_second, bool)
    if actions_a_second is not None and not (number and 0 < actions_a_second < math.inf):
        raise ValueError(f"actions_a_second is a positive, finite number; got {actions_a_second!r}")
    whole = dense(agent.model).to(agent.policy.device)
    with evaluating(whole), evaluating(agent.policy):  # as they act: what is measured is no batch, and nothing of it stays
        return _summary(pruning, agent, whole, actions_a_second)


def _summary(pruning: PlanFollower, agent: Agent, whole: Any, actions_a_second: float | None) -> Summary:
    policy, masks = agent.policy, agent.masked.masks
    layers = {name: {**layer, "shape": tuple(policy.get_parameter(name).shape)} for name, layer in pruning.layers().items()}
    costs: dict[str, tuple[float, float]] = {}
    for network, names in agent.anatomy.weights.items():
        costs[f"weights, {network}"] = _pair(lambda key, names=names: sum(layers[name][key] for name in names), "dense", "kept")  # type: ignore[misc]
    both: tuple[_One, _One] = (whole, {}), (policy, masks)
    costs["parameters"] = _pair(_parameters, *both)
    costs["multiply-accumulates an action"] = _pair(lambda one: cost.macs(networks.acting(one[0]), one[0]), *both)
    if masks:
        costs["the same, zeros left out"] = _pair(lambda one: cost.macs(networks.acting(one[0]), one[0], one[1]), *both)
    acting = [networks.acting(whole), networks.acting(policy)]
    dense_seconds, seconds = cost.settled_together(acting, device=policy.device, limit=1.0, rounds=10)
    costs["microseconds an action"] = 1e6 * dense_seconds, 1e6 * seconds
    note = (
        f"latency on {policy.device}, one observation; zeros that are masked are computed with like any number" if masks else ""
    )
    if actions_a_second is not None:
        methods: list[str] = []
        costs["joules an hour"] = _pair(lambda one: 3600 * actions_a_second * _joules(one[0], methods), *both)
        note = "\n".join(filter(None, (note, f"energy of {actions_a_second:g} actions a second, while it acts: {methods[0]}")))
    return Summary(layers=layers, costs=costs, note=note)


def _pair(measure: Callable[[Any], float], first: Any, second: Any) -> tuple[float, float]:
    return float(measure(first)), float(measure(second))


def _parameters(one: _One) -> float:
    """Return how many parameters learn and are not masked."""
    policy, masks = one
    own = {name: parameter for name, parameter in policy.named_parameters() if name not in networks.copies(policy)}
    return float(sum(int(masks[name].sum()) if name in masks else parameter.numel() for name, parameter in own.items()))


def _joules(policy: Any, methods: list[str]) -> float:
    """Return the energy of one action, of processor and GPU, NaN where it could not be measured."""
    act, count = networks.acting(policy), 0
    with Energy(None, str(policy.device)) as energy:
        began = time.perf_counter()
        while time.perf_counter() - began < _SECONDS:
            act()
            count += 1
    methods.append(energy.method)
    both = joules(energy.values, str(policy.device))
    return math.nan if both is None else both / count


def _shown(value: float) -> str:
    return "not measured" if math.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
