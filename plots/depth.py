"""The EarlyCroP paper's figure of depth: the error against the share of weights removed.

    python plots/depth.py results/depth [results/fcrn_nyu ...] --to figures/

Tasks stand side by side in the order of the folders; one task is drawn wide, with its pruners named at their lines.
"""

import argparse
from pathlib import Path

from rlprune.report import curves, draw, figures
from rlprune.store import Row, Store


def main() -> None:
    """Read runs, draw their tasks, write ``depth.{png,svg,pdf}``."""
    parser = argparse.ArgumentParser(description="RMSE against sparsity, one column a task")
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs, say results/depth")
    parser.add_argument("--to", type=Path, default=Path("figures"), help="folder to write depth.{png,svg,pdf} into")
    given = parser.parse_args()
    charts = [curves.chart(one) for folder in given.results for one in curves.comparisons(_rows(folder)) if one.sparsities]
    given.to.mkdir(parents=True, exist_ok=True)
    draw.save(figures.sparsity_figure(charts), given.to, "depth")
    print(given.to / "depth.png")


def _rows(folder: Path) -> list[Row]:
    with Store(folder / "results.sqlite", create=False) as store:
        return store.rows()


if __name__ == "__main__":
    main()
