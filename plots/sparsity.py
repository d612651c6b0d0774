"""Figures 3 to 6 of the EarlyCroP paper: the metric against the share of weights removed.

    python plots/sparsity.py results/cartpole [results/acrobot ...] --to figures/ --name figure4

Vision is figure 3, reinforcement learning 4, depth and language 5 and 6: name the folders of their runs.

Tasks stand side by side in the order of the folders; one task is drawn wide, with its pruners named at their lines.
"""

import argparse
from pathlib import Path

from rlprune.report import curves, draw, figures
from rlprune.store import Row, Store


def main() -> None:
    """Read runs, draw their tasks, write ``NAME.{png,svg,pdf}``."""
    parser = argparse.ArgumentParser(description="metric against sparsity, one column a task")
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs, say results/cartpole")
    parser.add_argument("--to", type=Path, default=Path("figures"), help="folder to write NAME.{png,svg,pdf} into")
    parser.add_argument("--name", default="sparsity", help="of the files")
    given = parser.parse_args()
    charts = [curves.chart(one) for folder in given.results for one in curves.comparisons(_rows(folder)) if one.sparsities]
    given.to.mkdir(parents=True, exist_ok=True)
    draw.save(figures.sparsity_figure(charts), given.to, given.name)
    print(given.to / f"{given.name}.png")


def _rows(folder: Path) -> list[Row]:
    with Store(folder / "results.sqlite", create=False) as store:
        return store.rows()


if __name__ == "__main__":
    main()
