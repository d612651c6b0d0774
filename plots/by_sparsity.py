"""Print what every pruner ends at, a column a sparsity: Markdown tables of interquartile means with 95 % intervals, task by task.

Run it as `python plots/by_sparsity.py results/cartpole [more ...] [--measures return_greedy,return_sampled] [--to FILE.md]`; the
measure is the task's metric unless others are named, and a cell that several folders have counts once. Several recipes are
several tables. With `--of-dense` they are of what is kept of the dense network's metric, with ultimate compression and the
area under the curve; a task where such a share means nothing is left out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rlprune import files
from rlprune.report.curves import Comparison, percent
from rlprune.report.scripts import add_suite, ended, place, read
from rlprune.report.tables import counted_text, dense_table, markdown, to_markdown


def table(one: Comparison, measures: Sequence[str]) -> str:
    """Return the table of one task.

    Raises:
        ValueError: no measure was named, or no cell has one of them.
    """
    if not measures:
        raise ValueError("no measure was named")
    columns = [(sparsity, measure) for sparsity in one.sparsities or [0.0] for measure in measures]
    names = {measure: f", {one.heading_of(measure)}" if len(measures) > 1 else "" for measure in measures}
    lines = [["pruner", *(f"{percent(sparsity)}{names[measure]}" for sparsity, measure in columns)]]
    ends = {column: one.shown(*column) for column in columns}
    for measure in measures:
        if not any(found for (_, name), found in ends.items() if name == measure):
            raise ValueError(f"{one.title}: no cell has {measure or 'a metric'}")
    most = max(end.seeds for found in ends.values() for end in found.values())
    lines += [[pruner, *(counted_text(found.get(pruner), most) for found in ends.values())] for pruner in one.pruners]
    return markdown(lines)


def main() -> None:
    """Print the tables of some runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--measures", help="names of values, say return_greedy,return_sampled")
    parser.add_argument("--of-dense", action="store_true", help="shares of the dense network's metric")
    parser.add_argument("--to", type=Path, help="FILE.md, or a folder to write by_sparsity.md into; it is printed, too")
    add_suite(parser)
    given = parser.parse_args()
    found = read(given.results, given.suite, given.profile)
    if not found:
        raise ValueError("no cell has finished")
    if given.of_dense and given.measures:
        raise ValueError("--of-dense is of the metric; --measures cannot be asked for beside it")
    if given.of_dense and not (found := [one for one in found if one.against.pruners]):
        raise ValueError("no task here has a share of dense: dense cells, and a metric of which shares mean something")
    told = []
    for one in found:
        if given.of_dense:
            told.append(to_markdown(dense_table(one)))
            continue
        measures = [name for name in map(str.strip, (given.measures or one.metric.name).split(",")) if name]
        named = [one.heading_of(measure) for measure in measures]
        told.append(f"{one.heading}{f', {named[0]}' if len(named) == 1 else ''}\n\n{table(one, measures)}\n")
    print("\n".join(told))
    if given.to:
        file = place(given.to, "by_sparsity.md", [".md"])
        files.write(file, "\n".join(told))
        print(file)


if __name__ == "__main__":
    sys.exit(ended(main))
