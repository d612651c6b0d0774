"""Runs joined: what the machines of a sweep left, in one folder; nothing is written where two disagree about a cell.

A cell that several runs finished has to be the same in all: its task, pruner, cut, sparsity, seed and configuration, its status,
epochs, layers and measures. Not compared, for they differ from machine to machine, are the measures of time, memory, energy
and money, when it ran, where and on which versions, and what suite and task are called; those are kept of the run that ended
first. What is joined depends on no order, and to join again changes nothing.
"""

import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rlprune.costs import judged
from rlprune.costs.measures import SOLO
from rlprune.files import written
from rlprune.rows import Row
from rlprune.safely import plain
from rlprune.store import RESULTS, Store, results_of, together

OF_THE_MACHINE = SOLO | {"worker_seconds", "resumed", "memory_static_bytes"}
"""Measures that are not compared."""
COMPARED = ("task", "pruner", "cut", "sparsity", "seed", "config", "status")
"""Columns that are; epochs, layers and all other measures, too."""
MADE_AGAIN = ("figures", "tables")
"""Folders of a run that hold nothing of a cell."""
TOLD = 20
"""Most conflicts that are told one by one."""


class Conflict(ValueError):  # noqa: N818 (it reads as it is)
    """Runs that cannot be joined; its lines say why."""


@dataclass(frozen=True)
class Merged:
    """What was joined: cells, those of them that several runs had finished, and files of cells that were copied."""

    cells: int
    shared: int
    files: int


@dataclass(frozen=True)
class Plan:
    """For each cell with a row the folder whose row is kept; for each cell with files those to copy, as paths inside a folder."""

    rows: Mapping[str, Path]
    files: Mapping[str, tuple[Path, Sequence[Path]]]
    shared: int


def planned(folders: Sequence[Path], to: Path, tell: Callable[[str], None]) -> Plan:
    """Return what of these runs, and of the one that is there already, is kept; write nothing.

    Raises:
        Conflict: they are of several suites, or disagree about a cell.
    """
    folders = list({folder.resolve(): folder for folder in ([to] * (to / RESULTS).is_file() + [*folders])}.values())
    with ExitStack() as opened:
        stores = {folder: opened.enter_context(Store(results_of(folder), create=False, warn=tell)) for folder in folders}
        _refuse_suites(outlines := {folder: store.outlines() for folder, store in stores.items()})
        finished = {folder: {cell for cell, (_, ended) in known.items() if ended} for folder, known in outlines.items()}
        having = defaultdict[str, list[Path]](list)
        for folder, known in outlines.items():
            for cell in known:
                having[cell].append(folder)
        holders = {cell: [one for one in some if cell in finished[one]] or some for cell, some in having.items()}
        shared = [cell for cell, having in holders.items() if having[1:]]
        kept = {cell: having[0] for cell, having in holders.items()}
        conflicts: list[str] = []
        for some in together(shared):
            rows = {folder: {row.id: row for row in store.rows(some)} for folder, store in stores.items()}
            for cell in some:
                mine = {folder: rows[folder][cell] for folder in holders[cell]}
                if all(cell in finished[folder] for folder in mine) and (told := _conflict(mine)):
                    conflicts.append(told)
                kept[cell] = min(mine, key=lambda folder: _precedence(mine[folder]))
    if conflicts:
        more = [f"and {len(conflicts) - TOLD:,} more cells"] if conflicts[TOLD:] else []
        raise Conflict("\n".join([*sorted(conflicts)[:TOLD], *more]))
    done = {cell for cell, having in holders.items() if any(cell in finished[folder] for folder in having)}
    return Plan(kept, dict(_files(folders, kept, done)), sum(cell in done for cell in shared))


def merge(plan: Plan, to: Path) -> Merged:
    """Do what is planned: first the files of cells, then their rows, so that a row has its network whenever this ends."""
    copied = 0
    for folder, files in plan.files.values():
        for file in files:
            copied += _copied(folder / file, to / file)
    with Store(to / RESULTS) as target:
        for folder in sorted(set(plan.rows.values())):
            if folder.resolve() != to.resolve():
                with Store(results_of(folder), create=False, warn=lambda line: None) as source:
                    own = (cell for cell, where in plan.rows.items() if where == folder)
                    target.take(source, sorted(own))  # in the order of the index, which then grows at its end
    return Merged(len(plan.rows), plan.shared, copied)


def _refuse_suites(outlines: Mapping[Path, Mapping[str, tuple[str, bool]]]) -> None:
    """Refuse stores of several suites.

    Raises:
        Conflict: they are.
    """
    suites = {folder: sorted({suite.casefold() for suite, _ in known.values()}) for folder, known in outlines.items()}
    named = {folder: some for folder, some in suites.items() if some}
    if len({tuple(some) for some in named.values()}) > 1:
        told = ", ".join(f"{folder} is of {' and '.join(some)}" for folder, some in named.items())
        raise Conflict(plain(f"only runs of one suite are joined: {told}"))


def _conflict(rows: Mapping[Path, Row]) -> str:
    """Return in which columns runs disagree about a cell, or nothing."""
    (first, one), *others = rows.items()
    for folder, other in others:
        mine, theirs = _compared(one), _compared(other)
        if differing := [name for name in dict.fromkeys((*mine, *theirs)) if mine.get(name) != theirs.get(name)]:
            cell = f"{one.task} {one.pruner} {one.sparsity:g} seed {one.seed} ({one.id})"
            name, more = differing[0], ", ".join(differing[1:TOLD])
            told = f"{name} is {_shown(mine.get(name))} in {first} and {_shown(theirs.get(name))} in {folder}"
            return plain(f"{cell}: {told}{f'; so differ {more}' if more else ''}", 1000)
    return ""


def _compared(row: Row) -> dict[str, object]:
    values = {name: value for name, value in row.values.items() if name not in OF_THE_MACHINE}
    own = {name: getattr(row, name) for name in COMPARED}
    return {**own, **values, "epochs": row.epochs, "layers": row.layers, "data": row.labels.get("data")}


def _shown(value: object) -> str:
    return "absent" if value is None else text if len(text := repr(value)) < 40 else "other"


def _precedence(row: Row) -> tuple[object, ...]:
    """Return what puts the row that is kept first: one whose clock has no gap, that ended first; at last all that it holds."""
    document = {**vars(row), "judged": judged.document(row.judged), "epochs": list(row.epochs), "layers": {**row.layers}}
    return "resumed" in row.values, row.ended, row.started, json.dumps(document, sort_keys=True, default=str)


def _files(
    folders: Sequence[Path], kept: Mapping[str, Path], done: set[str]
) -> Iterator[tuple[str, tuple[Path, Sequence[Path]]]]:
    """Yield for each cell whose files are kept: of a finished one those beside its row, else the state that is the newest."""
    found: dict[str, dict[Path, list[Path]]] = defaultdict(dict)
    for folder in folders:
        for file in _of_cells(folder):
            found[_cell(file)].setdefault(folder, []).append(file)
    for cell, having in found.items():
        files = {
            folder: some
            for folder, all_ in having.items()
            if (some := [one for one in all_ if cell not in done or not _state(one)])
        }
        if files:
            if cell in done:
                order = sorted(files, key=lambda folder: (folder != kept[cell], sorted(map(str, files[folder])), str(folder)))
            else:
                order = sorted(files, key=lambda folder: max(_changed(folder / file) for file in files[folder]), reverse=True)
            yield cell, (order[0], files[order[0]])


def _of_cells(folder: Path) -> Iterator[Path]:
    """Yield the files in the folder of a run that bear a cell's id."""
    for place, inside, files in os.walk(folder):
        if Path(place) == folder:
            inside[:] = sorted(set(inside) - set(MADE_AGAIN))
        for name in sorted(files):
            if re.fullmatch("[0-9a-f]{16}", _cell(Path(name))) and not name.endswith(".new"):
                yield Path(place, name).relative_to(folder)


def _cell(file: Path) -> str:
    return file.name.partition(".")[0]


def _state(file: Path) -> bool:
    return ".pt" in file.suffixes


def _changed(file: Path) -> float:
    return file.stat().st_mtime


def _copied(file: Path, to: Path) -> bool:
    """Copy a file unless it is there; say whether it was copied."""
    there = to.stat() if to.is_file() else None
    if there and (there.st_size, there.st_mtime) == (file.stat().st_size, file.stat().st_mtime):
        return False
    to.parent.mkdir(parents=True, exist_ok=True)
    written(to, lambda fresh: shutil.copy2(file, fresh))
    return True
