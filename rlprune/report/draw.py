"""What all figures share: seven inches wide, one font, one look a pruner, margins in inches, the same bytes every time.

Figures belong to nobody else: no global state and no window is touched, and nothing of the user's (matplotlibrc, backend)
changes them. matplotlib is imported when something is drawn.
"""

import io
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rlprune import files
from rlprune.report.curves import Style, looks_of, order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDTH = 7.0  # inches
SMALL, NORMAL = 7.0, 8.0  # points
LINE = 1.12 * SMALL  # from one small line to the next
INK, GREY, FAINT, ALARM = "#000000", "#666666", "#E4E4E4", "#C00000"
FONT = ["STIXGeneral", "DejaVu Sans"]  # come with matplotlib; the first goes with the Times of most papers
LEGEND_COLUMNS = 6
APART = 0.05  # inches between the names of ticks, at least
HANDLE = 0.5  # inches of a line in a legend, with its gaps
UNDATED: Mapping[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Formats of a figure, and what they say of themselves without a date."""


_STYLE = {
    "font.family": FONT,
    "mathtext.fontset": "stix",
    "text.parse_math": False,  # names may hold dollars
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


@contextmanager
def print_style() -> Iterator[None]:
    """Set matplotlib's own defaults, then fonts, lines and the salt that makes SVG files repeatable, for the body only."""
    with _backend_of_files():
        import matplotlib

    own: dict[Any, Any] = {
        name: it for name, it in matplotlib.rcParamsDefault.items() if name not in ("backend", "backend_fallback")
    }
    with matplotlib.rc_context(own | _STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*[Gg]lyph .* missing from", category=UserWarning)
        yield


@cache
def ready() -> None:
    """Import what draws, so that forks of this process need not, each for itself."""
    with _backend_of_files():
        from matplotlib.backends import backend_agg, backend_pdf, backend_svg  # noqa: F401


@contextmanager
def _backend_of_files() -> Iterator[None]:
    """Hide ``MPLBACKEND``: matplotlib refuses to be imported where it names a backend, say a notebook's, that is not here."""
    known = os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if known is not None:
            os.environ["MPLBACKEND"] = known


def rendered(figure: "Figure", endings: Iterable[str] = UNDATED) -> dict[str, bytes]:
    """Return a figure as ``png`` (200 dpi), ``svg`` and ``pdf``, or some of them; the same figure gives the same bytes."""
    drawn = {ending: io.BytesIO() for ending in endings}
    with print_style():
        for ending, content in drawn.items():
            figure.savefig(content, format=ending, dpi=200, metadata=UNDATED[ending])
    return {ending: content.getvalue() for ending, content in drawn.items()}


def save(figure: "Figure", folder: Path, stem: str) -> None:
    """Write a figure as ``stem.png``, ``.svg`` and ``.pdf``."""
    for ending, content in rendered(figure).items():
        files.write(folder / f"{stem}.{ending}", content)


def grid(
    rows: int,
    columns: int,
    height: float,
    *,
    left: float = 0.55,
    right: float,
    above: float = 0.6,
    below: float,
    gap: float,
    between: float = 0.3,
    sharey: Literal["row", "col", "all", "none"] = "none",
) -> tuple["Figure", list[list["Axes"]]]:
    """Return a figure of panels of this height; margins, gaps between columns and room between rows are inches."""
    from matplotlib.figure import Figure

    total = rows * height + (rows - 1) * between + below + above
    width = (WIDTH - left - right - (columns - 1) * gap) / columns
    places = {
        "left": left / WIDTH,
        "right": 1 - right / WIDTH,
        "bottom": below / total,
        "top": 1 - above / total,
        "wspace": gap / width,
        "hspace": between / height,
    }
    figure = Figure(figsize=(WIDTH, total))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=sharey, gridspec_kw=places)
    return figure, [list(line) for line in panels]


def headline(figure: "Figure", title: str, note: str) -> None:
    """Write what is shown above the panels, and below it what a caption owes: seeds and intervals."""
    height = figure.get_figheight()
    title, note = fitted(title, WIDTH - 0.2, NORMAL + 1), fitted(note, WIDTH - 0.2)
    figure.text(0.01, 1 - 0.05 / height, title, va="top", fontsize=NORMAL + 1, fontweight="bold")
    figure.text(0.01, 1 - (0.21 if title else 0.05) / height, note, va="top", fontsize=SMALL, color=GREY)


def wear(line: "Line2D", look: Style) -> "Line2D":
    """Give a line a look: solid and filled where channels are cut, dashed and hollow where weights are."""
    line.set(
        color=look.colour,
        marker=look.marker,
        markerfacecolor=look.colour if look.solid else "white",
        markeredgewidth=0.8,
        linestyle="-" if look.solid else (0, (4, 1.5)),
    )
    return line


def legend(figure: "Figure", cuts: Mapping[str, str], own: Mapping[str, Style] | None = None) -> None:
    """Name pruners by their looks below the panels; ``cuts`` says what each of them cuts."""
    from matplotlib.lines import Line2D

    names, known = sorted(cuts, key=order), own or looks_of(cuts)
    handles = [wear(Line2D([], []), known[name]) for name in names]
    columns = legend_columns(names)
    named = figure.legend(handles, names, loc="lower center", ncols=columns, handlelength=2.6, columnspacing=1.2)
    for text, name in zip(named.get_texts(), names, strict=True):
        text.set_text(name)  # as it is, were it to begin with an underscore


def legend_height(pruners: Iterable[str]) -> float:
    """Return the inches that ``legend`` takes."""
    names = set(pruners)
    return 0.14 * ceil(len(names) / legend_columns(names))


def legend_columns(names: Iterable[str]) -> int:
    """Return how many names a legend has side by side."""
    widest = max(map(text_width, names), default=0.0) + HANDLE
    return max(1, min(LEGEND_COLUMNS, int(WIDTH / widest)))


@cache
def text_width(text: str, size: float = SMALL) -> float:
    """Return how many inches a text takes."""
    with _backend_of_files():
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import text_to_path

    if not text.strip():
        return 0.0
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(family=FONT, size=size), ismath=False)
    return float(width) / 72


def fitted(text: str, inches: float, size: float = SMALL) -> str:
    """Return text that takes no more than so many inches, an ellipsis for what has no place."""
    if text_width(text, size) <= inches:
        return text
    fewest, most = 0, len(text) - 1
    while fewest < most:
        middle = (fewest + most + 1) // 2
        fewest, most = (middle, most) if text_width(f"{text[:middle]}…", size) <= inches else (fewest, middle - 1)
    return f"{text[:fewest].rstrip()}…"


def plain_ticks(axis: "Axis", most: int, *, whole: bool = False) -> None:
    """Put a few ticks on an axis, written as people do: 0, 0.8, 1.6 or 0, 50k, 100k.

    Args:
        axis: an axis with its limits.
        most: intervals between ticks.
        whole: whether only whole numbers are ticks.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(most, integer=whole, steps=(1, 2, 2.5, 5, 10), min_n_ticks=min(most, 3)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value, max(map(abs, axis.get_view_interval())))))


def made_logarithmic(axes: "Axes", values: Sequence[float]) -> bool:
    """Make the horizontal axis logarithmic where values span more than a factor of eight, few ticks on it; return whether."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = min(values), max(values)
    if not high > 8 * low > 0:
        return False
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if high < 80 * low else (1,), numticks=5))
    axes.xaxis.set_major_formatter(lambda value, _: tick(value, 2 * value))
    axes.xaxis.set_minor_locator(NullLocator())
    return True


def tick(value: float, largest: float) -> str:
    """Return how a tick is written on an axis whose numbers are at most this large."""
    suffix, factor = next((it for it in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)) if largest >= 2 * it[1]), ("", 1.0))
    return f"{value / factor:.6g}{suffix if value else ''}".replace("-", "−")


def space_ticks(axes: "Axes", gap: float) -> None:
    """Leave out ticks along a panel until no two touch; they reach beyond it by less than half the gap to the next one.

    The limits of the panel have to be settled.
    """
    low, high = sorted(axes.get_xlim())
    ticks = [float(place) for place in axes.xaxis.get_majorticklocs() if low <= place <= high]
    labels = axes.xaxis.get_major_formatter().format_ticks(ticks)
    within = axes.get_xaxis_transform() - axes.transAxes
    places = [size_of(axes)[0] * within.transform((place, 0.0))[0] for place in ticks]
    halves = [text_width(label) / 2 + APART / 2 for label in labels]
    ends = [(place - half, place + half) for place, half in zip(places, halves, strict=True)]
    inside = [at for at, (left, right) in enumerate(ends) if left > -gap / 2 and right < size_of(axes)[0] + gap / 2]
    tried = [inside[begin::step] for step in range(1, len(inside) + 1) for begin in range(step)]
    fit = (some for some in tried if all(ends[one][1] <= ends[two][0] for one, two in pairwise(some)))
    kept = next(fit, [])
    axes.set_xticks([ticks[at] for at in kept], [labels[at] for at in kept])


def size_of(axes: "Axes") -> tuple[float, float]:
    """Return width and height of a panel in inches."""
    box = axes.get_window_extent()
    return box.width / axes.figure.dpi, box.height / axes.figure.dpi


def spread_out(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions in [low, high], at least ``gap`` apart, moved as little as possible from the ascending ``wanted``.

    Least squares under order constraints: neighbours that collide form a block around the mean of what they wanted.
    """
    blocks: list[tuple[float, int]] = []  # (mean of what its members want for its first one, members)
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


def name_beside(
    axes: "Axes", places: Mapping[str, tuple[float, float]], colours: Mapping[str, str], away: float, short: float
) -> None:
    """Write names right of a panel as near their heights as the others allow, a thin line from each to its place.

    Args:
        axes: the panel, its limits settled.
        places: name to where it belongs in the panel's numbers, the lowest first.
        colours: of names and lines.
        away: points from the panel to the names.
        short: points by which a line ends before its place.
    """
    low, high = axes.get_ylim()
    width, height = (72 * side for side in size_of(axes))
    wanted = [(place - low) / (high - low) * height for _, place in places.values()]
    for name, at in zip(places, spread_out(wanted, LINE, 0.0, height), strict=True):
        colour = colours[name]
        axes.annotate(
            name,
            xy=places[name],
            xytext=(width + away, at),
            textcoords="axes points",
            va="center",
            fontsize=SMALL,
            color=colour,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "shrinkA": 1, "shrinkB": short, "relpos": (0, 0.5)},
        )


def uncrowded(labels: Sequence[str], places: Sequence[float]) -> list[str]:
    """Return labels with those blanked, from the right, that would touch the next one; places are ascending inches."""
    shown = list(labels)
    free = float("inf")
    for index in reversed(range(len(labels))):
        half = text_width(labels[index]) / 2 + 0.03
        shown[index] = labels[index] if places[index] + half <= free else ""
        free = places[index] - half if shown[index] else free
    return shown
