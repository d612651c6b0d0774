"""What every pruner keeps of the dense network on several tasks: one figure, tasks and sparsities across, pruners down.

    python plots/overview.py docs/results/rl/cartpole.sqlite.xz docs/results/rl/acrobot.sqlite.xz --to figures/

Where variants of a pruner differ in where training starts they are rows of their own, for the starts that are asked for; those of
the first have the pruner's plain name. Of several tasks, pruners that a single one has are left out, and named.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rlprune.report.comparable import settings
from rlprune.report.curves import Comparison
from rlprune.report.heatmap import column, heatmap_figure, rows
from rlprune.report.scripts import add_suite, chosen, drawn, ended, measure_of, read

STARTS = ("kept", "rescaled", "measured")


def named(one: Comparison, starts: Sequence[str]) -> dict[str, str]:
    """Return the pruners to show, each with the name of its row."""
    found = {}
    for name in one.pruners:
        row = next(row for row in (*one.rows, *one.lost) if row.pruner == name)
        plain, _, last = name.rpartition(" ")
        start = str(settings(row).get("start", "kept"))
        pruner = plain if last == start else name
        if start in starts or (start == "redrawn" and pruner == name):  # a small dense network has one start alone
            found[name] = pruner if start in (starts[0], "redrawn") else f"{pruner} {start}"
    return found


def main() -> None:
    """Draw ``overview.{png,svg,pdf}``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--metric", help="a measure; left out, return_sampled of agents, and else the task's metric")
    parser.add_argument("--starts", default="rescaled,measured", help="where training starts; the first is not named")
    parser.add_argument("--sparsities", default="", help="say .9,.95; left out, all")
    parser.add_argument("--to", type=Path, default=Path(), help="folder to draw into")
    add_suite(parser)
    given = parser.parse_args()
    found, starts = read(given.results, given.suite, given.profile), chosen(given.starts.split(","), STARTS, "start")
    sparsities = [float(it) for it in given.sparsities.split(",") if it.strip()]
    measures = {one.stem: given.metric or measure_of(one, one.sparsities) for one in found}
    columns = []
    for one in found:
        if not (against := one.against_by(measures[one.stem])).pruners:
            raise ValueError(f"{one.title}: no share of dense, for {against.scale}")
        if (made := column(one, measures[one.stem], named(one, starts), sparsities)) is None:
            raise ValueError(f"{one.title}: no pruner was run from {' or '.join(starts)} at the sparsities that are asked for")
        columns.append(made)
    if not columns:
        raise ValueError("no cell has finished")
    shown = [pruner for names in rows(columns).values() for pruner in names]
    if not shown:
        raise ValueError("these tasks have no pruner in common")
    if left := dict.fromkeys(pruner for it in columns for pruner in it.kept if pruner not in shown):
        print(f"Left out, for a single task has them: {', '.join(left)}.")
    measured = "; ".join(dict.fromkeys(one.heading_of(measures[one.stem]) for one in found))
    drawn([("overview", lambda: heatmap_figure(columns, measured))], given.to, "no cell has finished")


if __name__ == "__main__":
    sys.exit(ended(main))
