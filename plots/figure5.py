"""Figure 5 of the EarlyCroP paper: RMSE of depth against the share of weights removed, beside what a constant reaches.

python plots/figure5.py results/fcrn_nyu [--to figures/]
"""

import sys
from functools import partial

from rlprune.report.exhibits import against_sparsity
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "figure 5",
    "RMSE of depth against the share of weights removed",
    partial(against_sparsity, levels={"rmse_constant": "a constant"}),
    runs=("fcrn_nyu --profile paper --data DIR", "depth --profile quick"),
    metrics=("rmse",),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
