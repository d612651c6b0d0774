"""What networks make of a few test images, side by side: image, truth, dense, pruners.

A cell leaves ``ID.npz`` beside its network: ``images`` uint8 [K, H, W, 3], ``truth`` and ``predicted`` float [K, H, W],
truth 0 where unknown, and ``quantity``, what they are with its unit.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from zipfile import BadZipFile

import numpy as np

from rlprune import safely
from rlprune.report.curves import Comparison, measure, percent
from rlprune.report.draw import SMALL, WIDTH, fitted, grid, headline, print_style
from rlprune.report.tables import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Pictures: TypeAlias = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
COLUMNS = 6


def illustrated(comparison: Comparison, folders: Sequence[Path]) -> tuple[float, int, dict[str, tuple[str, Pictures]]] | None:
    """Return a sparsity, a seed, and pruner to its measure as text and its pictures there; None where no cell left pictures.

    The sparsity is the highest but one, where pruners differ and still see something; the seed the first.

    Args:
        comparison: whose cells.
        folders: where cells left their files.
    """
    sparsity = comparison.sparsities[-2:][0] if comparison.sparsities else 0.0
    cells = {pruner: comparison.cells(pruner, sparsity) for pruner in comparison.pruners}
    seed = min((row.seed for rows in cells.values() for row in rows), default=0)
    found: dict[str, tuple[str, Pictures]] = {}
    for pruner, rows in cells.items():
        for row in rows:
            own = [folder for folder in folders if str(folder.parent) == row.labels.get("run")] or folders
            files = [file for folder in own if (file := folder / f"{safely.name(row.id)}.npz").is_file()]
            if row.seed == seed and files:
                value = measure(row, comparison.metric.name)
                if pictures := _loaded(files[0]):
                    found[pruner] = ("" if value is None else number(value), pictures)
    return (sparsity, seed, found) if found else None


def _loaded(file: Path) -> Pictures | None:
    """Return what a cell left, or None where the file is damaged."""
    try:
        with np.load(file) as arrays:
            found = dict(arrays)
    except (OSError, ValueError, EOFError, BadZipFile):
        return None
    return found if {"images", "truth", "predicted", "quantity"} <= found.keys() else None


@print_style()
def picture_figure(comparison: Comparison, sparsity: float, seed: int, found: Mapping[str, tuple[str, Pictures]]) -> "Figure":
    """Draw what ``illustrated`` found, one test image after another, on one logarithmic scale of colours; white where unknown."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator

    first = next(iter(found.values()))[1]
    images, truth = first["images"], first["truth"]
    count, height, width = truth.shape
    panels_each = 2 + len(found)
    columns = min(COLUMNS, panels_each)
    lines = ceil(panels_each / columns)
    left, right, gap = 0.1, 0.62, 0.06
    side = (WIDTH - left - right - (columns - 1) * gap) / columns * height / width
    figure, panels = grid(count * lines, columns, side, left=left, right=right, above=0.55, below=0.08, gap=gap, between=0.17)
    known = truth[truth > 0]
    scale = LogNorm(float(known.min()), float(known.max()), clip=True)
    for picture in range(count):
        own = [axes for line in panels[picture * lines : (picture + 1) * lines] for axes in line]
        for axes in own:
            axes.set_axis_off()
        _show(own[0], images[picture], "image")
        shades = _show(own[1], np.where(truth[picture] > 0, truth[picture], np.nan), "truth", scale)
        for axes, (pruner, (value, arrays)) in zip(own[2:], found.items(), strict=False):
            _show(axes, arrays["predicted"][picture], fitted(f"{pruner} {value}", side * width / height), scale)
    top, bottom = panels[0][-1].get_position(), panels[-1][-1].get_position()
    predicted = [arrays["predicted"] for _, arrays in found.values()]
    beyond = any(it.min() < scale.vmin for it in predicted), any(it.max() > scale.vmax for it in predicted)
    extend = {(True, True): "both", (True, False): "min", (False, True): "max", (False, False): "neither"}[beyond]
    place = figure.add_axes((top.x1 + 0.012, bottom.y0, 0.012, top.y1 - bottom.y0))
    bar = figure.colorbar(shades, cax=place, extend=extend)
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label(str(first["quantity"]), fontsize=SMALL)
    title = f"{comparison.title}, {percent(sparsity)} of weights removed"
    headline(figure, title, f"seed {seed}; beside each name its {comparison.metric.heading} over all test images")
    return figure


def _show(axes: "Axes", values: np.ndarray[Any, np.dtype[Any]], title: str, scale: "LogNorm | None" = None) -> "AxesImage":
    axes.set_title(title, fontsize=SMALL, pad=2)
    return axes.imshow(values, cmap="viridis_r", norm=scale, interpolation="nearest", aspect="auto")
