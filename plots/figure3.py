"""Figure 3 of the EarlyCroP paper: accuracy against the share of weights removed, channel pruners above weight pruners.

python plots/figure3.py results/resnet18_cifar10 results/vgg16_cifar10 [--to figures/] [--paper]
"""

import sys

from rlprune.report.exhibits import against_sparsity
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "figure 3",
    "accuracy against the share of weights removed",
    against_sparsity,
    runs=(
        "resnet18_cifar10 --profile paper --data DIR --sparsities .8,.9,.95,.98",
        "vgg16_cifar10 --profile paper --data DIR --sparsities .8,.9,.95,.98",
        "vision --profile quick",
    ),
    metrics=("top1",),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
