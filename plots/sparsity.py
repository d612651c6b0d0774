"""The metric against the share of weights removed, of whatever tasks: the figures of the paper have scripts of their own.

    python plots/sparsity.py results/cartpole [results/acrobot ...] --to figures/ --name mine

With `--of-dense` it is what is kept of the dense network's metric; a task where such a share means nothing is left out.
Tasks stand side by side in the order of the folders, three in a figure; one task is drawn wide, with its pruners named at
their lines, and so is each with more than twenty, after the others. Of several figures the files are ``NAME-1`` and on.
"""

import argparse
import sys
from pathlib import Path

from rlprune import safely
from rlprune.report import draw, figures
from rlprune.report.scripts import ended, place, read


def main() -> None:
    """Read runs, draw their tasks, write ``NAME.{png,svg,pdf}``."""
    parser = argparse.ArgumentParser(description="metric against sparsity, one column a task")
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs, say results/cartpole")
    parser.add_argument("--to", type=Path, default=Path("figures"), help="folder to write NAME.{png,svg,pdf} into")
    parser.add_argument("--name", default="sparsity", help="of the files")
    parser.add_argument("--of-dense", action="store_true", help="draw shares of the dense network's metric")
    given = parser.parse_args()
    folders = list(map(str, given.results))
    found = [one for one in read(given.results) if one.sparsities and one.seeds[1]]
    found.sort(key=lambda one: folders.index(one.runs[0]) if one.runs else 0)
    charts = [one.chart_of_dense if given.of_dense else one.chart for one in found]
    if found and not any(chart.curves for chart in charts):
        raise ValueError(f"{found[0].title}: {found[0].against.scale}")
    charts = [chart for chart in charts if any(curve.cut != "nothing" for curve in chart.curves)]
    groups = figures.together(charts)
    for number, some in enumerate(groups, 1):
        drawn = figures.sparsity_figure(some)
        file = place(given.to, f"{safely.name(f'{given.name}-{number}' if len(groups) > 1 else given.name)}.png")
        draw.save(drawn, given.to, file.stem)
        print(file)


if __name__ == "__main__":
    sys.exit(ended(main))
