"""Table 1 of the EarlyCroP paper: what pruners make of ResNet18 on CIFAR-10, and what they cost.

python plots/table1.py results/resnet18_cifar10 [--paper] [--to FILE.tex]
"""

import sys
from functools import partial

from rlprune.report.exhibits import costs
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "table 1",
    "accuracy and costs of ResNet18 on CIFAR-10",
    partial(costs, title="Table 1"),
    runs=("resnet18_cifar10 --profile paper --data DIR",),
    metrics=("top1",),
    tasks=("resnet18-cifar10",),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
