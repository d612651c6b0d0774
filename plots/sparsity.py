"""Figures 3 to 6 of the EarlyCroP paper: the metric against the share of weights removed.

    python plots/sparsity.py results/cartpole [results/acrobot ...] --to figures/ --name figure4

Vision is figure 3, reinforcement learning 4, depth and language 5 and 6: name the folders of their runs.

Tasks stand side by side in the order of the folders; one task is drawn wide, with its pruners named at their lines.
"""

import argparse
import sys
from pathlib import Path

from rlprune import safely
from rlprune.report import draw, figures
from rlprune.report.comparable import gathered
from rlprune.report.curves import comparisons
from rlprune.report.scripts import ended


def main() -> None:
    """Read runs, draw their tasks, write ``NAME.{png,svg,pdf}``."""
    parser = argparse.ArgumentParser(description="metric against sparsity, one column a task")
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs, say results/cartpole")
    parser.add_argument("--to", type=Path, default=Path("figures"), help="folder to write NAME.{png,svg,pdf} into")
    parser.add_argument("--name", default="sparsity", help="of the files")
    given = parser.parse_args()
    folders = list(map(str, given.results))
    found = [one for one in comparisons(gathered(given.results)) if one.sparsities and one.seeds[1]]
    found.sort(key=lambda one: folders.index(one.runs[0]) if one.runs else 0)
    given.to.mkdir(parents=True, exist_ok=True)
    draw.save(figures.sparsity_figure([one.chart for one in found]), given.to, safely.name(given.name))
    print(given.to / f"{safely.name(given.name)}.png")


if __name__ == "__main__":
    sys.exit(ended(main))
