import csv
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import schema2
from rows import FAILED, JUDGED, SKIPPED, row

from rlprune.files import CLAIMS, LOCK, claimed, removed, temporary
from rlprune.store import SCHEMA, Gone, Store, StoreError


@pytest.fixture
def file(tmp_path):
    return tmp_path / "run" / "results.sqlite"


def test_rows_come_back_as_they_were_saved(file):
    saved = [row("Dense", seed=1), row("SNIP", 0.9), FAILED, SKIPPED]
    with Store(file) as store:
        for one in saved:
            store.save(one)
    with Store(file, create=False) as store:
        found = store.rows()
    assert found == sorted((replace(one, epochs=list(one.epochs)) for one in saved), key=lambda one: one.pruner)


def test_layers_keep_the_networks_order(file):
    layers = {name: {"kept": 1.0, "dense": 2.0} for name in ("z.weight", "a.weight", "m.weight")}
    with Store(file) as store:
        store.save(row(layers=layers))
        assert list(store.rows()[0].layers) == ["z.weight", "a.weight", "m.weight"]


def test_saving_again_replaces_everything_of_that_cell(file):
    with Store(file) as store:
        store.save(row("SNIP"))
        store.save(row("CroP-U"))
        again = row("SNIP", values={"wall_seconds": 1.0}, epochs=[{"trained": 1.0}], layers={})
        store.save(again)
        assert [one for one in store.rows() if one.pruner == "SNIP"] == [again]
        assert len(store.rows()) == 2


def test_a_failed_cell_is_not_finished_and_a_skipped_one_is(file):
    with Store(file) as store:
        for one in (row("Dense"), FAILED, SKIPPED):
            store.save(one)
        assert store.finished() == {row("Dense").id, SKIPPED.id}


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM measures WHERE cell LIKE 'SNIP%'",
        *(
            f"UPDATE measures SET value = {value} WHERE name = 'return_greedy' AND cell LIKE 'SNIP%'"
            for value in ("'abc'", "X'00'", "9e999", "-9e999")
        ),
    ],
)
def test_a_cell_that_lost_what_it_is_judged_by_runs_again(damage, file):
    with Store(file) as store:
        for one in (row("Dense"), row("SNIP"), SKIPPED):
            store.save(one)
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(damage)
        assert store.finished() == {row("Dense").id, SKIPPED.id}
        store.save(row("SNIP"))
        assert store.finished() == {row("Dense").id, row("SNIP").id, SKIPPED.id}


def test_a_cell_whose_metric_diverged_does_not_run_again(file):
    with Store(file) as store:
        store.save(row(values={**row().values, "return_greedy": float("nan")}))
        assert store.finished() == {row().id}


def test_a_cell_is_judged_by_what_its_task_says_now_if_it_has_measured_that(file):
    sampled = replace(JUDGED, metric=replace(JUDGED.metric, name="return_sampled"))
    other = replace(JUDGED, metric=replace(JUDGED.metric, name="top1"))
    diverged = row("SNIP", values={**row("SNIP").values, "return_greedy": float("nan")})
    with Store(file) as store:
        store.save(row(), diverged)
        ids = {row().id, diverged.id}
        for now in (JUDGED, replace(JUDGED, anchors={"random": 1.0}), sampled):
            by = dict.fromkeys(ids, now)
            store.judge(by)
            assert store.finished(by) == ids
            assert [one.judged for one in store.rows()] == [now, now]
        assert store.finished(dict.fromkeys(ids, other)) == set()
        store.judge(dict.fromkeys(ids, other))
        assert [one.judged for one in store.rows()] == [sampled, sampled], "nothing is judged by what nobody measured"
        assert store.finished() == ids


def test_what_is_no_number_is_absent(file):
    with Store(file) as store:
        store.save(
            row(values={"a": float("nan"), "b": float("inf"), "c": None, "d": 0}, epochs=[{"trained": 1, "x": float("nan")}])
        )
        (found,) = store.rows()
    assert found.values == {"d": 0.0}
    assert found.epochs == [{"trained": 1.0}]


def test_one_measure_is_found_with_the_cells_that_have_it(file):
    with Store(file) as store:
        store.save(row("Dense", values={"wall_seconds": 3.0}))
        store.save(FAILED)
        ((one, seconds),) = store.measured("wall_seconds")
    assert (one.pruner, one.config, seconds) == ("Dense", row("Dense").config, 3.0)


def test_another_schema_is_refused_by_both_numbers(file):
    with Store(file):
        pass
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(ValueError, match=f"schema 7, and this rlprune reads schema {SCHEMA}"):
        Store(file)


@pytest.mark.parametrize("create", [True, False])
def test_a_file_of_something_else_is_refused(tmp_path, create):
    file = tmp_path / "results.sqlite"
    file.write_text("pruner,return\nSNIP,500\n" * 100)
    with pytest.raises(ValueError, match="is not a file of results"):
        Store(file, create=create)
    assert file.read_text().startswith("pruner")


def test_reading_makes_no_file(file):
    with pytest.raises(FileNotFoundError, match="no results at"):
        Store(file, create=False)
    assert not file.parent.exists()


def test_a_report_reads_while_a_run_writes(file):
    with Store(file) as run, Store(file, create=False) as report:
        run.save(row("Dense"))
        assert len(report.rows()) == 1
        run.save(row("SNIP"))
        assert len(report.rows()) == 2


def test_a_cell_that_cannot_be_stored_leaves_the_old_one(file):
    with Store(file) as store:
        store.save(row())
        with pytest.raises(sqlite3.IntegrityError):
            store.save(row(values={}, task=None))
        assert store.rows()[0].values == row().values


def test_a_failure_never_takes_the_place_of_what_is_done(file):
    with Store(file) as store:
        store.save(row("SNIP", status="failed", error="why", values={}, epochs=[], layers={}))
        store.save(row("SNIP"))
        store.save(row("SNIP", status="failed", error="why", values={}, epochs=[], layers={}))
        assert [one.status for one in store.rows()] == ["done"]


def test_two_may_make_a_file_at_once(tmp_path):
    def open_it(number):
        with Store(tmp_path / f"{number // 2}.sqlite") as store:
            return store.finished()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(open_it, range(40))) == [set()] * 40


HOSTILE = [
    *(
        f"UPDATE cells SET {column} = {value} WHERE pruner = 'SNIP'"
        for column, values in {
            "task": ["X'ff'"],
            "sparsity": ["'dense'", "1e308", "-1"],
            "seed": ["'first'", "-1", "0.5"],
            "cut": ["'all'"],
            "status": ["'perhaps'"],
            "error": ["X'00'"],
            "config": ["'['", "'[]'", "X'00'"],
            "labels": ["'{}'", """'{"device": 3}'""", "'" + "[" * 5000 + "'"],
            "judged": ["'{}'", "'[]'", """'{"metric": 3}'""", """'{"metric": {"name": 3}}'""", "'" + "[" * 5000 + "'"],
            "versions": ["'3'"],
        }.items()
        for value in values
    ),
    *(
        f"UPDATE measures SET value = {value} WHERE name = 'macs' AND cell LIKE 'SNIP%'"
        for value in ("'much'", "X'00'", "1e308", "-1e308")
    ),
    "UPDATE measures SET name = X'ff' WHERE name = 'macs' AND cell LIKE 'SNIP%'",
]
HUGE, NONE = (f"CAST(X'{struct.pack('<d', value).hex()}' || substr(numbers, 9) AS BLOB)" for value in (1e308, float("nan")))
IN_BLOCKS = [
    f"UPDATE {table} SET {column} = {value} WHERE cell LIKE 'SNIP%'"
    for table, columns in (("epochs", ("names", "numbers")), ("layers", ("layers", "names", "numbers")))
    for column in columns
    for value in (("'much'", "X'00'", "X''", "1.5", HUGE) if column == "numbers" else ("'['", "'[]'", "X'00'", """'["a", 3]'"""))
]
IN_BLOCKS += [
    "UPDATE layers SET numbers = zeroblob(length(numbers)) WHERE cell LIKE 'SNIP%'",
    f"UPDATE layers SET numbers = {NONE} WHERE cell LIKE 'SNIP%'",
    """UPDATE epochs SET names = replace(names, 'trained', 'drained') WHERE cell LIKE 'SNIP%'""",
]
IN_LINES = [
    *(
        f"UPDATE {table} SET value = {value} WHERE name = '{name}' AND cell LIKE 'SNIP%'"
        for table, name in (("epochs", "trained"), ("layers", "dense"))
        for value in ("'much'", "X'00'", "1e308", "-1e308")
    ),
    "UPDATE layers SET value = 0 WHERE cell LIKE 'SNIP%'",
    "DELETE FROM layers WHERE name = 'kept' AND cell LIKE 'SNIP%'",
]


@pytest.mark.parametrize(
    ("schema", "damage"),
    [*product([SCHEMA], HOSTILE + IN_BLOCKS), *product([2], IN_LINES)],
)
def test_what_is_broken_is_named_and_left_out_and_the_rest_is_read(schema, damage, file, tmp_path):
    rows = (row("Dense"), row("SNIP", 0.9), FAILED)
    if schema == SCHEMA:
        with Store(file) as store:
            for one in rows:
                store.save(one)
    else:
        schema2.write(file, rows)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(damage)
    told = []
    with Store(file, create=False, warn=told.append) as store:
        found = {one.pruner: one for one in store.rows()}
        store.write_csv(tmp_path / "results.csv")
        assert store.finished() == {one.id for one in found.values() if one.status != "failed"}
    assert found["Dense"] == replace(row("Dense"), epochs=list(row("Dense").epochs))
    assert "SNIP" not in found or found["SNIP"] != replace(row("SNIP", 0.9), epochs=list(row("SNIP", 0.9).epochs))
    (line,) = told
    assert "left out" in line
    assert "SNIP" in line or "b'" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:4096] + b"\xff" * 40_000), "is damaged"),
        (lambda file: sqlite3.connect(file).execute("DROP TABLE layers").connection.close(), "it has no table 'layers'"),
        (lambda file: sqlite3.connect(file).execute(f"PRAGMA user_version = {SCHEMA + 1}").connection.close(), "update rlprune"),
        (lambda file: file.write_bytes(b"SQLite format 3\0" + b"?" * 5000), "not a file of results, or is damaged"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(damage, words, file):
    with Store(file) as store:
        store.save(row())
    damage(file)
    with pytest.raises(StoreError, match=words) as caught, Store(file, create=False) as store:
        store.rows()
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [lambda content: content[:4096] + b"\xff" * 40_000, lambda content: b"?" * 5000])
def test_a_damaged_file_stays_as_it_is(damage, file):
    with Store(file) as store:
        store.save(row())
    file.write_bytes(damage(file.read_bytes()))
    before = file.read_bytes()
    for act in (lambda store: store.finished(), lambda store: store.save(row("SNIP"))):
        with pytest.raises(StoreError), Store(file) as store:
            act(store)
    assert file.read_bytes() == before


def test_a_file_that_another_program_locks_for_a_while_is_waited_for(file, monkeypatch):
    with Store(file) as store, closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: (time.sleep(0.3), other.execute("ROLLBACK")))
            store.save(row("Dense"))
    monkeypatch.setattr("rlprune.store.PATIENCE", 0.1)
    with Store(file) as store:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="is locked by another program: wait for it, or close it"):
                store.save(row("SNIP"))
        assert store.finished() == {row("Dense").id}


def test_a_file_that_is_gone_is_written_no_more(file):
    with Store(file) as store:
        store.save(row("Dense"))
        file.rename(file.with_name("moved.sqlite"))
        with pytest.raises(Gone, match="renamed"):
            store.save(row("SNIP"))


def test_an_empty_file_holds_no_rows_and_stays_empty(file):
    file.parent.mkdir()
    file.touch()
    with Store(file, create=False) as store:
        assert store.rows() == []
    assert file.read_bytes() == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its rights away")
def test_a_run_is_read_where_nothing_can_be_written():
    """As on a read-only disk, finished or killed with rows still in the write-ahead log."""
    folder = Path(tempfile.mkdtemp())  # pytest's own are closed to others
    file = folder / "results.sqlite"
    with Store(file) as store:
        store.save(row("Dense"))
    killed = file.with_name("killed.sqlite")
    with Store(file.with_name("running.sqlite")) as store:
        store.save(row("SNIP"))
        for end in ("", "-wal"):
            shutil.copyfile(file.with_name(f"running.sqlite{end}"), killed.with_name(f"{killed.name}{end}"))
    for path in (file, killed, file.with_name("killed.sqlite-wal")):
        path.chmod(0o444)
    folder.chmod(0o555)
    try:
        os.seteuid(65534)
        found = []
        for path in (file, killed):
            with Store(path, create=False) as store:
                found += [one.pruner for one in store.rows()]
    finally:
        os.seteuid(0)
    assert found == ["Dense", "SNIP"]
    assert not file.with_name("killed.sqlite-shm").exists()
    shutil.rmtree(folder)


def test_a_folder_is_one_runs_at_a_time(tmp_path):
    with claimed(tmp_path / "out"):
        with (
            pytest.raises(BlockingIOError, match=rf"another run is writing there: process {os.getpid()} on "),
            claimed(tmp_path / "out"),
        ):
            pass
        (tmp_path / "out").rename(tmp_path / "moved")
    assert not list((tmp_path / "moved").iterdir())
    with claimed(tmp_path / "moved"):
        pass


def test_a_process_that_is_killed_lets_go_of_its_folder(tmp_path):
    script = "import sys, time; from pathlib import Path; from rlprune.files import claimed\n"
    script += "with claimed(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    holder = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True, env=path)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError, match=f"process {holder.pid} on"), claimed(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with claimed(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()


def test_runs_of_one_machine_join_each_other(tmp_path):
    with claimed(tmp_path) as first:
        first.share()
        with claimed(tmp_path, join=True) as second:
            assert (first.alone, second.alone) == (True, False)
            assert not second.last()
        assert first.last()
        with open(tmp_path / LOCK, "a") as lock:
            lock.write("process 1 on elsewhere, begun 2026-11-27\n")
        first.share()
        with pytest.raises(BlockingIOError, match=r"only runs of one machine can join each other.*process 1 on elsewhere"):
            claimed(tmp_path, join=True).__enter__()
    assert not list(tmp_path.iterdir())


def test_what_one_process_claims_no_other_gets_until_it_is_free(tmp_path):
    script = "import sys; from pathlib import Path; from rlprune.files import claimed\n"
    script += "with claimed(Path(sys.argv[1]), join=True) as held: print([held.take(name) for name in sys.argv[2:]])"
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with claimed(tmp_path) as held:
        (tmp_path / CLAIMS).write_text("cut sho")  # by a disk that was full
        assert all(held.take(f"cell {number}") for number in range(3000))
        held.free("cell 7")
        held.share()
        words = [sys.executable, "-c", script, tmp_path, "cell 6", "cell 7", "cell 8", "mine"]
        assert (
            subprocess.run(words, env=path, capture_output=True, text=True, check=True).stdout == "[False, True, False, True]\n"
        )
        assert held.take("cell 7")
        assert held.take("mine")
    assert not list(tmp_path.iterdir())


def test_who_joins_nobody_has_the_folder_alone(tmp_path):
    with claimed(tmp_path, join=True) as held:
        assert held.alone
        assert held.others() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its rights away")
def test_a_folder_that_cannot_be_written_to_is_refused_and_stays_as_it_is():
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    try:
        os.seteuid(65534)
        with pytest.raises(PermissionError):
            claimed(folder).__enter__()
    finally:
        os.seteuid(0)
    assert not list(folder.iterdir())
    folder.rmdir()


def test_folders_of_processes_that_were_killed_go_and_others_stay(tmp_path):
    script = "import sys, time; from pathlib import Path; from rlprune.files import temporary\n"
    script += "print(temporary(Path(sys.argv[1]), 'mine-'), flush=True); time.sleep(600)"
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True, env=path)]
    first = Path(both[0].stdout.readline().strip())
    (first / "socket").touch()
    both.append(subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True, env=path))
    second = Path(both[1].stdout.readline().strip())
    both[0].kill()
    both[0].communicate()
    third = temporary(tmp_path, "mine-")
    assert set(tmp_path.iterdir()) == {second, third}
    both[1].kill()
    both[1].communicate()


def test_csv_has_the_configuration_and_no_formulas(tmp_path):
    with Store(tmp_path / "one.sqlite") as store:
        store.save(row("SNIP", labels={**row().labels, "task_title": "=cmd|' /C calc'!A0"}))
        store.write_csv(tmp_path / "one.csv")
    (line,) = csv.DictReader((tmp_path / "one.csv").read_text().splitlines())
    assert (line["config.recipe.budget"], line["config.settings.floor"]) == ("500000", "1")
    assert line["labels.task_title"] == "'=cmd|' /C calc'!A0"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".new"] == []


def test_kill_9_loses_no_saved_cell(file):
    script = "import sys; from pathlib import Path; from rows import row; from rlprune.store import Store\n"
    script += "with Store(Path(sys.argv[1])) as store:\n"
    script += "    for seed in range(100_000): store.save(row('SNIP', seed=seed)); print(seed, flush=True)\n"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    writer = subprocess.Popen(
        [sys.executable, "-c", script, file], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    seeds = [int(writer.stdout.readline()) for _ in range(20)]
    writer.send_signal(signal.SIGKILL)
    seeds += [int(line) for line in writer.communicate()[0].split()]
    with Store(file, create=False) as store:
        found = store.rows()
    assert {one.seed for one in found} >= set(seeds)
    assert all(len(one.epochs) == 30 and one.values["wall_seconds"] > 0 and one.layers for one in found)


def test_csv_has_a_line_a_cell_and_the_same_columns_whatever_the_order(tmp_path):
    saved = [row("SNIP", 0.9), row("Dense"), FAILED]
    for name, ordered in (("one", saved), ("two", saved[::-1])):
        with Store(tmp_path / f"{name}.sqlite") as store:
            for one in ordered:
                store.save(one)
            store.write_csv(tmp_path / f"{name}.csv")
    text = (tmp_path / "one.csv").read_text()
    assert text == (tmp_path / "two.csv").read_text()
    assert text.count("\n") == 1 + len(saved)
    dense, failed, snip = csv.DictReader(text.splitlines())
    assert float(snip["return_greedy"]) == row("SNIP", 0.9).values["return_greedy"]
    assert (dense["scoring_seconds"], dense["judged.metric.name"], dense["machine.cores"]) == ("", "return_greedy", "2")
    assert (failed["return_greedy"], failed["error"]) == ("", "ValueError: the loss is <nan> after epoch 3")


def test_a_file_is_removed_with_what_killed_processes_had_not_finished_writing_of_it(tmp_path):
    for name in ("a[1].pt", "a[1].before.pt", "a[1].pt.77.new", "a[1].safetensors", "a1.pt.78.new"):
        (tmp_path / name).touch()
    removed(tmp_path / "a[1].pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a1.pt.78.new", "a[1].safetensors"]
