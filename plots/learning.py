"""Learning curves, as in the report: a panel a pruner, darker for sparser, dense dotted in all of them; a figure a task.

python plots/learning.py results/cartpole [more ...] [--to figures/]
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from rlprune.report import figures
from rlprune.report.curves import learning_curves
from rlprune.report.scripts import drawn, ended, read


def main() -> None:
    """Read runs, draw their tasks, write ``learning-TASK.{png,svg,pdf}``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--to", type=Path, default=Path("figures"), help="folder to write into")
    given = parser.parse_args()
    found = [(one, curves) for one in read(given.results) if (curves := learning_curves(one))]
    figures_of = ((f"learning-{one.stem}", partial(figures.learning_figure, one, curves)) for one, curves in found)
    drawn(figures_of, given.to, "no epoch of these cells measured what a learning curve shows")


if __name__ == "__main__":
    sys.exit(ended(main))
