"""A file of results of store schema 2: read as it is, gone on with, joined and packed; its numbers are the same in blocks."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
import schema2
from rows import FAILED, SKIPPED, row

from rlprune import packed
from rlprune.__main__ import main
from rlprune.report.comparable import gathered
from rlprune.store import SCHEMA, Store

RAGGED = [{"trained": 1.0, "samples": 0.1}, {"trained": 2.0}, {"trained": 3.0, "dormant_actor": 1e-300, "samples": -1 / 3}]
LAYERS = {name: {"kept": float(kept), "dense": 2.0} for kept, name in enumerate(("z.weight", "a.weight", "m.weight"))}
ROWS = [row("Dense"), row("SNIP", 0.9), row("CroP-S", 0.9, epochs=RAGGED, layers=LAYERS), row("IMP", 0.9), FAILED, SKIPPED]


@pytest.fixture
def old(tmp_path):
    return schema2.write(tmp_path / "old" / "results.sqlite", ROWS)


def schema(file):
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def read(file):
    with Store(file, create=False) as store:
        return store.rows()


def equal(found, rows):
    """Say whether rows are the same to the last bit, with layers in the network's order."""
    by_id = {one.id: one for one in found}
    return len(found) == len(rows) and all(
        by_id[one.id] == one_with_lists(one) and list(by_id[one.id].layers) == list(one.layers) for one in rows
    )


def one_with_lists(one):
    return type(one)(**{**vars(one), "epochs": list(one.epochs)})


def test_rows_are_read_as_they_were_and_the_file_stays_as_it_is(old):
    before = old.read_bytes()
    assert equal(read(old), ROWS)
    assert equal(gathered([old.parent]), ROWS)
    assert old.read_bytes() == before


def test_a_run_goes_on_in_the_same_file(old):
    with Store(old) as store:
        assert equal(store.rows(), ROWS)
        assert store.finished() == {one.id for one in ROWS} - {FAILED.id}
        store.save(row("IMP", 0.98), row("GraSP", 0.9))
    assert schema(old) == SCHEMA
    assert equal(read(old), [one for one in ROWS if one.id != FAILED.id] + [row("IMP", 0.98), row("GraSP", 0.9)])
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"cells", "measures", "epochs", "layers"}


def test_who_reads_meanwhile_reads_on(old):
    with Store(old, create=False) as report:
        assert equal(report.rows(), ROWS)
        with Store(old) as run:
            assert equal(report.rows(), ROWS)
            run.save(row("GraSP", 0.9))
        assert equal(report.rows(), [*ROWS, row("GraSP", 0.9)])


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
connect = sqlite3.connect
def killing(statement):
    if statement.startswith("ALTER TABLE new_layers"):
        os.kill(os.getpid(), signal.SIGKILL)
def traced(*given, **more):
    connection = connect(*given, **more)
    connection.set_trace_callback(killing)
    return connection
sqlite3.connect = traced
from rlprune.store import Store
Store(Path(sys.argv[1]))
"""


def test_kill_9_while_it_is_put_in_blocks_leaves_schema_2(old):
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", KILLED, old], env=path, check=False).returncode == -signal.SIGKILL
    assert schema(old) == 2
    assert equal(read(old), ROWS)
    with Store(old) as store:
        assert equal(store.rows(), ROWS)
    assert schema(old) == SCHEMA


def test_it_is_joined_with_one_of_the_newest_schema(old, tmp_path):
    more = row("GraSP", 0.9)
    with Store(tmp_path / "new" / "results.sqlite") as store:
        store.save(more, row("SNIP", 0.9))
    assert main(["merge", str(old.parent), str(tmp_path / "new"), "--to", str(tmp_path / "to")]) == 0
    assert equal(read(tmp_path / "to" / "results.sqlite"), [*ROWS, more])
    assert main(["merge", str(tmp_path / "new"), "--to", str(old.parent)]) == 0
    assert equal(read(old), [*ROWS, more])
    assert schema(old) == SCHEMA


def test_it_is_packed_as_the_newest_is(old, tmp_path):
    with Store(tmp_path / "new.sqlite") as store:
        store.save(*ROWS[::-1])
        store.pack(tmp_path / "new.xz")
    with Store(old, create=False) as store:
        assert store.pack(tmp_path / "old.xz") == len(ROWS)
    assert schema(old) == 2
    assert (tmp_path / "old.xz").read_bytes() == (tmp_path / "new.xz").read_bytes()
    assert equal(read(tmp_path / "old.xz"), ROWS)


def test_what_was_packed_before_is_read_and_gone_on_with(tmp_path):
    old = tmp_path / "old.xz"
    packed.pack(schema2.write(tmp_path / "loose.sqlite", ROWS, alike=True), old)
    assert equal(read(old), ROWS)
    with Store(old, create=False) as store:
        assert store.schema == 2
        some = [one.id for one in ROWS[1:4]]
        assert equal(store.rows(some), ROWS[1:4])
        with Store(tmp_path / "results.sqlite") as newer:
            newer.take(store, some)
            assert equal(newer.rows(), ROWS[1:4])
