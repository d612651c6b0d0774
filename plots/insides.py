"""What happens inside actor and critic over training: dormant units, effective rank and parameter norm, dense as dotted lines.

    python plots/insides.py results/rl --sparsity .95 --pruners SNIP,EarlyCroP-S --to figures/

A file a task; the sparsity is the highest and the pruners are all where none is named.
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from rlprune.report import figures
from rlprune.report.curves import insides, stems
from rlprune.report.scripts import chosen, drawn, ended, read


def main() -> None:
    """Read runs, draw their tasks, write ``insides-TASK-SPARSITY.{png,svg,pdf}``."""
    parser = argparse.ArgumentParser(description="insides of actor and critic over training")
    parser.add_argument("results", type=Path, nargs="+", help="folders of runs, say results/rl")
    parser.add_argument("--to", type=Path, default=Path("figures"), help="folder to write into")
    parser.add_argument("--sparsity", type=float, help="share of weights removed")
    parser.add_argument("--pruners", help="names, say SNIP,EarlyCroP-S; dense is drawn beside them")
    given = parser.parse_args()
    found_all, figures_of = read(given.results), []
    known = [name for one in found_all for name in one.pruners]
    asked = chosen(given.pruners.split(","), known) if given.pruners else known
    if given.sparsity is not None and all(given.sparsity not in one.sparsities for one in found_all):
        there = sorted({sparsity for one in found_all for sparsity in one.sparsities})
        raise ValueError(f"no cell here has sparsity {given.sparsity:g}; there are {', '.join(f'{one:g}' for one in there)}")
    for one, stem in zip(found_all, stems(found_all), strict=True):
        sparsity = max(one.sparsities, default=0.0) if given.sparsity is None else given.sparsity
        if given.sparsity is not None and sparsity not in one.sparsities:
            continue
        rows = tuple(row for row in one.rows if row.cut == "nothing" or row.pruner in asked)
        some = replace(one, rows=rows)
        if found := insides(some, sparsity) if rows else {}:
            figures_of.append((f"insides-{stem}-{100 * sparsity:g}", partial(figures.insides_figure, some, sparsity, found)))
    drawn(figures_of, given.to, "no epoch of these cells measured what is inside their networks")


if __name__ == "__main__":
    sys.exit(ended(main))
