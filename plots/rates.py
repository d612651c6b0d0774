"""Is it waiting, or the learning rate that is held meanwhile? Pruners whose rate falls at once, and those whose is held first.

    python plots/rates.py results/start [--metric return_sampled]

A table a task and sparsity: a line for each pruner, and one for what waiting adds to the choice that prunes before training.
Differences are means of pairs, with the exact sign-flip test corrected by Holm for all of a table.
"""

import argparse
import sys
from pathlib import Path

from rlprune.report.curves import Comparison, order, percent
from rlprune.report.scripts import ended, read
from rlprune.report.sure import differences
from rlprune.report.tables import MISSING, counted_text, difference_text, markdown, sure_text

RATES = ("falls", "held")
"""What a variant's name says of its learning rate, as in ``Random-S rate held``."""

WAITS = "Early"
"""What the names of pruners that wait begin with, before the name of their choice."""


def compared(one: Comparison) -> dict[str, dict[str, str]]:
    """Return pruner to rate to the name of the variant; the one that says nothing of its rate has the other."""
    found: dict[str, dict[str, str]] = {}
    for pruner, _, rate in (name.rpartition(" rate ") for name in one.pruners if " rate " in name):
        usual = f"{pruner} rescaled" if f"{pruner} rescaled" in one.pruners else pruner
        found.setdefault(pruner, dict.fromkeys(RATES, usual))[rate] = f"{pruner} rate {rate}"
    return {pruner: found[pruner] for pruner in sorted(found, key=lambda it: order(it.removeprefix(WAITS)))}


def table(one: Comparison, sparsity: float, metric: str) -> str:
    """Return the table of a task at a sparsity."""
    named, ends = compared(one), one.shown(sparsity, metric)
    values = one.seeded(sparsity, metric)
    waiting = {pruner: pruner.removeprefix(WAITS) for pruner in named if pruner.startswith(WAITS)}
    wanted = [(names["held"], names["falls"]) for names in named.values()]
    wanted += [(named[pruner][rate], named[it][rate]) for pruner, it in waiting.items() if it in named for rate in RATES]
    most = max((end.seeds for end in ends.values()), default=0)
    pairs = [pair for pair in wanted if values.keys() >= {*pair}]
    found = {(it.pruner, it.other): it for it in differences(pairs, values, one.measure_of(metric).sign)}

    def told(pruner: str, other: str) -> str:
        if (it := found.get((pruner, other))) is None:
            return MISSING
        p = sure_text(it.p, it.improvement.pairs, most)
        return f"{difference_text(one.measure_of(metric).scale * it.mean, ends[pruner], ends[other])} (p = {p})"

    lines = [["pruner", "rate falls from the first epoch", "rate held first", "held − falls"]]
    for pruner, names in named.items():
        if ends.keys() & names.values():
            there = [counted_text(ends.get(names[rate]), most) for rate in RATES]
            lines.append([pruner, *there, told(names["held"], names["falls"])])
        if (choice := waiting.get(pruner)) in named:
            lines.append([f"{pruner} − {choice}", *(told(names[rate], named[choice][rate]) for rate in RATES), ""])
    return f"**{one.title}, {percent(sparsity)} removed, {one.heading_of(metric)}**\n\n{markdown(lines)}"


def main() -> None:
    """Read runs, print tables."""
    parser = argparse.ArgumentParser(description="what the learning rate makes of waiting")
    parser.add_argument(
        "results", type=Path, nargs="+", help="folders of runs of suites start and start_lunarlander, or packed files"
    )
    parser.add_argument("--metric", default="return_sampled", help="a measure of the task")
    given = parser.parse_args()
    found = [
        (one, sparsity)
        for one in read(given.results)
        for sparsity in one.sparsities
        if any(one.cells(name, sparsity) for name in one.pruners if " rate " in name and one.cut(name) != "nothing")
    ]
    if not found:
        raise ValueError("no pruner here has a variant by how long the learning rate is held")
    if not any(one.values(sparsity, given.metric) for one, sparsity in found):
        raise ValueError(f"no finished cell has {given.metric}")
    print("\n\n".join(table(one, sparsity, given.metric) for one, sparsity in found))


if __name__ == "__main__":
    sys.exit(ended(main))
