"""Figure 6 of the EarlyCroP paper: log perplexity against the share of weights removed, beside what counting words reaches.

python plots/figure6.py results/language [--to figures/]

Lines across: the dense network, add-one unigrams, and 5-grams with interpolated Kneser-Ney smoothing.
"""

import sys
from functools import partial

from rlprune.report.exhibits import against_sparsity
from rlprune.report.paper import Exhibit

EXHIBIT = Exhibit(
    "figure 6",
    "log perplexity against the share of weights removed",
    partial(against_sparsity, levels={"unigram": "unigrams", "fivegram": "5-grams"}),
    runs=("language --profile paper --data DIR --tasks ptb-psmm", "language --profile quick"),
    metrics=("log_perplexity",),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
