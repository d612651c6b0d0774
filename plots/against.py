"""Print one pruner against others: where each ends, and what one does better or worse, seed by seed.

    python plots/against.py results/start --pruner "EarlyCroP-U rescaled" --others "CroP-U rescaled,SynFlow rescaled"

A table a task and sparsity, of all pruners where no others are named. Differences are means of pairs, with the exact sign-flip
test corrected by Holm for all of a table.
"""

import argparse
import sys
from pathlib import Path

from rlprune.report.curves import Comparison, percent
from rlprune.report.scripts import add_suite, chosen, ended, read
from rlprune.report.sure import differences
from rlprune.report.tables import MISSING, counted_text, difference_text, markdown, sure_text


def table(one: Comparison, sparsity: float, metric: str, pruner: str, others: list[str]) -> str:
    """Return the table of a task at a sparsity, a line for each of the others that has the measure there."""
    ends, values = one.shown(sparsity, metric), one.seeded(sparsity, metric)
    most = max(end.seeds for end in ends.values())
    there = [name for name in others if name in ends]
    measure = one.measure_of(metric)
    found = {it.other: it for it in differences([(pruner, name) for name in there], values, measure.sign)}
    lines = [["pruner", "ends at", f"{pruner} − it", "p"]]
    for name in there:
        told = [MISSING, MISSING]
        if it := found.get(name):
            told = [
                difference_text(measure.scale * it.mean, ends[pruner], ends[name]),
                sure_text(it.p, it.improvement.pairs, most),
            ]
        lines.append([name, counted_text(ends[name], most), *told])
    about = f"{one.title}, {percent(sparsity)} removed, {one.heading_of(metric)}; {pruner} {counted_text(ends[pruner], most)}"
    return f"**{about}**\n\n{markdown(lines)}"


def main() -> None:
    """Read runs, print tables."""
    parser = argparse.ArgumentParser(description="one pruner against others, in pairs of seeds")
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs, or packed files")
    parser.add_argument("--pruner", required=True, help="a name, as reports have it")
    parser.add_argument("--others", help="names, with commas between them; all others, if none is given")
    parser.add_argument("--task", help="one task alone")
    parser.add_argument("--metric", help="a measure of the task; its metric, if none is given")
    add_suite(parser)
    given = parser.parse_args()
    found = read(given.results, given.suite, given.profile)
    if given.task:
        (task,) = chosen([given.task], {one.task for one in found}, "task")
        found = [one for one in found if one.task == task]
    known = list(dict.fromkeys(name for one in found for name in one.pruners))
    (pruner,) = chosen([given.pruner], known)
    others = [name for name in (chosen(given.others.split(","), known) if given.others else known) if name != pruner]
    if not others:
        raise ValueError(f"there is nobody to compare {pruner} with but itself")
    asked = [(one, sparsity, given.metric or one.metric.name) for one in found for sparsity in one.sparsities]
    both = [it for it in asked if pruner in (ends := it[0].shown(*it[1:])) and not ends.keys().isdisjoint(others)]
    if not both:
        raise ValueError(f"no task here has {given.metric or 'a metric'} of {pruner} and of another at one sparsity")
    print("\n\n".join(table(*it, pruner, others) for it in both))


if __name__ == "__main__":
    sys.exit(ended(main))
