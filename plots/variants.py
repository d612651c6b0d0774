"""Print what one change to a suite does to every pruner: a Markdown table, a line a run, interquartile means with 95 % intervals.

Run it as `python plots/variants.py results/base results/layer ... --sparsity .95 --metric return_greedy
[--to FILE.md]`. A run of several tasks or recipes has a line for each.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rlprune import files
from rlprune.report.curves import Comparison, order
from rlprune.report.scripts import ended, place, read
from rlprune.report.tables import counted_text, markdown


def table(runs: dict[str, Comparison], metric: str, sparsity: float) -> str:
    """Return the table; what a run did not train or measure is left empty.

    Raises:
        ValueError: no run has the measure at this sparsity.
    """
    pruners = sorted({pruner for one in runs.values() for pruner in one.pruners}, key=order)
    ended = {name: one.shown(sparsity, metric) for name, one in runs.items()}
    cells = [row for one in runs.values() for row in one.rows if row.cut != "nothing" and metric in row.values]
    there = sorted({row.sparsity for row in cells})
    if not any(ended.values()) or (there and sparsity not in there):
        others = f"; there are {', '.join(f'{other:g}' for other in there)}" if there else ""
        raise ValueError(f"no finished cell has {metric} at sparsity {sparsity:g}{others}")
    heading = next(one.heading_of(metric) for name, one in runs.items() if ended[name])
    lines, most = [[f"run, {heading}", *pruners]], max(end.seeds for ends in ended.values() for end in ends.values())
    for name, ends in ended.items():
        lines.append([name, *(counted_text(ends[pruner], most) if pruner in ends else "" for pruner in pruners)])
    return markdown(lines)


def finished(folder: Path) -> dict[str, Comparison]:
    """Return what a run has finished, each comparison under the folder's name and, where there are several, its title."""
    found = read([folder])
    return {folder.name if len(found) == 1 else f"{folder.name}: {one.heading}": one for one in found}


def main(folders: Sequence[Path], metric: str, sparsity: float, to: Path | None) -> None:
    """Print the table of some runs, and write it."""
    runs: dict[str, Comparison] = {}
    for folder in folders:
        runs |= {name if name not in runs else f"{folder}: {one.heading}": one for name, one in finished(folder).items()}
    print(told := table(runs, metric, sparsity))
    if to:
        file = place(to, "variants.md", [".md"])
        files.write(file, f"{told}\n")
        print(f"\n{file}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--metric", default="return_greedy")
    parser.add_argument("--sparsity", type=float, default=0.95)
    parser.add_argument("--to", type=Path, help="FILE.md, or a folder to write variants.md into; it is printed, too")
    given = parser.parse_args()
    sys.exit(ended(lambda: main(given.results, given.metric, given.sparsity, given.to)))
