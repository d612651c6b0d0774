"""What pruners keep of the dense network, at a glance: tasks and sparsities across, pruners down, the darker the more."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rlprune.report import draw
from rlprune.report.curves import Comparison, count_of, order, percent, span_of
from rlprune.report.dense import WITHIN
from rlprune.report.tables import BLOCKS, MISSING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, GAP, BETWEEN = 0.2, 0.1, 0.22  # inches: a row, between tasks, between kinds of pruners


@dataclass(frozen=True)
class Kept:
    """What is kept at one sparsity: the share of interquartile means, and how many seeds of how many keep nearly all."""

    share: float
    near: int
    seeds: int


@dataclass(frozen=True)
class Column:
    """A task at its sparsities.

    Args:
        unit: what a share is of.
        kept: pruner, by the name of its row, to sparsity to what it keeps.
        cuts: what each of them cuts.
    """

    title: str
    unit: str
    sparsities: tuple[float, ...]
    kept: Mapping[str, Mapping[float, Kept]]
    cuts: Mapping[str, str]


def column(one: Comparison, metric: str, named: Mapping[str, str] | None = None, asked: Sequence[float] = ()) -> Column | None:
    """Return a task's column; None where a share of its dense network means nothing, or nothing is there to show.

    Args:
        metric: the measure that shares are of.
        named: the pruners to show, and the names of their rows; all, by their own, where it is left out.
        asked: the sparsities to show, where these are not all.
    """
    against, names = one.against_by(metric), named if named is not None else {name: name for name in one.pruners}
    sparsities = tuple(sparsity for sparsity in one.sparsities if not asked or sparsity in asked)
    kept: dict[str, dict[float, Kept]] = {}
    for name, shown in names.items():
        if name in against.pruners and one.cut(name) != "nothing":
            its = against.pruners[name]
            found = {sparsity: Kept(end.iqm, *its.near[sparsity]) for sparsity in sparsities if (end := its.at(sparsity))}
            kept |= {shown: found} if found else {}
    cuts = {shown: one.cut(name) for name, shown in names.items()}
    return Column(one.task_title, against.unit, sparsities, kept, cuts) if kept else None


def rows(columns: Sequence[Column]) -> dict[str, list[str]]:
    """Return the pruners of each kind that more than one task has, or the only one, in the order of every figure."""
    every = [pruner for column in columns for pruner in column.kept]
    cuts = {pruner: cut for column in columns for pruner, cut in column.cuts.items()}
    common = sorted({pruner for pruner in every if every.count(pruner) > 1 or len(columns) == 1}, key=order)
    found = {cut: [pruner for pruner in common if cuts[pruner] == cut] for cut in BLOCKS}
    return {cut: names for cut, names in found.items() if names}


def unit(columns: Sequence[Column]) -> str:
    """Return what shares are of: what most are, and which tasks' are of something else."""
    common, *others = [it for it, _ in Counter(column.unit for column in columns).most_common()]
    apart = [f"{', '.join(column.title for column in columns if column.unit == it)}: {it}" for it in others]
    return "; ".join([common, *apart])


@draw.print_style()
def heatmap_figure(columns: Sequence[Column], measured: str) -> "Figure":
    """Draw a panel a task and kind of pruner: shares in per cent, bold where every seed keeps nearly all.

    Args:
        columns: tasks that have a pruner in common.
        measured: what shares are of, in words.
    """
    from matplotlib.figure import Figure

    shown = rows(columns)
    left = max(1.2, *(draw.text_width(pruner) + 0.15 for names in shown.values() for pruner in names))
    right, above, below = 0.06, 0.75, 0.06
    heights, widths = [ROW * len(names) for names in shown.values()], [len(column.sparsities) for column in columns]
    tall = above + below + sum(heights) + BETWEEN * (len(shown) - 1)
    places = {
        "left": left / draw.WIDTH,
        "right": 1 - right / draw.WIDTH,
        "top": 1 - above / tall,
        "bottom": below / tall,
        "wspace": GAP * len(columns) / (draw.WIDTH - left - right - GAP * (len(columns) - 1)),
        "hspace": BETWEEN * len(shown) / sum(heights),
        "width_ratios": widths,
        "height_ratios": heights,
    }
    figure = Figure(figsize=(draw.WIDTH, tall))
    panels = figure.subplots(len(shown), len(columns), squeeze=False, gridspec_kw=places)
    for line, (cut, names) in zip(panels, shown.items(), strict=True):
        for panel, column in zip(line, columns, strict=True):
            _fill(panel, column, names)
        line[0].set_yticks(range(len(names)), names)
        place, away = (0, 1), (6 - 72 * left, 4)
        line[0].annotate(BLOCKS[cut], place, away, "axes fraction", "offset points", style="italic", color=draw.GREY)
    for panel, column in zip(panels[0], columns, strict=True):
        panel.set_title(draw.fitted(column.title, draw.size_of(panel)[0], draw.NORMAL), pad=14)
        panel.xaxis.tick_top()
        panel.set_xticks(range(len(column.sparsities)), [percent(sparsity) for sparsity in column.sparsities])
    seeds = count_of(span_of(kept.seeds for column in columns for some in column.kept.values() for kept in some.values()))
    bold = f"bold: every seed keeps {percent(1 - WITHIN)}"
    draw.headline(figure, "What is kept of the dense network", f"{measured}, % {unit(columns)}; {seeds}; {bold}")
    return figure


def _fill(panel: "Axes", column: Column, names: Sequence[str]) -> None:
    """Draw the cells of a panel, a row a pruner."""
    kept = [[column.kept.get(name, {}).get(sparsity) for sparsity in column.sparsities] for name in names]
    shares = np.array([[it.share if it else np.nan for it in some] for some in kept])
    depth = np.clip(shares, 0, 1) ** 2  # what is near dense is told apart
    edges = [np.arange(count + 1) - 0.5 for count in (len(column.sparsities), len(names))]
    panel.pcolormesh(*edges, depth, cmap="YlGnBu", vmin=-0.07, vmax=1.3, edgecolors="white", linewidth=0.8)
    for (row, place), share in np.ndenumerate(shares):
        it = kept[row][place]
        colour = draw.GREY if it is None else "white" if share > 0.75 else draw.INK
        weight = "bold" if it and it.near == it.seeds else "normal"
        told = f"{100 * share:.0f}".replace("-", "−") if it else MISSING
        panel.text(place, row, told, ha="center", va="center", fontsize=draw.SMALL, color=colour, fontweight=weight)
    panel.set(xticks=[], yticks=[])
    panel.invert_yaxis()
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
