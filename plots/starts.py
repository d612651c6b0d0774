"""What kept, rescaled, measured, redrawn and shuffled weights make of each pruner: a table a task and sparsity, and a figure.

    python plots/starts.py results/start --to figures/ [--metric return_sampled]
    python plots/starts.py results/start --summary

A table's last columns are what rescaling brings, measuring beyond it, and the places beyond as many others in each layer, both
rescaled: mean paired differences, with the exact sign-flip test corrected by Holm for the number of pruners. The summary says in
one table for how many pruners each of these is surely better or worse.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from rlprune.report import draw
from rlprune.report.comparable import settings
from rlprune.report.curves import Comparison, count_of, order, percent, seed_range
from rlprune.report.scripts import ended, measure_of, place, read
from rlprune.report.sure import Difference, differences
from rlprune.report.tables import MISSING, counted_text, difference_text, markdown, sure_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STARTS = {
    "kept": "#777777",
    "rescaled": "#D55E00",
    "measured": "#009E73",
    "redrawn": "#0072B2",
    "shuffled": "#E69F00",
    "shuffled-rescaled": "#CC79A7",
}
"""Starts with their colours, as variants of a pruner end: ``SNIP rescaled``."""

STEPS = (("rescaled", "kept"), ("measured", "rescaled"), ("rescaled", "shuffled-rescaled"))
"""Starts whose differences are told, each from the one that came before it."""

SIDES: tuple[Literal["better", "worse"], ...] = ("better", "worse")

Step: TypeAlias = tuple[str, str]
"""A start, and the one that it is compared with."""

Panel: TypeAlias = tuple[Comparison, float, str]
"""A task, the share of its weights that is removed, and the measure that is shown."""


def compared(one: Comparison) -> dict[str, dict[str, str]]:
    """Return pruner to start to the name of the variant, where it is not kept alone; what a plain name is, its cells say."""
    found: dict[str, dict[str, str]] = {}
    for name in one.pruners:
        pruner, _, start = name.rpartition(" ")
        if start not in STARTS:
            pruner, start = name, next((str(settings(row).get("start", "kept")) for row in one.rows if row.pruner == name), "")
        found.setdefault(pruner, {})[start] = name
    return {
        it: found[it]
        for it in sorted(found, key=lambda it: (one.cut(next(iter(found[it].values()))), order(it)))
        if found[it].keys() > {"kept"} or "rescaled" in found[it]
    }


def brought(one: Comparison, sparsity: float, metric: str) -> dict[Step, list[Difference]]:
    """Return what a start brings beyond another, for every pruner that has both; each pair of starts is a family of its own."""
    values, found = {name: one.by_seed(name, sparsity, metric) for name in one.pruners}, {}
    for start, than in STEPS:
        pairs = [(names[start], names[than]) for names in compared(one).values() if {start, than} <= names.keys()]
        found[start, than] = [it for it in differences(pairs, values, one.measure_of(metric).sign) if it.improvement.pairs > 1]
    return found


def summary(found: Sequence[Panel]) -> str:
    """Return a line a task and sparsity: for how many pruners a start is surely better or worse than another."""
    each = [brought(*panel) for panel in found]
    told = [step for step in STEPS if any(steps[step] for steps in each)]
    sides = [f"{start} − {than}: surely {side}" for start, than in told for side in SIDES]
    lines = [["task", "removed", "measure", *sides]]
    for (one, sparsity, metric), steps in zip(found, each, strict=True):
        counts = []
        for step in told:
            pairs = steps[step]
            for side in SIDES:
                names = [it.pruner.removesuffix(f" {step[0]}") for it in pairs if it.sure == side]
                few = f": {', '.join(names)}" if 0 < len(names) < 4 else ""
                counts.append(f"{len(names)} of {len(pairs)}{few}" if pairs else MISSING)
        if {*counts} - {MISSING}:
            lines.append([one.title, percent(sparsity), one.heading_of(metric), *counts])
    if not lines[1:]:
        raise ValueError("no pruner here was run from two starts that are compared: rescaled and kept, or measured and rescaled")
    return markdown(lines)


def table(one: Comparison, sparsity: float, metric: str) -> str:
    """Return the table of a task at a sparsity, a line a pruner."""
    ends, named = one.shown(sparsity, metric), compared(one)
    most = max(end.seeds for end in ends.values())
    run = [start for start in STARTS if any(names.get(start) in ends for names in named.values())]
    steps = [step for step in STEPS if step == STEPS[0] or {*step} <= {*run}]
    scale = one.measure_of(metric).scale
    brings = {(it.pruner, it.other): it for some in brought(one, sparsity, metric).values() for it in some}
    lines = [["pruner", *run, *(heading for start, than in steps for heading in (f"{start} − {than}", "p"))]]
    for pruner, names in named.items():
        if not ends.keys() & names.values():  # it was not run at this sparsity
            continue
        told = []
        for start, than in steps:
            it = brings.get((names.get(start, ""), names.get(than, "")))
            if it:
                p = sure_text(it.p, it.improvement.pairs, most)
                told += [difference_text(scale * it.mean, ends[it.pruner], ends[it.other]), p]
            else:
                told += [MISSING] * 2
        lines.append([pruner, *(counted_text(ends.get(names.get(start, "")), most) for start in run), *told])
    dense = ", ".join(counted_text(ends[pruner], most) for pruner in one.cutting("nothing") if pruner in ends)
    about = f"{one.title}, {percent(sparsity)} removed, {one.heading_of(metric)}{f'; dense {dense}' if dense else ''}"
    return f"**{about}**\n\n{markdown(lines)}"


def figure(found: Sequence[Panel]) -> "Figure":
    """Return a panel a task and sparsity: each pruner's starts as points with their intervals, dense as a line.

    Four panels stand side by side; more have a line a task. Those of a task have one scale.
    """
    rows = list(dict.fromkeys(name for one, *_ in found for name in compared(one)))
    begun = {start for one, *_ in found for starts in compared(one).values() for start in starts}
    colours = {start: colour for start, colour in STARTS.items() if start in begun}
    wrapped = [list(some) for _, some in groupby(found, key=lambda panel: panel[0].stem)] if len(found) > 4 else [found]
    columns = max(map(len, wrapped))
    with draw.print_style():
        drawn, lines = draw.grid(
            len(wrapped),
            columns,
            0.24 * len(rows),
            left=1.0,
            right=0.1,
            above=0.62,
            below=0.72,
            gap=0.18,
            between=0.5,
        )
        panels = []
        for line, some in zip(lines, wrapped, strict=True):
            panels += line[: len(some)]
            for panel in line[len(some) :]:
                panel.set_visible(False)
        for panel, (one, sparsity, metric) in zip(panels, found, strict=True):
            ends, named = one.shown(sparsity, metric), compared(one)
            for place, pruner in enumerate(rows):
                panel.axhspan(place - 0.5, place + 0.5, color=draw.FAINT, alpha=0.5 * (place % 2), linewidth=0)
                for step, (start, colour) in enumerate(colours.items()):
                    if (end := ends.get(named.get(pruner, {}).get(start, ""))) is not None:
                        height = place + (step - (len(colours) - 1) / 2) * min(0.2, 0.8 / len(colours))
                        panel.plot(end.interval or (end.iqm, end.iqm), [height, height], color=colour, linewidth=1.0)
                        panel.plot([end.iqm], [height], "o", color=colour, markersize=2.6)
            for pruner in ends.keys() & {*one.cutting("nothing")}:
                panel.axvline(ends[pruner].iqm, color=draw.INK, linewidth=0.8)
            panel.set(ylim=(len(rows) - 0.5, -0.5), yticks=range(len(rows)), title=f"{one.task_title}, {percent(sparsity)}")
            panel.set_yticklabels(rows if any(panel is line[0] for line in lines) else [])
            panel.tick_params(axis="y", length=0)
        for stem in {one.stem for one, *_ in found}:  # sparsities of a task are compared by eye
            alike = [panel for panel, (one, *_) in zip(panels, found, strict=True) if one.stem == stem]
            low, high = zip(*(panel.get_xlim() for panel in alike), strict=True)
            for panel in alike:
                panel.set_xlim(min(low), max(high))
        seeds = count_of(seed_range(curve for one, *_ in found for curve in one.chart.curves))
        draw.headline(
            drawn, "Where training starts", f"{seeds}; interquartile means with 95 % stratified bootstrap intervals; line: dense"
        )
        words = "; ".join(dict.fromkeys(one.heading_of(metric) for one, _, metric in found))
        drawn.text(0.5 + 0.45 / draw.WIDTH, 0.36 / drawn.get_figheight(), words, ha="center", fontsize=draw.NORMAL)
        handles = [panels[0].plot([], [], "o-", color=colour, markersize=2.6)[0] for colour in colours.values()]
        drawn.legend(handles, list(colours), loc="lower center", ncols=len(colours))
    return drawn


def main() -> None:
    """Read runs, print tables, draw ``starts.{png,svg,pdf}``."""
    parser = argparse.ArgumentParser(description="what starts make of each pruner")
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs of suite start")
    parser.add_argument("--to", type=Path, help="folder to draw starts.{png,svg,pdf} into")
    parser.add_argument("--metric", help="a measure of the task; left out, return_sampled of agents, and else the task's metric")
    parser.add_argument(
        "--summary", action="store_true", help="print one table: how many pruners each start is surely better for"
    )
    given = parser.parse_args()
    found = [
        (one, sparsity, given.metric or measure_of(one, [sparsity]))
        for one in read(given.results)
        if compared(one)
        for sparsity in one.sparsities
    ]
    if not found:
        raise ValueError("no pruner here has variants by where training starts")
    if not (found := [panel for panel in found if panel[0].values(*panel[1:])]):
        raise ValueError(f"no finished cell has {given.metric or 'a metric'}")
    print(summary(found) if given.summary else "\n\n".join(table(*panel) for panel in found))
    if given.to:
        file = place(given.to, "starts.png")
        draw.save(figure(found), given.to, "starts")
        print(f"\n{file}")


if __name__ == "__main__":
    sys.exit(ended(main))
