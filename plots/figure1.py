"""Figure 1 of the EarlyCroP paper: accuracy against memory, every network a disc as large as its file.

python plots/figure1.py results/resnet18_cifar10 [--to figures/] [--paper]
"""

import sys

from rlprune.report.exhibits import against_memory
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "figure 1",
    "accuracy against peak memory, discs as large as files",
    against_memory,
    runs=("resnet18_cifar10 --profile paper --data DIR", "vision --profile quick"),
    metrics=("top1",),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
