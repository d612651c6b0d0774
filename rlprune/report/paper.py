"""Figures and tables of the EarlyCroP paper as declarations: what feeds one, what it shows, how it is made, and its command line.

A script in ``plots/`` is an `Exhibit`; ``plots/everything.py`` makes them all from whatever results there are.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from rlprune import files, safely
from rlprune.report import draw, printed, tables
from rlprune.report.curves import Comparison
from rlprune.report.scripts import ended, place, read
from rlprune.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Made: TypeAlias = tuple[str, Union["Figure", Table], str]
"""What is added to the name of its file, what is shown, and what is said of it."""

FORMATS: dict[str, Callable[[Table], str]] = {".md": tables.to_markdown, ".tex": tables.to_latex, ".csv": tables.to_csv}


@dataclass(frozen=True)
class Exhibit:
    """A figure or a table of the paper.

    Args:
        name: as the paper numbers it, ``figure 4``.
        shows: what it shows, in words.
        make: from comparisons, and whether what the paper prints goes beside them, to figures or tables.
        runs: arguments of ``python -m rlprune.run`` that feed it, the paper's own first.
        metrics: names of the metrics that it can show.
        tasks: the only tasks that it shows unless another is named; any where empty.
    """

    name: str
    shows: str
    make: Callable[[Sequence[Comparison], bool], Iterable[Made]]
    runs: tuple[str, ...]
    metrics: tuple[str, ...]
    tasks: tuple[str, ...] = ()

    @property
    def suites(self) -> set[str]:
        """Return the suites that feed it."""
        return {run.split()[0] for run in self.runs}

    @property
    def lacking(self) -> str:
        """Return what it shows and how to get that."""
        return f"{self.name} shows {self.shows}: " + ", or ".join(f"python -m rlprune.run {run}" for run in self.runs)

    def of(self, there: Iterable[Comparison], task: str = "") -> list[Comparison]:
        """Return what it can show of some comparisons: those with a metric of its kind, of its tasks or of the one named."""
        mine = [one for one in there if one.metric.name in self.metrics and one.seeds[1]]
        return [one for one in mine if (one.task == task if task else not self.tasks or one.task in self.tasks)]

    def made(self, shown: Sequence[Comparison], paper: bool) -> list[Made]:
        """Make all of it.

        Raises:
            ValueError: the comparisons do not have what it shows.
        """
        try:
            return list(self.make(shown, paper))
        except ValueError as error:
            raise ValueError(f"{error}; {self.lacking}") from None

    def save(self, shown: Sequence[Comparison], to: Path, paper: bool) -> list[Path]:
        """Make all of it, write it, and return a file each."""
        return [_saved(made, to, self._stem(ending)) for ending, made, _ in self.made(shown, paper)]

    def run(self, about: str | None) -> str | None:
        """Do what the command line asks for; return for ``sys.exit`` one line where that cannot be, or None."""
        return ended(lambda: self._run(about))

    def _run(self, about: str | None) -> None:
        parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("results", type=Path, nargs="+", help="folders of runs")
        parser.add_argument(
            "--to", type=Path, help="folder to write into, figures/ if it is a figure; a table's FILE.md, .tex, .csv"
        )
        parser.add_argument("--paper", action="store_true", help="with what the paper prints, marked as the paper's")
        parser.add_argument("--task", default="", help="another task than the paper's, say a small stand-in")
        given = parser.parse_args()
        there = read(given.results)
        if not (shown := self.of(there, given.task)):
            raise ValueError(f"{', '.join(map(str, given.results))}: {self._absent(there)}")
        for ending, made, said in self.made(shown, given.paper):
            told = [tables.to_markdown(made)] if isinstance(made, Table) else []
            if given.to or not told:
                told.append(str(_saved(made, given.to or Path("figures"), self._stem(ending))))
            sys.stdout.write("".join(f"{line}\n" for line in [*told, said] if line))
        if given.paper and not printed.tasks() & {one.task for one in shown}:
            sys.stdout.write("The paper prints no number of these tasks that is at hand.\n")

    def _stem(self, ending: str) -> str:
        return safely.name("-".join(filter(None, (self.name.replace(" ", ""), ending))))

    def _absent(self, there: Sequence[Comparison]) -> str:
        known = sorted({one.task for one in there if one.metric.name in self.metrics})
        other = f"; there is --task {' or --task '.join(known)}" if known else ""
        return f"no finished cell for this{other}; {self.lacking}"


def _saved(made: "Figure | Table", to: Path, stem: str) -> Path:
    if not isinstance(made, Table):
        file = place(to, f"{stem}.png")
        draw.save(made, file.parent, stem)
        return file
    file = place(to, f"{stem}.md", FORMATS)
    for one in [to] if file == to else [to / f"{stem}{ending}" for ending in FORMATS]:
        files.write(one, FORMATS[one.suffix](made))
    return file
