"""Print what every pruner costs, a line each: a Markdown table a task and sparsity of means over the cells that measured a cost.

Run it as `python plots/costs.py results/solo [more ...] [--measures wall_seconds,energy_joules] [--to FILE.md]`; cells have
costs where they had a worker to themselves (--set solo=1). The report's tables have every cost, and the metric beside them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rlprune import files
from rlprune.costs.measures import MEASURES, SOLO
from rlprune.report.curves import Comparison, count_of, percent, span_of
from rlprune.report.exhibits import Line
from rlprune.report.scripts import ended, place, read
from rlprune.report.tables import BLOCKS, markdown

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
        ValueError: there is no name, or one is no cost's, or no cell has it.
    """
    if not names:
        raise ValueError(f"no cost was named; there are {', '.join(MEASURES)}")
    if unknown := sorted({*names} - {*MEASURES}):
        raise ValueError(f"no cost is named {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    if lacking := [name for name in names if not one.values(sparsity, name)]:
        alone = any(one.values(sparsity, name) for name in SOLO)
        hint = "" if alone else " (--set solo=1, and a folder of its own)"
        raise ValueError(f"{one.title}, {percent(sparsity)}: no cell measured {', '.join(lacking)}{hint}")
    costs = [MEASURES[name] for name in names]
    lines = [Line(one, sparsity, cut, pruner) for cut in BLOCKS for pruner in one.cutting(cut)]
    told = [["pruner", *(cost.heading for cost in costs)], *([line.pruner, *map(line.mean, costs)] for line in lines)]
    counts = [len(values) for name in names for values in one.values(sparsity, name).values()]
    return f"**{one.title}, {percent(sparsity)} removed, {count_of(span_of(counts))}**\n\n{markdown(told)}"


def main() -> None:
    """Print the tables of some runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--measures", help="names of costs, with commas between them; the usual ones that were measured, if none")
    parser.add_argument("--to", type=Path, help="FILE.md, or a folder to write costs.md into; it is printed, too")
    given = parser.parse_args()
    named = None if given.measures is None else [name for name in map(str.strip, given.measures.split(",")) if name]
    told = []
    for one in read(given.results):
        for sparsity in one.sparsities or [0.0]:
            usual = [name for name in USUAL if one.values(sparsity, name)] or USUAL
            told.append(table(one, sparsity, usual if named is None else named))
    if not told:
        raise ValueError("no cell has finished")
    print("\n\n".join(told))
    if given.to:
        file = place(given.to, "costs.md", [".md"])
        files.write(file, "\n\n".join(told) + "\n")
        print(file)


if __name__ == "__main__":
    sys.exit(ended(main))
