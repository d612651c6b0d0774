"""Table 3 of the EarlyCroP paper: a network too large to train, cut before training, against the largest trained whole.

python plots/table3.py results/large [--paper] [--to FILE.tex]
"""

import sys
from functools import partial

from rlprune.report.exhibits import costs
from rlprune.report.paper import Exhibit

COLUMNS = (
    "sparsity_weights",
    "sparsity_nodes",
    "parameters",
    "trained_epochs",
    "wall_seconds",
    "batch_seconds",
    "memory_static_bytes",
    "memory_peak_bytes",
    "disk_csr_mb",
    "co2_grams",
)

EXHIBIT = Exhibit(
    "table 3",
    "a large network made small beside one that is trained whole",
    partial(costs, title="Table 3", names=COLUMNS),
    runs=("large --profile paper --data DIR", "large --profile quick"),
    metrics=("top1",),
    tasks=("resnext101-32x48d-cifar10", "resnext101-32x16d-cifar10", "resnext-small-shapes", "resnet-small-shapes"),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
