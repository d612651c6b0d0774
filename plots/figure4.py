"""Figures 4 and 7 of the EarlyCroP paper: the return of agents against the share of weights removed, a column a task.

python plots/figure4.py results/rl [--to figures/]
"""

import sys

from rlprune.report.exhibits import against_sparsity
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "figure 4",
    "the return of agents against the share of weights removed (figure 7 too)",
    against_sparsity,
    runs=("rl --profile paper", "rl_full --profile paper", "cartpole", "acrobot", "lunarlander"),
    metrics=("return_greedy",),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
