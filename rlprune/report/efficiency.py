"""How fast pruners learn: the mean of the learning curve, and how long until the pruned network is nearly as good as dense."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np
from numpy.typing import NDArray

from rlprune import stats
from rlprune.report.curves import Comparison, position, stacked
from rlprune.rows import Row
from rlprune.stats import Estimate, FloatArray, iqm

NEARLY = 0.9
"""Share of what the dense network ends at that counts as nearly as good."""

_WHOLE = 1.001
"""Times what is left at the end that may be left of a network that is pruned all the way."""


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
    return one.against.origin is not None and alike and len(_learned(one, one.cells(one.against.dense, 0.0)).values) > 0


def efficiency(one: Comparison) -> tuple[float, Mapping[str, Mapping[float, Efficiency]]]:
    """Return the value that is nearly as good as dense, and pruner to sparsity to how fast it learns.

    Raises:
        ValueError: it is not measurable.
    """
    origin, dense = one.against.origin, one.against.dense
    if origin is None or not measurable(one):
        raise ValueError("no learning curve can be set against the dense network's")
    seen = {
        (pruner, sparsity): found
        for pruner in one.pruners
        for sparsity in (one.sparsities if one.cut(pruner) != "nothing" else [0.0])
        if len((found := _learned(one, one.cells(pruner, sparsity))).values)
    }
    floor, sign = one.floor(one.curve.name), one.curve.sign
    if floor is not None:  # at the end all may be good
        floor = sign * min(sign * floor, *(float((sign * found.values[found.known]).min()) for found in seen.values()))
    learned = {cell: found.beside(len(_unseen(one, *cell)), floor) for cell, found in seen.items()}
    level = origin + NEARLY * (float(iqm(learned[dense, 0.0].last(learned[dense, 0.0].values))) - origin)
    usual = float(np.mean(learned[dense, 0.0].length))
    made: dict[str, dict[float, Efficiency]] = {pruner: {} for pruner, _ in learned}
    for seeds in {len(found.values) for found in learned.values()}:
        alike = {cell: found for cell, found in learned.items() if len(found.values) == seeds}
        for (pruner, sparsity), end in zip(alike, _efficiencies(list(alike.values()), level, one.curve.sign, usual), strict=True):
            made[pruner][sparsity] = end
    return level, made


@dataclass(frozen=True)
class _Learned:
    """Learning curves of a pruner at one sparsity, each array of shape (seeds, epochs).

    Args:
        samples: trained on at an epoch's end.
        values: what was measured.
        whole: whether the network is pruned all the way.
        known: where there is a value at all; every seed has one somewhere.
    """

    samples: FloatArray
    values: FloatArray
    whole: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def last(self, of: FloatArray) -> FloatArray:
        """Return what stands at the last value of every seed."""
        places = self.known.shape[1] - 1 - self.known[:, ::-1].argmax(axis=1)
        return np.asarray(of[np.arange(len(of)), places], dtype=float)

    def beside(self, lost: int, floor: float | None) -> "_Learned":
        """Return them with as many seeds more that diverged: as bad throughout as anything is, and never pruned all the way."""
        if not lost or floor is None:
            return self
        samples, known = np.nanmean(self.samples, axis=0, keepdims=True), self.known.any(axis=0, keepdims=True)
        values, never = np.full_like(samples, floor), np.zeros_like(known)
        added = (np.repeat(one, lost, axis=0) for one in (samples, values, never, known))
        return _Learned(*(np.concatenate(pair) for pair in zip(vars(self).values(), added, strict=True)))

    @property
    def length(self) -> FloatArray:
        """Return the samples that every seed trained on."""
        return self.last(self.samples)

    def means(self) -> FloatArray:
        """Return the means of the curves, whose values stand for the samples since the one before."""
        places = np.where(self.known, np.arange(self.known.shape[1]), -1)
        before = np.maximum.accumulate(places, axis=1)[:, :-1]  # where the last value before each epoch stands
        trained = self.samples.copy()
        trained[:, 1:] -= np.where(before < 0, 0.0, np.take_along_axis(self.samples, before, axis=1))
        return np.asarray(np.where(self.known, trained * self.values, 0.0).sum(axis=1) / self.length, dtype=float)

    def until(self, level: float, sign: int) -> FloatArray:
        """Return after how many samples networks that are pruned all the way are at a level for the first time."""
        there = self.known & self.whole & (sign * self.values >= sign * level)
        first = there.argmax(axis=1)
        seeds = np.arange(len(first))
        return np.where(there[seeds, first], self.samples[seeds, first], inf)


def _unseen(one: Comparison, pruner: str, sparsity: float) -> set[int]:
    """Return the seeds that diverged and have no learning curve: of one that has, it says enough."""
    gone = {*one.diverged(pruner, sparsity)}
    return gone - {row.seed for row in one.cells(pruner, sparsity) if row.seed in gone and len(_learned(one, [row]).values)}


def _learned(one: Comparison, rows: Sequence[Row]) -> _Learned:
    samples, values, removed = stacked(rows, position(one), one.curve.name, "sparsity")
    known = np.isfinite(samples) & np.isfinite(values)
    last = [min(len(row.epochs), removed.shape[1]) - 1 for row in rows]
    ends = removed[np.arange(len(rows)), last] if removed.size else np.empty(len(rows))
    whole = ~((1 - removed) > _WHOLE * (1 - ends[:, None]))
    some = known.any(axis=1)
    return _Learned(samples[some], values[some], whole[some], known[some])


def _efficiencies(learned: Sequence[_Learned], level: float, sign: int, usual: float) -> list[Efficiency]:
    """Return how fast each of some cells learns, of which all have as many seeds."""
    seeds = len(learned[0].values)
    means = np.array([found.means() for found in learned])
    iqms, ends = iqm(means, axis=1), stats.iqm_interval([means.T])
    samples = np.array([found.until(level, sign) for found in learned])
    medians, times = stats.medians(samples.T)
    made = []
    for place, found in enumerate(learned):
        mean, until = (
            Estimate(
                float(values[place]), None if held is None else (float(held[0, place]), float(held[1, place])), nan, None, seeds
            )
            for values, held in ((iqms, ends), (medians, times))
        )
        length = float(np.mean(found.length)) / usual
        made.append(Efficiency(mean, until, int(np.isfinite(samples[place]).sum()), seeds, length))
    return made
