"""A file of results of store schema 2, as the code before schema 3 wrote it: a line for each number of an epoch or a layer."""

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rlprune.costs import judged
from rlprune.rows import Row

TABLES = """
CREATE TABLE cells (
    id TEXT PRIMARY KEY, suite TEXT NOT NULL, profile TEXT NOT NULL, task TEXT NOT NULL, pruner TEXT NOT NULL, cut TEXT NOT NULL,
    sparsity REAL NOT NULL, seed INTEGER NOT NULL, config TEXT NOT NULL, labels TEXT NOT NULL, status TEXT NOT NULL, error TEXT,
    started TEXT NOT NULL, ended TEXT NOT NULL, versions TEXT NOT NULL, machine TEXT NOT NULL, judged TEXT NOT NULL
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
PRAGMA user_version = 2;
"""
COLUMNS = ("id", "suite", "profile", "task", "pruner", "cut", "sparsity", "seed", "status", "error", "started", "ended")
DOCUMENTS = ("config", "labels", "versions", "machine")


def write(file: Path, rows: Sequence[Row], *, alike: bool = False) -> Path:
    """Make a file of these rows, or, as ``rlprune pack`` did before it compressed it, without indexes and alike beside alike."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[tuple[object, ...]]] = {"measures": [], "epochs": [], "layers": []}
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(re.sub(r",\s*PRIMARY KEY \([^)]*\)", "", TABLES) if alike else TABLES)
        for row in rows:
            cell = [getattr(row, name) for name in COLUMNS] + [json.dumps(dict(getattr(row, name))) for name in DOCUMENTS]
            cell.append(json.dumps(judged.document(row.judged)))
            marks = ", ".join("?" * len(cell))
            connection.execute(f"INSERT INTO cells ({', '.join((*COLUMNS, *DOCUMENTS, 'judged'))}) VALUES ({marks})", cell)
            lines["measures"] += [(row.id, *pair) for pair in row.values.items()]
            lines["epochs"] += [(row.id, number, *pair) for number, epoch in enumerate(row.epochs, 1) for pair in epoch.items()]
            lines["layers"] += [(row.id, layer, *pair) for layer, values in row.layers.items() for pair in values.items()]
        for table, some in lines.items():
            if alike:
                some.sort(key=lambda line: str(line[-2]))
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(some[0]))})", some)
    return file
