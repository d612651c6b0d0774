"""Table 5 of the EarlyCroP paper: what pruners make of VGG16 on CIFAR-100, and what they cost.

python plots/table5.py results/vgg16_cifar100 [--paper] [--to FILE.tex]
"""

import sys
from functools import partial

from rlprune.report.exhibits import costs
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "table 5",
    "accuracy and costs of VGG16 on CIFAR-100",
    partial(costs, title="Table 5"),
    runs=("vgg16_cifar100 --profile paper --data DIR",),
    metrics=("top1",),
    tasks=("vgg16-cifar100",),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
