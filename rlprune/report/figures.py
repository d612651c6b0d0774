"""Curves to figures for print and page: seven inches wide, Agg, the same bytes every time.

Every function returns a matplotlib ``Figure`` that belongs to nobody else, so no global state and no window is touched.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil, log10
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlprune.report.curves import (
    COSTS,
    Chart,
    Comparison,
    Curve,
    LayerShares,
    LearningCurve,
    Quantity,
    by_seed,
    count_of,
    order,
    percent,
    profiles,
    seed_range,
    style,
)
from rlprune.stats import Estimate, FloatArray, estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDTH = 7.0
SMALL, NORMAL = 7.0, 8.0  # points
LINE = 1.12 * SMALL
GREY, EMPTY = "#666666", "#C00000"
LEGEND_COLUMNS = 6
DRAWN_COSTS = ("wall_seconds", "energy_joules", "batch_seconds", "memory_peak_bytes", "disk_csr_mb")
PANELS = {"channels": "structured (channels)", "weights": "unstructured (weights)"}


@contextmanager
def print_style() -> Iterator[None]:
    """Set fonts, lines and the salt that makes SVG files repeatable, for the body only."""
    import matplotlib

    settings = {
        "font.family": "STIXGeneral",
        "mathtext.fontset": "stix",
        "font.size": NORMAL,
        "axes.titlesize": NORMAL,
        "axes.labelsize": NORMAL,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.axisbelow": True,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "legend.fontsize": SMALL,
        "legend.frameon": False,
        "lines.linewidth": 1.1,
        "lines.markersize": 3.8,
        "text.hinting": "none",
        "svg.hashsalt": "rlprune",
        "pdf.fonttype": 42,
    }
    with matplotlib.rc_context(settings):
        yield


def save(figure: "Figure", folder: Path, stem: str) -> None:
    """Write ``stem.png`` (200 dpi), ``.svg`` and ``.pdf``; the same figure gives the same bytes."""
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with print_style():
        for ending, metadata in undated.items():
            figure.savefig(folder / f"{stem}.{ending}", dpi=200, metadata=metadata)


# -- metric against sparsity -------------------------------------------------------------------------------------


@print_style()
def sparsity_figure(charts: Sequence[Chart]) -> "Figure":
    """Draw the metric against sparsity: interquartile means as lines, 95 % intervals as bands, dense as a level across.

    One chart puts channel and weight pruners side by side, each line named at its end where the names fit; several
    charts are columns, with channel pruners above weight pruners and one legend below.

    Raises:
        ValueError: no chart has a pruner that removes anything.
    """
    cuts = [cut for cut in PANELS if any(curve.cut == cut for one in charts for curve in one.curves)]
    if not cuts:
        raise ValueError("there is no curve to draw: no pruner removed anything")
    if len(charts) == 1:
        return _side_by_side(charts[0], cuts)
    return _columns(charts, cuts)


def _side_by_side(one: Chart, cuts: Sequence[str]) -> "Figure":
    height = 2.45
    shown = [[curve for curve in one.curves if curve.cut in (cut, "nothing")] for cut in cuts]
    direct = max(map(len, shown)) * LINE <= height * 72
    gutter = max(_width(curve.pruner) for curve in one.curves) + 0.28 if direct else 0.15
    below = 0.42 if direct else 0.5 + _legend_height([one])
    figure, panels = _grid(1, len(cuts), height, right=gutter, gap=gutter, below=below, sharey="row")
    for axes, cut, curves in zip(panels[0], cuts, shown, strict=True):
        _draw_panel(axes, one, cut)
        axes.set_title(PANELS[cut])
        axes.set_xlabel("share of weights removed")
        if direct:
            _name_lines(axes, curves)
    panels[0][0].set_ylabel(_axis_title(one.axis, one.better))
    _headline(figure, one.title, spread_note(one.curves))
    if not direct:
        _legend(figure, [one])
    return figure


def _columns(charts: Sequence[Chart], cuts: Sequence[str]) -> "Figure":
    below = 0.5 + _legend_height(charts)
    figure, panels = _grid(len(cuts), len(charts), 1.6, left=0.72, right=0.1, gap=0.42, below=below, above=0.46, sharey="col")
    for cut, line in zip(cuts, panels, strict=True):
        for axes, one in zip(line, charts, strict=True):
            _draw_panel(axes, one, cut)
            axes.set_title(one.title if cut == cuts[0] else "", fontweight="bold")
            axes.set_xlabel("share of weights removed" if cut == cuts[-1] else "")
        line[0].set_ylabel(PANELS[cut] + "\n" + _axis_title(charts[0].axis, charts[0].better))
    for axes, one in zip(panels[-1][1:], charts[1:], strict=True):
        if one.axis != charts[0].axis:
            axes.set_ylabel(_axis_title(one.axis, one.better))
    _headline(figure, "", spread_note([curve for one in charts for curve in one.curves]))
    _legend(figure, charts)
    return figure


def _draw_panel(axes: "Axes", one: Chart, cut: str) -> None:
    sparsities = sorted({point.sparsity for curve in one.curves if curve.cut != "nothing" for point in curve.points})
    for curve in one.curves:
        if curve.cut == "nothing":
            level = curve.points[0].estimate
            axes.axhline(level.iqm, color=style(curve.pruner).colour, linewidth=1.0, zorder=2, label=curve.pruner)
            if level.interval:
                axes.axhspan(*level.interval, color=style(curve.pruner).colour, alpha=0.12, linewidth=0, zorder=1)
    for curve in [curve for curve in one.curves if curve.cut == cut]:
        look = style(curve.pruner)
        x = [_position(point.sparsity) for point in curve.points]
        axes.plot(x, [point.estimate.iqm for point in curve.points], label=curve.pruner, zorder=4, **_look(curve.pruner))
        held = [(at, *point.estimate.interval) for at, point in zip(x, curve.points, strict=True) if point.estimate.interval]
        if len(held) > 1:
            at, low, high = zip(*held, strict=True)
            axes.fill_between(at, low, high, color=look.colour, alpha=0.10, linewidth=0, zorder=3)
        elif held:
            axes.vlines(held[0][0], held[0][1], held[0][2], color=look.colour, alpha=0.5, linewidth=1.0, zorder=3)
    places = [_position(sparsity) for sparsity in sparsities]
    margin = 0.04 * (places[-1] - places[0]) or 0.1
    axes.set_xlim(places[0] - margin, places[-1] + margin)
    inch = _inches(axes)[0] / (places[-1] - places[0] + 2 * margin)
    axes.set_xticks(places, _spaced([percent(sparsity) for sparsity in sparsities], [inch * place for place in places]))
    axes.set_ylim(*_limits(one.curves))
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.5)


def _spaced(labels: Sequence[str], places: Sequence[float]) -> list[str]:
    """Return labels with those blanked, from the right, that would touch the next one; places are inches."""
    shown = list(labels)
    free = float("inf")
    for index in reversed(range(len(labels))):
        half = _width(labels[index]) / 2 + 0.03
        shown[index] = labels[index] if places[index] + half <= free else ""
        free = places[index] - half if shown[index] else free
    return shown


def _position(sparsity: float) -> float:
    """Return where a sparsity lies on the axis: evenly by how many times smaller the network is."""
    return -log10(1 - sparsity)


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return limits that hold every line, and intervals as far as half the lines' range beyond them."""
    lines = [point.estimate.iqm for curve in curves for point in curve.points]
    ends = [end for curve in curves for point in curve.points for end in point.estimate.interval or ()]
    low, high = min(lines), max(lines)
    beyond = (high - low) / 2 or 0.05 * abs(high) or 1.0
    low, high = max(min([low, *ends]), low - beyond), min(max([high, *ends]), high + beyond)
    margin = 0.04 * (high - low) or beyond
    return low - margin, high + margin


def _name_lines(axes: "Axes", curves: Sequence[Curve]) -> None:
    """Write each curve's name right of the panel, as near its end's height as the other names allow."""
    low, high = axes.get_ylim()
    width, height = (72 * side for side in _inches(axes))
    ends = sorted(curves, key=lambda curve: (curve.points[-1].estimate.iqm, order(curve.pruner)))
    wanted = [(curve.points[-1].estimate.iqm - low) / (high - low) * height for curve in ends]
    for curve, at in zip(ends, spread_out(wanted, LINE, 0.0, height), strict=True):
        end = curve.points[-1]
        colour = style(curve.pruner).colour
        axes.annotate(
            curve.pruner,
            xy=(axes.get_xlim()[1] if curve.cut == "nothing" else _position(end.sparsity), end.estimate.iqm),
            xytext=(width + 12, at),
            textcoords="axes points",
            va="center",
            fontsize=SMALL,
            color=colour,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "shrinkA": 1, "shrinkB": 2.5, "relpos": (0, 0.5)},
        )


def spread_out(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions at least ``gap`` apart, in the same ascending order, within [low, high], moved as little as possible.

    Least squares under order constraints: neighbours that collide form a block around the mean of what they wanted.
    """
    blocks: list[tuple[float, int]] = []  # (mean of wanted positions less their offset in the block, members)
    for place, position in enumerate(wanted):
        mean, members = position - place * gap, 1
        while blocks and blocks[-1][0] > mean:
            other, more = blocks.pop()
            mean = (mean * members + other * more) / (members + more)
            members += more
        blocks.append((mean, members))
    starts = [mean for mean, members in blocks for _ in range(members)]
    highest = high - (len(wanted) - 1) * gap
    return [max(low, min(start, highest)) + place * gap for place, start in enumerate(starts)]


# -- learning curves ---------------------------------------------------------------------------------------------


@print_style()
def learning_figure(comparison: Comparison, curves: Sequence[LearningCurve]) -> "Figure":
    """Draw learning curves, one panel a pruner, darker for sparser, dense in black in all of them.

    Panels share the scales; a pruner that trains far longer than dense (rewinding) gets its own horizontal one, and says so.
    """
    import matplotlib
    from matplotlib.ticker import EngFormatter, MaxNLocator

    dense = [curve for curve in curves if curve.sparsity == 0]
    pruners = list(dict.fromkeys(curve.pruner for curve in curves if curve.sparsity > 0)) or [curve.pruner for curve in dense]
    sparsities = sorted({curve.sparsity for curve in curves if curve.sparsity > 0})
    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.12, 0.95, len(sparsities)))
    colours = dict(zip(sparsities, shades, strict=True))
    columns = min(4, len(pruners))
    lengths = {pruner: max(float(curve.samples[-1]) for curve in curves if curve.pruner == pruner) for pruner in pruners}
    usual = float(np.median([*lengths.values(), *(curve.samples[-1] for curve in dense)]))
    figure, panels = _grid(
        ceil(len(pruners) / columns), columns, 0.98, right=0.12, gap=0.14, below=0.62, between=0.36, sharey="all"
    )
    everywhere = [axes for line in panels for axes in line]
    for axes, pruner in zip(everywhere, pruners, strict=False):
        for curve in [*dense, *(curve for curve in curves if curve.pruner == pruner and curve.sparsity > 0)]:
            _draw_learning(axes, curve, colours.get(curve.sparsity, "black"))
        longer = lengths[pruner] > 1.5 * usual
        axes.set_xlim(0, lengths[pruner] if longer else usual)
        axes.set_title(
            f"{pruner} (trains {lengths[pruner] / usual:.2g} times as long)" if longer else pruner, fontsize=SMALL, pad=2.5
        )
        axes.grid(axis="y", color="#E4E4E4", linewidth=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    for axes in everywhere[len(pruners) :]:
        axes.remove()
    figure.supxlabel(
        "environment steps" if comparison.unit == "steps" else "epochs trained", fontsize=NORMAL, y=0.24 / figure.get_figheight()
    )
    figure.supylabel(comparison.curve_axis, fontsize=NORMAL, x=0.01)
    seeds = (min(curve.seeds for curve in curves), max(curve.seeds for curve in curves))
    _headline(figure, comparison.title, _note(seeds))
    handles = {percent(sparsity): _key(colours[sparsity]) for sparsity in sparsities} | {
        curve.pruner: _key("black") for curve in dense
    }
    figure.legend(list(handles.values()), list(handles), loc="lower center", ncols=len(handles), handlelength=1.6)
    return figure


def _draw_learning(axes: "Axes", curve: LearningCurve, colour: object) -> None:
    axes.plot(curve.samples, curve.iqm, color=colour, linewidth=0.9, label=f"{curve.pruner} {percent(curve.sparsity)}")
    if curve.band is not None:
        axes.fill_between(curve.samples, *curve.band, color=colour, alpha=0.15, linewidth=0)


# -- performance profiles ----------------------------------------------------------------------------------------


@print_style()
def profile_figure(comparison: Comparison, sparsity: float) -> "Figure":
    """Draw performance profiles: the share of seeds that end better than each value of the metric."""
    thresholds, shares = profiles(comparison, sparsity)
    cuts = [cut for cut in PANELS if any(comparison.cut(pruner) == cut for pruner in shares)]
    figure, panels = _grid(
        1, len(cuts), 1.9, right=0.12, gap=0.2, below=0.5 + 0.14 * ceil(len(shares) / LEGEND_COLUMNS), sharey="row"
    )
    for axes, cut in zip(panels[0], cuts, strict=True):
        for pruner, share in shares.items():
            if comparison.cut(pruner) in (cut, "nothing"):
                middle = int(np.abs(share - 0.5).argmin())
                axes.plot(thresholds, share, label=pruner, drawstyle="steps-post", markevery=[middle], **_look(pruner))
        axes.set_title(PANELS[cut])
        axes.set_xlabel(comparison.axis)
        axes.set_ylim(-0.02, 1.02)
        if comparison.better == "lower":
            axes.invert_xaxis()
        axes.grid(axis="y", color="#E4E4E4", linewidth=0.5)
    panels[0][0].set_ylabel("share of seeds that end better")
    _headline(figure, f"{comparison.title}, {percent(sparsity)} of weights removed", count_of(comparison.seeds))
    handles = [_key_of(pruner) for pruner in shares]
    figure.legend(handles, list(shares), loc="lower center", ncols=LEGEND_COLUMNS, handlelength=2.6, columnspacing=1.2)
    return figure


# -- layers ------------------------------------------------------------------------------------------------------


@print_style()
def layer_figure(comparison: Comparison, shares: LayerShares) -> "Figure":
    """Draw the share of weights kept a layer as a table of shades; a layer left without weights by any seed is crossed in red."""
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    pruners, names = list(shares.kept), short_names(shares.layers)
    few = len(names) <= 12
    widest = max(map(_width, names))
    below = (0.6 * widest if few else widest) + 0.12
    figure, panels = _grid(
        1, 1, 0.165 * len(pruners), left=max(map(_width, pruners)) + 0.12, right=0.7, below=below, above=0.42, gap=0.0
    )
    axes = panels[0][0]
    kept = 100 * np.array([shares.kept[pruner] for pruner in pruners])
    left = kept[kept > 0]
    norm = LogNorm(min(1.0, float(left.min())) if left.size else 1.0, 100, clip=True)
    image = axes.pcolormesh(np.where(kept > 0, kept, np.nan), cmap="Blues", norm=norm, edgecolors="white", linewidth=0.7)
    for (r, c), share in np.ndenumerate(kept):
        empty, seeds = shares.emptied[pruners[r]][c], shares.seeds[pruners[r]]
        if empty:
            axes.add_patch(Rectangle((c + 0.03, r + 0.08), 0.94, 0.84, facecolor="white", edgecolor=EMPTY, linewidth=0.9))
        text = f"empty {empty}/{seeds}" if empty else f"{share:#.2g}".rstrip(".") if share < 99.5 else "100"
        colour = EMPTY if empty else "white" if norm(share) > 0.6 else "black"
        if few and np.isfinite(share):
            axes.text(c + 0.5, r + 0.5, text, ha="center", va="center", fontsize=SMALL, color=colour)
    labelled = range(0, len(names), ceil(len(names) / 40))
    turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if few else {"rotation": 90}
    axes.set_xticks([c + 0.5 for c in labelled], [names[c] for c in labelled], **turned)
    axes.set_yticks([r + 0.5 for r in range(len(pruners))], pruners)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    box = axes.get_position()
    bar = figure.colorbar(image, cax=figure.add_axes((box.x1 + 0.015, box.y0, 0.012, box.height)))
    bar.ax.yaxis.set_major_formatter("{x:g} %")
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)
    counted = count_of((min(shares.seeds.values()), max(shares.seeds.values())))
    note = f"share of weights kept in each layer (%), mean over {counted}; red: left without weights, by so many seeds"
    _headline(figure, f"{comparison.title}, {percent(shares.sparsity)} of weights removed", note)
    return figure


def short_names(names: Sequence[str]) -> list[str]:
    """Return parameter names without ``.weight`` and without what they do not need to be told apart."""
    parts = [name.removesuffix(".weight").split(".") for name in names]
    return [
        next(
            ".".join(own[-n:])
            for n in range(1, len(own) + 1)
            if n == len(own) or sum(other[-n:] == own[-n:] for other in parts) == 1
        )
        for own in parts
    ]


# -- costs -------------------------------------------------------------------------------------------------------


@print_style()
def cost_figure(comparison: Comparison, sparsity: float) -> "Figure":
    """Draw what each pruner costs beside what it earns: a row a pruner, a column a measure, dense as a line from top to bottom."""
    from matplotlib.ticker import LogLocator, NullLocator

    columns = [(comparison.measured, _earned(comparison, sparsity))]
    columns += [
        (cost.heading, spent) for cost in COSTS if cost.name in DRAWN_COSTS and (spent := _spent(comparison, sparsity, cost))
    ]
    blocks = [[pruner for pruner in comparison.pruners if comparison.cut(pruner) == cut] for cut in PANELS]
    places: dict[str, float] = {}
    for block in blocks:
        top = max(places.values(), default=-1.7) + 1.7
        places |= {pruner: top + place for place, pruner in enumerate(block)}
    left = max(map(_width, places)) + 0.15
    figure, panels = _grid(
        1, len(columns), 0.15 * (max(places.values()) + 1), left=left, right=0.15, gap=0.16, below=0.5, above=0.4, sharey="all"
    )
    for axes, (heading, spreads) in zip(panels[0], columns, strict=True):
        for pruner, (low, middle, high) in spreads.items():
            if comparison.cut(pruner) == "nothing":
                axes.axvline(middle, color="black", linewidth=0.8, zorder=2)
            else:
                axes.plot([low, high], [places[pruner]] * 2, color=style(pruner).colour, linewidth=1.0, zorder=3)
                axes.plot([middle], [places[pruner]], zorder=4, label=pruner, **_look(pruner))
        middles = [middle for _, middle, _ in spreads.values()]
        if axes is not panels[0][0] and max(middles) > 8 * min(middles) > 0:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if max(middles) < 80 * min(middles) else (1,), numticks=5))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            axes.locator_params(axis="x", nbins=3)
        axes.margins(x=0.1)
        axes.set_xlabel(heading.replace(", ", "\n").replace(" (", "\n(", heading.count(", ") == 0), fontsize=SMALL)
        axes.set_yticks(list(places.values()), list(places))
        axes.set_ylim(max(places.values()) + 0.7, -0.7)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color="#E4E4E4", linewidth=0.5)
        axes.spines["left"].set_visible(False)
    note = f"{count_of(comparison.seeds)}; {columns[0][0]}: interquartile mean, 95 % interval; costs: mean ± standard deviation; line across: dense"
    _headline(figure, f"{comparison.title}, {percent(sparsity)} of weights removed", note)
    return figure


def _earned(comparison: Comparison, sparsity: float) -> dict[str, tuple[float, float, float]]:
    """Return pruner to (low end, interquartile mean, high end) of the metric."""
    found = {
        pruner: list(by_seed(comparison.cells(pruner, sparsity), comparison.metric).values()) for pruner in comparison.pruners
    }
    return {pruner: _ends(estimate([values])) for pruner, values in found.items() if values}


def _ends(one: Estimate) -> tuple[float, float, float]:
    low, high = one.interval or (one.iqm, one.iqm)
    return low, one.iqm, high


def _spent(comparison: Comparison, sparsity: float, cost: Quantity) -> dict[str, tuple[float, float, float]]:
    """Return pruner to (mean − std, mean, mean + std) of a cost, as shown."""
    found = {pruner: list(by_seed(comparison.cells(pruner, sparsity), cost.name).values()) for pruner in comparison.pruners}
    means = {
        pruner: (float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0)
        for pruner, values in found.items()
        if values
    }
    return {
        pruner: ((mean - std) * cost.scale, mean * cost.scale, (mean + std) * cost.scale) for pruner, (mean, std) in means.items()
    }


# -- shared pieces -----------------------------------------------------------------------------------------------


def spread_note(curves: Sequence[Curve]) -> str:
    """Return what a caption must say about seeds and intervals."""
    return _note(seed_range(curves))


def _note(seeds: tuple[int, int]) -> str:
    if seeds[1] < 2:
        return "1 seed: single values, no intervals"
    return f"{count_of(seeds)}; lines: interquartile means; bands: 95 % stratified bootstrap intervals"


def _axis_title(axis: str, better: str) -> str:
    return axis if better == "higher" else f"{axis}, lower is better"


def _look(pruner: str) -> dict[str, object]:
    look = style(pruner)
    return {
        "color": look.colour,
        "marker": look.marker,
        "markerfacecolor": look.colour if look.solid else "white",
        "markeredgewidth": 0.8,
        "linestyle": "-" if look.solid else (0, (4, 1.5)),
    }


def _key(colour: object) -> "Line2D":
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour)


def _key_of(pruner: str) -> "Line2D":
    from matplotlib.lines import Line2D

    return Line2D([], [], **_look(pruner))


def _legend(figure: "Figure", charts: Sequence[Chart]) -> None:
    pruners = sorted({curve.pruner for one in charts for curve in one.curves}, key=order)
    figure.legend(
        [_key_of(pruner) for pruner in pruners],
        pruners,
        loc="lower center",
        ncols=LEGEND_COLUMNS,
        handlelength=2.6,
        columnspacing=1.2,
    )


def _legend_height(charts: Sequence[Chart]) -> float:
    return 0.14 * ceil(len({curve.pruner for one in charts for curve in one.curves}) / LEGEND_COLUMNS)


def _width(text: str) -> float:
    """Return how many inches a small text takes."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=SMALL, prop=FontProperties(family="STIXGeneral")).get_extents().width) / 72


def _inches(axes: "Axes") -> tuple[float, float]:
    box = axes.get_position()
    return box.width * axes.figure.get_figwidth(), box.height * axes.figure.get_figheight()


def _grid(
    rows: int,
    columns: int,
    height: float,
    *,
    left: float = 0.55,
    right: float,
    below: float,
    gap: float,
    above: float = 0.6,
    between: float = 0.3,
    sharey: Literal["row", "col", "all", "none"] = "none",
) -> tuple["Figure", list[list["Axes"]]]:
    """Return a figure of panels of this height; margins, gaps between columns and room between rows are inches."""
    from matplotlib.figure import Figure

    total = rows * height + (rows - 1) * between + below + above
    width = (WIDTH - left - right - (columns - 1) * gap) / columns
    figure = Figure(figsize=(WIDTH, total))
    panels = figure.subplots(
        rows,
        columns,
        squeeze=False,
        sharey=sharey,
        gridspec_kw={
            "left": left / WIDTH,
            "right": 1 - right / WIDTH,
            "bottom": below / total,
            "top": 1 - above / total,
            "wspace": gap / width,
            "hspace": between / height,
        },
    )
    return figure, [list(line) for line in panels]


def _headline(figure: "Figure", title: str, note: str) -> None:
    """Write what is shown above the panels, and below it what a caption owes: seeds and intervals."""
    height = figure.get_figheight()
    figure.text(0.01, 1 - 0.05 / height, title, va="top", fontsize=NORMAL + 1, fontweight="bold")
    figure.text(0.01, 1 - (0.21 if title else 0.05) / height, note, va="top", fontsize=SMALL, color=GREY)
