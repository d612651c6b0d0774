"""Every figure and table of the EarlyCroP paper, from whatever results there are; what is missing, and the command that makes it.

python plots/everything.py [results/cartpole ...] [--to figures/] [--paper]

Without folders these are all in results/.
"""

import argparse
import runpy
import sys
from pathlib import Path

from rlprune.report.comparable import gathered
from rlprune.report.curves import comparisons, titled
from rlprune.report.paper import Exhibit
from rlprune.report.scripts import ended, place
from rlprune.rows import Row
from rlprune.store import RESULTS


def exhibits() -> list[Exhibit]:
    """Return what the scripts beside this one declare, figures before tables."""
    files = [file for kind in ("figure*", "table*", "money") for file in sorted(Path(__file__).parent.glob(f"{kind}.py"))]
    return [runpy.run_path(str(file))["EXHIBIT"] for file in files]


def readable(folders: list[Path]) -> list[Row]:
    """Return the rows of folders; of one that cannot be read, say why.

    Raises:
        ValueError: none can be read.
    """
    sound = []
    for folder in folders:
        try:
            gathered([folder])
            sound.append(folder)
        except ValueError as error:
            print(f"left out: {error}")
    if not sound:
        raise ValueError("there are no results here; python -m rlprune.run cartpole makes some")
    return gathered(sound)


def main() -> None:
    """Make what can be made, a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="*", help="folders of runs")
    parser.add_argument("--to", type=Path, default=Path("figures"), help="folder to write into")
    parser.add_argument("--paper", action="store_true", help="with what the paper prints, marked as the paper's")
    given = parser.parse_args()
    rows = readable(given.results or [file.parent for file in sorted(Path("results").glob(f"*/{RESULTS}"))])
    place(given.to, "")  # what is no folder is told once
    for exhibit in exhibits():
        shown = exhibit.of(titled(comparisons(row for row in rows if row.suite in exhibit.suites)))
        if not shown:
            print(f"missing: {exhibit.lacking}")
            continue
        try:
            files = ", ".join(map(str, exhibit.save(shown, given.to, given.paper)))
            own = any((one.suite, one.profile) == (exhibit.runs[0].split()[0], "paper") for one in shown)
            print(f"{exhibit.name}: {files}" + ("" if own else f"; the paper's own: python -m rlprune.run {exhibit.runs[0]}"))
        except ValueError as error:
            print(f"missing: {error}")


if __name__ == "__main__":
    sys.exit(ended(main))
