"""Print how agents play greedily and by sampling: a Markdown table of interquartile means with 95 % intervals.

Run it as `python plots/greedy_and_sampled.py results/cartpole`.
"""

import argparse
from pathlib import Path

from rlprune.report.curves import order, percent
from rlprune.report.tables import iqm_text
from rlprune.stats import estimate
from rlprune.store import Row, Store

WAYS = {"return_greedy": "greedy", "return_sampled": "sampled"}


def table(rows: list[Row]) -> str:
    """Return the table of one task's finished cells."""
    sparsities = sorted({row.sparsity for row in rows if row.cut != "nothing"})
    header = ["pruner", *(f"{percent(sparsity)}, {way}" for sparsity in sparsities for way in WAYS.values())]
    lines = [header, ["---"] * len(header)]
    for pruner in sorted({row.pruner for row in rows}, key=order):
        own = [row for row in rows if row.pruner == pruner]
        lines.append([pruner])
        for sparsity in sparsities:
            cells = [row for row in own if row.cut == "nothing" or row.sparsity == sparsity]
            lines[-1] += [iqm_text(estimate([[row.values[measure] for row in cells]])) for measure in WAYS]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of a run")
    with Store(parser.parse_args().results / "results.sqlite", create=False) as store:
        print(table([row for row in store.rows() if row.status == "done"]))
