"""Table 8 of the EarlyCroP paper: what pruners make of BERT on GLUE, and training time over that of Dense, task by task.

python plots/table8.py results/glue [--to FILE.tex]

Both are means over seeds; time counts what a cell spent on training, the search for its sparse network included. Several
recipes are several columns.
"""

import sys

from rlprune.report.exhibits import over_dense
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "table 8",
    "BERT on GLUE, and training time over that of Dense",
    over_dense,
    runs=("glue --profile paper --data DIR", "glue --profile quick"),
    metrics=("accuracy", "f1", "matthews", "pearson"),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
