"""Appendix A of the EarlyCroP paper: what training costs in money, at the price an hour that the suite names.

python plots/money.py results/large [--to FILE.tex]
"""

import sys
from functools import partial

from rlprune.report.exhibits import costs
from rlprune.report.paper import Exhibit
from rlprune.report.printed import prices

PRICED = " and ".join(f"{price:g} for a {machine}" for machine, price in prices().items())

EXHIBIT = Exhibit(
    "appendix A",
    f"what training costs at a price an hour, --set price_per_hour=USD (the paper's: {PRICED})",
    partial(
        costs, title="Appendix A", names=("trained_epochs", "wall_seconds", "energy_joules", "price_usd"), needed="price_usd"
    ),
    runs=("large --profile paper --data DIR --set price_per_hour=4.96", "cartpole --set price_per_hour=USD"),
    metrics=("top1", "return_greedy", "rmse", "log_perplexity"),
)

if __name__ == "__main__":
    sys.exit(EXHIBIT.run(__doc__))
