"""What exhibits are made of: the metric against sparsity or against memory, and tables of what pruners earn and cost."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from rlprune.costs.measures import MEASURES, Measure
from rlprune.report import draw, figures
from rlprune.report.curves import Chart, Comparison, Curve, Point, count_of, order, percent, span_of, stems
from rlprune.report.paper import Made
from rlprune.report.printed import note, printed
from rlprune.report.tables import BLOCKS, MISSING, PAPER_COSTS, Entry, Fields, Table, mean_text, number
from rlprune.rows import Row
from rlprune.stats import Estimate, estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TIMES = ("training_seconds", "scoring_seconds")
"""What table 8 counts as the time of a cell."""

PRINTED = "printed"
LARGEST = 240.0  # square points that the largest network on disk takes
SMALLEST = 4.0
ALIKE = 0.05  # of the most memory: an axis that is shorter would show noise

# -- against sparsity --------------------------------------------------------------------------------------------


def against_sparsity(compared: Sequence[Comparison], paper: bool, levels: Mapping[str, str] | None = None) -> Iterator[Made]:
    """Make figures of the metric against the share of weights removed: a column a task, profiles and crowded tasks apart.

    Args:
        compared: what is drawn.
        paper: whether what the paper prints goes beside it.
        levels: measures that every cell has alike, and what the lines across at them are called.

    Raises:
        ValueError: no pruner that removes anything has finished.
    """
    charts = [(one.profile, _chart(one, paper, levels or {})) for one in compared if one.sparsities]
    charts = [(profile, chart) for profile, chart in charts if any(curve.cut != "nothing" for curve in chart.curves)]
    if not charts:
        raise ValueError("no cell of a pruner that removes anything has finished")
    mine: dict[str, list[Chart]] = {}
    for profile, chart in charts:
        mine.setdefault(profile, []).append(chart)
    found = [(profile, some) for profile, its in mine.items() for some in figures.together(its)]
    for place, (profile, some) in enumerate(found, 1):
        yield f"{profile}-{place}" if len(found) > 1 else "", figures.sparsity_figure(some), ""


def _chart(one: Comparison, paper: bool, levels: Mapping[str, str]) -> Chart:
    held = {(curve.pruner.casefold(), point.sparsity) for curve in one.chart.curves for point in curve.points}
    theirs = printed(one.task, one.metric.name) if paper else ()
    marks = tuple(each for each in theirs if {(each.pruner.casefold(), sparsity) for sparsity in (0.0, each.sparsity)} & held)
    found = {name: max(one.values(one.sparsities[0], measure).values(), key=len, default=[]) for measure, name in levels.items()}
    across = [Curve(name, "nothing", (Point(0.0, None, estimate([values])),)) for name, values in found.items() if values]
    return replace(one.chart, curves=(*one.chart.curves, *across), printed=marks)


# -- against memory ----------------------------------------------------------------------------------------------


def against_memory(compared: Sequence[Comparison], paper: bool) -> Iterator[Made]:
    """Make a figure a task: the metric against peak memory, every network a disc as large as its file.

    The sparsity is the highest for which the paper prints something, or the highest.

    Raises:
        ValueError: no cell measured memory, for none had its worker to itself.
    """
    found = {}
    for one, stem in zip(compared, stems(compared), strict=True):
        theirs = [each.sparsity for each in printed(one.task, one.metric.name) if each.sparsity in one.sparsities]
        sparsity = max(theirs or one.sparsities, default=0.0)
        discs = {pruner: disc for pruner in one.pruners if (disc := _disc(one, pruner, sparsity))}
        if discs:
            found[stem] = memory_figure(one, sparsity, discs, paper)
    if not found:
        raise ValueError("no cell had a worker to itself, so none measured memory (--set solo=1, in a folder of its own)")
    for ending, figure in found.items():
        yield ending if len(found) > 1 else "", figure, ""


Disc: TypeAlias = tuple[Estimate, float, float]
"""Metric, peak memory and disk, the last two in megabytes."""


def _disc(one: Comparison, pruner: str, sparsity: float) -> Disc | None:
    names = one.metric.name, "memory_peak_bytes", "disk_csr_mb"
    earned, memory, disk = (list(one.by_seed(pruner, sparsity, name).values()) for name in names)
    return (estimate([earned]), float(np.mean(memory)) / 1e6, float(np.mean(disk))) if earned and memory and disk else None


@draw.print_style()
def memory_figure(one: Comparison, sparsity: float, discs: Mapping[str, Disc], paper: bool) -> "Figure":
    """Draw networks as discs whose areas are their sizes on disk; filled where channels were cut, each named at its height."""
    names = {pruner: f"{pruner}, {one.longer[pruner]:.2g}× the training" if pruner in one.longer else pruner for pruner in discs}
    gutter = max(map(draw.text_width, names.values())) + 0.4
    figure, panels = draw.grid(1, 1, max(2.6, len(names) * draw.LINE / 72), right=gutter, above=0.5, below=0.72, gap=0.0)
    axes, largest = panels[0][0], max(disk for _, _, disk in discs.values())
    colours = {pruner: draw.INK if one.cut(pruner) == "nothing" else one.looks[pruner].colour for pruner in discs}
    for pruner, (end, memory, disk) in sorted(discs.items(), key=lambda disc: -disc[1][2]):
        colour = colours[pruner]
        inside = colour if one.cut(pruner) == "channels" else "none"
        axes.scatter(memory, end.iqm, _area(disk, largest), inside, edgecolors=colour, linewidths=0.9, zorder=4)
        if end.interval:
            axes.vlines(memory, *end.interval, color=colour, linewidth=0.7, zorder=3)
    marks = [each for each in printed(one.task, one.metric.name) if paper and each.pruner in discs and each.sparsity == sparsity]
    for each in marks:
        end, memory, _ = discs[each.pruner]
        axes.plot([memory, memory], [end.iqm, each.value], color=draw.GREY, zorder=2, **figures.THIN)
        axes.scatter(memory, each.value, 16, "none", marker="D", edgecolors=draw.GREY, linewidths=0.8, zorder=5)
    axes.margins(x=0.08, y=0.1)
    (low, high), room = axes.get_xlim(), ALIKE * max(memory for _, memory, _ in discs.values())
    axes.set_xlim(min(low, (low + high - room) / 2), max(high, (low + high + room) / 2))
    axes.set_xlabel(MEASURES["memory_peak_bytes"].heading)
    axes.set_ylabel(one.metric.heading)
    axes.grid(color=draw.FAINT, linewidth=0.5)
    ordered = sorted(discs, key=lambda pruner: (discs[pruner][0].iqm, names[pruner]))
    places = {names[pruner]: (discs[pruner][1], discs[pruner][0].iqm) for pruner in ordered}
    draw.name_beside(axes, places, {names[pruner]: colour for pruner, colour in colours.items()}, away=14, short=0)
    sizes = [largest, largest / 4, largest / 16]
    handles = [axes.scatter([], [], _area(size, largest), "white", edgecolors=draw.GREY) for size in sizes]
    labels = [f"{number(size)} MB" for size in sizes]
    figure.legend(handles, labels, loc="lower center", ncols=len(sizes), columnspacing=3.0, handletextpad=1.2)
    grey = "; grey: printed in the paper, at the memory measured here" if marks else ""
    counts = [end.seeds for end, _, _ in discs.values()]
    seeds = count_of(span_of(counts))
    spread = "; lines: 95 % intervals" if max(counts) > 1 else ""
    said = f"{seeds}; area: disk, CSR 16:1; filled: channels cut, hollow: weights{spread}{grey}"
    draw.headline(figure, f"{one.title}, {percent(sparsity)} of weights removed", said)
    return figure


def _area(disk: float, largest: float) -> float:
    return max(SMALLEST, LARGEST * disk / largest)


# -- tables ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A pruner of a task at a sparsity, 0 for one that removes nothing."""

    one: Comparison
    sparsity: float
    cut: str
    pruner: str

    @property
    def end(self) -> Estimate | None:
        """Return what its seeds say of the metric."""
        return self.one.estimates(self.sparsity, self.one.metric.name).get(self.pruner)

    def values(self, name: str) -> list[float]:
        """Return what its cells measured."""
        return list(self.one.by_seed(self.pruner, self.sparsity, name).values())

    def mean(self, cost: Measure) -> str:
        """Return the mean of a cost, and of how many cells it is where these are not all."""
        found, seeds = self.values(cost.name), self.end.seeds if self.end else 0
        behind = f" (n = {len(found)})" if len(found) != seeds else ""
        return f"{number(float(np.mean(found)) * cost.scale)}{behind}" if found else MISSING

    def printed(self, name: str) -> str:
        """Return what the paper prints of it."""
        theirs = [each for each in printed(self.one.task, name) if each.pruner.casefold() == self.pruner.casefold()]
        return ", ".join(str(each) for each in theirs if self.cut == "nothing" or each.sparsity == self.sparsity) or MISSING

    def where(self, several: bool) -> str:
        """Return its task, where there are several, and sparsity."""
        return ", ".join([self.one.title] * several + [f"{percent(self.sparsity)} removed"] * (self.sparsity > 0))

    def fields(self, names: Sequence[str]) -> Fields:
        """Return its line of a CSV file."""
        one, end = self.one, self.end
        means = {name: float(np.mean(found)) if (found := self.values(name)) else None for name in names}
        named: Fields = {
            "task": one.task,
            "profile": one.profile,
            "pruner": self.pruner,
            "cut": self.cut,
            "sparsity": self.sparsity,
        }
        ends: Fields = {"seeds": end.seeds if end else 0, "mean": end.mean if end else None, "std": end.std if end else None}
        return {**named, "metric": one.metric.name, **ends, PRINTED: self.printed(one.metric.name).strip(MISSING), **means}


def _lines(one: Comparison) -> Iterator[Line]:
    yield from (Line(one, 0.0, "nothing", pruner) for pruner in one.cutting("nothing"))
    for sparsity in one.sparsities:
        for cut in ("channels", "weights"):
            yield from (Line(one, sparsity, cut, pruner) for pruner in one.cutting(cut) if one.there(pruner, sparsity))


def costs(
    compared: Sequence[Comparison], paper: bool, title: str, names: Sequence[str] = PAPER_COSTS, needed: str = ""
) -> Iterator[Made]:
    """Make a table: a line a pruner with its metric and costs; tasks and sparsities in blocks, dense first.

    Nothing is in bold: what is sure is in the report's tables of improvement.

    Args:
        compared: the tasks.
        paper: whether what the paper prints has columns.
        title: how the paper numbers it.
        names: of the costs.
        needed: the cost without which there is nothing to show.

    Raises:
        ValueError: no cell measured what is needed.
    """
    lines = [line for one in compared for line in _lines(one)]
    wanted = [MEASURES[name] for name in names]
    shown = [cost for cost in wanted if any(line.values(cost.name) for line in lines)]
    if needed and MEASURES[needed] not in shown:
        raise ValueError(f"no cell has a {MEASURES[needed].title}")
    earned = compared[0].metric.heading if len({one.metric for one in compared}) == 1 else "metric"
    columns: dict[str, Callable[[Line], str]] = {
        "pruner": lambda line: line.pruner,
        "seeds": lambda line: str(line.end.seeds if line.end else 0),
        f"{earned}, mean ± std": lambda line: mean_text(line.end),
        f"{earned}, {PRINTED}": lambda line: line.printed(line.one.metric.name),
    }
    for cost in shown:
        columns |= {
            cost.heading: partial(Line.mean, cost=cost),
            f"{cost.heading}, {PRINTED}": partial(Line.printed, name=cost.name),
        }
    texts = {heading: list(map(text, lines)) for heading, text in columns.items()}
    texts = {heading: own for heading, own in texts.items() if PRINTED not in heading or (paper and {*own} - {MISSING})}
    several = len({line.one.title for line in lines}) > 1 or len({line.sparsity for line in lines if line.sparsity}) > 1
    blocks: dict[str, list[tuple[Entry, ...]]] = {}
    for line, *own in zip(lines, *texts.values(), strict=True):
        heading = ", ".join(filter(None, (line.where(len(compared) > 1) if several else "", BLOCKS[line.cut])))
        blocks.setdefault(heading, []).append(tuple(map(Entry, own)))
    seeds = count_of((min(one.seeds[0] for one in compared), max(one.seeds[1] for one in compared)))
    sentences = [f"{seeds}; costs are means over the cells that measured them, n of them where these are not all."]
    if absent := ", ".join(cost.title for cost in wanted if cost not in shown):
        sentences.append(f"No cell measured {absent}.")
    longer = dict.fromkeys(f"{name} trains {times:.2g} times as long." for one in compared for name, times in one.longer.items())
    sentences += [*longer, "Printed: in the paper, on its machines." if any(PRINTED in heading for heading in texts) else ""]
    if any(" (" in text for heading, column in texts.items() if PRINTED in heading for text in column):
        sentences.append("Behind a printed value, in brackets: epochs trained.")
    sentences += [note(title) if paper else ""]
    about = " and ".join(dict.fromkeys(one.title for one in compared)) if several else lines[-1].where(True)
    yield (
        "",
        Table(
            f"{about}, as in {title[0].lower()}{title[1:]} of the EarlyCroP paper",
            " ".join(filter(None, sentences)),
            tuple(texts),
            tuple((heading, tuple(block)) for heading, block in blocks.items()),
            tuple(line.fields(names) for line in lines),
        ),
        "",
    )


def over_dense(compared: Sequence[Comparison], paper: bool) -> Iterator[Made]:
    """Make a table: a line a pruner, and for every task and sparsity its metric, and its time over that of Dense.

    Raises:
        ValueError: no pruner that removes anything has finished.
    """
    columns = [(one, sparsity) for one in compared for sparsity in one.sparsities]
    if not columns:
        raise ValueError("no cell of a pruner that removes anything has finished")
    ends = [one.values(sparsity, one.metric.name) for one, sparsity in columns]
    blocks, fields = [], list[Fields]()
    for cut, heading in BLOCKS.items():
        lines = []
        for pruner in sorted({pruner for one in compared for pruner in one.cutting(cut)}, key=order):
            lines.append([pruner])
            for (one, sparsity), found in zip(columns, ends, strict=True):
                earned = _mean(found.get(pruner, ()))
                time, base = (_mean(list(map(_seconds, rows))) for rows in (one.cells(pruner, sparsity), _dense(one)))
                times = time / base if time and base else None
                lines[-1] += [MISSING if value is None else number(value) for value in (earned, times)]
                where: Fields = {"task": one.task, "profile": one.profile, "pruner": pruner, "cut": cut, "sparsity": sparsity}
                fields.append({**where, "metric": one.metric.name, "mean": earned, "time_over_dense": times})
        if lines:
            blocks.append((heading, tuple(tuple(map(Entry, line)) for line in lines)))
    header = ["pruner"]
    for one, sparsity in columns:
        header += [f"{one.title}, {percent(sparsity)}: {one.metric.name}", "time / Dense"]
    said = "Means over seeds; time is that of training and of scoring, of cells that had their worker to themselves."
    yield (
        "",
        Table(
            "The metric, and time over that of Dense, as in table 8 of the EarlyCroP paper",
            said,
            tuple(header),
            tuple(blocks),
            tuple(fields),
        ),
        "",
    )


def _dense(one: Comparison) -> list[Row]:
    return one.cells(one.against.dense, 0.0)


def _seconds(row: Row) -> float | None:
    """Return the time of a cell that had its worker to itself and was not resumed."""
    known = "training_seconds" in row.values and "resumed" not in row.values
    return sum(row.values.get(name, 0.0) for name in TIMES) if known else None


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None
