"""How wide the hidden layers of a cut actor and critic are, from the weights that each of their layers has left."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import ceil, isclose
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from rlprune.report.curves import NETWORKS, Comparison, count_of, percent, span_of
from rlprune.report.draw import FAINT, GREY, INK, SMALL, fitted, grid, headline, print_style, size_of
from rlprune.rows import Row, counts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Widths: TypeAlias = dict[str, list[tuple[float, int | None]]]
"""Network to its hidden layers: the mean share of units left, and how many the dense network has, if known."""

_NAMES = {"actor": ("policy_net", "action_net", "actor"), "critic": ("value_net", "critic", "q_net")}
_COLOURS = dict(zip(NETWORKS, ("#0072B2", "#E69F00"), strict=True))


def shares(layers: Iterable[tuple[float, float]]) -> list[float] | None:
    """Return the share of units that each hidden layer of a chain has left; None where the layers make no chain.

    A layer keeps the product of what its inputs and its outputs keep; inputs of the first and outputs of the last are whole.

    Args:
        layers: how many weights each has left, and had.
    """
    found: list[float] = [1.0]
    for kept, dense in layers:
        if not kept > 0 < dense:
            return None
        found.append(kept / (dense * found[-1]))
    hidden, end = found[1:-1], found[-1]
    return hidden if hidden and isclose(end, 1.0, abs_tol=1e-6) and max(hidden) <= 1 + 1e-6 else None


def widths(comparison: Comparison, sparsity: float) -> dict[str, Widths]:
    """Return what pruners that cut channels left of the hidden layers of actor and critic, mean over seeds."""
    found = {}
    for pruner in comparison.cutting("channels"):
        kept: Widths = {}
        for network in NETWORKS:
            left = [shares(layers) for row in comparison.cells(pruner, sparsity) if (layers := _layers(row, network))]
            if left and len({len(one) for one in left if one}) == 1 and None not in left:
                means = np.mean([one for one in left if one], axis=0)
                dense = _dense(comparison, len(means))
                kept[network] = [(float(mean), units) for mean, units in zip(means, dense, strict=True)]
        if kept:
            found[pruner] = kept
    return found


def seeds(comparison: Comparison, sparsity: float, found: Iterable[str]) -> tuple[int, int]:
    """Return the least and the largest number of seeds that such widths of a pruner are the mean of."""
    return span_of(len(comparison.cells(pruner, sparsity)) for pruner in found)


def single(comparison: Comparison, network: str, row: Row) -> bool:
    """Return whether a hidden layer of several units was cut to one in an agent's network: all it knows there is one number."""
    left = shares(_layers(row, network)) if row.cut == "channels" else None
    return left is not None and any(
        units and units > 1 and share * units < 1.5 for share, units in zip(left, _dense(comparison, len(left)), strict=True)
    )


def _layers(row: Row, network: str) -> list[tuple[float, float]]:
    return [(kept, dense) for name, kept, dense in counts(row.layers) if _is_of(name, network)]


@lru_cache(4096)  # thousands of cells have the same few
def _is_of(layer: str, network: str) -> bool:
    return any(part in layer.split(".") for part in _NAMES[network])


def _dense(comparison: Comparison, layers: int) -> Sequence[int | None]:
    """Return how many units the hidden layers of the dense network have, as far as known."""
    told = comparison.shared.get("widths")
    return told if isinstance(told, Sequence) and len(told) == layers else [None] * layers


@print_style()
def width_figure(comparison: Comparison, sparsity: float, found: Mapping[str, Widths]) -> "Figure":
    """Draw the hidden layers of actor and critic as bars from input to output, the dense ones grey behind; a panel a pruner."""
    columns = min(4, len(found))
    deepest = max(len(layers) for kept in found.values() for layers in kept.values())
    figure, panels = grid(
        ceil(len(found) / columns), columns, 0.17 * deepest, left=0.1, right=0.1, above=0.72, below=0.1, gap=0.15, between=0.3
    )
    everywhere = [axes for line in panels for axes in line]
    for axes in everywhere[len(found) :]:
        axes.remove()
    for axes, (pruner, kept) in zip(everywhere, found.items(), strict=False):
        for place, network in enumerate(NETWORKS):
            for depth, (share, units) in enumerate(kept.get(network, ())):
                axes.barh(depth, 0.72, left=place, height=0.8, color=FAINT)
                axes.barh(depth, 0.72 * share, left=place, height=0.8, color=_COLOURS[network])
                text = f"{share * units:.3g}" if units else percent(round(share, 3))
                axes.text(place + 0.72 * share + 0.02, depth, text, va="center", fontsize=SMALL, color=INK)
        axes.set_xlim(0, 1.9)
        axes.set_ylim(deepest - 0.5, -0.5)
        axes.set_axis_off()
        axes.set_title(fitted(pruner, size_of(axes)[0]), fontsize=SMALL, pad=2.5)
    for axes in everywhere[:columns]:
        box = axes.get_position()
        for place, network in enumerate(NETWORKS):
            at = box.x0 + box.width * place / 1.9
            figure.text(at, box.y1 + 0.2 / figure.get_figheight(), network, color=GREY, fontsize=SMALL)
    counted = count_of(seeds(comparison, sparsity, found))
    note = f"units left in each hidden layer, input above output, mean over {counted}; grey: the dense network"
    headline(figure, f"{comparison.title}, {percent(sparsity)} of weights removed", note)
    return figure
