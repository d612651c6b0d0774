"""Print what every pruner costs, a line each: a Markdown table a task and sparsity of means over the cells that measured a cost.

Run it as `python plots/costs.py results/solo [more ...] [--measures wall_seconds,energy_joules] [--to FILE.md]`; cells have
costs where they had a worker to themselves (--set solo=1). The report's tables have every cost, and the metric beside them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rlprune import files
from rlprune.costs.measures import CATALOGUE
from rlprune.report.comparable import gathered
from rlprune.report.curves import Comparison, comparisons, percent
from rlprune.report.scripts import ended, place
from rlprune.report.tables import BLOCKS, MISSING, markdown, number

COSTS = {cost.name: cost for cost in CATALOGUE}
USUAL = (
    "wall_seconds",
    "scoring_seconds",
    "memory_peak_bytes",
    "disk_dense_mb",
    "disk_csr_mb",
    "macs",
    "macs_nonzero",
    "energy_joules",
    "co2_grams",
)


def table(one: Comparison, sparsity: float, names: Sequence[str]) -> str:
    """Return the table of a task at a sparsity.

    Raises:
        ValueError: a name is no cost's, or no cell has it.
    """
    if unknown := sorted({*names} - {*COSTS}):
        raise ValueError(f"no cost is named {', '.join(unknown)}; there are {', '.join(COSTS)}")
    costs = [COSTS[name] for name in names]
    found = {cost.name: one.values(sparsity, cost.name) for cost in costs}
    if lacking := [name for name, values in found.items() if not any(values.values())]:
        raise ValueError(f"{one.title}, {percent(sparsity)}: no cell measured {', '.join(lacking)} (--set solo=1)")
    lines = [["pruner", *(cost.heading for cost in costs)]]
    for cut in BLOCKS:
        for pruner in one.cutting(cut):
            means = [(cost, found[cost.name].get(pruner)) for cost in costs]
            lines.append([pruner, *(number(float(np.mean(it)) * cost.scale) if it else MISSING for cost, it in means)])
    return f"**{one.title}, {percent(sparsity)} removed**\n\n{markdown(lines)}"


def main() -> None:
    """Print the tables of some runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--measures", default=",".join(USUAL), help="names of costs, with commas between them")
    parser.add_argument("--to", type=Path, help="FILE.md, or a folder to write costs.md into; it is printed, too")
    given = parser.parse_args()
    found = comparisons(gathered(given.results))
    told = [table(one, sparsity, given.measures.split(",")) for one in found for sparsity in one.sparsities or [0.0]]
    if not told:
        raise ValueError("no cell has finished")
    print("\n\n".join(told))
    if given.to:
        file = place(given.to, "costs.md", [".md"])
        files.write(file, "\n\n".join(told) + "\n")
        print(file)


if __name__ == "__main__":
    sys.exit(ended(main))
