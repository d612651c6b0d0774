"""What a reader must know before believing a number, and what came out, in words: for the page and for the terminal."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import combinations

import numpy as np

from rlprune.costs.measures import CATALOGUE, Measure
from rlprune.report import curves, tables, triggers, widths
from rlprune.report.comparable import mixed, settings, unlike
from rlprune.report.curves import Comparison, Curve, count_of, leaders, percent, shown, span_of
from rlprune.report.dense import WITHIN, Against, learned_nothing
from rlprune.report.sound import DAMAGED, sound
from rlprune.report.sure import limits, with_dense, with_random
from rlprune.rows import Row, counts
from rlprune.stats import Estimate, Interval

PUBLISHABLE_SEEDS = 10
REACHED = 0.95  # share of the way from a random policy to the anchor that a dense network must go
NAMED = 4  # most pruners that are named for one thing
UNEVEN = 1.25  # ratio of times that networks of equal MACs should not have
MISSED = 1.1
"""Ratio of the share of weights that is left to the one asked for, beyond which a cell has missed its sparsity."""
TIMES = tuple(cost for cost in CATALOGUE if cost.name in ("batch_seconds", "latency_seconds"))  # of the final network


def opening(rows: Iterable[Row]) -> list[str]:
    """Return what a page opens with: warnings, then one finding a comparison."""
    rows = sound(rows)
    compared = curves.comparisons(rows)
    return [*warnings(rows, compared), *map(finding, compared)]


# -- warnings ----------------------------------------------------------------------------------------------------


def warnings(rows: Sequence[Row], compared: Sequence[Comparison]) -> list[str]:
    """Return what a reader must know before believing a number."""
    found = []
    for one in compared:
        name, dense = one.heading, [curve for curve in one.chart.curves if curve.cut == "nothing"]
        if one.seeds[0] < PUBLISHABLE_SEEDS:
            found.append(f"{name}: fewer than ten seeds ({count_of(one.seeds)}): do not publish.")
        if not dense:
            found.append(f"{name}: no dense network to compare with.")
        found += [f"{name}: {complaint}" for curve in dense if (complaint := _weak(one, curve))]
        found += [f"{name}: {missed}" for sparsity in one.sparsities if (missed := _missed(one, sparsity))]
        found += [f"{name}: {said}" for sparsity in (0.0, *one.sparsities) if (said := lost(one, sparsity))]
        if starving := _counted(one, _starved):
            found.append(f"{name}: layers were left with at most one weight by {starving}.")
        for network in curves.NETWORKS:
            if narrowed := _counted(one, partial(widths.single, one, network)):
                found.append(f"{name}: the {network} was left with a single unit in a hidden layer by {narrowed}.")
        if late := _counted(one, triggers.overtaken):
            found.append(f"{name}: waiting had to end, and pruning began, before the trigger had fired in {late}.")
        found += [f"{name}: {complaint}" for complaint in (_uneven(one), *unlike(one.rows), mixed(one.rows)) if complaint]
    for (title, profile), count in Counter((one.task_title, one.profile) for one in compared).items():
        if count > 1:
            found.append(f"{title}, {profile}: {count} recipes or runs differ; they stand apart, and are not averaged.")
    failed = sum(row.status == "failed" for row in rows)
    found += [f"{failed} {'cell' if failed == 1 else 'cells'} failed: see the end of the page."] if failed else []
    damaged = sum(DAMAGED in row.labels for row in rows)
    rows_are = "row is" if damaged == 1 else "rows are"
    return found + ([f"{damaged} {rows_are} damaged; what is sound is shown: see the end of the page."] if damaged else [])


def _weak(one: Comparison, dense: Curve) -> str:
    """Return why effects of pruning cannot be read from a dense network: it is at chance, or short of its anchor."""
    end = dense.points[0].estimate
    anchor, chance = one.anchors.get("dense"), one.anchors.get("random")
    ends = f"{dense.pruner} ends at {tables.iqm_text(end)}"
    if said := _no_better_than_chance(one, end):
        return f"{ends}, {said}: nothing was learned that pruning could harm."
    start = chance or 0.0
    if chance is None and (one.metric.sign < 0 or min(end.iqm, anchor or 0.0) < 0):  # zero is no beginning
        return ""
    if anchor is None or anchor == start or (end.iqm - start) / (anchor - start) >= REACHED:
        return ""
    short = f"{dense.pruner} ends at {tables.number(end.iqm)}, and its anchor is {tables.number(anchor)}"
    return f"{short}: the recipe or the budget is too weak to read effects of pruning from."


def _no_better_than_chance(one: Comparison, end: Estimate) -> str:
    """Return that a pruner has learned nothing, or an empty string."""
    if not learned_nothing(end.iqm, one.metric, one.anchors):
        return ""
    return f"no better than chance ({tables.number(one.anchors['random'])})"


def _starved(row: Row) -> bool:
    return any(curves.starved(kept, dense) for _, kept, dense in counts(row.layers))


def _counted(one: Comparison, of: Callable[[Row], bool]) -> str:
    """Return which pruners have cells of which something is so, and how many of all their cells."""
    cells = [row for row in one.rows if row.cut != "nothing" and row.layers]
    found, counted = Counter(row.pruner for row in cells if of(row)), Counter(row.pruner for row in cells)
    return ", ".join(f"{pruner} ({found[pruner]} of {counted[pruner]} cells)" for pruner in sorted(found, key=curves.order))


def _missed(one: Comparison, sparsity: float) -> str:
    """Return which pruners left another share of weights than was asked for; where networks have their own, all count."""
    told = []
    for pruner, reached in one.values(sparsity, "sparsity_weights").items():
        whole = any(name in settings(row) for row in one.cells(pruner, sparsity) for name in ("actor", "critic"))
        wrong = [it for it in reached if not (1 - sparsity) / MISSED <= 1 - it <= (1 - sparsity) * MISSED]
        if wrong and not whole and one.cut(pruner) != "nothing":
            told.append(f"{pruner} ({len(wrong)} of {len(reached)} cells: {percent(round(float(np.mean(wrong)), 3))})")
    return f"{percent(sparsity)} of weights were to go, and another share went by {', '.join(told)}." if told else ""


def lost(one: Comparison, sparsity: float) -> str:
    """Return of which pruners seeds diverged at a sparsity, 0 of the dense network, and what these count as."""
    found = {pruner: one.diverged(pruner, sparsity) for pruner in one.pruners if (one.cut(pruner) == "nothing") != bool(sparsity)}
    told = [
        f"{len(seeds)} of {len(one.by_seed(pruner, sparsity, one.metric.name))} seeds of {pruner}"
        for pruner, seeds in found.items()
        if seeds
    ]
    if not told:
        return ""
    floor = one.floor(one.metric.name)
    chance = floor is not None and floor == one.anchors.get("random")
    as_bad = f"{tables.number(floor or 0.0)}, as {'chance does' if chance else 'the worst cell of all'}"
    where = f" with {percent(sparsity)} of weights removed" if sparsity else ""
    return f"training diverged{where} in {', '.join(told)}: they count as {as_bad}; learning curves and costs are the others'."


def _uneven(one: Comparison) -> str:
    """Return which networks of equal size differ most in measured time, if any do by more than noise."""
    worst: tuple[float, str, str, str] = (UNEVEN, "", "", "")
    for sparsity in one.sparsities or [0.0]:
        sizes = {pruner: round(float(np.mean(found))) for pruner, found in one.values(sparsity, "macs").items()}
        for cost in TIMES:
            times = {pruner: float(np.mean(found)) for pruner, found in one.values(sparsity, cost.name).items()}
            for slow in times:
                for fast in times:
                    if sizes.get(slow) == sizes.get(fast) is not None and times[fast] > 0:
                        worst = max(worst, (times[slow] / times[fast], cost.title, slow, fast))
    ratio, title, slow, fast = worst
    return f"{title} of {slow} is {ratio:.2g} times that of {fast} at equal MACs: times were measured unevenly." if title else ""


# -- findings ----------------------------------------------------------------------------------------------------


def finding(one: Comparison) -> str:
    """Return in words which pruner ends best at the highest sparsity, who cannot be told from it, and where dense ends.

    The highest is that at which any has a metric. Where all end alike, or another measure ranks them differently, it says so.
    """
    ended = one.chart.curves
    dense = [f"{curve.pruner}: {tables.iqm_text(curve.points[0].estimate)}." for curve in ended if curve.cut == "nothing"]
    cut = [curve for curve in ended if curve.cut != "nothing"]
    sparsity = max((point.sparsity for curve in cut for point in curve.points), default=0.0)
    ends = {curve.pruner: end for curve in cut if (end := curve.at(sparsity))}
    tried = sorted({*one.sparsities, *(row.sparsity for row in one.lost if row.cut != "nothing")})
    if lacking := [percent(other) for other in tried if other > sparsity and ends]:
        dense.append(f"With {_all(lacking)} of weights removed no cell has a {one.measured}.")
    if not ends:
        return " ".join([f"{one.heading}: no pruner that removes anything has finished.", *dense])
    where = f"{one.heading}: with {percent(sparsity)} of weights removed"
    alike = leaders(ends, one.metric.sign)
    top, counted = ends[alike[0]], [ends[pruner].seeds for pruner in alike]
    seeds = count_of(span_of(counted))
    spread = f"interquartile mean and 95 % interval over {seeds}" if top.interval else seeds
    told = f"{one.measured} {_ends([tables.iqm_text(ends[pruner]) for pruner in alike])}, {spread}."
    chance = [f"{'That is' if len(ends) == 1 else 'All are'} {said}."] if (said := _no_better_than_chance(one, top)) else []
    if len(alike) == len(ends) > 1:
        alike_all = f"{where}, all {len(ends)} pruners end alike: {told} It tells nothing about them."
        return " ".join([alike_all, *chance, *_sure(one, sparsity), *_kept(one), *dense])
    tops = [ends[pruner].interval for pruner in alike]
    rivals = [
        pruner for pruner, end in ends.items() if pruner not in alike and any(_overlap(end.interval, each) for each in tops)
    ]
    overlap = "Its interval overlaps" if len(alike) == 1 else "Their intervals overlap"
    verb = "ends with" if len(ends) == 1 else "ends best:" if len(alike) == 1 else "end best:"
    sentences = [f"{where}, {_all(alike)} {verb} {told}", *chance]
    if len(rivals) + len(alike) == len(ends) > 1:
        it = "it" if len(alike) == 1 else "them"
        sentences.append(f"The intervals of all {len(ends)} pruners overlap with {it}.")
    elif 2 * len(rivals) > len(ends) - len(alike) + 1:
        apart = [pruner for pruner in ends if pruner not in (*alike, *rivals)]
        sentences.append(f"{overlap} with those of all but {', '.join(apart)}.")
    elif rivals:
        sentences.append(f"{overlap} with those of {', '.join(rivals)}.")
    others = [said for other in one.also if other.better and (said := _ranked_otherwise(one, sparsity, ends, other))]
    sentences += _sure(one, sparsity)
    sentences += [f"Other measures rank them differently: {'; '.join(others)}."] if others else []
    return " ".join([*sentences, *_kept(one), *dense])


def _sure(one: Comparison, sparsity: float) -> list[str]:
    """Return which pruners are surely better or worse than Dense and than Random, and what keeps others from being so."""
    sentences = []
    for name, found in ((one.against.dense, with_dense(one, sparsity)), ("Random of their cut", with_random(one, sparsity))):
        sides = {side: [it.pruner for it in found if it.sure == side] for side in ("better", "worse")}
        told = [f"{_are(pruners, len(found))} surely {side}" for side, pruners in sides.items() if pruners]
        lone = [f"{it.pruner} is neither surely better nor worse" for it in found if len(found) == 1]
        told = told or lone or [f"none of {len(found)} pruners is surely better or worse"]
        sentences += [f"Against {name}, {'; '.join([*told, *limits(found)])}."] if found else []
    return sentences


def _are(pruners: Sequence[str], of: int) -> str:
    named = ", ".join(pruners) if len(pruners) <= NAMED else f"{len(pruners)} of {of} pruners"
    return f"{named} {'is' if len(pruners) == 1 else 'are'}"


def _all(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _ends(texts: Sequence[str]) -> str:
    """Return where pruners end that end alike, each interval once; of many the interquartile mean alone."""
    different = list(dict.fromkeys(texts))
    return _all(different) if len(different) <= NAMED else different[0].split(" [")[0]


def _named(pruners: Sequence[str], of: int) -> str:
    """Return names, or how many there are where they are too many to name."""
    return _all(pruners) if len(pruners) <= NAMED else f"{len(pruners)} of {of} pruners"


def _best(pruners: Sequence[str], of: int, one: str, several: str) -> str:
    """Return ``SNAP is best``, or that several are so alike."""
    return f"{_named(pruners, of)} {f'{several} alike' if pruners[1:] else one}"


def _kept(one: Comparison) -> list[str]:
    """Return up to which sparsity pruners are as good as dense, and which keeps most over all, where there are several."""
    sparsities = tuple(one.sparsities)
    kept = {pruner: kept for pruner, kept in one.against.pruners.items() if kept.sparsities == sparsities}
    if len(sparsities) < 2 or not kept:
        return []
    furthest = max(it.ultimate[0] for it in kept.values())
    names = [pruner for pruner, it in kept.items() if it.ultimate[0] == furthest]
    alike = _named(names, len(kept))
    within = f"within {percent(WITHIN)} of {'dense' if one.against.unit == Against.unit else f'the way {one.against.unit}'}"
    reached = f"{alike} stay{'s' if len(names) == 1 else ''} {within} up to {percent(furthest)}"
    areas = {pruner: it.area for pruner, it in kept.items()}
    best = leaders({pruner: area.times(100) for pruner, area in areas.items()}, 1)
    shares = _ends([tables.share_text(areas[pruner]) for pruner in best])
    most = f"over all of them {_best(best, len(areas), 'keeps most', 'keep most')}, {shares} % {one.against.unit}"
    return [
        f"Of sparsities from {percent(sparsities[0])} on, {reached if furthest else f'none leaves any pruner {within}'}; {most}."
    ]


def _ranked_otherwise(one: Comparison, sparsity: float, ends: dict[str, Estimate], other: Measure) -> str:
    """Return how many pairs of pruners another measure ranks the other way round, and which it has best."""
    others = {pruner: end for pruner, end in one.estimates(sparsity, other.name).items() if pruner in ends}
    sign = one.metric.sign * other.sign
    pairs = list(combinations(others, 2))
    swapped = sum(
        sign * (shown(ends[first]) - shown(ends[second])) * (shown(others[first]) - shown(others[second])) < 0
        for first, second in pairs
    )
    if not swapped:
        return ""
    best = leaders(others, other.sign)
    ends_at = _ends([tables.iqm_text(others[pruner]) for pruner in best])
    first = _best(best, len(others), "is best", "are best")
    return f"by {other.heading}, {first} ({ends_at}), and {swapped} of {len(pairs)} pairs change places"


def _overlap(one: Interval | None, other: Interval | None) -> bool:
    return one is not None and other is not None and one[0] <= other[1] and other[0] <= one[1]
