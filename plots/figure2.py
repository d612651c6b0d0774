"""Figures 2 and 8 of the EarlyCroP paper: what the moment of pruning does to the metric, and what the trigger sees meanwhile.

python plots/figure2.py results/when [--to figures/]
"""

import sys

from rlprune.report.moments import against_moments
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "figure 2",
    "the metric against the epoch of pruning (figure 8 too)",
    against_moments,
    runs=("when --profile paper --data DIR", "when --profile quick"),
    metrics=("top1", "return_greedy"),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
