"""What the moment of pruning does to the metric, what the trigger sees meanwhile, and when copies of a network stay connected."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rlprune.costs.measures import Measure
from rlprune.report import draw, triggers
from rlprune.report.comparable import company, in_words, settings
from rlprune.report.curves import STABLE, Comparison, Style, base, count_of, measure, percent, stems, style
from rlprune.report.paper import Made
from rlprune.report.tables import iqm_text, markdown
from rlprune.rows import Row
from rlprune.stats import Estimate, estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def against_moments(compared: Sequence[Comparison], paper: bool) -> Iterator[Made]:
    """Make a figure a task and sparsity, and say what pruners end at by moment, when triggers fired and when pruning was best.

    Raises:
        ValueError: no cell was told when to prune.
    """
    if not any(told(one, sparsity) for one in compared for sparsity in one.sparsities):
        raise ValueError("no cell was told when to prune (until.epoch)")
    for one, stem in zip(compared, stems(compared), strict=True):
        for sparsity in one.sparsities:
            if methods := told(one, sparsity):
                words = "\n".join(f"  {method}: {moments(one, sparsity, method)}" for method in methods)
                yield f"{stem}-{100 * sparsity:g}", figure(one, sparsity), f"{words}\n\n{table(one, sparsity)}\n"


def told(one: Comparison, sparsity: float) -> list[str]:
    """Return the pruners of which cells were told when to prune; one of several settings has a name for each."""
    return [method for method, rows in _methods(one, sparsity).items() if any(triggers.moment(row) is not None for row in rows)]


def moments(one: Comparison, sparsity: float, method: str) -> str:
    """Return in words when a pruner's trigger fired, when pruning was best, and from when on copies stay connected."""
    mine = _of(one, sparsity, method)
    own = [row.values["pruning_epoch"] for row in mine if triggers.own(row)]
    *others, best = _best(_ends(mine, one.metric.name), one.metric)
    said = [f"its own moment {np.mean(own):.3g}"] if own else []
    said += [f"best fixed moments {', '.join(map(str, others))} and {best} tie" if others else f"best fixed moment {best}"]
    if one.barriers:
        said += ["never stable" if one.stable is None else f"stable from {one.stable}"]
    return ", ".join(said)


def table(one: Comparison, sparsity: float) -> str:
    """Return in Markdown what each pruner ends at, a line a moment it was told and one for its own."""
    methods = told(one, sparsity)
    found = {method: _of(one, sparsity, method) for method in methods}
    ends = {method: _ends(mine, one.metric.name) for method, mine in found.items()}
    own = {method: [row.values[one.metric.name] for row in mine if triggers.untold(row)] for method, mine in found.items()}
    asked = sorted({moment for each in ends.values() for moment in each})
    lines = [[f"{moment}", *(iqm_text(each.get(moment)) for each in ends.values())] for moment in asked]
    if any(own.values()):
        lines.append(["the trigger's", *(iqm_text(estimate([values]) if values else None) for values in own.values())])
    return markdown([[f"{percent(sparsity)} removed after epoch", *methods], *lines])


@draw.print_style()
def figure(one: Comparison, sparsity: float) -> "Figure":
    """Draw one task at one sparsity, a column a pruner.

    Above: the metric at the end of training against the epoch of pruning, a ring around the best; a star where the pruner's own
    trigger fired, a hollow one where it never did and the latest epoch it may wait for came. Below: the trigger's value in every
    epoch before pruning, with the threshold under which it fires. At the bottom, where cells branched: the barrier between two
    copies of the dense network that train on from an epoch; where it stays below 2 % from (Frankle et al., 2020), a dashed line.
    """
    from matplotlib.ticker import MaxNLocator

    rows = _at(one, sparsity)
    methods = told(one, sparsity)
    lines = 3 if one.barriers else 2
    drawn, panels = draw.grid(lines, len(methods), 1.5, right=0.15, gap=0.25, below=0.42, between=0.15, sharey="row")
    dense = one.estimates(sparsity, one.metric.name).get(one.against.dense)
    for column, method in enumerate(methods):
        mine = _of(one, sparsity, method)
        above, below, *bottom = (line[column] for line in panels)
        look = style(base(method), mine[0].cut)
        _metric(above, mine, one.metric, look)
        if dense:
            above.axhline(dense.iqm, color=draw.INK, linewidth=0.8)
            above.annotate(
                "dense", (1, dense.iqm), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=draw.SMALL
            )
        _trigger(below, mine, look.colour)
        above.set_title(method)
        for axes in bottom:
            _barrier(axes, one.barriers)
        last = max(
            [*filter(None, map(triggers.moment, mine)), *(row.values.get("pruning_epoch", 0.0) for row in mine)], default=0
        )
        for axes in (above, below, *bottom):
            axes.set_xlim(-0.03 * (last or 1), 1.03 * (last or 1))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if one.stable is not None:
                axes.axvline(one.stable, color=draw.GREY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
        for axes in (above, below, *bottom)[:-1]:
            axes.tick_params(labelbottom=False)
        below.yaxis.set_major_formatter("{x:g}")
        below.yaxis.set_minor_formatter("")
        panels[-1][column].set_xlabel("pruned, or branched, after epoch" if bottom else "pruned after epoch")
    panels[0][0].set_ylabel(one.metric.heading)
    panels[1][0].set_ylabel("trigger")
    if one.barriers:
        panels[2][0].set_ylabel("barrier (%)")
    drawn.align_ylabels([line[0] for line in panels])
    spread = "interquartile means, 95 % intervals" if one.seeds[1] > 1 else "single values"
    note = f"{count_of(one.seeds)}: {spread}; ring: best fixed; star: the trigger's"
    if any(triggers.own(row) and not triggers.fired(row) for row in rows):
        note += ", hollow: where waiting had to end"
    note += "; dotted: threshold"
    if one.stable is not None:
        note += "; dashed: copies stay connected"
    draw.headline(drawn, f"{one.title}, {percent(sparsity)} of weights removed", note)
    return drawn


def _at(one: Comparison, sparsity: float) -> list[Row]:
    """Return the cells that count at a sparsity, those that diverged, too: no moment is good by the seeds that it spares."""
    floor = one.floor(one.metric.name)
    lost = [replace(row, values={one.metric.name: floor}) for row in one.lost if floor is not None]
    rows = [row for row in (*one.rows, *lost) if row.cut == "nothing" or row.sparsity == sparsity]
    return [row for row in rows if measure(row, one.metric.name) is not None]


def _of(one: Comparison, sparsity: float, method: str) -> list[Row]:
    return _methods(one, sparsity)[method]


def _methods(one: Comparison, sparsity: float) -> dict[str, list[Row]]:
    """Return the cells of each pruner under the same settings and in the same company, whatever moment they were told.

    Where its own trigger was set in several ways, each has a name, and beside it the same cells that were told.
    """
    kinds = defaultdict[tuple[str, str], list[Row]](list)
    others: dict[tuple[str, str], dict[str, object]] = {}
    for row in _at(one, sparsity):
        if row.cut != "nothing":
            chosen = {name: value for name, value in settings(row).items() if name.partition(".")[0] != "until"}
            chosen[""] = company(row)
            kind = str(row.config.get("pruner", row.pruner)), repr(sorted(chosen.items(), key=str))
            kinds[kind].append(row)
            others[kind] = chosen
    found = {}
    for pruner in sorted({pruner for pruner, _ in kinds}):
        apart = [it for kind in kinds if kind[0] == pruner for it in _by_trigger(others[kind], kinds[kind])]
        for (_, rows), words in zip(apart, in_words([facts for facts, _ in apart]), strict=True):
            found[f"{pruner}, {words}" if words else pruner] = rows
    return found


def _by_trigger(facts: dict[str, object], rows: list[Row]) -> list[tuple[dict[str, object], list[Row]]]:
    """Return cells and what they have in common, once for each way in which their own trigger was set."""
    waits = [
        {it: value for it, value in settings(row).items() if it.startswith("until.")} if triggers.untold(row) else None
        for row in rows
    ]
    ways = [way for place, way in enumerate(waits) if way is not None and way not in waits[:place]]
    if not ways[1:]:
        return [(facts, rows)]
    return [
        ({**facts, **way}, [row for row, mine in zip(rows, waits, strict=True) if mine is None or mine == way]) for way in ways
    ]


def _ends(rows: Sequence[Row], metric: str) -> dict[int, Estimate]:
    """Return moment to what the cells that were told it ended at."""
    groups = defaultdict[int, list[float]](list)
    for row in rows:
        if (moment := triggers.moment(row)) is not None:
            groups[moment].append(row.values[metric])
    return {moment: estimate([groups[moment]]) for moment in sorted(groups)}


def _best(ends: dict[int, Estimate], metric: Measure) -> list[int]:
    """Return the moments that none is better than."""
    most = max(metric.sign * end.iqm for end in ends.values())
    return [moment for moment, end in ends.items() if metric.sign * end.iqm == most]


def _metric(axes: "Axes", rows: Sequence[Row], judged: Measure, look: Style) -> None:
    metric, ends = judged.name, _ends(rows, judged.name)
    best = _best(ends, judged)
    tops = [ends[moment].iqm for moment in best]
    axes.plot(best, tops, marker="o", markersize=7, markerfacecolor="none", color=look.colour, linestyle="")
    _line(axes, ends, look.colour, look.marker)
    for fired in (True, False):
        own = [row for row in rows if triggers.untold(row) and triggers.fired(row) == fired]
        if epochs := [row.values["pruning_epoch"] for row in own if triggers.own(row)]:
            epoch = float(np.mean(epochs))
            star = estimate([[row.values[metric] for row in own]]).iqm
            inside, edge = (look.colour, "white") if fired else ("white", look.colour)
            axes.plot([epoch], [star], marker="*", markersize=9, color=inside, markeredgecolor=edge, zorder=5)


def _line(axes: "Axes", ends: dict[int, Estimate], colour: str, marker: str) -> None:
    """Draw interquartile means against epochs, their intervals as a band."""
    axes.plot(list(ends), [end.iqm for end in ends.values()], color=colour, marker=marker, markersize=2.6)
    bands = {epoch: end.interval for epoch, end in ends.items() if end.interval is not None}
    axes.fill_between(list(bands), *np.array(list(bands.values())).reshape(-1, 2).T, color=colour, alpha=0.15, linewidth=0)


def _barrier(axes: "Axes", barriers: dict[int, Estimate]) -> None:
    _line(axes, barriers, draw.INK, "o")
    axes.axhline(STABLE, color=draw.GREY, linewidth=0.8, linestyle=":")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def _trigger(axes: "Axes", rows: Sequence[Row], colour: str) -> None:
    latest = max(filter(None, map(triggers.moment, rows)), default=0)
    seen = [
        [(row["epoch"], row["trigger"]) for row in each.epochs if {"epoch", "trigger"} <= row.keys()]
        for each in rows
        if triggers.moment(each) == latest
    ]
    values = defaultdict[float, list[float]](list)
    for epoch, value in (pair for pairs in seen for pair in pairs):
        values[epoch].append(value)
    thresholds = sorted(set(map(triggers.threshold, rows)))
    axes.semilogy(sorted(values), [float(np.mean(values[epoch])) for epoch in sorted(values)], color=colour)
    if not values:
        axes.set_ylim(thresholds[0] / 10, 1.0)  # nothing was recorded: room for the threshold
    for threshold in thresholds:
        axes.axhline(threshold, color=draw.GREY, linewidth=0.8, linestyle=":")
