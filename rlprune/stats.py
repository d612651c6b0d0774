"""What a handful of seeds says: interquartile means, bootstrap intervals, who beats whom and whether that is sure.

Source: Agarwal et al., 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice". A *stratum* is
the values of one task, one a seed: resampling draws seeds within each task, never tasks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from math import ceil, log2
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Interval: TypeAlias = tuple[float, float]

CONFIDENCE = 0.95
RESAMPLES = 2000
LEVEL = 0.05
"""How often all comparisons with one reference together may call something sure that is luck."""

PATTERNS = 20_000
"""Patterns of signs that are drawn where there are too many to count."""

_COUNTABLE = 30
"""Differences up to which all patterns of signs are counted, in milliseconds."""

_FEW = 50
"""Seeds up to which samples are drawn as they are."""

_AT_ONCE = 2**22
"""Numbers that bootstrap samples hold at once."""

_NORMAL_QUANTILE = 1.959964  # of (1 + CONFIDENCE) / 2


@dataclass(frozen=True)
class Estimate:
    """What the seeds of one pruner say.

    Args:
        iqm: interquartile mean.
        interval: its 95 % interval; None where one seed leaves nothing to resample.
        mean: mean.
        std: standard deviation, ``n − 1`` in the denominator; None for one seed.
        seeds: how many; the smallest number where there are several tasks.
    """

    iqm: float
    interval: Interval | None
    mean: float
    std: float | None
    seeds: int

    def times(self, by: float) -> "Estimate":
        """Return it in a unit so many times smaller."""
        interval = self.interval and (by * self.interval[0], by * self.interval[1])
        return Estimate(by * self.iqm, interval, by * self.mean, None if self.std is None else by * self.std, self.seeds)


def iqm(values: ArrayLike, axis: int = 0) -> FloatArray:
    """Return the interquartile mean: the mean of what is left without the lowest and the highest ``⌊n/4⌋`` values."""
    found = np.asarray(values, dtype=float)
    if not found.size:
        return np.asarray(np.nan)
    cut, count = found.shape[axis] // 4, found.shape[axis]  # as scipy's trim_mean, which takes a second to import
    middle = np.partition(found, (cut, count - cut - 1), axis).take(range(cut, count - cut), axis)
    return np.asarray(middle.mean(axis=axis), dtype=float)


def estimate(strata: Sequence[ArrayLike]) -> Estimate:
    """Return interquartile mean, its stratified bootstrap interval, mean and standard deviation over all strata.

    Raises:
        ValueError: there is no value at all.
    """
    return _estimate(tuple(tuple(np.asarray(stratum, dtype=float).tolist()) for stratum in strata))


@lru_cache(maxsize=4096)  # what a terminal shows, the page beside it shows again
def _estimate(strata: tuple[tuple[float, ...], ...]) -> Estimate:
    pooled = np.array([*chain(*strata)])
    if pooled.size == 0:
        raise ValueError("there is no value to estimate from")
    interval = iqm_interval(strata)
    return Estimate(
        iqm=float(iqm(pooled)),
        interval=None if interval is None else (float(interval[0]), float(interval[1])),
        mean=float(pooled.mean()),
        std=float(pooled.std(ddof=1)) if pooled.size > 1 else None,
        seeds=min(map(len, strata)),
    )


def iqm_interval(strata: Sequence[ArrayLike], resamples: int = RESAMPLES, seed: int = 0) -> FloatArray | None:
    """Return the 95 % percentile interval of the interquartile mean, or None where a stratum has one value.

    With few seeds it is too narrow: of normal values it holds the true mean 74 % of the time with 3 seeds of one task (it lies
    between the lowest and the highest of them, which do so 75 % of the time), 90 with 5, 93 with 10, 94 with 20.

    Args:
        strata: one array a task, of shape (seeds, ...); further dimensions are estimated side by side.

    Returns:
        Array of shape (2, ...): lower and upper end.
    """
    values = [np.asarray(stratum, dtype=float) for stratum in strata]
    if min(map(len, values)) < 2:
        return None
    tail = 100 * (1 - CONFIDENCE) / 2
    if values[0].ndim <= 2 and sum(map(len, values)) > _FEW:
        together = np.concatenate(values)
        means = _iqm_of_drawn(together.reshape(len(together), -1), _times_drawn(tuple(map(len, values)), resamples, seed))
        means = means.reshape(-1, *together.shape[1:])
    else:
        generator = np.random.default_rng(seed)
        drawn = [generator.integers(len(each), size=(resamples, len(each))) for each in values]
        samples = [each[places] for each, places in zip(values, drawn, strict=True)]
        means = iqm(np.concatenate(samples, axis=1), axis=1)
    return np.asarray(np.percentile(means, [tail, 100 - tail], axis=0), dtype=float)


@lru_cache(4)  # pruners have as many seeds
def _times_drawn(sizes: tuple[int, ...], resamples: int, seed: int) -> NDArray[np.signedinteger]:
    """Return how often each value of strata of these sizes is in each bootstrap sample, shape (values, samples)."""
    generator, kind = np.random.default_rng(seed), np.int16 if sum(sizes) < 2**15 else np.int32
    found = []
    for size in sizes:
        places = generator.integers(size, size=(resamples, size))
        places += size * np.arange(resamples)[:, None]
        found.append(np.bincount(places.ravel(), minlength=resamples * size).reshape(resamples, size).astype(kind).T)
    return np.ascontiguousarray(np.concatenate(found))


def _iqm_of_drawn(values: FloatArray, counts: NDArray[np.signedinteger]) -> FloatArray:
    """Return interquartile means of samples, shape (samples, columns), of which is only said how often each row is in them.

    Values of a column are sorted once and samples never, so that thousands of seeds take little time and memory.

    Args:
        values: shape (n, columns), NaN where there is none. A sample without any value of a column is NaN there.
        counts: shape (n, samples), n in each sample.
    """
    means = np.full((counts.shape[1], values.shape[1]), np.nan)
    for column, order in enumerate(np.argsort(values, axis=0).T):
        known = order[np.isfinite(values[order, column])]
        if known.size:
            inside = _upto(counts[known])
            n = inside[-1].copy()
            np.maximum(inside, n // 4, out=inside)
            np.minimum(inside, n - n // 4, out=inside)  # of the places up to each value, those in the middle
            inside[1:] -= inside[:-1].copy()
            inside[0] -= n // 4
            np.divide(values[known, column] @ inside.astype(float), n - 2 * (n // 4), out=means[:, column], where=n > 0)
    return means


def _upto(counts: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
    """Make running sums of counts over their first axis, in their place, several times faster than ``cumsum``."""
    for before, here in pairwise(counts):
        here += before
    return counts


def bootstrap(
    strata: Sequence[ArrayLike],
    of: Callable[[Sequence[FloatArray]], FloatArray],
    method: Literal["linear", "nearest"] = "linear",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[FloatArray, FloatArray | None]:
    """Return what a function makes of the strata, and the lower and upper end of its 95 % stratified bootstrap interval.

    Args:
        strata: one array a task, of shape (..., seeds); what stands in further dimensions is estimated side by side.
        of: takes such arrays and leaves the last dimension out, as ``median`` and ``optimality_gap`` do.
        method: ``nearest`` where values may be infinite.

    Returns:
        The values; an array of shape (2, ...), or None where a stratum has one seed.
    """
    values = [np.asarray(stratum, dtype=float) for stratum in strata]
    if min(each.shape[-1] for each in values) < 2:
        return of(values), None
    generator, tail = np.random.default_rng(seed), (1 - CONFIDENCE) / 2
    places = [generator.integers(each.shape[-1], size=(resamples, each.shape[-1])) for each in values]
    step = max(1, _AT_ONCE // sum(each.size for each in values))
    made = [
        of([each[..., some[start : start + step]] for each, some in zip(values, places, strict=True)])
        for start in range(0, resamples, step)
    ]
    return of(values), np.asarray(
        np.quantile(np.concatenate(made, axis=-1), [tail, 1 - tail], axis=-1, method=method), dtype=float
    )


def medians(values: ArrayLike) -> tuple[FloatArray, FloatArray | None]:
    """Return medians over seeds, and the lower and upper end of their 95 % bootstrap intervals.

    As ``bootstrap`` has it, from values that are sorted once and samples never.

    Args:
        values: shape (seeds, columns); they may be infinite.

    Returns:
        The medians, shape (columns,); an array of shape (2, columns), or None for one seed.
    """
    values = np.asarray(values, dtype=float)
    found = np.median(values, axis=0)
    if len(values) < 2:
        return found, None
    n, counts = len(values), _times_drawn((len(values),), RESAMPLES, 0)
    drawn = np.empty((counts.shape[1], values.shape[1]))
    for column, order in enumerate(np.argsort(values, axis=0).T):
        upto = _upto(counts[order])
        low, high = (values[order[(upto <= place).sum(axis=0)], column] for place in ((n - 1) // 2, n // 2))
        drawn[:, column] = (low + high) / 2
    tail = (1 - CONFIDENCE) / 2
    return found, np.asarray(np.quantile(drawn, [tail, 1 - tail], axis=0, method="nearest"), dtype=float)


def median(tasks: Sequence[FloatArray]) -> FloatArray:
    """Return the median over tasks of the means over seeds."""
    return np.asarray(np.median([task.mean(axis=-1) for task in tasks], axis=0), dtype=float)


def optimality_gap(tasks: Sequence[FloatArray]) -> FloatArray:
    """Return how much is short of 1 in the mean: ``mean of max(0, 1 − x)``. What is above 1 makes up for nothing; low is good."""
    return np.asarray(np.mean([np.maximum(0.0, 1 - task).mean(axis=-1) for task in tasks], axis=0), dtype=float)


def drawn_together(values: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> FloatArray:
    """Return interquartile means of bootstrap samples of seeds, shape (resamples, groups).

    A seed is drawn for all groups at once: what it does to all of them alike leaves no trace in their ratios.

    Args:
        values: one row a seed, one column a group, NaN where a group lacks the seed. A sample that has none of a group's
            seeds is NaN there.
    """
    values = np.asarray(values, dtype=float)
    if len(values) > _FEW:
        return _iqm_of_drawn(values, _times_drawn((len(values),), resamples, seed))
    generator = np.random.default_rng(seed)
    ordered = np.sort(values[generator.integers(len(values), size=(resamples, len(values)))], axis=1)  # NaN last
    known = np.isfinite(ordered).sum(axis=1, keepdims=True)
    place = np.arange(len(values))[:, None]
    middle = (place >= known // 4) & (place < known - known // 4)
    counted = middle.sum(axis=1)
    total = np.where(middle, ordered, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, counted, out=np.full(total.shape, np.nan), where=counted > 0), dtype=float)


def percentiles(drawn: FloatArray, method: Literal["linear", "nearest"] = "linear") -> Interval | None:
    """Return the 95 % percentile interval of bootstrap samples; None where more of them than a tail holds are NaN."""
    tail = (1 - CONFIDENCE) / 2
    if np.isnan(drawn).mean() > tail:
        return None
    low, high = np.nanquantile(drawn, [tail, 1 - tail], method=method)
    return float(low), float(high)


@dataclass(frozen=True)
class Improvement:
    """How often one pruner beats another: P(X > Y), its 95 % interval (None for one pair), and the number of pairs."""

    probability: float
    interval: Interval | None
    pairs: int


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> Improvement:
    """Return P(X > Y) = mean of ``1[x_i > y_i] + ½ 1[x_i = y_i]`` over values paired by seed.

    The interval is Wilson's: a bootstrap would claim certainty (zero width) when all of a few seeds agree. Agarwal et
    al. compare every x with every y; here seed i means the same initial network and the same episodes for both.

    Raises:
        ValueError: x and y differ in length, or are empty.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape != y.shape or x.size == 0:
        raise ValueError(f"values must come in pairs, got {x.size} and {y.size}")
    n = x.size
    p = float(np.mean((x > y) + 0.5 * (x == y)))
    if n == 1:
        return Improvement(p, None, 1)
    z2 = _NORMAL_QUANTILE**2
    center = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _NORMAL_QUANTILE * float(np.sqrt(p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Improvement(p, (max(0.0, center - half), min(1.0, center + half)), n)


def sign_flip(differences: ArrayLike) -> float:
    """Return the two-sided p-value of paired differences whose signs could as well be others: the permutation test of their mean.

    The share of all ``2^n`` patterns of signs under which the mean is as far from zero as it is, or farther; beyond 30
    differences, of 20,000 patterns that a fixed seed draws and the one that is there (Phipson and Smyth, 2010).

    Raises:
        ValueError: there is no difference.
    """
    return sign_flips([differences])[0]


def sign_flips(differences: Sequence[ArrayLike]) -> list[float]:
    """Return what ``sign_flip`` says of each; of some that are long and of one length in a fraction of the time.

    Raises:
        ValueError: one has no difference.
    """
    found = [np.asarray(each, dtype=float) for each in differences]
    if not all(each.size for each in found):
        raise ValueError("the test takes at least 1 difference, got 0")
    return list(_sign_flips(tuple(each.tobytes() for each in found)))


@lru_cache(256)  # tables ask for the same pairs again
def _sign_flips(differences: tuple[bytes, ...]) -> tuple[float, ...]:
    found = [np.frombuffer(each) for each in differences]
    p = {place: _counted(each) for place, each in enumerate(found) if np.count_nonzero(each) <= _COUNTABLE}
    for size in {each.size for place, each in enumerate(found) if place not in p}:
        alike = [place for place, each in enumerate(found) if place not in p and each.size == size]
        p |= dict(zip(alike, _drawn(np.array([found[place] for place in alike])), strict=True))
    return tuple(p[place] for place in range(len(found)))


def _counted(found: FloatArray) -> float:
    sizes = np.abs(found[found != 0])  # a tie is one whatever its sign
    reach = abs(found.sum()) - 1e-9 * sizes.sum()
    if reach <= 0:
        return 1.0
    some, others = _sums(sizes[::2]), np.sort(_sums(sizes[1::2]))
    beyond = others.size - np.searchsorted(others, reach - some)  # as many again are as far below zero
    return float(2 * beyond.sum() / 2.0**sizes.size)


def _drawn(found: FloatArray) -> list[float]:
    """Return the p-value of each row of differences."""
    sizes, beyond = np.abs(found).T, np.ones(len(found))
    totals = sizes.sum(axis=0)
    reach = np.abs(found.sum(axis=1)) - 1e-9 * totals
    for block in np.split(_patterns(len(sizes)), PATTERNS // 1000):  # no more than this is numbers of eight bytes at a time
        beyond += np.sum(np.abs(2 * (block.astype(float) @ sizes) - totals) >= reach, axis=0)
    return [float(p) for p in np.where(reach <= 0, 1.0, beyond / (1 + PATTERNS))]


@lru_cache(2)  # pairs have as many seeds
def _patterns(count: int) -> NDArray[np.int8]:
    """Return random patterns of signs, shape (patterns, count): 1 where a difference keeps its sign, and else 0."""
    return np.random.default_rng(0).integers(2, size=(PATTERNS, count), dtype=np.int8)


def _sums(sizes: FloatArray) -> FloatArray:
    """Return the sums of all patterns of signs."""
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    return sums


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number: what may be called significant is so in all tests together (Holm, 1979)."""
    corrected, worst = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        worst = max(worst, min(1.0, values[place] * (len(values) - rank)))
        corrected[place] = worst
    return corrected


def seeds_needed(comparisons: int) -> int:
    """Return how many differences, all of one sign, ``sign_flip`` and ``holm`` need to call the first of so many sure."""
    return 1 + ceil(log2(comparisons / LEVEL))


def performance_profile(strata: Sequence[ArrayLike], thresholds: ArrayLike) -> FloatArray:
    """Return ``F(τ) = mean over tasks of (share of seeds with a value > τ)`` for every threshold τ."""
    thresholds = np.asarray(thresholds, dtype=float)
    shares = [np.mean(np.asarray(stratum, dtype=float)[:, None] > thresholds, axis=0) for stratum in strata]
    return np.asarray(np.mean(shares, axis=0), dtype=float)
