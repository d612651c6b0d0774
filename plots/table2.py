"""Table 2 of the EarlyCroP paper: what pruners make of VGG16 on CIFAR-10, and what they cost.

python plots/table2.py results/vgg16_cifar10 [--paper] [--to FILE.tex]
"""

import sys
from functools import partial

from rlprune.report.exhibits import costs
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "table 2",
    "accuracy and costs of VGG16 on CIFAR-10",
    partial(costs, title="Table 2"),
    runs=("vgg16_cifar10 --profile paper --data DIR",),
    metrics=("top1",),
    tasks=("vgg16-cifar10",),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
