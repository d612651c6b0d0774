"""Which differences between pruners are sure: paired by seed, tested exactly, corrected for how many are tested together.

A reference is what others are compared with: Dense, and Random of the same cut. Comparisons with one reference are a family,
which calls a difference sure that is luck in at most 5 % of all tables.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlprune.report.curves import Comparison, base
from rlprune.stats import LEVEL, FloatArray, Improvement, holm, probability_of_improvement, seeds_needed, sign_flips

RANDOM = ("random", "random-s", "random-u")


@dataclass(frozen=True)
class Difference:
    """A pruner less another over the seeds that both have.

    Args:
        mean: mean of the paired differences, in the metric's unit.
        improvement: how often the pruner is better.
        ties: pairs that end exactly alike.
        p: of the sign-flip test, corrected for all that were tested together.
        sure: whether the pruner is surely better or worse.
    """

    pruner: str
    other: str
    mean: float
    improvement: Improvement
    ties: int
    p: float
    sure: Literal["better", "worse", ""]


def differences(pairs: Iterable[tuple[str, str]], values: Mapping[str, Mapping[int, float]], sign: int) -> list[Difference]:
    """Return pairs of pruners that have seeds in common, corrected as one family.

    Args:
        pairs: a pruner and what it is compared with.
        values: pruner to seed to metric.
        sign: of the metric: 1 where more is better, −1 where less is.
    """
    paired = [
        (pruner, other, _paired(*([values[name][seed] for seed in seeds] for name in (pruner, other))))
        for pruner, other in pairs
        if (seeds := sorted(values[pruner].keys() & values[other].keys()))
    ]
    corrected = holm(sign_flips([mine - theirs for _, _, (mine, theirs) in paired]))
    return [
        _difference(pruner, other, mine, theirs, sign, p)
        for (pruner, other, (mine, theirs)), p in zip(paired, corrected, strict=True)
    ]


def _paired(mine: Sequence[float], theirs: Sequence[float]) -> FloatArray:
    """Return both as rows, alike where they differ by no more than rounding: neither the test nor its side is to see that."""
    one, other = np.array(mine), np.array(theirs)
    return np.array([np.where(np.isclose(one, other, rtol=1e-12, atol=0), other, one), other])


def _difference(pruner: str, other: str, mine: FloatArray, theirs: FloatArray, sign: int, p: float) -> Difference:
    ties, alike = int(np.sum(mine == theirs)), np.isclose(np.sum(mine), np.sum(theirs), rtol=1e-12, atol=0)
    mean = 0.0 if alike else float(np.mean(mine - theirs))  # and no rounding
    side: Literal["better", "worse"] = "better" if sign * mean > 0 else "worse"
    improvement = probability_of_improvement(sign * mine, sign * theirs)
    return Difference(pruner, other, mean, improvement, ties, p, side if p <= LEVEL and mean else "")


def with_dense(one: Comparison, sparsity: float) -> list[Difference]:
    """Return every pruner less the dense network."""
    values, dense = one.seeded(sparsity, one.metric.name), one.against.dense
    return (
        differences(((pruner, dense) for pruner in values if pruner != dense), values, one.metric.sign) if dense in values else []
    )


def with_random(one: Comparison, sparsity: float) -> list[Difference]:
    """Return every pruner less the Random that cuts the same, of the same variant where there are variants."""
    values = one.seeded(sparsity, one.metric.name)
    others: dict[str, list[str]] = {}
    for pruner in values:
        if (other := _random(one, pruner, values)) in values:
            others.setdefault(other, []).append(pruner)
    families = [differences(((pruner, other) for pruner in mine), values, one.metric.sign) for other, mine in others.items()]
    return [difference for family in families for difference in family]


def _random(one: Comparison, pruner: str, there: Container[str]) -> str:
    mine = {_variant(name): name for name in one.cutting(one.cut(pruner)) if base(name).casefold() in RANDOM and name in there}
    return "" if pruner in mine.values() else mine.get(_variant(pruner)) or mine.get("", "")


def _variant(pruner: str) -> str:
    return pruner[len(base(pruner)) :]


def families(found: Iterable[Difference]) -> dict[str, list[Difference]]:
    """Return reference to the comparisons with it."""
    by_other: dict[str, list[Difference]] = {}
    for one in found:
        by_other.setdefault(one.other, []).append(one)
    return by_other


def limits(found: Sequence[Difference]) -> list[str]:
    """Return in clauses what keeps differences from being sure: too few seeds for so many comparisons, ties."""
    ties, pairs, many = sum(it.ties for it in found), sum(_pairs(found)), families(found)
    tied = "are ties, which tell" if ties > 1 else "is a tie, which tells"
    told = [f"{ties} of {pairs} pairs {tied} nothing"] if ties else []
    short = []
    for other, some in many.items():
        if (seeds := max(_pairs(some))) < (needed := seeds_needed(len(some))):
            count = f"{len(some)} comparisons" if some[1:] else "1 comparison"
            count += f" with {other}" * (len(many) > 1) + (" need" if some[1:] else " needs")
            short.append(f"{count} {needed} seeds for one to be sure, and there {'are' if seeds != 1 else 'is'} {seeds}")
    return short + told


def _pairs(found: Iterable[Difference]) -> list[int]:
    return [one.improvement.pairs for one in found]
