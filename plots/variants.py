"""Print what one change to a suite does to every pruner: a Markdown table, a line a run, interquartile means with 95 % intervals.

Run it as `python plots/variants.py results/base results/layer ... --sparsity .95 --metric return_greedy`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rlprune.report.curves import order
from rlprune.report.tables import iqm_text
from rlprune.stats import estimate
from rlprune.store import Row, Store


def table(runs: dict[str, list[Row]], metric: str, sparsity: float) -> str:
    """Return the table; what a run did not train is left empty."""
    pruners = sorted({row.pruner for rows in runs.values() for row in rows}, key=order)
    lines = [["run", *pruners], ["---"] * (len(pruners) + 1)]
    for name, rows in runs.items():
        lines.append([name])
        for pruner in pruners:
            mine = [row for row in rows if row.pruner == pruner and (row.cut == "nothing" or row.sparsity == sparsity)]
            lines[-1].append(iqm_text(estimate([[row.values[metric] for row in mine]])) if mine else "")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def finished(folder: Path) -> list[Row]:
    """Return the finished cells of a run."""
    with Store(folder / "results.sqlite", create=False) as store:
        return [row for row in store.rows() if row.status == "done"]


def main(folders: Sequence[Path], metric: str, sparsity: float) -> None:
    """Print the table of some runs."""
    print(table({folder.name: finished(folder) for folder in folders}, metric, sparsity))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--metric", default="return_greedy")
    parser.add_argument("--sparsity", type=float, default=0.95)
    given = parser.parse_args()
    main(given.results, given.metric, given.sparsity)
