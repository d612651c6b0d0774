"""How fast pruners learn: the mean of the learning curve, and how long until the pruned network is nearly as good as dense."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np

from rlprune import stats
from rlprune.report.curves import Comparison, position, track
from rlprune.stats import Estimate, FloatArray, iqm
from rlprune.store import Row, column

NEARLY = 0.9
"""Share of what the dense network ends at that counts as nearly as good."""


@dataclass(frozen=True)
class Efficiency:
    """What the learning curves of a pruner at one sparsity say.

    Args:
        mean: the curve's mean over training: the area under it over its length.
        samples: trained on, before pruning too, until the network that is pruned all the way is nearly as good as dense for
            the first time: the median over seeds, of which one that never is counts as infinity.
        reached: how many seeds ever are.
        seeds: of how many.
        length: what training took, in samples of the dense network's training.
    """

    mean: Estimate
    samples: Estimate
    reached: int
    seeds: int
    length: float


def measurable(one: Comparison) -> bool:
    """Return whether a share of dense means something, and the learning curve is the same kind of number: a loss may not be."""
    alike = (one.curve.sign, one.curve.unit) == (one.metric.sign, one.metric.unit)
    return one.against.origin is not None and alike and any(len(_learned(one, row)) for row in one.cells(one.against.dense, 0.0))


def efficiency(one: Comparison) -> tuple[float, Mapping[str, Mapping[float, Efficiency]]]:
    """Return the value that is nearly as good as dense, and pruner to sparsity to how fast it learns.

    Raises:
        ValueError: it is not measurable.
    """
    origin, dense = one.against.origin, one.against.dense
    if origin is None or not measurable(one):
        raise ValueError("no learning curve can be set against the dense network's")
    learned = {
        (pruner, sparsity): found
        for pruner in one.pruners
        for sparsity in (one.sparsities if one.cut(pruner) != "nothing" else [0.0])
        if (found := [epochs for row in one.cells(pruner, sparsity) if len(epochs := _learned(one, row))])
    }
    level = origin + NEARLY * (float(iqm([epochs[-1, 1] for epochs in learned[dense, 0.0]])) - origin)
    usual = float(np.mean([epochs[-1, 0] for epochs in learned[dense, 0.0]]))
    made: dict[str, dict[float, Efficiency]] = {pruner: {} for pruner, _ in learned}
    for seeds in {len(found) for found in learned.values()}:
        alike = {cell: found for cell, found in learned.items() if len(found) == seeds}
        for (pruner, sparsity), end in zip(alike, _efficiencies(list(alike.values()), level, one.curve.sign, usual), strict=True):
            made[pruner][sparsity] = end
    return level, made


def _learned(one: Comparison, row: Row) -> FloatArray:
    """Return samples, value, and whether the network is pruned all the way, of every epoch that has a value."""
    found = track(row, position(one), one.curve)
    if not len(found):
        return found
    removed = np.array(column(row.epochs, "sparsity") or [0.0] * len(found))
    whole = ~(removed < 0.999 * removed[-1])
    return np.column_stack([found / (1.0, one.curve.scale), whole])[np.isfinite(found).all(axis=1)]


def _efficiencies(learned: Sequence[Sequence[FloatArray]], level: float, sign: int, usual: float) -> list[Efficiency]:
    """Return how fast each of some cells learns, of which all have as many seeds."""
    seeds = len(learned[0])
    means = np.array([[_mean(epochs) for epochs in found] for found in learned])
    iqms, ends = iqm(means, axis=1), stats.iqm_interval([means.T])
    samples = np.array([[_until(epochs, level, sign) for epochs in found] for found in learned])
    medians, times = stats.bootstrap([samples], lambda strata: np.median(strata[0], axis=-1), "nearest")
    made = []
    for place, found in enumerate(learned):
        mean, until = (
            Estimate(
                float(values[place]), None if held is None else (float(held[0, place]), float(held[1, place])), nan, None, seeds
            )
            for values, held in ((iqms, ends), (medians, times))
        )
        length = float(np.mean([epochs[-1, 0] for epochs in found])) / usual
        made.append(Efficiency(mean, until, int(np.isfinite(samples[place]).sum()), seeds, length))
    return made


def _mean(epochs: FloatArray) -> float:
    """Return the mean of a learning curve whose values stand for the samples since the one before."""
    return float(np.diff(epochs[:, 0], prepend=0.0) @ epochs[:, 1] / epochs[-1, 0])


def _until(epochs: FloatArray, level: float, sign: int) -> float:
    """Return after how many samples a network that is pruned all the way is at a level for the first time."""
    there = epochs[(epochs[:, 2] > 0) & (sign * epochs[:, 1] >= sign * level), 0]
    return float(there[0]) if there.size else inf
