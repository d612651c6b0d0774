"""Print what every pruner ends at, a column a sparsity: Markdown tables of interquartile means with 95 % intervals, task by task.

Run it as `python plots/by_sparsity.py results/cartpole [more ...] [--measures return_greedy,return_sampled]`; the measure is the
task's metric unless others are named, and a cell that several folders have counts once.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rlprune.report.curves import Comparison, comparisons, percent
from rlprune.report.tables import MISSING, iqm_text
from rlprune.stats import estimate
from rlprune.store import Row, Store


def table(one: Comparison, measures: Sequence[str]) -> str:
    """Return the table of one task."""
    columns = [(sparsity, measure) for sparsity in one.sparsities or [0.0] for measure in measures]
    named = len(measures) > 1
    header = ["pruner", *(percent(sparsity) + (f", {measure}" if named else "") for sparsity, measure in columns)]
    lines = [header, ["---"] * len(header)]
    for pruner in one.pruners:
        ends = [one.values(sparsity, measure).get(pruner) for sparsity, measure in columns]
        lines.append([pruner, *(iqm_text(estimate([found])) if found else MISSING for found in ends)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--measures", help="names of values, say return_greedy,return_sampled")
    given = parser.parse_args()
    rows = dict[str, Row]()
    for folder in given.results:
        with Store(folder / "results.sqlite", create=False) as store:
            rows |= {row.id: row for row in store.rows()}
    for task in comparisons(rows.values()):
        print(f"{task.title}, {task.axis}\n\n{table(task, (given.measures or task.metric).split(','))}\n")
