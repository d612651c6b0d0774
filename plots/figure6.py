"""Figure 6 of the EarlyCroP paper: log perplexity against the share of weights removed, beside what counting words reaches.

    python plots/figure6.py results/language [more ...] --to figures/

Levels across the figure: the dense network, add-one unigrams, and 5-grams with interpolated Kneser-Ney smoothing.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from rlprune.report import curves, draw, figures
from rlprune.report.comparable import gathered
from rlprune.report.curves import Chart, Comparison, Curve, Point
from rlprune.report.scripts import ended
from rlprune.stats import estimate

COUNTING = {"unigram": "unigrams", "fivegram": "5-grams"}


def charted(one: Comparison) -> Chart:
    """Return a task's chart with the levels of what counting words reaches, which every cell measures alike.

    Raises:
        ValueError: its cells did not measure that.
    """
    chart, levels = one.chart, []
    for key, name in COUNTING.items():
        counted = max(one.values(one.sparsities[0], key).values(), key=len, default=[])
        if not counted:
            raise ValueError(f"{one.title}: no cell measured {key}; figure 6 is of a run of the suite language")
        levels.append(Curve(name, "nothing", (Point(0.0, None, estimate([counted])),)))
    return replace(chart, curves=(*chart.curves, *levels))


def main() -> None:
    """Read runs, draw their tasks, write ``figure6.{png,svg,pdf}``."""
    parser = argparse.ArgumentParser(description="log perplexity against sparsity, one column a task")
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs, say results/language")
    parser.add_argument("--to", type=Path, default=Path("figures"), help="folder to write figure6.{png,svg,pdf} into")
    given = parser.parse_args()
    charts = [charted(one) for one in curves.comparisons(gathered(given.results)) if one.sparsities]
    given.to.mkdir(parents=True, exist_ok=True)
    draw.save(figures.sparsity_figure(charts), given.to, "figure6")
    print(given.to / "figure6.png")


if __name__ == "__main__":
    sys.exit(ended(main))
