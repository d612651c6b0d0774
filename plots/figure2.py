"""Figures 2 and 8 of the EarlyCroP paper: what the moment of pruning does to the metric, and what the trigger sees meanwhile.

    python plots/figure2.py results/when --to figures/

Above: the metric at the end of training against the epoch of pruning; a star where the pruner's own trigger fired. Below: the
trigger's value in every epoch before pruning, with the threshold under which it fires.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlprune.report import draw
from rlprune.report.curves import Comparison, comparisons, count_of, percent, style
from rlprune.stats import estimate
from rlprune.store import Row, Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def main() -> None:
    """Read a run, draw each of its tasks and sparsities, write ``figure2-TASK-SPARSITY.{png,svg,pdf}``."""
    parser = argparse.ArgumentParser(description="the metric against the epoch of pruning")
    parser.add_argument("results", type=Path, help="folder of a run of the suite `when`")
    parser.add_argument("--to", type=Path, default=Path("figures"), help="folder to write into")
    given = parser.parse_args()
    with Store(given.results / "results.sqlite", create=False) as store:
        found = comparisons(store.rows())
    given.to.mkdir(parents=True, exist_ok=True)
    for one in found:
        for sparsity in one.sparsities:
            stem = f"figure2-{one.task}-{100 * sparsity:g}"
            draw.save(figure(one, sparsity), given.to, stem)
            print(given.to / f"{stem}.png")


@draw.print_style()
def figure(one: Comparison, sparsity: float) -> "Figure":
    """Draw one task at one sparsity, a column a pruner."""
    rows = [row for row in one.rows if row.cut == "nothing" or row.sparsity == sparsity]
    methods = sorted({_method(row) for row in rows if _moment(row) is not None})
    drawn, panels = draw.grid(2, len(methods), 1.5, right=0.15, gap=0.25, below=0.42, between=0.15, sharey="row")
    dense = [row.values[one.metric] for row in rows if row.cut == "nothing"]
    for column, method in enumerate(methods):
        mine = [row for row in rows if row.cut != "nothing" and _method(row) == method]
        above, below = panels[0][column], panels[1][column]
        _metric(above, mine, one.metric, method)
        if dense:
            level = estimate([dense]).iqm
            above.axhline(level, color=draw.INK, linewidth=0.8)
            above.annotate("dense", (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=draw.SMALL)
        _trigger(below, mine, sparsity, style(method).colour)
        above.set_title(method)
        last = max(filter(None, map(_moment, mine)), default=0)
        for axes in (above, below):
            axes.set_xlim(-0.03 * last, 1.03 * last)
        above.tick_params(labelbottom=False)
        below.yaxis.set_major_formatter("{x:g}")
        below.yaxis.set_minor_formatter("")
        below.set_xlabel("pruned after epoch")
    panels[0][0].set_ylabel(one.axis)
    panels[1][0].set_ylabel("trigger")
    drawn.align_ylabels([panels[0][0], panels[1][0]])
    note = f"interquartile means with 95 % intervals, {count_of(one.seeds)}; star: where the trigger fired; dotted: its threshold"
    draw.headline(drawn, f"{one.title}, {percent(sparsity)} of weights removed", note)
    return drawn


def _metric(axes: "Axes", rows: Sequence[Row], metric: str, method: str) -> None:
    look, groups = style(method), defaultdict[int, list[float]](list)
    for row in rows:
        if (moment := _moment(row)) is not None:
            groups[moment].append(row.values[metric])
    ends = {moment: estimate([groups[moment]]) for moment in sorted(groups)}
    axes.plot(list(ends), [end.iqm for end in ends.values()], color=look.colour, marker=look.marker, markersize=2.6)
    bands = {moment: end.interval for moment, end in ends.items() if end.interval is not None}
    axes.fill_between(list(bands), *np.array(list(bands.values())).reshape(-1, 2).T, color=look.colour, alpha=0.15, linewidth=0)
    own = [row for row in rows if _moment(row) is None]
    if own:
        epoch = float(np.mean([row.values["pruning_epoch"] for row in own]))
        star = estimate([[row.values[metric] for row in own]]).iqm
        axes.plot([epoch], [star], marker="*", markersize=9, color=look.colour, markeredgecolor="white", zorder=5)


def _trigger(axes: "Axes", rows: Sequence[Row], sparsity: float, colour: str) -> None:
    latest = max(filter(None, map(_moment, rows)), default=0)
    seen = [
        [(row["epoch"], row["trigger"]) for row in each.epochs if "trigger" in row] for each in rows if _moment(each) == latest
    ]
    values = defaultdict[float, list[float]](list)
    for epoch, value in (pair for pairs in seen for pair in pairs):
        values[epoch].append(value)
    axes.semilogy(sorted(values), [float(np.mean(values[epoch])) for epoch in sorted(values)], color=colour)
    axes.axhline(1 - sparsity, color=draw.GREY, linewidth=0.8, linestyle=":")


def _moment(row: Row) -> int | None:
    """Return the epoch at which a cell was told to prune; None where its own trigger decided."""
    match row.config["settings"]:
        case {"until": {"epoch": int(moment)}}:
            return moment
    return None


def _method(row: Row) -> str:
    return str(row.config["pruner"])


if __name__ == "__main__":
    main()
