"""Table 6 of the EarlyCroP paper: what pruners make of ResNet18 on Tiny-ImageNet, and what they cost.

python plots/table6.py results/resnet18_tinyimagenet [--paper] [--to FILE.tex]
"""

import sys
from functools import partial

from rlprune.report.exhibits import costs
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "table 6",
    "accuracy and costs of ResNet18 on Tiny-ImageNet",
    partial(costs, title="Table 6"),
    runs=("resnet18_tinyimagenet --profile paper --data DIR",),
    metrics=("top1",),
    tasks=("resnet18-tiny-imagenet",),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
