import csv
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rows import FAILED, SKIPPED, row

from rlprune.store import SCHEMA, Store


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
            store.save(row(values={}, layers={None: {"kept": 1.0}}))
        assert store.rows()[0].values == row().values


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
    assert (dense["scoring_seconds"], dense["labels.metric"], dense["machine.cores"]) == ("", "return_greedy", "2")
    assert (failed["return_greedy"], failed["error"]) == ("", "ValueError: the loss is <nan> after epoch 3")
