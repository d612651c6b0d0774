"""Print what pruners make of BERT on GLUE, as table 8 has it: metric, and training time over that of Dense, task by task.

Run it as `python plots/table8.py results/glue`. Both are means over seeds; time counts what a cell spent on training, the
search for its sparse network included. Several recipes are several columns.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rlprune.report.comparable import gathered
from rlprune.report.curves import Comparison, comparisons, measure, order, percent
from rlprune.report.scripts import ended
from rlprune.report.tables import MISSING, markdown, number
from rlprune.store import Row

TIMES = ("training_seconds", "scoring_seconds")


def table(compared: Sequence[Comparison]) -> str:
    """Return the table: a line a pruner, two columns a task and sparsity.

    Raises:
        ValueError: no pruner that removes anything has finished.
    """
    columns = [(one, sparsity) for one in compared for sparsity in one.sparsities]
    if not columns:
        raise ValueError("no cell of a pruner that removes anything has finished")
    header = ["pruner"]
    for one, sparsity in columns:
        header += [f"{one.title}, {percent(sparsity)}: {one.metric.name}", "time / Dense"]
    lines = [header]
    for pruner in sorted({pruner for one in compared for pruner in one.pruners}, key=order):
        lines.append([pruner])
        for one, sparsity in columns:
            mine = one.cells(pruner, sparsity)
            earned = _mean([measure(row, one.metric.name) for row in mine])
            time, base = (_mean(list(map(_seconds, rows))) for rows in (mine, _dense(one)))
            lines[-1].append(MISSING if earned is None else number(earned))
            lines[-1].append(MISSING if not time or not base else number(time / base))
    return markdown(lines)


def _dense(one: Comparison) -> list[Row]:
    return [row for row in one.rows if row.cut == "nothing"]


def _seconds(row: Row) -> float | None:
    """Return the time of a cell that had its worker to itself and was not resumed."""
    known = "training_seconds" in row.values and "resumed" not in row.values
    return sum(row.values.get(name, 0.0) for name in TIMES) if known else None


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None


def main() -> None:
    """Print the table of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of a run")
    print(table(comparisons(gathered([parser.parse_args().results]))))


if __name__ == "__main__":
    sys.exit(ended(main))
