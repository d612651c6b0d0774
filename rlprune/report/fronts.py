"""What is worth its cost: fronts of the metric against MACs, latency, energy and memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from rlprune.costs.measures import MEASURES, Measure
from rlprune.report.curves import Comparison, count_of, order, percent
from rlprune.report.draw import (
    FAINT,
    GREY,
    INK,
    LINE,
    NORMAL,
    SMALL,
    fitted,
    grid,
    headline,
    legend,
    legend_height,
    made_logarithmic,
    print_style,
    size_of,
    space_ticks,
    text_width,
    tick,
    wear,
)
from rlprune.report.figures import trains_longer
from rlprune.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COSTS = (("macs",), ("macs_nonzero",), ("latency_seconds",), ("energy_joules",), ("memory_peak_bytes", "memory_static_bytes"))
"""What a panel is drawn against: the first of each that was measured."""

GAP = 0.3  # inches between panels
MARK = 3.0  # points from the middle of a mark to its edge
STAR = {"marker": "*", "markersize": 7}
"""How dense is marked."""


@dataclass(frozen=True)
class Deal:
    """A pruner at one sparsity, 0 for dense: what it costs, mean and as shown, and what it earns.

    ``best`` says that no other is at least as good and as cheap, and better in one of both; costs that agree to two digits
    and metrics that agree to three are alike.
    """

    pruner: str
    sparsity: float
    cost: float
    earned: Estimate
    best: bool = False


def drawn_against(comparison: Comparison) -> list[Measure]:
    """Return the costs that can be drawn: each was measured of several pruners, and not alike."""
    found = []
    for names in COSTS:
        measured = [MEASURES[name] for name in names if len({one.cost for one in _offered(comparison, MEASURES[name])}) > 1]
        found += measured[:1]
    return found


def deals(comparison: Comparison, cost: Measure) -> list[Deal]:
    """Return what every pruner offers at every sparsity, the cheapest first, and which of it is on the front."""
    offered, sign = _offered(comparison, cost), comparison.metric.sign
    places = [(-float(f"{one.cost:.2g}"), sign * float(f"{one.earned.iqm:.3g}")) for one in offered]

    def beaten(mine: tuple[float, float]) -> bool:
        return any(other != mine and other[0] >= mine[0] and other[1] >= mine[1] for other in set(places))

    found = [replace(one, best=not beaten(place)) for one, place in zip(offered, places, strict=True)]
    return sorted(found, key=lambda one: (one.cost, -sign * one.earned.iqm))


def _offered(comparison: Comparison, cost: Measure) -> list[Deal]:
    found: dict[tuple[str, float], Deal] = {}
    for sparsity in comparison.sparsities:
        earned = comparison.estimates(sparsity, comparison.metric.name)
        for pruner, values in comparison.values(sparsity, cost.name).items():
            at = 0.0 if comparison.cut(pruner) == "nothing" else sparsity
            if pruner in earned and (pruner, at) not in found:
                found[pruner, at] = Deal(pruner, at, float(np.mean(values)) * cost.scale, earned[pruner])
    return list(found.values())


@print_style()
def front_figure(comparison: Comparison, costs: Sequence[Measure]) -> "Figure":
    """Draw the metric against costs, a panel each: dense and what is on the front in their looks, the rest grey."""
    from matplotlib.lines import Line2D

    fronts = {cost: deals(comparison, cost) for cost in costs}
    best = {one.pruner: comparison.cut(one.pruner) for found in fronts.values() for one in found if one.best or not one.sparsity}
    columns = min(len(costs), 2 if len(costs) in (2, 4) else 3)
    figure, panels = grid(
        ceil(len(costs) / columns),
        columns,
        1.7,
        right=0.2,
        above=0.45,
        below=0.55 + legend_height(best),
        gap=GAP,
        between=0.55,
        sharey="all",
    )
    everywhere = [axes for line in panels for axes in line]
    for axes in everywhere[len(costs) :]:
        axes.remove()
    for axes, (cost, found) in zip(everywhere, fronts.items(), strict=False):
        _draw_front(axes, comparison, found)
        axes.set_xlabel(cost.heading, fontsize=SMALL)
    lower = ", lower is better" if comparison.metric.better == "lower" else ""
    for line in panels:
        line[0].set_ylabel(fitted(comparison.metric.heading + lower, 1.9, NORMAL))
    bars = "bars: 95 % intervals" if comparison.seeds[1] > 1 else "single values"
    told = f"{count_of(comparison.seeds)}; lines: what nothing else beats in both; {bars}; grey: beaten by some other"
    headline(figure, comparison.title, told + trains_longer(comparison.longer))
    for axes, found in zip(everywhere, fronts.values(), strict=False):
        _name_deals(axes, found)
    legend(figure, best, comparison.looks)
    for handle, name in zip(figure.legends[0].legend_handles, sorted(best, key=order), strict=True):
        if isinstance(handle, Line2D):
            handle.set_linestyle("none")
            handle.set(**STAR if best[name] == "nothing" else {})
    return figure


def _draw_front(axes: "Axes", comparison: Comparison, found: Sequence[Deal]) -> None:
    costs = [one.cost for one in found]
    if not made_logarithmic(axes, costs):
        axes.locator_params(axis="x", nbins=4)
        axes.xaxis.set_major_formatter(lambda value, _: tick(value, max(costs)))
    beaten = [one for one in found if not one.best and one.sparsity]
    places = [one.cost for one in beaten], [one.earned.iqm for one in beaten]
    axes.plot(*places, ".", color=GREY, alpha=0.8, markersize=6, markeredgewidth=0, zorder=2)
    front = [one for one in found if one.best]
    axes.plot([one.cost for one in front], [one.earned.iqm for one in front], color=INK, linewidth=0.7, drawstyle="steps-post")
    for one in [*front, *(one for one in found if not one.sparsity)]:
        look = comparison.looks[one.pruner]
        if one.earned.interval:
            axes.vlines(one.cost, *one.earned.interval, color=look.colour, alpha=0.6, linewidth=1.0, zorder=3)
        (marker,) = axes.plot([one.cost], [one.earned.iqm], label=one.pruner, zorder=4)
        wear(marker, look)
        if not one.sparsity:
            marker.set(**STAR)
    axes.margins(x=0.12, y=0.1)
    axes.grid(color=FAINT, linewidth=0.5)
    space_ticks(axes, GAP)


def _name_deals(axes: "Axes", found: Sequence[Deal]) -> None:
    """Write dense and the sparsities on the front beside their marks, where that covers no mark, no name and no line.

    What has no such place, or stands at that cost already, is not written: the looks tell it.
    """
    from matplotlib.transforms import Bbox

    width, height = (72 * side for side in size_of(axes))
    places = {one: (axes.transData - axes.transAxes).transform((one.cost, one.earned.iqm)) * (width, height) for one in found}
    taken = [Bbox([place - MARK, place + MARK]) for place in places.values()]
    for (x, y), (after, higher) in pairwise(places[one] for one in found if one.best):
        taken += [Bbox([[x, y], [after, y]]).padded(2), Bbox([[after, y], [after, higher]]).padded(2)]
    written = set[tuple[str, float]]()
    for one in sorted((one for one in found if one.best or not one.sparsity), key=lambda one: one.sparsity > 0):
        text = percent(one.sparsity) if one.sparsity else one.pruner
        x, y = places[one]
        length = 72 * text_width(text)
        right, left, middle = x + 5, x - 5 - length, x - length / 2
        heights = [y - SMALL / 3, y - 3 - SMALL, y + 3, y - 2.6 * SMALL, y + 1.6 * SMALL]
        corners = [(side, height) for height in heights for side in (right, left)] + [(middle, y + 4), (middle, y - 4 - SMALL)]
        boxes = [Bbox.from_bounds(*corner, length, SMALL) for corner in corners]
        inside = [it for it in boxes if it.x0 >= 0 and it.x1 <= width + 72 * GAP / 2 and it.y0 >= 0 and it.y1 <= height + LINE]
        free = [it for it in inside if not any(it.overlaps(other) for other in taken)]
        if free and (text, float(f"{one.cost:.2g}")) not in written:
            axes.annotate(text, (free[0].x0, free[0].y0), xycoords="axes points", va="baseline", fontsize=SMALL, zorder=5)
            taken.append(free[0])
            written.add((text, float(f"{one.cost:.2g}")))
