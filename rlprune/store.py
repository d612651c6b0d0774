"""Results on disk: one SQLite file, one writer, one transaction a cell."""

import csv
import json
import os
import re
import shutil
import sqlite3
import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import fields
from functools import partial
from hashlib import sha256
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

from rlprune import packed
from rlprune.columns import (
    apart,
    block,
    counted_of,
    decoded_of,
    document_of,
    epochs_of,
    is_number,
    layers_of,
    little,
    metric_of,
    once,
    places_of,
)
from rlprune.costs.judged import Judged
from rlprune.files import written
from rlprune.reason import reason
from rlprune.rows import COLUMNS, DOCUMENTS, LARGEST, Epochs, Identity, Row, as_document, measured, table
from rlprune.safely import plain
from rlprune.words import several

SCHEMA = 3
"""Schema 2 had a line for each number of an epoch and of a layer; schema 1 moreover what is in column ``judged`` among the
labels. They are read as they are, and brought here when they are written to."""

RESULTS = "results.sqlite"
"""The file, in the folder of a run."""

TOGETHER = 500
"""Most cells that are asked for by their ids at once."""

Item = TypeVar("Item")

PATIENCE = 60.0
"""Seconds that another program may lock the file."""

_TABLES = """
CREATE TABLE cells (
    id TEXT PRIMARY KEY, suite TEXT NOT NULL, profile TEXT NOT NULL, task TEXT NOT NULL, pruner TEXT NOT NULL, cut TEXT NOT NULL,
    sparsity REAL NOT NULL, seed INTEGER NOT NULL, config TEXT NOT NULL, labels TEXT NOT NULL, status TEXT NOT NULL, error TEXT,
    started TEXT NOT NULL, ended TEXT NOT NULL, versions TEXT NOT NULL, machine TEXT NOT NULL, judged TEXT NOT NULL
);
CREATE TABLE measures (
    cell TEXT NOT NULL REFERENCES cells ON DELETE CASCADE, name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (cell, name)
);
CREATE TABLE epochs (
    cell TEXT NOT NULL REFERENCES cells ON DELETE CASCADE, names TEXT NOT NULL, numbers BLOB NOT NULL, PRIMARY KEY (cell)
);
CREATE TABLE layers (
    cell TEXT NOT NULL REFERENCES cells ON DELETE CASCADE, layers TEXT NOT NULL, names TEXT NOT NULL, numbers BLOB NOT NULL,
    PRIMARY KEY (cell)
);
"""
"""The numbers of a cell's epochs or layers are doubles, little end first, all of one name after all of another, NaN where there
is none; names and layers are lists in JSON."""

_BLOCKS = ("epochs", "layers")

_PACKED = re.sub(r",\s*PRIMARY KEY \([^)]*\)", "", _TABLES).replace("CREATE TABLE ", "CREATE TABLE packed.")
"""The same without indexes, which are as large as what they point to."""

_TO_PACK = """
CREATE TEMP TABLE places AS SELECT id, row_number() OVER (ORDER BY task, pruner, sparsity, seed, id) place FROM cells;
CREATE UNIQUE INDEX temp.ids ON places (id);
INSERT INTO packed.cells ({columns}) SELECT {columns} FROM main.cells JOIN places USING (id) ORDER BY place;
INSERT INTO packed.measures SELECT cell, name, value FROM main.measures JOIN places ON id = cell ORDER BY name, place;
INSERT INTO packed.epochs SELECT cell, names, numbers FROM main.epochs JOIN places ON id = cell ORDER BY place;
INSERT INTO packed.layers SELECT cell, layers, names, numbers FROM main.layers JOIN places ON id = cell ORDER BY place;
DROP TABLE temp.places;
"""
"""Alike beside alike, which halves what is left."""


class StoreError(ValueError):
    """The results cannot be read or written; the message says why in one plain line."""


class Gone(StoreError):  # noqa: N818 (it reads as it is)
    """The file is not where it was when it was opened: what was stored is where it went."""


class Damaged(StoreError):  # noqa: N818
    """The file holds something else than was written to it: the same again meets the same."""


def results_of(run: Path) -> Path:
    """Return the file of a run's results: the one in its folder, or the packed one that the run is itself."""
    return run if run.is_file() else run / RESULTS


def lacks(run: Path) -> str:
    """Return why there are no results to read, or an empty string."""
    if run.suffix and not run.exists():
        return "there is no such file, nor folder"
    return "" if results_of(run).is_file() else f"has no {RESULTS}"


def together(cells: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield cells, or their ids, as many as are asked for at once."""
    return (cells[start : start + TOGETHER] for start in range(0, len(cells), TOGETHER))


class Store:
    """The file of results. Use as a context manager; whoever writes waits for others that do, and others may read meanwhile.

    Args:
        path: the file; one that is only read may be packed.
        create: make a missing file, and bring one of an older schema to the newest; without it the file is only read, whatever
            its schema, also from a disk that cannot be written to.
        warn: called with a line about each row that is broken, wholly or in part, and left out so far.

    Raises:
        FileNotFoundError: a missing file, and ``create`` is false.
        StoreError: not a file of results, or one of a newer schema; from every method, one that is damaged, locked, gone
            or on a full disk.
    """

    def __init__(self, path: Path, *, create: bool = True, warn: Callable[[str], None] = warnings.warn) -> None:
        self._path, self._warn, self._warned = path, warn, set[str]()
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.is_file():
            raise FileNotFoundError(f"no results at {path}")
        self._inode: tuple[int, int] | None = None
        with ExitStack() as opened, self._plainly():
            self._file = path if create else opened.enter_context(_unpacked(path))
            self._connection = opened.enter_context(_closing(path) if create else _reading(self._file))
            if not self._checked() and not create:  # a run has just begun: leave its file to it, and read an empty one
                self._connection = opened.enter_context(_closing(":memory:"))
            self._begin(write=create)
            self._left_open = opened.pop_all()
        self._inode = _inode(path)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._left_open.close()

    @property
    def schema(self) -> int:
        """The file's, until it is brought to another."""
        with self._plainly():
            return self._checked()

    def state(self) -> str:
        """Return a digest of which cells there are, how they ended, when, and the sum of their measures."""
        with self._plainly(), self._transaction("DEFERRED"):
            found = sha256()
            for line in self._connection.execute(
                "SELECT rowid, id, status, started, ended, labels, judged FROM cells ORDER BY id"
            ):
                found.update(repr(line).encode())
            for what in ("count(*), total(value) FROM measures", "max(rowid) FROM epochs", "max(rowid) FROM layers"):
                found.update(repr(self._connection.execute(f"SELECT {what}").fetchone()).encode())
        return found.hexdigest()

    def finished(self, by: Mapping[str, Judged] = MappingProxyType({})) -> set[str]:
        """Return the ids of the cells that need not run again: done or skipped, not failed and not broken.

        Args:
            by: what cells are judged by now; one that was judged by another metric and has not measured this one is not finished.
        """
        done = {cell for cell, (_, ended) in self.outlines().items() if ended}
        return done - self._judged_otherwise(by)[1]

    def judge(self, by: Mapping[str, Judged]) -> None:
        """Let cells be judged by what their tasks say now, which may have been corrected, where they have measured that."""
        with self._plainly(), self._transaction("IMMEDIATE"):
            changed = [(document, cell) for cell, document in self._judged_otherwise(by)[0].items()]
            self._connection.executemany("UPDATE cells SET judged = ? WHERE id = ?", changed)

    def _judged_otherwise(self, by: Mapping[str, Judged]) -> tuple[dict[str, str], set[str]]:
        """Return done cells that are stored with something else to be judged by, and its document; and those that lack it."""
        measured, lacking = dict[str, str](), set[str]()
        with self._plainly():
            if not by or self._checked() < 2:  # schema 1 had no such column
                return measured, lacking
            ask = self._connection.execute
            stored = dict(ask("SELECT id, judged FROM cells WHERE status = 'done'").fetchall())
            documents = {key: json.dumps(as_document(it)) for key, it in {id(it): it for it in by.values()}.items()}
            for cell in by.keys() & stored.keys():
                then, now, name = stored[cell], documents[id(by[cell])], by[cell].metric.name
                if then == now:
                    continue
                there = ask("SELECT 1 FROM measures WHERE cell = ? AND name = ?", [cell, name]).fetchone()
                if there or metric_of(then) == name:  # of one that diverged the metric is absent
                    measured[cell] = now
                else:
                    lacking.add(cell)
        return measured, lacking

    def outlines(self) -> dict[str, tuple[str, bool]]:
        """Return of every cell that is not broken its suite, and whether it need not run again.

        One that is done has measures, and the one it is judged by, if there, is a number. That one alone may be absent, as
        after a training that diverged: it would diverge again.
        """
        with self._plainly(), self._transaction("DEFERRED"):
            ask = self._connection.execute
            measured = {cell for (cell,) in ask("SELECT DISTINCT cell FROM measures")}
            odd = ask(
                "SELECT cell, name FROM measures WHERE typeof(value) NOT IN ('real', 'integer') OR abs(value) > ?", [LARGEST]
            )
            spoilt = set(odd.fetchall())
            return {
                cell["id"]: (
                    cell["suite"],
                    cell["status"] == "skipped"
                    or (
                        cell["status"] == "done"
                        and cell["id"] in measured
                        and (cell["id"], cell["judged"].metric.name) not in spoilt
                    ),
                )
                for cell in self._cells(COLUMNS + DOCUMENTS)
            }

    def ends(self, cells: Sequence[str] | None = None) -> dict[str, tuple[str, str]]:
        """Return when cells began and ended, whatever became of them: of those with these ids, or of all."""
        some = "" if cells is None else f" WHERE id IN ({', '.join('?' * len(cells))})"
        with self._plainly():
            found = self._connection.execute(f"SELECT id, started, ended FROM cells{some}", cells or []).fetchall()
        return {cell: (started, ended) for cell, started, ended in found}

    def save(self, *rows: Row) -> None:
        """Record cells in place of what was recorded under their ids, all or nothing; failing undoes nothing that is done."""
        self.check()
        with self._plainly(), self._transaction("IMMEDIATE"):
            for row in rows:
                self._save(row)
        self.check()

    def _save(self, row: Row) -> None:
        insert, ask = self._connection.executemany, self._connection.execute
        documents = [json.dumps(as_document(getattr(row, name))) for name in DOCUMENTS]
        marks = ", ".join("?" * len(COLUMNS + DOCUMENTS))
        if row.status == "done" or not ask("SELECT 1 FROM cells WHERE id = ? AND status = 'done'", [row.id]).fetchone():
            ask("DELETE FROM cells WHERE id = ?", [row.id])
            insert(
                f"INSERT INTO cells ({', '.join(COLUMNS + DOCUMENTS)}) VALUES ({marks})",
                [(*(getattr(row, name) for name in COLUMNS), *documents)],
            )
            insert("INSERT INTO measures VALUES (?, ?, ?)", ((row.id, *pair) for pair in measured(row.values).items()))
            self._save_blocks(row.id, list(map(measured, row.epochs)), {name: measured(it) for name, it in row.layers.items()})

    def _save_blocks(
        self, cell: str, epochs: Sequence[Mapping[str, float]], layers: Mapping[str, Mapping[str, float]], named: str = "{}"
    ) -> None:
        """Record epochs and layers, in tables of these names; those of a cell that is not there go by."""
        (of_epochs, in_epochs), (of_layers, in_layers) = block(epochs), block(list(layers.values()))
        of_a_cell = "FROM cells WHERE id = ?"
        if in_epochs:
            values = [of_epochs, little(in_epochs).tobytes(), cell]
            self._connection.execute(f"INSERT INTO {named.format('epochs')} SELECT id, ?, ? {of_a_cell}", values)
        if in_layers:
            values = [json.dumps(list(layers)), of_layers, little(in_layers).tobytes(), cell]
            self._connection.execute(f"INSERT INTO {named.format('layers')} SELECT id, ?, ?, ? {of_a_cell}", values)

    def take(self, other: "Store", ids: Sequence[str]) -> None:
        """Record cells as another file has them, in place of what was recorded under their ids.

        Of one of this schema SQLite copies them from file to file, in a tenth of the time that reading and saving rows takes.
        """
        self.check()
        ask = self._connection.execute
        if other.schema != SCHEMA:
            self._take_rows(other, ids)
            return
        with self._plainly():
            ask("ATTACH ? AS other", [str(other._file)])
            try:
                ask("SELECT count(*) FROM other.sqlite_master")
            except sqlite3.OperationalError:  # on a disk that cannot be written to
                ask("DETACH other")
                self._take_rows(other, ids)
                return
            try:
                for some in together(ids):
                    self._take(some)
            finally:
                ask("DETACH other")
        self.check()

    def pack(self, to: Path) -> int:
        """Write all rows into one compressed file, the same bytes for the same rows; return how many cells they are."""
        ask = self._connection.execute
        with TemporaryDirectory(prefix="rlprune-") as folder:
            if self.schema != SCHEMA:
                with Store(Path(folder, "newer.sqlite")) as newer:
                    newer.take(self, list(self.outlines()))
                    return newer.pack(to)
            loose = Path(folder, RESULTS)
            with self._plainly():
                ask("ATTACH ? AS packed", [str(loose)])
                try:
                    for pragma in ("page_size = 4096", "journal_mode = OFF", f"user_version = {SCHEMA}"):
                        ask(f"PRAGMA packed.{pragma}")
                    with self._transaction("DEFERRED"):
                        for statement in (_PACKED + _TO_PACK.format(columns=", ".join(COLUMNS + DOCUMENTS))).split(";"):
                            ask(statement)
                        (cells,) = ask("SELECT count(*) FROM packed.cells").fetchone()
                finally:
                    ask("DETACH packed")
            packed.pack(loose, to)
        return int(cells)

    def _take_rows(self, other: "Store", ids: Sequence[str]) -> None:
        for some in together(ids):
            self.save(*other.rows(some))

    def _take(self, ids: Sequence[str]) -> None:
        marks, columns = ", ".join("?" * len(ids)), ", ".join(COLUMNS + DOCUMENTS)
        with self._transaction("IMMEDIATE"):
            ask = self._connection.execute
            ask(f"DELETE FROM cells WHERE id IN ({marks})", ids)
            ask(f"INSERT INTO cells ({columns}) SELECT {columns} FROM other.cells WHERE id IN ({marks}) ORDER BY rowid", ids)
            for table in ("measures", *_BLOCKS):
                ask(f"INSERT INTO {table} SELECT * FROM other.{table} WHERE cell IN ({marks}) ORDER BY rowid", ids)

    def check(self) -> None:
        """See that what is written is still where people look for it.

        Raises:
            Gone: the file was removed, or another one is in its place.
        """
        if _inode(self._path) != self._inode:
            raise Gone(f"{self._path} was removed, renamed or replaced while a run was writing to it, its results with it")

    def rows(self, ids: Collection[str] | None = None) -> list[Row]:
        """Return what is recorded, ordered by task, pruner, sparsity and seed; what is broken is left out, with a warning.

        Args:
            ids: of at most ``TOGETHER`` cells; all where none are named.
        """
        values: dict[str, dict[str, Any]] = defaultdict(dict)
        with self._plainly(), self._transaction("DEFERRED"):
            for cell, name, value in self._ask("SELECT cell, name, value FROM measures WHERE {} ORDER BY rowid", ids):
                values[cell][once(name)] = value
            epochs = {cell: (found, odd) for cell, found, odd in self._epochs(ids)}
            layers = {cell: (found, odd) for cell, found, odd in self._layers(ids)}
            cells = list(self._cells(COLUMNS + DOCUMENTS, ids))
        rows = []
        for cell in sorted(cells, key=lambda cell: [cell[name] for name in ("task", "pruner", "sparsity", "seed", "id")]):
            own = cell["id"]
            own_values = values.pop(own, {})
            mine, odd_epochs = epochs.pop(own, ([], []))
            left, odd_layers = layers.pop(own, ({}, []))
            row = Row(**cell, values=measured(own_values), epochs=mine, layers=left)
            odd = [*(repr(name) for name in own_values if name not in row.values), *odd_epochs, *odd_layers]
            if odd:
                self._tell(f"of {_named(cell)} is left out: {several(odd)}")
            rows.append(row)
        return rows

    def _ask(self, question: str, ids: Collection[str] | None, column: str = "cell") -> sqlite3.Cursor:
        """Ask about all cells, or about some."""
        which = "TRUE" if ids is None else f"{column} IN ({', '.join('?' * len(ids))})"
        return self._connection.execute(question.format(which), list(ids or ()))

    def _epochs(self, ids: Collection[str] | None) -> Iterator[tuple[str, Sequence[Mapping[str, float]], list[str]]]:
        """Yield cells with their epochs, and with what is no use there; to be used in a transaction, as all that begins so."""
        if self._checked() == SCHEMA:
            for cell, names, numbers in self._ask("SELECT cell, names, numbers FROM epochs WHERE {}", ids):
                yield cell, *epochs_of(names, numbers)
            return
        asked = self._ask("SELECT cell, number, name, value FROM epochs WHERE {} ORDER BY cell, number, name", ids)
        for cell, lines in groupby(asked, itemgetter(0)):
            loose: dict[Any, dict[Any, Any]] = defaultdict(dict)
            for _, number, name, value in lines:
                loose[number][once(name)] = value
            epochs = {number: measured(line) for number, line in loose.items()}
            odd = [f"of epoch {number!r}" for number, line in loose.items() if len(epochs[number]) < len(line)]
            names, numbers = block([line for line in epochs.values() if "trained" in line])
            yield cell, Epochs(places_of(names) or {}, numbers) if numbers else [], odd

    def _layers(self, ids: Collection[str] | None) -> Iterator[tuple[str, Mapping[str, Mapping[str, float]], list[str]]]:
        """Yield cells with their layers, and with what is no use there."""
        if self._checked() == SCHEMA:
            for cell, layers, names, numbers in self._ask("SELECT cell, layers, names, numbers FROM layers WHERE {}", ids):
                yield cell, *layers_of(layers, names, numbers)
            return
        asked = self._ask("SELECT cell, layer, name, value FROM layers WHERE {} ORDER BY cell, rowid", ids)
        for cell, lines in groupby(asked, itemgetter(0)):
            loose: dict[Any, dict[Any, Any]] = defaultdict(dict)
            for _, layer, name, value in lines:
                loose[once(layer)][once(name)] = value
            yield cell, *counted_of({name: measured(line) for name, line in loose.items()})

    def identities(self) -> list[Identity]:
        """Return who every cell is that is not broken, much faster than ``rows``."""
        with self._plainly(), self._transaction("DEFERRED"):
            return [Identity(**cell) for cell in self._cells([field.name for field in fields(Identity)])]

    def measured(self, name: str) -> list[tuple[Identity, float]]:
        """Return one measure of every cell that has it."""
        return [(one, values[name]) for one, values in self.measures(name)]

    def measures(self, *names: str) -> list[tuple[Identity, dict[str, float]]]:
        """Return some measures of every cell that has one of them, much faster than ``rows``."""
        columns, marks = [field.name for field in fields(Identity)], ", ".join("?" * len(names))
        values: dict[str, dict[str, Any]] = defaultdict(dict)
        with self._plainly(), self._transaction("DEFERRED"):
            asked = self._connection.execute(f"SELECT cell, name, value FROM measures WHERE name IN ({marks})", names)
            for cell, name, value in asked:
                values[cell][name] = value
            cells = {cell["id"]: cell for cell in self._cells(columns, values if len(values) <= TOGETHER else None)}
        return [(Identity(**cells[own]), found) for own, odd in values.items() if own in cells and (found := measured(odd))]

    def outcomes(self) -> dict[str, tuple[str, str]]:
        """Return how every cell ended that is recorded, and why."""
        with self._plainly():
            asked = self._connection.execute("SELECT id, status, error FROM cells").fetchall()
        return {str(cell): (str(status), reason(error) if status != "done" else "") for cell, status, error in asked}

    def write_csv(self, path: Path) -> None:
        """Write one line a cell: identity, labels, what judges it, measures, configuration, machine and versions, by alphabet.

        Of what went wrong the reason is written; epochs, layers and tracebacks stay in the database. Text that a
        spreadsheet would take for a formula has an apostrophe before it.
        """
        header, lines = table(self.rows())

        def write(fresh: Path) -> None:
            with fresh.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
                sheet = csv.writer(file)
                sheet.writerow(header)
                for line in lines:
                    sheet.writerow([_harmless(value) for value in line])

        written(path, write)

    def _checked(self) -> int:
        """Return the schema of the file's results, 0 where it holds nothing at all; refuse what it cannot be."""
        tables = {name for (name,) in self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()  # after them: who made them set it with them
        if tables and (missing := sorted({"cells", "measures", *_BLOCKS} - tables)):
            raise StoreError(f"{self._path} is not a file of results: it has no table '{missing[0]}'")
        if tables and not 1 <= version <= SCHEMA:
            update = ": update rlprune" if version > SCHEMA else ""
            raise StoreError(f"{self._path} has results of schema {version}, and this rlprune reads schema {SCHEMA}{update}")
        return int(version) if tables else 0

    def _begin(self, *, write: bool) -> None:
        """Make the tables, or bring those of an older schema here, unless another process does at this moment."""
        self._connection.execute("PRAGMA foreign_keys = ON")
        schema = self._checked()
        if schema == SCHEMA or (schema and not write):
            return
        # With it readers never wait for the writer. Some file systems cannot have it, and SQLite stays in its default mode.
        with suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA journal_mode = WAL")
        with self._transaction("IMMEDIATE"):
            schema = self._checked()
            if schema == 0:
                for statement in _TABLES.split(";"):
                    self._connection.execute(statement)
            if schema == 1:
                self._connection.execute("ALTER TABLE cells ADD COLUMN judged TEXT NOT NULL DEFAULT '{}'")
                for cell, text in self._connection.execute("SELECT id, labels FROM cells").fetchall():
                    if (labels := document_of(text)) is not None:
                        parts = [json.dumps(part) for part in apart(labels)]
                        self._connection.execute("UPDATE cells SET labels = ?, judged = ? WHERE id = ?", [*parts, cell])
            if schema in (1, 2):
                self._put_in_blocks()
            self._connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def _put_in_blocks(self) -> None:
        """Bring epochs and layers here from schema 2."""
        ask = self._connection.execute
        for blocks in _BLOCKS:
            (made,) = re.findall(rf"CREATE TABLE {blocks} .*?;", _TABLES, re.DOTALL)
            ask(made.replace(blocks, f"new_{blocks}", 1))
        found = chain(
            ((cell, epochs, {}, odd) for cell, epochs, odd in self._epochs(None)),
            ((cell, [], layers, odd) for cell, layers, odd in self._layers(None)),
        )
        for cell, epochs, layers, odd in found:
            self._save_blocks(cell, epochs, layers, "new_{}")
            if odd:
                self._tell(f"of cell {cell} is left out: {', '.join(odd[:3])}")
        for blocks in _BLOCKS:
            ask(f"DROP TABLE {blocks}")
            ask(f"ALTER TABLE new_{blocks} RENAME TO {blocks}")

    def _cells(self, columns: Sequence[str], ids: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield some columns of cells that are not broken; to be used in a transaction, in which the schema stays."""
        there = [name for name in columns if name != "judged" or self._checked() > 1]
        for values in self._ask(f"SELECT {', '.join(there)} FROM cells WHERE {{}}", ids, "id"):
            cell, odd = dict(zip(there, values, strict=True)), list[str]()
            try:
                decoded = decoded_of(cell, odd.append)
            except ValueError as error:
                self._tell(f"{_named(cell)} is left out: {error}")
            else:
                if odd:
                    self._tell(f"of {_named(cell)} is left out what is damaged: {plain('; '.join(odd[:3]), 200)}")
                yield decoded

    def _tell(self, line: str) -> None:
        if line not in self._warned:
            self._warned.add(line)
            self._warn(f"{self._path}: {line}")

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Say in plain words what SQLite cannot do with the file."""
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):  # this code's own mistakes
            raise
        except sqlite3.Error as error:
            if self._inode is not None:
                self.check()
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            words = _TROUBLE.get(code, "cannot be read or written")
            raise (Damaged if code in _DAMAGE else StoreError)(f"{self._path} {words} ({error})") from error

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk or a damaged file has ended it already
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


_TROUBLE = {
    sqlite3.SQLITE_BUSY: "is locked by another program: wait for it, or close it",
    sqlite3.SQLITE_LOCKED: "is locked by another program: wait for it, or close it",
    sqlite3.SQLITE_FULL: "cannot be written: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk fails or is full",
    sqlite3.SQLITE_READONLY: "cannot be written: it is read-only",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_CORRUPT: "is damaged: put a copy in its place, or start over with --fresh",
    sqlite3.SQLITE_NOTADB: "is not a file of results, or is damaged",
}
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _closing(path: Path | str) -> "closing[sqlite3.Connection]":
    return closing(_tolerant(sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)))


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file to read it, even where SQLite cannot write what it needs beside it."""
    with ExitStack() as left_open:
        connection = left_open.enter_context(_closing(path))
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            beside = path.with_name(f"{path.name}-wal")
            if beside.is_file() and beside.stat().st_size:  # what a run that was killed had not yet moved into the file
                folder = Path(left_open.enter_context(TemporaryDirectory(prefix="rlprune-")))
                for file in (path, beside):
                    shutil.copyfile(file, folder / file.name)
                connection = left_open.enter_context(_closing(folder / path.name))
            else:
                address = f"file:{quote(os.fsencode(path.absolute()))}?immutable=1"
                connection = left_open.enter_context(closing(_tolerant(sqlite3.connect(address, uri=True, isolation_level=None))))
        yield connection


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """Give a file as SQLite reads it.

    Raises:
        StoreError: it is packed, and damaged.
    """
    if not packed.is_packed(path):
        if path.name != RESULTS and not path.stat().st_size:
            raise StoreError(f"{path} is empty")
        yield path
        return
    with TemporaryDirectory(prefix="rlprune-") as folder:
        loose = Path(folder, RESULTS)
        try:
            packed.unpack(path, loose)
        except ValueError as error:
            raise StoreError(f"{path} {error}") from None
        yield loose


def _tolerant(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.text_factory = partial(str, encoding="utf-8", errors="replace")
    return connection


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _named(cell: Mapping[str, Any]) -> str:
    return " ".join(str(cell[name]) for name in ("task", "pruner", "sparsity", "seed")) + f" ({cell['id']})"


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") and not is_number(value) else value
