"""Table 7 of the EarlyCroP paper: what pruners make of VGG16 on ImageNet, and what they cost.

python plots/table7.py results/vgg16_imagenet [--paper] [--to FILE.tex]
"""

import sys
from functools import partial

from rlprune.report.exhibits import costs
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "table 7",
    "accuracy and costs of VGG16 on ImageNet",
    partial(costs, title="Table 7"),
    runs=("vgg16_imagenet --profile paper --data DIR",),
    metrics=("top1",),
    tasks=("vgg16-imagenet",),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
