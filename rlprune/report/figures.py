"""The figures of a report: metric against sparsity, learning curves, performance profiles, layers, costs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import ceil, log10
from typing import TYPE_CHECKING, Any

import numpy as np

from rlprune.costs.measures import CATALOGUE, Measure
from rlprune.report.curves import (
    NETWORKS,
    Chart,
    Comparison,
    Curve,
    LayerShares,
    LearningCurve,
    Style,
    base,
    count_of,
    looks_of,
    order,
    percent,
    profiles,
    seed_range,
    span_of,
)
from rlprune.report.draw import (
    ALARM,
    FAINT,
    GREY,
    INK,
    LINE,
    NORMAL,
    SMALL,
    WIDTH,
    fitted,
    grid,
    headline,
    legend,
    legend_columns,
    legend_height,
    made_logarithmic,
    name_beside,
    plain_ticks,
    print_style,
    size_of,
    space_ticks,
    spread_out,
    text_width,
    uncrowded,
    wear,
)
from rlprune.stats import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDEST_NAMES = 3.2  # inches that names may take beside panels
TALLEST_TITLE = 2.8  # inches along an upright axis
TINY = 5.5  # points, of names among lines
CROWD = 20  # more lines than two panels can show
ABREAST = 3  # tasks in one figure
BESIDE = 15.0  # points that the seeds of all pruners take beside each other
ALONE = 0.1  # left and right of a sparsity that is alone, in decades of how many times smaller the network is
ITSELF = "default"  # a pruner among its variants
VARIANTS = (  # colours of Okabe and Ito, and of Tol
    ("#332288", "o"),
    ("#D55E00", "s"),
    ("#0072B2", "^"),
    ("#E69F00", "D"),
    ("#117733", "v"),
    ("#CC6677", "P"),
    ("#5AAFE0", "X"),
    ("#777777", "h"),
)
DOTTED: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (1, 1.2))}
THIN: dict[str, Any] = {**DOTTED, "linewidth": 0.5}
PANELS = {"channels": "structured (channels)", "weights": "unstructured (weights)"}

# -- metric against sparsity -------------------------------------------------------------------------------------


@print_style()
def sparsity_figure(charts: Sequence[Chart]) -> "Figure":
    """Draw the metric against sparsity: interquartile means as lines, 95 % intervals as bands, dense as a level across.

    One chart puts channel and weight pruners side by side, each line named at its end where the names fit; where these
    are many variants of a few pruners, each pruner has a panel. Several charts are columns, with channel pruners above
    weight pruners and one legend below.

    Raises:
        ValueError: no chart has a pruner that removes anything.
    """
    cuts = [cut for cut in PANELS if any(curve.cut == cut for one in charts for curve in one.curves)]
    if not cuts:
        raise ValueError("there is no curve to draw: no pruner removed anything")
    if len(charts) > 1:
        return _columns(charts, cuts)
    variants = _variants(charts[0])
    return _by_pruner(charts[0], variants) if variants else _side_by_side(charts[0], cuts)


def crowded(one: Chart) -> bool:
    """Return whether a chart has more lines than two panels can show beside those of other tasks."""
    return len(one.curves) > CROWD


def together(charts: Sequence[Chart]) -> list[list[Chart]]:
    """Divide charts among figures: three side by side in their order, and each that is crowded alone, after them."""
    others = [one for one in charts if not crowded(one)]
    rows = [others[start : start + ABREAST] for start in range(0, len(others), ABREAST)]
    return [*rows, *([one] for one in charts if crowded(one))]


def _side_by_side(one: Chart, cuts: Sequence[str]) -> "Figure":
    height = 2.45
    shown = [[curve for curve in one.curves if curve.cut in (cut, "nothing")] for cut in cuts]
    names = {curve.pruner: curve.cut for curve in one.curves}
    gutter = max(map(text_width, names)) + 0.28
    direct = max(map(len, shown)) * LINE <= height * 72 and gutter * len(cuts) <= WIDEST_NAMES
    gutter = gutter if direct else 0.15
    below = 0.42 if direct else 0.5 + legend_height(names)
    figure, panels = grid(1, len(cuts), height, right=gutter, gap=gutter, below=below, sharey="row")
    own = looks_of(names)
    for axes, cut, curves in zip(panels[0], cuts, shown, strict=True):
        _draw_panel(axes, one, cut, own)
        axes.set_title(PANELS[cut])
        axes.set_xlabel("share of weights removed")
        if direct:
            _name_lines(axes, one, curves, own)
    panels[0][0].set_ylabel(_axis_title(one))
    beyond = [_mark_cut(axes, one, cut, own) for axes, cut in zip(panels[0], cuts, strict=True)]
    headline(figure, one.title, _note_of([one], cut=any(beyond)))
    if not direct:
        legend(figure, names, own)
    return figure


def _variants(one: Chart) -> dict[str, dict[str, Curve]]:
    """Return pruner to what tells a variant from the others to its curve, where there are too many curves for two panels.

    Pruners of channels come first.
    """
    found: dict[str, dict[str, Curve]] = {}
    for curve in sorted(one.curves, key=lambda curve: curve.cut != "channels"):
        if curve.cut != "nothing":
            pruner = base(curve.pruner)
            found.setdefault(pruner, {})[curve.pruner[len(pruner) :].strip(" ,") or ITSELF] = curve
    names = {name for curves in found.values() for name in curves}
    many = sum(map(len, found.values())) > CROWD
    most = 2 * sum(len(curves) > 1 for curves in found.values()) > len(found)
    return found if many and (most or ITSELF not in names) and len(names) <= len(VARIANTS) else {}


def _by_pruner(one: Chart, variants: Mapping[str, Mapping[str, Curve]]) -> "Figure":
    levels = [curve for curve in one.curves if curve.cut == "nothing"]
    looks = _looks_of_variants(variants)
    figure, everywhere = _panel_a_pruner(list(variants), looks, [level.pruner for level in levels], "share of weights removed")
    beyond = False
    for axes, curves in zip(everywhere, variants.values(), strict=True):
        cut = next(iter(curves.values())).cut
        own = {level.pruner: Style(INK, "", solid=True) for level in levels}
        own |= {curve.pruner: replace(looks[name], solid=cut != "weights") for name, curve in curves.items()}
        panel = replace(one, curves=(*levels, *curves.values()), axis=tuple(one.sparsities))
        _draw_panel(axes, panel, cut, own, _limits(one.curves, [each.value for each in one.printed]))
        beyond |= _mark_cut(axes, panel, cut, own)
    figure.supylabel(fitted(_axis_title(one), figure.get_figheight() - 0.2, NORMAL), fontsize=NORMAL, x=0.01)
    headline(figure, one.title, _note_of([one], cut=beyond))
    return figure


def _looks_of_variants(variants: Mapping[str, Mapping[str, Curve]]) -> dict[str, Style]:
    """Return the look of what tells variants of a pruner from each other, the same for all pruners."""
    names = dict.fromkeys(name for some in variants.values() for name in some)
    return {name: Style(*look, solid=True) for name, look in zip(names, VARIANTS, strict=False)}


def _panel_a_pruner(
    pruners: Sequence[str], looks: Mapping[str, Style], levels: Sequence[str], along: str
) -> tuple["Figure", list["Axes"]]:
    """Return a figure with a panel a pruner, a name of what lies along them and a legend, and the panels."""
    from matplotlib.lines import Line2D

    columns, named = min(4, len(pruners)), legend_height([*looks, *levels])
    figure, panels = grid(
        ceil(len(pruners) / columns), columns, 1.1, right=0.18, gap=0.26, below=0.48 + named, between=0.4, sharey="all"
    )
    everywhere = [axes for line in panels for axes in line]
    for axes in everywhere[len(pruners) :]:
        axes.remove()
    for axes, pruner in zip(everywhere, pruners, strict=False):
        axes.set_title(fitted(pruner, size_of(axes)[0]), fontsize=SMALL, pad=2.5)
    handles = {name: Line2D([], [], color=look.colour, marker=look.marker) for name, look in looks.items()}
    handles |= {level: Line2D([], [], color=INK) for level in levels}
    figure.legend(
        handles.values(), handles, loc="lower center", ncols=legend_columns(handles), handlelength=2.6, columnspacing=1.2
    )
    _along(figure, along, named)
    return figure, everywhere[: len(pruners)]


def _along(figure: "Figure", words: str, named: float) -> None:
    """Write below all panels what lies along them, above a legend of so many inches."""
    figure.supxlabel(words, fontsize=NORMAL, y=(0.1 + named) / figure.get_figheight())


def _columns(charts: Sequence[Chart], cuts: Sequence[str]) -> "Figure":
    curves = [curve for one in charts for curve in one.curves]
    names = {curve.pruner: curve.cut for curve in curves}
    own = looks_of(names)
    below = 0.5 + legend_height(names)
    width = (WIDTH - 0.82) / len(charts)
    titles = [_lines(one.title, width) for one in charts]
    above = 0.34 + 0.12 * max(title.count("\n") + 1 for title in titles)
    figure, panels = grid(len(cuts), len(charts), 1.6, left=0.72, right=0.1, gap=0.42, above=above, below=below, sharey="col")
    beyond = False
    for cut, line in zip(cuts, panels, strict=True):
        for axes, one, title in zip(line, charts, titles, strict=True):
            _draw_panel(axes, one, cut, own)
            beyond |= _mark_cut(axes, one, cut, own)
            axes.set_title(title if cut == cuts[0] else "", fontweight="bold")
            axes.set_xlabel("share of weights removed" if cut == cuts[-1] else "")
            axes.set_ylabel("" if one.metric.heading == charts[0].metric.heading else _axis_title(one))
        line[0].set_ylabel(f"{PANELS[cut]}\n{_axis_title(charts[0])}")
    headline(figure, "", _note_of(charts, cut=beyond))
    legend(figure, names, own)
    return figure


def _lines(title: str, inches: float) -> str:
    """Return a title in as many lines as it needs, three at most."""
    lines = [""]
    for word in title.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, NORMAL + 1) <= inches or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(fitted(line, inches, NORMAL + 1) for line in [*lines[:2], " ".join(lines[2:])] if line)


def _draw_panel(
    axes: "Axes", one: Chart, cut: str, looks: Mapping[str, Style], limits: tuple[float, float] | None = None
) -> None:
    axes.set_autoscale_on(False)  # it would ask all panels at every line
    for curve in one.curves:
        if curve.cut == "nothing":
            _draw_level(axes, curve, looks[curve.pruner])
        elif curve.cut == cut:
            _draw_curve(axes, one, curve, looks[curve.pruner])
        _draw_printed(axes, one, curve, cut, looks)
    mine = [curve for curve in one.curves if curve.cut == cut]
    sparsities = one.sparsities
    for place, curve in enumerate(mine):
        aside = (place + 0.5) / len(mine) - 0.5 if len(sparsities) > 1 else -0.3
        _draw_seeds(axes, one, curve, looks[curve.pruner], aside * BESIDE)
    places = [_position(sparsity) for sparsity in sparsities]
    room = 0.63 * BESIDE / 72  # inches left and right of the ends, for seeds
    margin = (places[-1] - places[0]) * room / (size_of(axes)[0] - 2 * room) or ALONE
    axes.set_xlim(places[0] - margin, places[-1] + margin)
    inch = size_of(axes)[0] / (places[-1] - places[0] + 2 * margin)
    axes.set_xticks(places, uncrowded([percent(sparsity) for sparsity in sparsities], [inch * place for place in places]))
    limits = limits or _limits(one.curves, [each.value for each in one.printed])
    if axes.get_ylim() != limits:
        axes.set_ylim(*limits)
    _name_printed(axes, one, cut)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)


def _draw_printed(axes: "Axes", one: Chart, curve: Curve, cut: str, looks: Mapping[str, Style]) -> None:
    """Put what the paper prints of a pruner beside it, hollow and grey."""
    own = [each for each in one.printed if each.pruner.casefold() == curve.pruner.casefold()]
    if curve.cut == "nothing":
        for each in own:
            axes.axhline(each.value, color=GREY, zorder=2, label=f"{curve.pruner}, printed", **DOTTED)
    elif curve.cut == cut:
        there = {point.sparsity: (at, point) for at, point in zip(_places(one, curve), curve.points, strict=True)}
        for each in (each for each in own if each.sparsity in there):
            at, point = there[each.sparsity]
            (mark,) = axes.plot([at], [each.value], looks[curve.pruner].marker, color=GREY, markersize=5.5, zorder=6)
            mark.set(markerfacecolor="none", markeredgewidth=0.8)
            if len(one.sparsities) == 1:
                axes.plot([at, at], [point.estimate.iqm, each.value], color=GREY, zorder=2, **THIN)


def _name_printed(axes: "Axes", one: Chart, cut: str) -> None:
    """Write names left of what the paper prints: families share markers. At a single sparsity, lines tell whose it is."""
    from matplotlib.patheffects import withStroke

    low, high = axes.get_ylim()
    height = 72 * size_of(axes)[1]
    shown = {curve.pruner.casefold(): {point.sparsity for point in curve.points} for curve in one.curves if curve.cut == cut}
    for sparsity in sorted({each.sparsity for each in one.printed}) if len(one.sparsities) > 1 else []:
        own = [each for each in one.printed if each.sparsity == sparsity in shown.get(each.pruner.casefold(), ())]
        own.sort(key=lambda each: (each.value, order(each.pruner)))
        wanted = [(each.value - low) / (high - low) * height for each in own]
        for each, at in zip(own, spread_out(wanted, TINY, 0.0, height), strict=True):
            axes.annotate(
                each.pruner,
                xy=(_position(sparsity), each.value),
                xytext=(-6, at - (each.value - low) / (high - low) * height),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=TINY,
                color=INK,
                zorder=7,
                path_effects=[withStroke(linewidth=1.6, foreground="white")],
            )


def _draw_level(axes: "Axes", curve: Curve, look: Style) -> None:
    level, colour = curve.points[0].estimate, look.colour
    axes.axhline(level.iqm, color=colour, linewidth=1.0, zorder=2, label=curve.pruner)
    if level.interval:
        axes.axhspan(*level.interval, color=colour, alpha=0.12, linewidth=0, zorder=1)


def _draw_curve(axes: "Axes", one: Chart, curve: Curve, look: Style) -> None:
    places = _places(one, curve)
    (line,) = axes.plot(places, [point.estimate.iqm for point in curve.points], label=curve.pruner, zorder=4)
    wear(line, look)
    colour = look.colour
    held = [(at, *point.estimate.interval) for at, point in zip(places, curve.points, strict=True) if point.estimate.interval]
    if len(held) > 1:
        at, low, high = zip(*held, strict=True)
        axes.fill_between(at, low, high, color=colour, alpha=0.10, linewidth=0, zorder=3)
    else:
        for place, bottom, top in held:
            axes.vlines(place, bottom, top, color=colour, alpha=0.5, linewidth=1.0, zorder=3)


def _draw_seeds(axes: "Axes", one: Chart, curve: Curve, look: Style, aside: float) -> None:
    """Draw every seed as a faint point, some points aside so that pruners do not hide each other's."""
    from matplotlib.transforms import offset_copy

    placed = zip(_places(one, curve), curve.points, strict=True)
    if seeds := [(at, value) for at, point in placed for value in point.values if len(point.values) > 1]:
        moved = offset_copy(axes.transData, axes.get_figure(root=True), aside, units="points")
        faint: dict[str, Any] = {"alpha": 0.4, "markersize": 3.2, "markeredgewidth": 0, "zorder": 2.5}
        axes.plot(*zip(*seeds, strict=True), ".", color=look.colour, transform=moved, **faint)


def _mark_cut(axes: "Axes", one: Chart, cut: str, looks: Mapping[str, Style]) -> bool:
    """Put a triangle at the panel's edge wherever an interval, or a seed, lies beyond it; return whether any does."""
    low, high = axes.get_ylim()
    found = False
    for curve in (curve for curve in one.curves if curve.cut in (cut, "nothing")):
        places = [axes.get_xlim()[0]] if curve.cut == "nothing" else _places(one, curve)
        for at, point in zip(places, curve.points, strict=True):
            reaches = [*(point.estimate.interval or ()), *(point.values if curve.cut != "nothing" else ())]
            bottom, top = min(reaches, default=low), max(reaches, default=high)
            for edge in [end for end, beyond in ((low, bottom < low), (high, top > high)) if beyond]:
                marker = "v" if edge == low else "^"
                colour = looks[curve.pruner].colour
                axes.scatter([at], [edge], s=9, marker=marker, color=colour, clip_on=False, zorder=5)
                found = True
    return found


def _position(sparsity: float) -> float:
    """Return where a sparsity lies on the axis: evenly by how many times smaller the network is."""
    return -log10(1 - sparsity)


def _places(one: Chart, curve: Curve) -> list[float]:
    """Return where a pruner's points lie on the axis; at a sparsity that is alone they lie side by side.

    There the higher lies farther right, so that no line from a point to its name crosses another point; variants of one
    pruner have panels of their own and stay in order.
    """
    if len(one.sparsities) > 1:
        return [_position(point.sparsity) for point in curve.points]
    mine = [each for each in one.curves if each.cut == curve.cut]
    if len({base(each.pruner) for each in mine}) > 1:
        mine.sort(key=lambda each: (each.points[0].estimate.iqm, order(each.pruner)))
    aside = 1.7 * ALONE * ((mine.index(curve) + 0.5) / len(mine) - 0.5)
    return [_position(point.sparsity) + aside for point in curve.points]


def _limits(curves: Sequence[Curve], printed: Sequence[float] = ()) -> tuple[float, float]:
    """Return limits that hold every line and what is printed, and of intervals as much as leaves the lines a third of it."""
    lines = [*printed, *(point.estimate.iqm for curve in curves for point in curve.points)]
    ends = [end for curve in curves for point in curve.points for end in point.estimate.interval or ()]
    low, high = min(lines), max(lines)
    beyond = high - low or 0.05 * abs(high) or 1.0
    low, high = max(min([low, *ends]), low - beyond), min(max([high, *ends]), high + beyond)
    margin = 0.04 * (high - low) or beyond
    return low - margin, high + margin


def _name_lines(axes: "Axes", one: Chart, curves: Sequence[Curve], looks: Mapping[str, Style]) -> None:
    """Write each curve's name right of the panel, as near its end's height as the other names allow."""
    ends = {curve.pruner: curve.points[-1].estimate.iqm for curve in curves}
    ordered = sorted(curves, key=lambda curve: (ends[curve.pruner], order(curve.pruner)))
    edge = axes.get_xlim()[1]
    places = {it.pruner: (edge if it.cut == "nothing" else _places(one, it)[-1], ends[it.pruner]) for it in ordered}
    name_beside(axes, places, {pruner: looks[pruner].colour for pruner in places}, away=12, short=2.5)


def _axis_title(one: Chart) -> str:
    lower = ", lower is better" if one.metric.better == "lower" else ""
    return fitted(f"{one.metric.heading}{lower}", TALLEST_TITLE, NORMAL)


def _note(seeds: tuple[int, int], *, dots: bool = False, alone: bool = False) -> str:
    if seeds[1] < 2:
        return "1 seed: single values, no intervals"
    drawn, marks, spans = " (dots)" if dots else "", *(("marks", "bars") if alone else ("lines", "bands"))
    return f"{count_of(seeds)}{drawn}; {marks}: interquartile means; {spans}: 95 % stratified bootstrap intervals"


def _note_of(charts: Sequence[Chart], *, cut: bool) -> str:
    """Return what is said of the metric against sparsity; ``cut``: some interval, or seed, lies beyond a panel."""
    curves = [curve for one in charts for curve in one.curves]
    dots = any(len(point.values) > 1 for curve in curves for point in curve.points if curve.cut != "nothing")
    note = _note(seed_range(curves), dots=dots, alone=all(len(one.sparsities) == 1 for one in charts))
    return note + ("; triangles at the edge: bands or seeds beyond it" if cut else "") + _aside(charts)


def trains_longer(longer: Mapping[str, float]) -> str:
    """Return what a note adds about pruners that train longer than the others, say LTR: their points cost more."""
    times = list(dict.fromkeys(f"{each:.2g}" for each in longer.values()))
    return f"; {', '.join(longer)}: {' or '.join(times)} times the training" if longer else ""


def _aside(charts: Sequence[Chart]) -> str:
    """Return which lines train longer than the others, and which marks are the paper's."""
    shown = {curve.pruner for one in charts for curve in one.curves}
    longer = {pruner: times for one in charts for pruner, times in one.longer.items() if pruner in shown}
    return trains_longer(longer) + ("; grey: printed in the paper" if any(one.printed for one in charts) else "")


# -- learning curves ---------------------------------------------------------------------------------------------


@print_style()
def learning_figure(comparison: Comparison, curves: Sequence[LearningCurve]) -> "Figure":
    """Draw learning curves, one panel a pruner, darker for sparser, dense in black dots in all of them.

    Panels share the scales; a pruner that trains far longer than usual (rewinding) gets its own horizontal one, and says so.
    A triangle on a curve is the moment of its last cut.
    """
    dense = [curve for curve in curves if curve.sparsity == 0]
    pruners = list(dict.fromkeys(curve.pruner for curve in curves if curve.sparsity > 0)) or [curve.pruner for curve in dense]
    colours = {0.0: INK} | _shades(sorted({curve.sparsity for curve in curves if curve.sparsity > 0}))
    horizons = _horizons(comparison, curves, pruners)
    columns = min(4, len(pruners))
    rows = ceil(len(pruners) / columns)
    gap, shades = 0.28, _named_shades(colours, dense)
    named = legend_height(shades)
    figure, panels = grid(rows, columns, 0.98, right=0.12, gap=gap, below=0.48 + named, between=0.36, sharey="all")
    everywhere = [axes for line in panels for axes in line]
    everywhere[0].set_ylim(*_span(curves))
    plain_ticks(everywhere[0].yaxis, 4)
    cut = False
    for axes, pruner in zip(everywhere, pruners, strict=False):
        axes.set_autoscale_on(False)
        for curve in [*dense, *(curve for curve in curves if curve.pruner == pruner and curve.sparsity > 0)]:
            _draw_learning(axes, curve, colours[curve.sparsity])
            cut |= _mark_moment(axes, curve, colours[curve.sparsity])
        title, length = horizons[pruner]
        axes.set_xlim(0, length)
        axes.set_title(fitted(title, size_of(axes)[0] + 0.1), fontsize=SMALL, pad=2.5)
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        plain_ticks(axes.xaxis, 3, whole=comparison.unit != "steps")
        space_ticks(axes, gap)
    for axes in everywhere[len(pruners) :]:
        axes.remove()
    _along(figure, _trained(comparison), named)
    figure.supylabel(fitted(comparison.curve.heading, figure.get_figheight() - 0.2, NORMAL), fontsize=NORMAL, x=0.01)
    moments = "; triangles: the last cut (median)" if cut else ""
    headline(figure, comparison.title, _note(span_of(curve.seeds for curve in curves)) + moments)
    figure.legend(shades.values(), shades, loc="lower center", ncols=legend_columns(shades), handlelength=1.6)
    return figure


def _trained(comparison: Comparison) -> str:
    return "environment steps" if comparison.unit == "steps" else "epochs trained"


def _horizons(
    comparison: Comparison, curves: Sequence[LearningCurve], pruners: Sequence[str]
) -> dict[str, tuple[str, float | None]]:
    """Return pruner to what its panel is called and where its axis ends: one that trains far longer than usual says so."""
    ends = {pruner: end for end, pruner in sorted((float(curve.samples[-1]), curve.pruner) for curve in curves)}
    shared = max((end for pruner, end in ends.items() if pruner not in comparison.longer), default=0.0)
    told = {pruner: f"{pruner} (trains {times:.2g} times as long)" for pruner, times in comparison.longer.items()}
    return {pruner: (told[pruner], ends[pruner]) if pruner in told else (pruner, shared or None) for pruner in pruners}


def _shades(sparsities: Sequence[float]) -> dict[float, str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    shades = colormaps["viridis_r"](np.linspace(0.42, 0.95, len(sparsities)))  # paler ones are lost on white
    return {sparsity: to_hex(shade) for sparsity, shade in zip(sparsities, shades, strict=True)}


def _draw_learning(axes: "Axes", curve: LearningCurve, colour: str) -> None:
    look = {"linewidth": 0.9} if curve.sparsity else DOTTED
    axes.plot(curve.samples, curve.iqm, color=colour, label=f"{curve.pruner} {percent(curve.sparsity)}", **look)
    if curve.band is not None:
        low, high = curve.band
        axes.fill_between(curve.samples, low, high, color=colour, alpha=0.15, linewidth=0)


def _mark_moment(axes: "Axes", curve: LearningCurve, colour: str) -> bool:
    """Put a triangle on a curve where its last cut was; return whether it is known."""
    if curve.at_cut is None:
        return False
    axes.scatter(*curve.at_cut, s=16, marker="v", color=colour, edgecolor=INK, linewidth=0.5, clip_on=False, zorder=5)
    return True


def _named_shades(colours: Mapping[float, str], dense: Sequence[LearningCurve]) -> "dict[str, Line2D]":
    """Return what the legend of learning curves names, and its looks."""
    from matplotlib.lines import Line2D

    shades = {percent(sparsity): Line2D([], [], color=colour) for sparsity, colour in colours.items() if sparsity > 0}
    return shades | {curve.pruner: Line2D([], [], color=INK, **DOTTED) for curve in dense}


# -- inside actor and critic -------------------------------------------------------------------------------------


@print_style()
def insides_figure(comparison: Comparison, sparsity: float, inside: Mapping[Measure, Sequence[LearningCurve]]) -> "Figure":
    """Draw what happens inside actor and critic over training: a block a pruner, a panel a quantity, dense as dotted lines.

    Panels of one quantity share their vertical scale.

    Args:
        comparison: whose curves.
        sparsity: of the pruners.
        inside: what ``curves.insides`` found.
    """
    from matplotlib.lines import Line2D

    everything = [curve for curves in inside.values() for curve in curves]
    dense = [curve.pruner for curve in everything if curve.sparsity == 0][:1]
    pruners = list(dict.fromkeys(curve.pruner for curve in everything if curve.sparsity > 0)) or dense
    horizons = _horizons(comparison, everything, pruners)
    quantities = list(dict.fromkeys(map(_quantity, inside)))
    across = min(max(1, 6 // len(quantities)), len(pruners))
    columns, gap = across * len(quantities), 0.32
    figure, panels = grid(
        ceil(len(pruners) / across), columns, 0.62, left=0.38, right=0.12, gap=gap, above=0.74, below=0.62, between=0.34
    )
    everywhere = [axes for line in panels for axes in line]
    drawn = list(zip(everywhere, product(pruners, quantities), strict=False))
    for axes in everywhere[len(drawn) :]:
        axes.remove()
    width = size_of(everywhere[0])[0]
    for axes, (pruner, quantity) in drawn:
        own = [(_colour(one), curve) for one, curves in inside.items() if _quantity(one) == quantity for curve in curves]
        for colour, curve in own:
            if curve.pruner == pruner:
                _draw_learning(axes, curve, colour)
            elif curve.pruner in dense:
                axes.plot(curve.samples, curve.iqm, color=colour, label=curve.pruner, **DOTTED)
        title, length = horizons[pruner]
        if quantity == quantities[0]:
            axes.set_title(fitted(title, len(quantities) * (width + gap) - gap), fontsize=SMALL, pad=2.5)
        axes.set_xlim(0, length)
        axes.set_ylim(*_span([curve for _, curve in own]))
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        plain_ticks(axes.xaxis, 2, whole=comparison.unit != "steps")
        space_ticks(axes, gap)
        plain_ticks(axes.yaxis, 3)
    for (axes, _), (below, _) in zip(drawn, drawn[columns:], strict=False):
        axes.tick_params(labelbottom=axes.get_xlim() != below.get_xlim())
    for axes, (_, quantity) in drawn[:columns]:
        box = axes.get_position()
        above = 0.2 / figure.get_figheight()
        figure.text(box.x0, box.y1 + above, fitted(quantity, width + gap / 2), color=GREY, fontsize=SMALL)
    handles = {_network(one): Line2D([], [], color=_colour(one)) for one in inside}
    for level in {*dense} - {*pruners}:
        handles |= {f"{level}, {_network(one)}": Line2D([], [], color=_colour(one), **DOTTED) for one in inside}
    figure.legend(handles.values(), handles, loc="lower center", ncols=len(handles), handlelength=1.6)
    _along(figure, _trained(comparison), legend_height(handles))
    headline(figure, _where(comparison, sparsity), _note(span_of(curve.seeds for curve in everything)))
    return figure


def _quantity(one: Measure) -> str:
    """Return what a measure is called without the network that it is measured in."""
    title = one.title.rpartition(", ")[0] or one.title
    return f"{title} ({one.unit})" if one.unit else title


def _network(one: Measure) -> str:
    return one.name.rpartition("_")[2]


def _colour(one: Measure) -> str:
    return dict(zip(NETWORKS, ("#0072B2", "#E69F00"), strict=True))[_network(one)]


def _span(curves: Sequence[LearningCurve]) -> tuple[float, float]:
    """Return limits that hold all curves and their bands."""
    values = np.concatenate([part for curve in curves for part in (curve.iqm, *(curve.band if curve.band is not None else ()))])
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


# -- performance profiles ----------------------------------------------------------------------------------------


@print_style()
def profile_figure(comparison: Comparison, sparsity: float) -> "Figure":
    """Draw performance profiles: the share of seeds that end better than each value of the metric."""
    thresholds, shares = profiles(comparison, sparsity)
    variants = _variants(comparison.chart)
    figure = (
        _profiles_by_pruner(comparison, thresholds, shares, variants)
        if variants
        else _profiles_side_by_side(comparison, thresholds, shares)
    )
    headline(figure, _where(comparison, sparsity), count_of(comparison.seeds) + trains_longer(comparison.longer))
    return figure


def _profiles_side_by_side(comparison: Comparison, thresholds: FloatArray, shares: Mapping[str, FloatArray]) -> "Figure":
    cuts = [cut for cut in PANELS if any(comparison.cut(pruner) == cut for pruner in shares)]
    figure, panels = grid(1, len(cuts), 1.9, right=0.12, gap=0.2, below=0.5 + legend_height(shares), sharey="row")
    for axes, cut in zip(panels[0], cuts, strict=True):
        for pruner, share in shares.items():
            if comparison.cut(pruner) in (cut, "nothing"):
                _draw_profile(axes, thresholds, share, pruner, comparison.looks[pruner])
        axes.set_title(PANELS[cut])
        axes.set_xlabel(comparison.metric.heading)
        _dress_profiles(axes, comparison)
    panels[0][0].set_ylabel("share of seeds that end better")
    legend(figure, {pruner: comparison.cut(pruner) for pruner in shares}, comparison.looks)
    return figure


def _profiles_by_pruner(
    comparison: Comparison,
    thresholds: FloatArray,
    shares: Mapping[str, FloatArray],
    variants: Mapping[str, Mapping[str, Curve]],
) -> "Figure":
    found = {pruner: {name: it for name, it in some.items() if it.pruner in shares} for pruner, some in variants.items()}
    found = {pruner: some for pruner, some in found.items() if some}
    drawn = {name for some in found.values() for name in some}
    looks = {name: look for name, look in _looks_of_variants(variants).items() if name in drawn}
    levels = [pruner for pruner in shares if comparison.cut(pruner) == "nothing"]
    figure, everywhere = _panel_a_pruner(list(found), looks, levels, comparison.metric.heading)
    for axes, curves in zip(everywhere, found.values(), strict=True):
        for level in levels:
            _draw_profile(axes, thresholds, shares[level], level, Style(INK, "", solid=True))
        for name, curve in curves.items():
            look = replace(looks[name], solid=curve.cut != "weights")
            _draw_profile(axes, thresholds, shares[curve.pruner], curve.pruner, look)
        _dress_profiles(axes, comparison)
    figure.supylabel("share of seeds that end better", fontsize=NORMAL, x=0.01)
    return figure


def _draw_profile(axes: "Axes", thresholds: FloatArray, share: FloatArray, pruner: str, look: Style) -> None:
    middle = int(np.abs(share - 0.5).argmin())
    (line,) = axes.plot(thresholds, share, label=pruner, drawstyle="steps-post", markevery=[middle])
    wear(line, look)


def _dress_profiles(axes: "Axes", comparison: Comparison) -> None:
    plain_ticks(axes.xaxis, 4)
    axes.set_ylim(-0.02, 1.02)
    if comparison.metric.better == "lower":
        axes.invert_xaxis()
    axes.grid(axis="y", color=FAINT, linewidth=0.5)


def _where(comparison: Comparison, sparsity: float) -> str:
    return f"{comparison.title}, {percent(sparsity)} of weights removed"


# -- layers ------------------------------------------------------------------------------------------------------


@print_style()
def layer_figure(comparison: Comparison, shares: LayerShares) -> "Figure":
    """Draw the share of weights kept a layer as a table of shades; red boxes where a seed left at most one."""
    from matplotlib.colors import LogNorm

    pruners, names = list(shares.kept), short_names(shares.layers)
    few = len(names) <= 12
    widest = max(map(text_width, names))
    left, below = max(map(text_width, pruners)) + 0.12, (0.6 * widest if few else widest) + 0.2
    figure, panels = grid(1, 1, 0.165 * len(pruners), left=left, right=0.7, above=0.42, below=below, gap=0.0)
    axes = panels[0][0]
    kept = 100 * np.array([shares.kept[pruner] for pruner in pruners])
    positive = kept[kept > 0]
    norm = LogNorm(min(1.0, float(positive.min())) if positive.size else 1.0, 100, clip=True)
    image = axes.pcolormesh(np.where(kept > 0, kept, np.nan), cmap="Blues", norm=norm, edgecolors="white", linewidth=0.7)
    for (row, column), share in np.ndenumerate(kept):
        starved = shares.starved[pruners[row]][column]
        if starved:
            _box(axes, row, column, f"≤ 1: {starved}/{shares.seeds[pruners[row]]}" if few else "")
        elif few and np.isfinite(share):
            text = f"{share:#.2g}".rstrip(".") if share < 99.5 else "100"
            colour = "white" if norm(share) > 0.6 else INK
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=SMALL, color=colour)
    labelled = range(0, len(names), ceil(len(names) / 40))
    axes.set_xticks([column + 0.5 for column in labelled], [names[column] for column in labelled])
    if few:
        axes.set_xticklabels(names, rotation=35, ha="right", rotation_mode="anchor")
    else:
        axes.tick_params(axis="x", rotation=90)
    axes.set_yticks([row + 0.5 for row in range(len(pruners))], pruners)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    box = axes.get_position()
    bar = figure.colorbar(image, cax=figure.add_axes((box.x1 + 0.015, box.y0, 0.012, box.height)))
    bar.ax.yaxis.set_major_formatter("{x:g} %")
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)
    counted = count_of(span_of(shares.seeds.values()))
    note = f"share of weights kept in each layer (%), mean over {counted}; red: at most one weight left, in so many seeds"
    headline(figure, _where(comparison, shares.sparsity), note)
    return figure


def _box(axes: "Axes", row: int, column: int, text: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column + 0.03, row + 0.08), 0.94, 0.84, facecolor="white", edgecolor=ALARM, linewidth=0.9))
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=SMALL, color=ALARM)


def short_names(names: Sequence[str]) -> list[str]:
    """Return parameter names without ``.weight`` and without what they do not need to be told apart."""
    parts = [name.removesuffix(".weight").split(".") for name in names]

    def shortest(own: list[str]) -> str:
        named = (n for n in range(1, len(own)) if not ".".join(own[-n:]).replace(".", "").isdigit())  # "0" says nothing
        telling = (n for n in named if sum(other[-n:] == own[-n:] for other in parts) == 1)
        return ".".join(own[-next(telling, len(own)) :])

    return [shortest(own) for own in parts]


# -- costs -------------------------------------------------------------------------------------------------------


@print_style()
def cost_figure(comparison: Comparison, sparsity: float) -> "Figure":
    """Draw what each pruner costs beside what it earns: a row a pruner, a column a measure, dense as a line across."""
    columns = {comparison.measured: _earned(comparison, sparsity)}
    costs = {cost.heading: cost for cost in CATALOGUE if cost.drawn}
    columns |= {heading: _spent(comparison, sparsity, cost) for heading, cost in costs.items()}
    columns = {heading: spreads for heading, spreads in columns.items() if spreads}
    places: dict[str, float] = {}
    for cut in PANELS:
        top = max(places.values(), default=-1.7) + 1.7
        block = [pruner for pruner in comparison.cutting(cut) if comparison.there(pruner, sparsity)]
        places |= {pruner: top + place for place, pruner in enumerate(block)}
    left = max(map(text_width, places)) + 0.15
    height = 0.15 * (max(places.values()) + 1)
    gap = 0.16
    figure, panels = grid(1, len(columns), height, left=left, right=0.15, gap=gap, above=0.54, below=0.56, sharey="all")
    beyond = False
    for axes, (heading, spreads) in zip(panels[0], columns.items(), strict=True):
        for pruner, (low, middle, high) in spreads.items():
            if pruner in places:
                look = comparison.looks[pruner]
                axes.plot([low, high], [places[pruner]] * 2, color=look.colour, linewidth=1.0, zorder=3)
                (marker,) = axes.plot([middle], [places[pruner]], zorder=4, label=pruner)
                wear(marker, look)
            elif comparison.cut(pruner) == "nothing":
                axes.axvline(middle, color=INK, linewidth=0.8, zorder=2)
        axes.margins(x=0.1)
        if heading not in costs or not made_logarithmic(axes, [middle for _, middle, _ in spreads.values()]):
            plain_ticks(axes.xaxis, 3)
        below_zero = [pruner for pruner, (low, _, _) in spreads.items() if pruner in places and low <= 0]
        if axes.get_xscale() == "log" and below_zero:
            edge, beyond = axes.get_xlim()[0], True
            axes.set_xlim(left=edge)
            for pruner in below_zero:
                colour = comparison.looks[pruner].colour
                axes.scatter([edge], [places[pruner]], s=9, marker="<", color=colour, clip_on=False, zorder=5)
        space_ticks(axes, gap)
        if heading in costs:
            axes.set_title(_cells_behind(comparison, sparsity, costs[heading].name), fontsize=SMALL, pad=2)
        axes.set_xlabel(heading.replace(", ", "\n") if ", " in heading else heading.replace(" (", "\n("), fontsize=SMALL)
        axes.set_yticks(list(places.values()), list(places))
        axes.set_ylim(max(places.values()) + 0.7, -0.7)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color=FAINT, linewidth=0.5)
        axes.spines["left"].set_visible(False)
    spread = f"{comparison.measured}: interquartile mean, 95 % interval; costs: mean ± standard deviation of n cells"
    spread += ", triangles: down to zero" if beyond else ""
    note = f"{count_of(comparison.seeds)}; {spread if comparison.seeds[1] > 1 else 'single values'}"
    note += "; line across: dense" if comparison.cutting("nothing") else ""
    note += trains_longer(comparison.longer)
    headline(figure, _where(comparison, sparsity), note)
    return figure


def _cells_behind(comparison: Comparison, sparsity: float, cost: str) -> str:
    counts = [len(found) for found in comparison.values(sparsity, cost).values()]
    return f"n = {min(counts)}" + (f" to {max(counts)}" if max(counts) > min(counts) else "")


def _earned(comparison: Comparison, sparsity: float) -> dict[str, tuple[float, float, float]]:
    """Return pruner to (low end, interquartile mean, high end) of the metric."""
    found = {}
    for pruner, one in comparison.estimates(sparsity, comparison.metric.name).items():
        low, high = one.interval or (one.iqm, one.iqm)
        found[pruner] = (low, one.iqm, high)
    return found


def _spent(comparison: Comparison, sparsity: float, cost: Measure) -> dict[str, tuple[float, float, float]]:
    """Return pruner to (mean − std, mean, mean + std) of a cost, scaled."""
    found = {}
    for pruner, values in comparison.values(sparsity, cost.name).items():
        mean, std = float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        found[pruner] = ((mean - std) * cost.scale, mean * cost.scale, (mean + std) * cost.scale)
    return found
