"""How the scripts in ``plots/`` end, what they are told, and where they write."""

import argparse
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlprune import safely
from rlprune.bench.contents import Suite
from rlprune.bench.matrix import Cell, cells
from rlprune.bench.mistakes import SuiteError
from rlprune.bench.suite import load_suite
from rlprune.report import draw, sentences
from rlprune.report.comparable import apart, as_suite, diverged, gathered, mixed, unlike
from rlprune.report.curves import Comparison, comparisons, titled
from rlprune.words import nearest, several

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SAMPLED = "return_sampled"


def ended(script: Callable[[], object]) -> str | None:
    """Run a script; return for ``sys.exit`` one line on what its results lack, or None where it went well."""
    try:
        script()
    except (ValueError, OSError) as error:
        return safely.plain(str(error))
    return None


def add_suite(parser: argparse.ArgumentParser) -> None:
    """Let a script be told whose cells to show."""
    parser.add_argument("--suite", default="", help="show this suite alone, what it shares with others by its names")
    parser.add_argument("--profile", default="quick", help="of that suite; default quick")


def read(folders: Sequence[Path], suite: str = "", profile: str = "quick") -> list[Comparison]:
    """Return what the rows of runs compare, profiles of a task told apart.

    How many cells failed or diverged, and in what they differ beside pruning, versions and machines, is said on stderr.

    Args:
        folders: of the runs.
        suite: whose cells are shown, where runs of several suites share some; empty: each suite's by themselves.
        profile: of that suite.

    Raises:
        ValueError: results cannot be read, or there is no such suite.
    """
    rows = gathered(folders)
    if suite:
        rows = as_suite(rows, _suite(suite, profile))
    found, failed = comparisons(rows), sum(row.status == "failed" and not diverged(row) for row in rows)
    told = [f"{failed} {'cells' if failed > 1 else 'cell'} failed, and nothing here shows them"] if failed else []
    told += apart(rows)
    for one in found:
        lost = [sentences.lost(one, sparsity) for sparsity in (0.0, *one.sparsities)]
        told += [f"{one.heading}: {said}" for said in (*lost, mixed(one.rows), *unlike(one.rows)) if said]
    sys.stderr.writelines(f"{safely.plain(line)}\n" for line in told)
    return titled(found)


def planned(suite: str, profile: str, *overrides: str, **options: str) -> list[Cell]:
    """Return the cells of a suite, for a processor, with ``key=value`` and options as ``rlprune.run`` takes them.

    Raises:
        ValueError: there is no such suite, or the options do not fit it.
    """
    return cells(_suite(suite, profile, overrides, options), "cpu")


def _suite(name: str, profile: str, overrides: Sequence[str] = (), options: Mapping[str, str] | None = None) -> Suite:
    try:
        return load_suite(name, profile, overrides, options)
    except SuiteError as error:
        raise ValueError(str(error)) from None


def measure_of(one: Comparison, sparsities: Iterable[float]) -> str:
    """Return what is shown where nobody says: of agents how they play when they explore, of others the task's metric."""
    return _SAMPLED if any(one.values(sparsity, _SAMPLED) for sparsity in sparsities) else one.metric.name


def chosen(asked: Iterable[str], known: Iterable[str], kind: str = "pruner") -> list[str]:
    """Return the pruners, or what else is asked for by its name here, each once; upper and lower case are alike if they may.

    Names that have commas are asked for in their parts, as whoever splits a list at commas has them.

    Raises:
        ValueError: nothing here has such a name, or nothing was asked for.
    """
    own = list(dict.fromkeys(known))
    names = {**{name.casefold(): name for name in own}, **{name: name for name in own}}  # some differ in case alone
    parts, listed = [part for part in map(str.strip, asked) if part], list[str]()
    while parts:
        joined = [", ".join(parts[:count]) for count in range(len(parts), 0, -1)]
        listed.append(next((name for name in joined if name in names or name.casefold() in names), parts[0]))
        parts = parts[listed[-1].count(", ") + 1 :]
    there = f"there {'is' if len(own) == 1 else 'are'} {several(sorted(own))}"
    if not listed:
        raise ValueError(f"no {kind} was named; {there}")
    if unknown := [name for name in listed if name not in names and name.casefold() not in names]:
        raise ValueError(f"no {kind} here is named '{unknown[0]}'{nearest(unknown[0], own) or f'; {there}'}")
    return list(dict.fromkeys(names.get(name) or names[name.casefold()] for name in listed))


def place(to: Path, name: str, endings: Collection[str] = ()) -> Path:
    """Return the file to write, its folder made: ``to`` if it ends in one of ``endings``, else ``name`` in the folder ``to``.

    Raises:
        ValueError: ``to`` is no folder yet and ends as a file does that is not written here.
    """
    folder = to.is_dir() or not to.suffix[1:].isalpha()
    if not folder and to.suffix not in endings:
        files = f", or a file that ends in {' or '.join(endings)}" if endings else ""
        raise ValueError(f"{to}: no file that ends in {to.suffix} is written here: name a folder{files}")
    file = to / name if folder else to
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def drawn(figures: Iterable[tuple[str, "Callable[[], Figure]"]], to: Path, lacking: str) -> None:
    """Draw figures into a folder, each under its stem, and print the names of their PNG files.

    Raises:
        ValueError: there is none; ``lacking`` says why.
    """
    some = list(figures)
    if not some:
        raise ValueError(lacking)
    for stem, draws in some:
        file = place(to, f"{safely.name(stem)}.png")
        draw.save(draws(), file.parent, file.stem)
        sys.stdout.write(f"{file}\n")
