"""Rows to tables: what pruners earn and cost, who beats whom, what failed; as Markdown, LaTeX (booktabs) and CSV."""

import csv
import io
import json
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, inf, isfinite, log10
from typing import Literal, TypeAlias

import numpy as np

from rlprune import safely, stats
from rlprune.costs.measures import CATALOGUE, COLUMNS, Measure, alone
from rlprune.reason import reason
from rlprune.report import comparable
from rlprune.report.curves import (
    BARRIER,
    STABLE,
    Chart,
    Comparison,
    base,
    by_seed,
    count_of,
    evenly,
    measure,
    normalised,
    order,
    percent,
    rounded,
)
from rlprune.report.dense import WITHIN, Kept
from rlprune.report.efficiency import NEARLY, Efficiency, efficiency
from rlprune.report.sound import DAMAGED
from rlprune.report.sure import Difference, limits, with_dense, with_random
from rlprune.rows import Row
from rlprune.stats import LEVEL, Estimate, Improvement, probability_of_improvement

MISSING = "–"
UNPRICED = " No price: the suite named no price_per_hour when these cells ran."
BLOCKS = {"nothing": "", "channels": "structured (channels)", "weights": "unstructured (weights)"}
SHARE = Measure("of_dense", "share of dense")
PAPER_COSTS = (
    "sparsity_weights",
    "sparsity_nodes",
    "wall_seconds",
    "batch_seconds",
    "memory_peak_bytes",
    "disk_csr_mb",
    "co2_grams",
)
"""Costs that stand beside the metric in the paper's tables; in this order."""

SOONER = Measure("samples", "samples", better="lower")
NEVER = "never"
ALONE = "single values, no intervals"
LONGER = 1.05  # times the dense network's training that are worth a word
NONZERO = ("macs_nonzero", "training_macs_nonzero")
WORK = tuple(one for one in CATALOGUE if one.name in ("macs", "training_macs", *NONZERO))

Fields: TypeAlias = Mapping[str, str | float | int | None]
"""A line of a CSV file: plain numbers in the units of the row's values, None where nothing was measured."""


@dataclass(frozen=True)
class Entry:
    """What people read in one place of a table.

    Args:
        text: the text.
        mark: ``best`` or ``second`` of its block and column, or nothing.
        shade: a probability to colour the background by on the page.
        hint: what the page says on hovering.
        of: the pruner and the sparsity whose cells it comes from.
        task: the task of those cells, in a table over several.
    """

    text: str
    mark: Literal["best", "second", ""] = ""
    shade: float | None = None
    hint: str = ""
    of: tuple[str, float] | None = None
    task: str = ""


@dataclass(frozen=True)
class Table:
    """Blocks of lines under one header; a block has a heading, or an empty one. ``csv`` are the lines of the CSV file."""

    title: str
    note: str
    header: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[tuple[Entry, ...], ...]], ...]
    csv: tuple[Fields, ...]


# -- costs -------------------------------------------------------------------------------------------------------


def cost_table(comparison: Comparison, sparsity: float) -> Table:
    """Return metric and costs of every pruner at one sparsity: dense, then channel pruners, then weight pruners.

    Costs are means over the cells that measured them; their number stands beside where it is not that of the seeds. A cost
    that no cell measured has no column.
    """
    metric = comparison.estimates(sparsity, comparison.metric.name)
    against = comparison.against
    shares = {pruner: kept.at(sparsity) for pruner, kept in against.pruners.items()}
    measured = {cost.name: comparison.values(sparsity, cost.name) for cost in COLUMNS}
    costs = {name: {pruner: float(np.mean(found)) for pruner, found in values.items()} for name, values in measured.items()}
    shown = [cost for cost in COLUMNS if measured[cost.name]]
    blocks, fields = [], []
    for cut, heading in BLOCKS.items():
        pruners = [pruner for pruner in comparison.cutting(cut) if comparison.there(pruner, sparsity)]
        ends = [metric.get(pruner) for pruner in pruners]
        columns = [
            [Entry(pruner, of=(pruner, sparsity)) for pruner in pruners],
            [Entry(str(end.seeds if end else 0)) for end in ends],
            _marked([mean_text(end) for end in ends], [end.mean if end else None for end in ends], comparison.metric, cut),
            _marked([iqm_text(end) for end in ends], [end.iqm if end else None for end in ends], comparison.metric, cut),
        ]
        columns += [_shares([shares.get(pruner) for pruner in pruners], cut)] if shares else []
        for cost in shown:
            means = [costs[cost.name].get(pruner) for pruner in pruners]
            counts = [len(measured[cost.name].get(pruner, ())) for pruner in pruners]
            texts = [
                MISSING if mean is None else number(mean * cost.scale) + (f" (n = {count})" if count != seeds else "")
                for mean, count, seeds in zip(means, counts, [end.seeds if end else 0 for end in ends], strict=True)
            ]
            columns.append(_marked(texts, means, cost, cut))
        if pruners:
            blocks.append((heading, tuple(zip(*columns, strict=True))))
        for pruner, end in zip(pruners, ends, strict=True):
            named: dict[str, float | int | None] = {}
            for name, means_of in costs.items():
                named |= {name: means_of.get(pruner), f"{name}_cells": len(measured[name].get(pruner, ()))}
            held = _interval(SHARE.name, shares.get(pruner))
            fields.append({**_named(comparison, pruner, sparsity), **_numbers(end), **held, **named})
    header = ["pruner", "seeds", f"{comparison.measured}, mean ± std", f"{comparison.measured}, IQM [95 %]"]
    header += [f"{comparison.measured}, % {against.unit} [95 %]"] if shares else []
    absent = "; ".join(cost.title for cost in COLUMNS if cost not in shown)
    several = "mean ± standard deviation, and interquartile mean with its 95 % stratified bootstrap interval"
    note = (
        f"{comparison.metric.heading}, {count_of(comparison.seeds)}: {several if comparison.seeds[1] > 1 else ALONE}. "
        f"{_of_dense(comparison)} Costs are means over the cells that measured them, n of "
        "them where these are not all; training time counts from a cell's start until its final network is evaluated."
        f"{_marks(blocks)} {MISSING}: not measured.{f' No cell measured {absent}.' if absent else ''}"
        f"{UNPRICED if measured['wall_seconds'] and not measured['price_usd'] else ''}"
    )
    title = f"{comparison.title}, {percent(sparsity)} of weights removed"
    return Table(title, note, (*header, *(cost.heading for cost in shown)), tuple(blocks), tuple(fields))


def paper_first(table: Table) -> tuple[Table, ...]:
    """Return a table of costs as two: the columns that the paper's tables have, and all others."""
    headings = {cost.name: cost.heading for cost in COLUMNS}
    printed = [headings[name] for name in PAPER_COSTS if headings[name] in table.header]
    first = [0, *(place for place, title in enumerate(table.header) if title.endswith(", IQM [95 %]"))]
    first += [table.header.index(title) for title in printed]
    others = [0, *(place for place in range(len(table.header)) if place not in first)]
    further = replace(_columns_of(table, others), title=f"{table.title}: what else was measured", note="")
    return _columns_of(table, first), further


def beside(table: Table, most: int) -> list[Table]:
    """Return a wide table as several of at most so many columns beside the first one, which all of them have."""
    places = range(1, len(table.header))
    return [_columns_of(table, [0, *places[begin : begin + most]]) for begin in range(0, max(1, len(places)), most)]


def _columns_of(table: Table, places: Sequence[int]) -> Table:
    blocks = tuple((heading, tuple(tuple(line[place] for place in places) for line in block)) for heading, block in table.blocks)
    return replace(table, header=tuple(table.header[place] for place in places), blocks=blocks)


def _of_dense(comparison: Comparison) -> str:
    """Return what a share of dense is, or why there is none, in a sentence."""
    against = comparison.against
    if not against.pruners:
        return f"No % {against.unit}: {against.scale}."
    ends = iqm_text(comparison.estimates(0.0, comparison.metric.name)[against.dense])
    both = "of interquartile means, both of the same seeds in every bootstrap sample"
    return f"% {against.unit}: {against.scale}, {both}; {against.dense} ends at {ends}."


def dense_table(comparison: Comparison) -> Table:
    """Return what pruners keep of the dense network's metric: at each sparsity, up to which nearly all, and the curve's area."""
    sparsities, against, kept = tuple(comparison.sparsities), comparison.against, comparison.against.pruners
    blocks, fields = [], []
    for cut in ("channels", "weights"):
        pruners = [pruner for pruner in comparison.cutting(cut) if pruner in kept]
        columns = [[Entry(pruner) for pruner in pruners]]
        for sparsity in sparsities:
            shares_there = _shares([kept[pruner].at(sparsity) for pruner in pruners], cut)
            columns.append([replace(entry, of=(pruner, sparsity)) for entry, pruner in zip(shares_there, pruners, strict=True)])
        levels = [kept[pruner].ultimate for pruner in pruners]
        texts = [ultimate_text(kept[pruner], sparsities) for pruner in pruners]
        columns.append(_marked(texts, [level or None for level, _ in levels], SHARE, cut))
        areas = [kept[pruner].area if kept[pruner].sparsities == sparsities else None for pruner in pruners]
        columns.append(_shares(areas, cut))
        near = [[_near(kept[pruner].near.get(sparsity), comparison.seeds[1]) for sparsity in sparsities] for pruner in pruners]
        columns.append([Entry(", ".join(counts)) for counts in near])
        if pruners:
            blocks.append((BLOCKS[cut], tuple(zip(*columns, strict=True))))
        for pruner, (level, interval), area in zip(pruners, levels, areas, strict=True):
            low, high = interval or (None, None)
            ultimate = {"ultimate": level, "ultimate_low": low, "ultimate_high": high}
            named = {name: value for name, value in _named(comparison, pruner, 0.0).items() if name != "sparsity"}
            found = {sparsity: kept[pruner].at(sparsity) for sparsity in sparsities}
            shares = {f"{SHARE.name}_{100 * sparsity:.6g}": end.iqm if end else None for sparsity, end in found.items()}
            counted: dict[str, int | None] = {}
            for sparsity in sparsities:
                name, (near_there, seeds) = f"near_{100 * sparsity:.6g}", kept[pruner].near.get(sparsity, (None, None))
                counted |= {name: near_there, f"{name}_of": seeds}
            fields.append({**named, **shares, **ultimate, **_interval("area", area), **counted})
    nearly = f"seeds that keep {percent(1 - WITHIN)}"
    header = ("pruner", *map(percent, sparsities), "ultimate compression [95 %]", "area under the curve [95 %]", nearly)
    note = (
        f"{_of_dense(comparison)} {count_of(comparison.seeds)}. Ultimate compression: the largest sparsity up to which "
        f"all that ended keep {percent(1 - WITHIN)} {against.unit} or more; what is kept beyond the first that falls "
        "short does not count; ≥: the largest run, <: not even the smallest. Area: mean height of the curve over the axis of its "
        f"figure; {MISSING} where a sparsity is missing. Seeds are counted at each sparsity in turn: an interquartile mean "
        f"hides the lowest quarter.{_marks(blocks)}"
    )
    return Table(f"{comparison.title}: {comparison.measured}, % {against.unit}", note, header, tuple(blocks), tuple(fields))


def _near(found: tuple[int, int] | None, most: int) -> str:
    """Return how many seeds keep nearly all, and of how many where others have more."""
    if found is None:
        return MISSING
    near, seeds = found
    return f"{near}" if seeds == most else f"{near} of {seeds}"


def _shares(ends: Sequence[Estimate | None], cut: str) -> list[Entry]:
    """Return shares in per cent."""
    return _marked([share_text(end) for end in ends], [end.iqm if end else None for end in ends], SHARE, cut)


def macs_table(comparison: Comparison, sparsity: float) -> Table:
    """Return multiply-accumulates of training and of a forward pass over the dense network's, with zeros and without."""
    dense = comparison.against.dense
    means = {
        cost.name: {name: float(np.mean(it)) for name, it in comparison.values(sparsity, cost.name).items()} for cost in WORK
    }
    shown = [cost for cost in WORK if means[cost.name].get(dense)]
    times = {cost.name: {name: it / means[cost.name][dense] for name, it in means[cost.name].items()} for cost in shown}
    blocks, fields = [], []
    for cut, heading in BLOCKS.items():
        pruners = [pruner for pruner in comparison.cutting(cut) if comparison.there(pruner, sparsity)]
        columns = [[Entry(pruner, of=(pruner, sparsity)) for pruner in pruners]]
        for cost in shown:
            found = [times[cost.name].get(pruner) for pruner in pruners]
            columns.append(_marked([MISSING if it is None else f"{number(it)}×" for it in found], found, cost, cut))
        if pruners:
            blocks.append((heading, tuple(zip(*columns, strict=True))))
        fields += [
            {**_named(comparison, name, sparsity), **{cost: it.get(name) for cost, it in times.items()}} for name in pruners
        ]
    title = f"{comparison.title}, {percent(sparsity)} of weights removed: multiply-accumulates, as multiples of dense"
    note = f"Means over the cells that measured them.{_marks(blocks)} {MISSING}: not measured."
    return Table(title, note, ("pruner", *(cost.heading for cost in shown)), tuple(blocks), tuple(fields))


def measures_table(comparison: Comparison, sparsity: float) -> Table:
    """Return interquartile means of everything that the task measures a network by."""
    measures = {one.name: one for one in (comparison.metric, *comparison.also)}
    ends = {name: comparison.estimates(sparsity, name) for name in measures}
    blocks, fields = [], []
    for cut, heading in BLOCKS.items():
        pruners = [pruner for pruner in comparison.cutting(cut) if comparison.there(pruner, sparsity)]
        columns = [[Entry(pruner, of=(pruner, sparsity)) for pruner in pruners]]
        for name, one in measures.items():
            found = [ends[name].get(pruner) for pruner in pruners]
            columns.append(_marked([iqm_text(end) for end in found], [end.iqm if end else None for end in found], one, cut))
        if pruners:
            blocks.append((heading, tuple(zip(*columns, strict=True))))
        for name, by_pruner in ends.items():
            fields += [
                {**_named(comparison, pruner, sparsity), "metric": name, **_numbers(by_pruner.get(pruner))} for pruner in pruners
            ]
    title = f"{comparison.title}, {percent(sparsity)} of weights removed: every measure"
    several = "interquartile means with 95 % stratified bootstrap intervals"
    note = f"{count_of(comparison.seeds).capitalize()}: {several if comparison.seeds[1] > 1 else ALONE}."
    return Table(title, note, ("pruner", *(one.heading for one in measures.values())), tuple(blocks), tuple(fields))


def recipe_table(comparison: Comparison) -> Table:
    """Return what was run: suite, profile, recipe, and what each pruner was set to."""
    ways: dict[bool, set[int]] = {False: set(), True: set()}
    for row in comparison.rows:
        ways[not alone(row.config, row.values)].add(row.seed)
    solo, together = (
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}" if seeds else "" for seeds in ways.values()
    )
    facts: list[tuple[str, object]] = [
        ("suite", comparison.suite_title),
        ("profile", comparison.profile),
        ("task", f"{comparison.task_title} ({comparison.task})"),
        ("runs", ", ".join(comparison.runs)),
        ("trained alone", solo),
        ("trained in fleets", together),
        *comparison.shared.items(),
    ]
    for pruner in comparison.pruners:
        rows = comparable.alike(row for row in comparison.rows if row.pruner == pruner).values()
        variants = [{"of": name} if (name := row.config.get("pruner", pruner)) != pruner else {} for row in rows]
        found = {_plain({**of, **comparable.settings(row)}) for of, row in zip(variants, rows, strict=True)}
        facts.append((pruner, "; ".join(sorted(found))))
    told = [(safely.plain(name), _plain(value)) for name, value in facts if value not in ("", None)]
    lines = tuple((Entry(name), Entry(value)) for name, value in told)
    fields: tuple[Fields, ...] = tuple({"what": name, "value": value} for name, value in told)
    return Table(f"{comparison.title}: recipe and settings", "", ("what", "value"), (("", lines),), fields)


def _plain(value: object) -> str:
    """Return a value as a suite file writes it, a table as ``name = value``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_plain(inner)}" for name, inner in value.items() if inner is not None)
    return safely.shortened(safely.plain(value if isinstance(value, str) else json.dumps(value, default=str)), 200)


def _named(comparison: Comparison, pruner: str, sparsity: float) -> dict[str, str | float]:
    cut = comparison.cut(pruner)
    named = {"suite": comparison.suite, "profile": comparison.profile, "task": comparison.task, "pruner": pruner, "cut": cut}
    return {**named, "sparsity": 0.0 if cut == "nothing" else sparsity, "metric": comparison.metric.name}


def _numbers(end: Estimate | None) -> dict[str, float | int | None]:
    if end is None:
        return {"seeds": 0, "mean": None, "std": None, "iqm": None, "iqm_low": None, "iqm_high": None}
    low, high = end.interval or (None, None)
    return {"seeds": end.seeds, "mean": end.mean, "std": end.std, "iqm": end.iqm, "iqm_low": low, "iqm_high": high}


def _interval(name: str, end: Estimate | None) -> dict[str, float | None]:
    low, high = (end.interval if end else None) or (None, None)
    return {name: end.iqm if end else None, f"{name}_low": low, f"{name}_high": high}


def _marked(texts: Sequence[str], values: Sequence[float | None], of: Measure, cut: str) -> list[Entry]:
    """Mark the best and second best value of a column, ties included, but no value that more than half of the block share."""
    seen = [None if value is None else rounded(value) for value in values]
    ranked = sorted({value for value in seen if value is not None}, reverse=of.better == "higher")
    if of.better is None or cut == "nothing" or len(ranked) < 2:
        return [Entry(text) for text in texts]
    marks: dict[float | None, Literal["best", "second"]] = {ranked[0]: "best", ranked[1]: "second"}
    return [
        Entry(text, marks.get(value, "") if 2 * seen.count(value) <= len(seen) else "")
        for text, value in zip(texts, seen, strict=True)
    ]


def _marks(blocks: Iterable[tuple[str, Iterable[Iterable[Entry]]]]) -> str:
    """Return what bold and underlined mean, in a sentence, where anything is: a block of one pruner has no best."""
    there = {entry.mark for _, lines in blocks for line in lines for entry in line}
    told = {"best": "best of a block in bold", "second": "second best underlined"}
    said = ", ".join(text for mark, text in told.items() if mark in there)
    return f" {said[0].upper()}{said[1:]}." if said else ""


# -- when it is settled where training ends ----------------------------------------------------------------------


def barrier_table(comparison: Comparison) -> Table:
    """Return the barrier between two copies of the dense network that train on from the end of an epoch, for every epoch."""
    ends = {
        epoch: [
            value
            for row in comparison.branched
            if comparable.branch(row) == epoch
            for value in by_seed([row], "line_ends").values()
        ]
        for epoch in comparison.barriers
    }
    lines, fields = [], []
    for epoch, barrier in comparison.barriers.items():
        metric = float(np.mean(ends[epoch])) if ends[epoch] else None
        shown = number(metric) if metric is not None else MISSING
        texts = (str(epoch), str(barrier.seeds), mean_text(barrier), iqm_text(barrier), shown)
        lines.append(tuple(map(Entry, texts)))
        fields.append({"task": comparison.task, "epoch": epoch, **_numbers(barrier), "line_ends": metric})
    stays = "never stays there" if comparison.stable is None else f"stays there from epoch {comparison.stable} on"
    note = (
        "Two copies train on from the end of an epoch with other noise. The barrier is how much more the worst network on the "
        f"line between them errs than the two do in the mean, in percent of the metric's range ({comparison.metric.title}). "
        f"Below {STABLE:g} % it is noise (Frankle et al., 2020): it {stays}."
    )
    header = ("epoch", "seeds", f"{BARRIER.heading}, mean ± std", f"{BARRIER.heading}, IQM [95 %]", "the copies' metric")
    return Table(f"{comparison.title}: linear mode connectivity", note, header, (("", tuple(lines)),), tuple(fields))


# -- how fast pruners learn --------------------------------------------------------------------------------------


def efficiency_table(comparison: Comparison) -> Table:
    """Return how fast pruners learn at each sparsity; without lines where that cannot be said."""
    level, found = efficiency(comparison)
    sparsities, (scale, unit) = comparison.sparsities or [0.0], (comparison.curve.scale, comparison.unit)
    blocks, fields = [], []
    for cut, heading in BLOCKS.items():
        pruners = [pruner for pruner in comparison.cutting(cut) if pruner in found]
        columns = [[Entry(pruner) for pruner in pruners]]
        for sparsity in sparsities:
            ends = [found[pruner].get(0.0 if cut == "nothing" else sparsity) for pruner in pruners]
            means = [end.mean.times(scale) if end else None for end in ends]
            areas = _marked([iqm_text(end) for end in means], [end.iqm if end else None for end in means], comparison.curve, cut)
            times = [end.samples.iqm if end and isfinite(end.samples.iqm) else None for end in ends]
            sooner = _marked([until_text(end) for end in ends], times, SOONER, cut)
            columns += [
                [replace(entry, of=(pruner, sparsity)) for entry, pruner in zip(some, pruners, strict=True)]
                for some in (areas, sooner)
            ]
            fields += [
                {
                    **_named(comparison, pruner, sparsity),
                    "metric": comparison.curve.name,
                    **_interval("mean", end.mean),
                    **_interval("samples", end.samples),
                    "reached": end.reached,
                    "seeds": end.seeds,
                    "length": end.length,
                }
                for pruner, end in zip(pruners, ends, strict=True)
                if end and (cut != "nothing" or sparsity == sparsities[0])
            ]
        if pruners:
            blocks.append((heading, tuple(zip(*columns, strict=True))))
    nearly = f"{percent(NEARLY)} {comparison.against.unit}"
    header = [f"{percent(it)} removed: {what}" for it in sparsities for what in ("mean over training", f"{unit} to {nearly}")]
    lengths = {pruner: max(end.length for end in ends.values()) for pruner, ends in found.items()}
    longer = [f"{pruner} {number(length)} times" for pruner, length in lengths.items() if length > LONGER]
    note = (
        f"Mean over training: the area under the learning curve ({comparison.curve.heading}) over its length, interquartile mean "
        f"over {count_of(comparison.seeds)}. {unit.capitalize()} until the network, pruned all the way, first reaches "
        f"{number(level * scale)}, {nearly} at the end of training; those before it was pruned count. Median over seeds, {NEVER} "
        "where half of them do not; in brackets how many do where not all."
        + " A seed that diverged counts as the worst of all throughout." * bool(comparison.lost)
        + " 95 % bootstrap intervals." * (comparison.seeds[1] > 1)
        + _marks(blocks)
        + (f" As long as dense trained {', '.join(longer)}." if longer else "")
    )
    return Table(f"{comparison.title}: how fast pruners learn", note, ("pruner", *header), tuple(blocks), tuple(fields))


# -- tasks together ----------------------------------------------------------------------------------------------


def tasks_table(over: Sequence[Comparison], together: Chart, sparsity: float) -> Table:
    """Return interquartile mean, median and optimality gap of the normalised metric over tasks at one sparsity.

    Args:
        over: the tasks, whose own interquartile means stand beside it.
        together: their chart.
    """
    blocks, fields = [], []
    everywhere = {curve.pruner for curve in together.curves if curve.at(sparsity)}
    elsewhere = dict.fromkeys(it for one in over for it in one.pruners if it not in everywhere and one.there(it, sparsity))
    for cut, heading in BLOCKS.items():
        ends = {curve.pruner: end for curve in together.curves if curve.cut == cut and (end := curve.at(sparsity))}
        of_tasks = [normalised(over, pruner, sparsity) for pruner in ends]
        strata = [evenly(tasks) for tasks in of_tasks]
        found = {
            "iqm": list(ends.values()),
            "median": [_bootstrapped(tasks, stats.median) for tasks in strata],
            "optimality_gap": [_bootstrapped(tasks, stats.optimality_gap) for tasks in strata],
        }
        columns = [[Entry(pruner) for pruner in ends], [Entry(str(end.seeds)) for end in ends.values()]]
        for place, one in enumerate(over):
            own = [number(float(stats.iqm(list(tasks[place].values())))) for tasks in of_tasks]
            columns.append([Entry(text, of=(pruner, sparsity), task=one.task) for pruner, text in zip(ends, own, strict=True)])
        for name, some in found.items():
            of = Measure(name, name, better="lower" if name == "optimality_gap" else "higher")
            columns.append(_marked([iqm_text(end) for end in some], [end.iqm for end in some], of, cut))
        if ends:
            blocks.append((heading, tuple(zip(*columns, strict=True))))
        for place, (pruner, end) in enumerate(ends.items()):
            numbers = {name: value for key, some in found.items() for name, value in _interval(key, some[place]).items()}
            fields.append({"pruner": pruner, "cut": cut, "sparsity": sparsity, "seeds": end.seeds, **numbers})
    anchors = "; ".join(f"{one.title} {number(one.anchors['random'])} and {number(one.anchors['dense'])}" for one in over)
    note = (
        f"Of (x − random) / (dense − random), with the anchors the tasks state ({anchors}): interquartile mean over the seeds of "
        "each task and over as many seeds of every task, median over tasks of their means, and optimality gap, the mean of what "
        f"is short of 1 (less is better), with 95 % stratified bootstrap intervals: seeds are drawn within tasks.{_marks(blocks)}"
    )
    if elsewhere:
        note += f" Not in all of them, and left out: {', '.join(elsewhere)}."
    header = ("pruner", "seeds a task", *(one.title for one in over), "IQM [95 %]", "median [95 %]", "optimality gap [95 %]")
    return Table(f"All tasks, {percent(sparsity)} of weights removed", note, header, tuple(blocks), tuple(fields))


def _bootstrapped(tasks: Sequence[Sequence[float]], of: Callable[[Sequence[stats.FloatArray]], stats.FloatArray]) -> Estimate:
    value, interval = stats.bootstrap(tasks, of)
    held = None if interval is None else (float(interval[0]), float(interval[1]))
    return Estimate(float(value), held, float(value), None, min(map(len, tasks)))


# -- who beats whom ----------------------------------------------------------------------------------------------


def compared_table(comparison: Comparison, sparsity: float) -> Table:
    """Return every pruner against Dense and against the Random of its cut: by how much, how often, and whether that is sure."""
    references = {comparison.against.dense: with_dense(comparison, sparsity), "Random": with_random(comparison, sparsity)}
    references = {name: found for name, found in references.items() if found}
    by_pruner = [{one.pruner: one for one in found} for found in references.values()]
    blocks = []
    for cut in BLOCKS:  # what removes nothing, and is not dense, is compared, too
        pruners = [pruner for pruner in comparison.cutting(cut) if any(pruner in found for found in by_pruner)]
        lines = [
            (Entry(name, of=(name, sparsity)), *(it for found in by_pruner for it in _difference(found.get(name))))
            for name in pruners
        ]
        blocks += [(BLOCKS[cut], tuple(lines))] if lines else []
    fields: list[Fields] = [
        {
            **_named(comparison, one.pruner, sparsity),
            "other": one.other,
            "difference": one.mean,
            "probability": one.improvement.probability,
            "pairs": one.improvement.pairs,
            "ties": one.ties,
            "p": one.p,
            "sure": one.sure,
        }
        for found in references.values()
        for one in found
    ]
    header = [text for name in references for text in (f"less {name}", f"P(better than {name})", f"p, {name}")]
    told = [f" Against {name}, {'; '.join(limits(found))}." for name, found in references.items() if limits(found)]
    note = (
        f"Mean difference in {comparison.measured} over the seeds that both have; P: the share of these with which the pruner "
        "ends better, ties counting half; p: exact sign-flip test of the differences, two-sided, corrected by Holm for all "
        f"comparisons with that reference. Bold: sure, p ≤ {LEVEL:g}. Random is the one of the same cut and variant, "
        f"or where there is none of that variant, the plain one. "
        f"{count_of(comparison.seeds)}.{''.join(told)}"
    )
    title = f"{comparison.title}, {percent(sparsity)} of weights removed: compared with {' and '.join(references)}"
    return Table(title, note, ("pruner", *header), tuple(blocks), tuple(fields))


def _difference(one: Difference | None) -> tuple[Entry, Entry, Entry]:
    if one is None:
        return Entry(""), Entry(""), Entry("")
    mark: Literal["best", ""] = "best" if one.sure else ""
    hint = f"{one.pruner} less {one.other}, {one.improvement.pairs} pairs"
    ties = f" ({one.ties} tie{'s' if one.ties > 1 else ''})" if one.ties else ""
    p = "< 0.001" if one.p < 0.001 else f"{one.p:.3f}"
    return (
        Entry(f"{'+' if one.mean > 0 else ''}{number(one.mean)}", mark, hint=hint),
        Entry(f"{one.improvement.probability:.2f}{ties}", hint=hint),
        Entry(f"{p}{', ' if one.sure else ''}{one.sure}", mark, hint=hint),
    )


def improvement_table(comparison: Comparison, sparsity: float) -> Table:
    """Return P(row better than column), paired by seed, at one sparsity: what was seen, and no claim."""
    values = comparison.seeded(sparsity, comparison.metric.name)
    lines: list[tuple[Entry, ...]] = []
    fields: list[Fields] = []
    for pruner in values:
        line = [Entry(pruner, of=(pruner, sparsity))]
        for other in values:
            one = None if other == pruner else _improvement(values[pruner], values[other], comparison.metric.sign)
            line.append(_probability(pruner, other, one) if one else Entry("" if other == pruner else MISSING))
            if one:
                low, high = one.interval or (None, None)
                numbers = {"probability": one.probability, "low": low, "high": high, "pairs": one.pairs}
                fields.append({"pruner": pruner, "other": other, **numbers})
        lines.append(tuple(line))
    title = f"{comparison.title}, {percent(sparsity)} of weights removed: probability of improvement"
    note = (
        "Share of seeds with which the pruner of the row ends better than that of the column, ties counting half, "
        f"{count_of(comparison.seeds)}. Some of so many look sure by luck: the comparison with Dense and Random says what is."
    )
    return Table(title, note, ("", *values), (("", tuple(lines)),), tuple(fields))


def _improvement(mine: Mapping[int, float], theirs: Mapping[int, float], sign: int) -> Improvement | None:
    seeds = sorted(mine.keys() & theirs.keys())
    return probability_of_improvement([sign * mine[s] for s in seeds], [sign * theirs[s] for s in seeds]) if seeds else None


def _probability(pruner: str, other: str, one: Improvement) -> Entry:
    low, high = one.interval or (0.0, 1.0)
    hint = f"P({pruner} better than {other}), {one.pairs} pairs: 95 % interval {low:.2f} to {high:.2f}"
    return Entry(f"{one.probability:.2f}", "", one.probability, hint)


# -- what is missing ---------------------------------------------------------------------------------------------


def missing_table(rows: Iterable[Row]) -> Table:
    """Return what failed, was skipped or is damaged and why, alike ones together, and finished cells without a metric."""
    seeds: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.status, row.suite, row.task, order(row.pruner), row.sparsity, row.seed)):
        if why := _missing(row):
            seeds[row.status, row.suite, row.task, row.pruner, percent(row.sparsity), why].append(str(row.seed))
    header = ("status", "suite", "task", "pruner", "sparsity", "reason", "seeds")
    lines = [(*names, ", ".join(found)) for names, found in seeds.items()]
    entries = tuple(tuple(Entry(text) for text in line) for line in lines)
    fields: tuple[Fields, ...] = tuple(dict(zip(header, line, strict=True)) for line in lines)
    return Table("Failed, skipped and damaged cells", "", header, (("", entries),) if entries else (), fields)


def _missing(row: Row) -> str:
    if row.status != "done":
        return (row.labels.get(DAMAGED) if row.status == DAMAGED else "") or reason(row.error)
    if row.labels.get(DAMAGED):
        return f"shown without what is damaged: {row.labels[DAMAGED]}"
    metric = row.judged.metric.name
    return "" if measure(row, metric) is not None else f"{metric} is missing or not a number"


# -- numbers -----------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Return three significant digits, whole numbers from a thousand on, and k, M, G, T from a hundred thousand on."""
    size = abs(value)
    for suffix, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= max(factor, 1e5) * 0.9995:
            return _signed(f"{value / factor:#.3g}".rstrip(".") + suffix)
    return _signed(f"{value:z,.0f}" if size >= 999.5 or size == 0 else f"{value:#.3g}".rstrip("."))


def mean_text(one: Estimate | None) -> str:
    """Return ``487 ± 12``: mean and standard deviation, as far as known."""
    if one is None:
        return MISSING
    decimals = _decimals(max(abs(one.mean), one.std or 0.0))
    return _signed(f"{one.mean:z.{decimals}f}") + ("" if one.std is None else f" ± {one.std:.{decimals}f}")


def iqm_text(one: Estimate | None) -> str:
    """Return ``487 [450, 498]``: interquartile mean and its interval, as far as known."""
    if one is None:
        return MISSING
    decimals = _decimals(_size(one))
    spread = "" if one.interval is None else " [{}, {}]".format(*(_signed(f"{end:z.{decimals}f}") for end in one.interval))
    return _signed(f"{one.iqm:z.{decimals}f}") + spread


def counted_text(one: Estimate | None, most: int) -> str:
    """Return ``487 [450, 498] (6 seeds)``: ``iqm_text``, with the number of its seeds where others have more."""
    return iqm_text(one) + (f" ({count_of((one.seeds, one.seeds))})" if one and one.seeds < most else "")


def sure_text(p: float, pairs: int, most: int) -> str:
    """Return ``0.031 (6 pairs)``: a p-value, with the number of its pairs where others have more."""
    return f"{p:.3f}" + (f" ({pairs} pair{'s' if pairs > 1 else ''})" if pairs < most else "")


def difference_text(mean: float, one: Estimate, other: Estimate) -> str:
    """Return ``+12.3``: what one is more than the other, with as many decimals as where they end is told with."""
    decimals = _decimals(max(_size(one), _size(other)))
    told = f"{mean:+.{decimals}f}"
    return _signed(told) if float(told) else f"{0:.{decimals}f}"


def _size(one: Estimate) -> float:
    ends: Iterable[float] = (one.iqm, *(one.interval or ()))
    return max(map(abs, ends))


def share_text(one: Estimate | None) -> str:
    """Return ``97.2 [93.1, 100]``: a share in per cent and its interval, as far as known."""
    if one is None:
        return MISSING
    return iqm_text(one.times(100))


def until_text(one: Efficiency | None) -> str:
    """Return ``63.1k [48.0k, never] (8 of 10)``: samples until nearly as good as dense, as far as known."""
    if one is None:
        return MISSING
    told = [NEVER if end == inf else number(end) for end in (one.samples.iqm, *(one.samples.interval or ()))]
    spread = f" [{told[1]}, {told[2]}]" if told[1:] and one.reached else ""
    return told[0] + spread + (f" ({one.reached} of {one.seeds})" if one.reached < one.seeds else "")


def ultimate_text(kept: Kept, sparsities: Sequence[float] = ()) -> str:
    """Return ``95 % [90 %, ≥ 98 %]``: up to which sparsity a pruner is as good as dense, as far as known.

    Smaller sparsities of others at which it has no value are named.
    """
    level, interval = kept.ultimate
    told = {0.0: f"< {percent(kept.sparsities[0])}"} | {sparsity: percent(sparsity) for sparsity in kept.sparsities}
    told[kept.sparsities[-1]] = f"≥ {percent(kept.sparsities[-1])}"
    absent = [percent(it) for it in sparsities if it < level and it not in kept.sparsities]
    without = f", {', '.join(absent)} missing" if absent else ""
    return told[level] + (f" [{told[interval[0]]}, {told[interval[1]]}]" if interval else "") + without


def _decimals(largest: float) -> int:
    """Return how many decimals give the largest number three significant digits."""
    return max(0, 2 - floor(log10(largest))) if largest > 0 else 0


def _signed(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text


# -- formats -----------------------------------------------------------------------------------------------------


def to_markdown(table: Table) -> str:
    """Return a Markdown table; best in bold, second best in italics, for Markdown cannot underline."""
    wrap = {"best": "**{}**", "second": "_{}_", "": "{}"}
    lines = [_line(map(_markdown, table.header)), "|" + " --- |" * len(table.header)]
    for heading, block in table.blocks:
        if heading:
            lines.append(f"| *{_markdown(heading)}* |" + " |" * (len(table.header) - 1))
        lines += [_line(wrap[cell.mark].format(_markdown(cell.text)) for cell in line) for line in block]
    note = table.note.replace("underlined", "in italics")
    return "\n".join([f"**{_markdown(table.title)}**", "", *lines, "", _markdown(note)]).rstrip() + "\n"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of texts, the first of them the header, as a Markdown table."""
    header, *body = lines
    return "\n".join([_line(map(_markdown, header)), "|" + " --- |" * len(header), *(_line(map(_markdown, it)) for it in body)])


def apart(block: Sequence[Sequence[Entry]]) -> list[bool]:
    """Return which lines begin the variants of another pruner, where a block has several of one."""
    names = [base(line[0].text) for line in block]
    several = len(set(names)) < len(names)
    return [several and place > 0 and name != names[place - 1] for place, name in enumerate(names)]


def _line(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def to_latex(table: Table) -> str:
    r"""Return a ``table*`` for a document that loads ``booktabs`` and ``graphicx``; one too wide for the text is shrunk."""
    marks = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}
    body = []
    for place, (heading, block) in enumerate(table.blocks):
        body += [r"\midrule"] if place else []
        body += [rf"\multicolumn{{{len(table.header)}}}{{l}}{{\emph{{{_latex(heading)}}}}} \\"] if heading else []
        for line, far in zip(block, apart(block), strict=True):
            body += [r"\addlinespace"] if far else []
            body += [" & ".join(marks[cell.mark].format(_latex(cell.text)) for cell in line) + r" \\"]
    words = [sorted(title.split() or [""], key=len)[-1] for title in table.header]
    widths = [max(map(len, column)) for column in zip(words, *_texts(table), strict=True)]
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\small",
            rf"\caption{{{_latex(f'{table.title}. {table.note}'.strip())}}}",
            r"\sbox0{%",
            rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"\toprule",
            *_latex_header(table.header, widths),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi",
            r"\end{table*}",
            "",
        ]
    )


def _texts(table: Table) -> list[list[str]]:
    return [[entry.text for entry in line] for _, block in table.blocks for line in block]


def _latex_header(header: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return the header in as many lines as its titles need to be no wider than their columns, the last words lowest."""
    places = zip(header, widths, strict=True)
    titles = [textwrap.wrap(title, max(width, 9), break_long_words=False) or [""] for title, width in places]
    height = max(map(len, titles))
    lines = zip(*([""] * (height - len(title)) + title for title in titles), strict=True)
    return [" & ".join(map(_latex, line)) + r" \\" for line in lines]


def to_csv(table: Table) -> str:
    """Return the lines of the CSV file with all digits; what was not measured is empty."""
    text = io.StringIO()
    if table.csv:
        names = dict.fromkeys(name for line in table.csv for name in line)  # a line need not have all
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: safely.field(value) for name, value in line.items()} for line in table.csv)
    return text.getvalue()


_MARKDOWN = {letter: f"\\{letter}" for letter in "\\|*_<`~$&"}


def _markdown(text: str) -> str:
    return "".join(_MARKDOWN.get(letter, letter) for letter in safely.plain(text)).replace("](", "]\\(")


_LATEX = {letter: f"\\{letter}" for letter in "%&#_{}$"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "₂": "$_2$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "…": r"\dots{}",
}


def _latex(text: str) -> str:
    escaped = "".join(_LATEX.get(letter, letter) for letter in safely.plain(text))
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped  # after a row's end they would be its argument
