"""Print what pruners make of BERT on GLUE, as table 8 has it: metric, and training time over that of Dense, task by task.

Run it as `python plots/table8.py results/glue`. Both are means over seeds; time counts what a cell spent on training, the
search for its sparse network included.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rlprune.report.curves import order, percent
from rlprune.report.tables import MISSING, number
from rlprune.store import Row, Store

TIMES = ("training_seconds", "scoring_seconds")


def table(rows: Sequence[Row]) -> str:
    """Return the table: a line a pruner, two columns a task and sparsity."""
    columns = sorted({(row.labels["task_title"], row.task, row.sparsity) for row in rows if row.cut != "nothing"})
    header = ["pruner"]
    for title, task, sparsity in columns:
        metric = next(row.labels["metric"] for row in rows if row.task == task)
        header += [f"{title}, {percent(sparsity)}: {metric}", "time / Dense"]
    lines = [header, ["---"] * len(header)]
    for pruner in sorted({row.pruner for row in rows}, key=order):
        lines.append([pruner])
        for _, task, sparsity in columns:
            mine = [row for row in rows if (row.task, row.pruner) == (task, pruner) and row.sparsity in (0, sparsity)]
            dense = [row for row in rows if row.task == task and row.cut == "nothing"]
            earned = _mean([row.values.get(row.labels["metric"]) for row in mine])
            time, base = (_mean([_seconds(row) for row in some]) for some in (mine, dense))
            lines[-1].append(MISSING if earned is None else number(earned))
            lines[-1].append(MISSING if time is None or base is None else number(time / base))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _seconds(row: Row) -> float | None:
    """Return the time of a cell that had its worker to itself and was not resumed."""
    known = "training_seconds" in row.values and "resumed" not in row.values
    return sum(row.values.get(name, 0.0) for name in TIMES) if known else None


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of a run")
    with Store(parser.parse_args().results / "results.sqlite", create=False) as store:
        print(table([row for row in store.rows() if row.status == "done"]))
