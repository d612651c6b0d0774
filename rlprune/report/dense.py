"""Pruners against the dense network: what they keep of its metric, how far they keep nearly all, and how much on average.

A share is ``(x − origin) / (dense − origin)`` of interquartile means; every bootstrap sample has the same seeds of both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rlprune.costs.measures import Measure
from rlprune.stats import Estimate, FloatArray, Interval, drawn_together, estimate, percentiles

CHANCE = 0.05
"""Share of the way from chance to the dense anchor, or of what chance reaches, within which nothing was learned."""
WITHIN = 0.03
"""Share of dense that may be lost where a sparsity still counts for ultimate compression (Tan et al., 2023, "RLx2")."""


@dataclass(frozen=True)
class Kept:
    """What a pruner keeps of the dense network's metric at its sparsities, ascending.

    Args:
        ends: share of interquartile means, its 95 % interval (None for one seed), and share of means, one a sparsity.
        drawn: shares of bootstrap samples, shape (resamples, sparsities), NaN where dense is no better than the origin.
        near: sparsity to how many seeds keep all but ``WITHIN`` of dense's, which an interquartile mean hides, and of how many.
    """

    sparsities: tuple[float, ...]
    ends: tuple[Estimate, ...]
    drawn: FloatArray
    near: Mapping[float, tuple[int, int]]

    @property
    def shares(self) -> FloatArray:
        """Return the shares of interquartile means."""
        return np.array([end.iqm for end in self.ends])

    @property
    def ultimate(self) -> tuple[float, Interval | None]:
        """Return the sparsity up to which all, from the smallest on, keep all but ``WITHIN``, and its interval; 0 for none."""
        levels = np.array([0.0, *self.sparsities])
        end, drawn = (
            levels[np.logical_and.accumulate(shares >= 1 - WITHIN, axis=-1).sum(axis=-1)] for shares in (self.shares, self.drawn)
        )
        return float(end), self._interval(np.where(np.isnan(self.drawn).any(axis=1), np.nan, drawn), "nearest")

    @property
    def area(self) -> Estimate:
        """Return the mean height of the curve of shares over the logarithm of the density, as figures draw it."""
        gaps = -np.diff(np.log(1 - np.array(self.sparsities)))
        weights = (np.append(gaps, 0.0) + np.insert(gaps, 0, 0.0)) / (2 * gaps.sum()) if gaps.size else np.ones(1)
        shares, means = self.shares @ weights, np.array([end.mean for end in self.ends]) @ weights
        seeds = min(end.seeds for end in self.ends)
        return Estimate(float(shares), self._interval(self.drawn @ weights), float(means), None, seeds)

    def at(self, sparsity: float) -> Estimate | None:
        """Return what is kept at a sparsity; a network that nothing is removed from keeps the same at all."""
        if self.sparsities == (0.0,):
            return self.ends[0]
        return dict(zip(self.sparsities, self.ends, strict=True)).get(sparsity)

    def _interval(self, drawn: FloatArray, method: Literal["linear", "nearest"] = "linear") -> Interval | None:
        return None if any(end.seeds < 2 for end in self.ends) else percentiles(drawn, method)


@dataclass(frozen=True)
class Against:
    """The pruners of a task against its dense network.

    Args:
        dense: the network's name; empty where there is none, or no telling which.
        scale: what a share is, in words; where there is none, why.
        unit: what a share is of.
        pruners: pruner to what it keeps; empty where a share means nothing.
        origin: the metric where a share is zero; None where a share means nothing.
    """

    dense: str
    scale: str
    unit: str = "of dense"
    pruners: Mapping[str, Kept] = field(default_factory=dict)
    origin: float | None = None


def learned_nothing(end: float, metric: Measure, anchors: Mapping[str, float]) -> bool:
    """Return whether a network is no better than chance: within 5 % of the way to the dense anchor, or of what chance reaches."""
    chance = anchors.get("random")
    if chance is None:
        return False
    return metric.sign * (end - chance) <= CHANCE * abs(anchors["dense"] - chance if "dense" in anchors else chance)


def against(
    curves: Mapping[str, Mapping[float, Mapping[int, float]]],
    levels: Sequence[str],
    metric: Measure,
    anchors: Mapping[str, float],
) -> Against:
    """Return what pruners keep of the dense network's metric.

    Args:
        curves: pruner to sparsity to seed to value.
        levels: the pruners that remove nothing, sparsity 0.
        metric: what the values are.
        anchors: ``random``, what a random policy or constant predictor reaches, is the origin where a plain ratio means
            nothing; within a little of it towards ``dense`` nothing was learned.
    """
    random = anchors.get("random")
    found = [name for name in levels if len(levels) == 1 or name.casefold() == "dense"]
    if not found or not curves.get(found[0]):
        return Against(
            "", "no dense network to compare with" if not levels else f"no telling which is dense: {', '.join(levels)}"
        )
    dense, base = found[0], curves[found[0]][0.0]
    values = [value for curve in curves.values() for seeds in curve.values() for value in seeds.values()]
    if metric.sign > 0 and min([*values, random or 0.0]) >= 0:
        origin, scale, unit = 0.0, f"{metric.title} over the dense network's", Against.unit
    elif random is not None:
        origin, unit = random, "from chance to dense"
        scale = f"(x − chance) / (dense − chance), chance {random:g}".replace("-", "−")
    else:
        why = "lower is better" if metric.sign < 0 else "there are values below zero"
        return Against(dense, f"{why}, and the task does not say what chance reaches")
    end = estimate([list(base.values())]).iqm
    if metric.sign * (end - origin) <= 0 or learned_nothing(end, metric, anchors):
        return Against(dense, "the dense network is no better than chance")
    kept = {pruner: _kept(curve, base, origin, metric.sign) for pruner, curve in curves.items() if curve}
    return Against(dense, scale, unit, kept, origin)


def _kept(curve: Mapping[float, Mapping[int, float]], dense: Mapping[int, float], origin: float, sign: int) -> Kept:
    sparsities = tuple(sorted(curve))
    groups = [dense, *(curve[sparsity] for sparsity in sparsities)]
    seeds = sorted(set[int]().union(*groups))
    values = np.array([[group.get(seed, np.nan) for group in groups] for seed in seeds])
    drawn = _shares(drawn_together(values), origin, sign)
    held = [estimate([list(group.values())]) for group in groups]
    ends = []
    level = (1 - WITHIN) * sign * (held[0].iqm - origin)
    near = {at: (sum(sign * (value - origin) >= level for value in curve[at].values()), len(curve[at])) for at in sparsities}
    for place, end in enumerate(held[1:]):
        counted = min(end.seeds, held[0].seeds)
        interval = percentiles(drawn[:, place]) if counted > 1 else None
        share, mean = (end.iqm - origin) / (held[0].iqm - origin), (end.mean - origin) / ((held[0].mean - origin) or np.nan)
        ends.append(Estimate(share, interval, mean, None, counted))
    return Kept(sparsities, tuple(ends), drawn, near)


def _shares(drawn: FloatArray, origin: float, sign: int) -> FloatArray:
    """Return columns over the first, all less the origin."""
    above = sign * (drawn - origin)
    base = np.where(above[:, :1] > 0, above[:, :1], np.nan)
    return np.asarray(above[:, 1:] / base, dtype=float)
