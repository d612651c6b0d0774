"""Results on disk: one SQLite file, one writer, one transaction a cell."""

import csv
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any

SCHEMA = 1

_TABLES = """
CREATE TABLE cells (
    id TEXT PRIMARY KEY, suite TEXT NOT NULL, profile TEXT NOT NULL, task TEXT NOT NULL, pruner TEXT NOT NULL, cut TEXT NOT NULL,
    sparsity REAL NOT NULL, seed INTEGER NOT NULL, config TEXT NOT NULL, labels TEXT NOT NULL, status TEXT NOT NULL, error TEXT,
    started TEXT NOT NULL, ended TEXT NOT NULL, versions TEXT NOT NULL, machine TEXT NOT NULL
);
CREATE TABLE measures (
    cell TEXT NOT NULL REFERENCES cells ON DELETE CASCADE, name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (cell, name)
);
CREATE TABLE epochs (
    cell TEXT NOT NULL REFERENCES cells ON DELETE CASCADE, number INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (cell, number, name)
);
CREATE TABLE layers (
    cell TEXT NOT NULL REFERENCES cells ON DELETE CASCADE, layer TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (cell, layer, name)
);
"""


@dataclass(frozen=True)
class Identity:
    """What is known of a cell before it runs.

    Args:
        id: hash of the validated configuration.
        suite: name of the suite that asked for it.
        profile: which sizes of the suite.
        task: name of the task.
        pruner: name of the pruner.
        cut: ``weights``, ``channels`` or ``nothing``.
        sparsity: requested share of weights removed; 0 for a pruner that removes nothing.
        seed: number of the seed.
        config: the validated configuration, as JSON can hold it.
        labels: ``task_title``, ``metric`` (name of the value judged by), ``metric_title``, ``better``, ``unit``, ``device``.
    """

    id: str
    suite: str
    profile: str
    task: str
    pruner: str
    cut: str
    sparsity: float
    seed: int
    config: Mapping[str, object]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Row(Identity):
    """What is recorded for a cell. What could not be measured is absent, never zero.

    Args:
        status: ``done``, ``failed`` or ``skipped``.
        error: traceback of a failed cell, reason of a skipped one.
        started: ISO 8601, UTC.
        ended: ISO 8601, UTC.
        versions: of rlprune, its commit, Python and libraries.
        machine: processor, GPU, cores, and how memory and energy were measured.
        values: scalar measures by name.
        epochs: measures by name, one mapping a trained epoch, in order.
        layers: parameter name to ``kept`` (weights left) and ``dense`` (weights of the dense network), in the network's order.
    """

    status: str
    error: str | None
    started: str
    ended: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    values: Mapping[str, float]
    epochs: Sequence[Mapping[str, float]]
    layers: Mapping[str, Mapping[str, float]]


_COLUMNS = ("id", "suite", "profile", "task", "pruner", "cut", "sparsity", "seed", "status", "error", "started", "ended")
_DOCUMENTS = ("config", "labels", "versions", "machine")


class Store:
    """The file of results. Use as a context manager; one process writes, others may read meanwhile.

    Args:
        path: the file.
        create: make a missing file; without it, a missing file is an error.

    Raises:
        FileNotFoundError: a missing file, and ``create`` is false.
        ValueError: not a file of results, or one of another schema.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.is_file():
            raise FileNotFoundError(f"no results at {path}")
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=60)
        try:
            self._open(path)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()

    def finished(self) -> set[str]:
        """Return the ids of the cells that need not run again: done or skipped, not failed."""
        return {cell for (cell,) in self._connection.execute("SELECT id FROM cells WHERE status IN ('done', 'skipped')")}

    def save(self, row: Row) -> None:
        """Record a cell in place of what was recorded under its id, all of it or nothing."""
        documents = [json.dumps(dict(getattr(row, name))) for name in _DOCUMENTS]
        marks = ", ".join("?" * len(_COLUMNS + _DOCUMENTS))
        with self._transaction("IMMEDIATE"):
            insert = self._connection.executemany
            self._connection.execute("DELETE FROM cells WHERE id = ?", [row.id])
            insert(
                f"INSERT INTO cells ({', '.join(_COLUMNS + _DOCUMENTS)}) VALUES ({marks})",
                [(*(getattr(row, name) for name in _COLUMNS), *documents)],
            )
            insert("INSERT INTO measures VALUES (?, ?, ?)", ((row.id, *pair) for pair in _measured(row.values)))
            insert(
                "INSERT INTO epochs VALUES (?, ?, ?, ?)",
                ((row.id, number, *pair) for number, epoch in enumerate(row.epochs, 1) for pair in _measured(epoch)),
            )
            insert(
                "INSERT INTO layers VALUES (?, ?, ?, ?)",
                ((row.id, layer, *pair) for layer, values in row.layers.items() for pair in _measured(values)),
            )

    def rows(self) -> list[Row]:
        """Return everything recorded, ordered by task, pruner, sparsity and seed."""
        values: dict[str, dict[str, float]] = defaultdict(dict)
        epochs: dict[str, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        layers: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        with self._transaction("DEFERRED"):
            ask = self._connection.execute
            for cell, name, value in ask("SELECT cell, name, value FROM measures ORDER BY rowid"):
                values[cell][name] = value
            for cell, number, name, value in ask("SELECT cell, number, name, value FROM epochs ORDER BY rowid"):
                epochs[cell][number][name] = value
            for cell, layer, name, value in ask("SELECT cell, layer, name, value FROM layers ORDER BY rowid"):
                layers[cell][layer][name] = value
            wanted = f"SELECT {', '.join(_COLUMNS + _DOCUMENTS)} FROM cells ORDER BY task, pruner, sparsity, seed, id"
            cells = ask(wanted).fetchall()
        return [
            Row(
                **_decoded(dict(zip(_COLUMNS + _DOCUMENTS, cell, strict=True))),
                values=values[cell[0]],
                epochs=list(epochs[cell[0]].values()),
                layers=dict(layers[cell[0]]),
            )
            for cell in cells
        ]

    def measured(self, name: str) -> list[tuple[Identity, float]]:
        """Return one measure of every cell that has it, much faster than ``rows``."""
        columns = [field.name for field in fields(Identity)]
        wanted = f"SELECT value, {', '.join(columns)} FROM cells JOIN measures ON cell = id WHERE name = ?"
        found = self._connection.execute(wanted, [name])
        return [(Identity(**_decoded(dict(zip(columns, cell, strict=True)))), value) for value, *cell in found]

    def write_csv(self, path: Path) -> None:
        """Write one line a cell: identity, labels, measures, machine and versions, the names of each in alphabetical order.

        Of a traceback the last line is written; epochs, layers and configurations stay in the database.
        """
        rows = self.rows()
        parts = ("labels", "values", "machine", "versions")
        names = {part: sorted({name for row in rows for name in getattr(row, part)}) for part in parts}
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(
                [*_COLUMNS, *((name if part == "values" else f"{part}.{name}") for part in parts for name in names[part])]
            )
            for row in rows:
                plain = [getattr(row, name) for name in _COLUMNS]
                plain[_COLUMNS.index("error")] = (row.error or "").strip().rpartition("\n")[2]
                lines.writerow([*plain, *(getattr(row, part).get(name) for part in parts for name in names[part])])

    def _open(self, path: Path) -> None:
        try:
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path} is not a file of results: {error}") from None
        if tables and version != SCHEMA:
            raise ValueError(f"{path} has results of schema {version}, and this rlprune reads schema {SCHEMA}")
        # With it readers never wait for the writer. Some file systems cannot have it, and SQLite stays in its default mode.
        with suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        if not tables:
            self._connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _decoded(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.loads(value) if name in _DOCUMENTS else value for name, value in cell.items()}


def _measured(values: Mapping[str, float]) -> Iterable[tuple[str, float]]:
    """Leave out what is no number: a measurement that failed is absent."""
    return [(name, float(value)) for name, value in values.items() if value is not None and isfinite(value)]
