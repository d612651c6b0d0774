"""Learning curves as files: complete, each epoch once, whatever was killed between."""

import csv
from dataclasses import replace
from importlib.util import find_spec

import pytest
from rows import row

from rlprune.__main__ import main
from rlprune.bench.log import LOG, SINKS, Log
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import Epoch, Finished, Started
from rlprune.store import TOGETHER, Store

KINDS = ["csv", pytest.param("tensorboard", marks=pytest.mark.skipif(find_spec("tensorboard") is None, reason="no tensorboard"))]
EPOCHS = [
    {"trained": 1.0, "samples": 10.0, "return_train": 5.0},
    {"trained": 2.0, "samples": 20.0, "return_train": 7.5, "trigger": 0.25},
    {"trained": 3.0, "samples": 30.0, "return_train": 8.0},
]


@pytest.fixture(scope="module")
def cell():
    return cells(load_suite("cartpole", "smoke"), "cpu")[1]


def told(cell, *numbers):
    return [Epoch(cell, number, 3, {**EPOCHS[number - 1], "of": 3.0, "member": 0.0}) for number in numbers]


def done(cell):
    return row(id=cell.id, task=cell.task, pruner=cell.pruner, sparsity=cell.sparsity, seed=cell.seed, epochs=EPOCHS)


def hears(log, *news):
    for each in news:
        log(each)


def read(kind, out):
    """Every value that is shown, by cell's place, measure and epoch, and how often it is there."""
    found = {}
    if kind == "csv":
        for file in (out / LOG).rglob("*.csv"):
            for line in csv.DictReader(file.read_text().splitlines()):
                for name, value in line.items():
                    if value:
                        found.setdefault((file.stem, name, int(float(line["trained"]))), []).append(float(value))
        return found
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for place in {file.parent for file in (out / LOG).rglob("events.*")}:
        events = EventAccumulator(str(place)).Reload()
        for name in events.Tags()["scalars"]:
            for event in events.Scalars(name):
                found.setdefault((place.name, name, event.step), []).append(pytest.approx(event.value))
    return found


def whole(cell, epochs=EPOCHS):
    place = f"seed-{cell.seed}-{cell.id[:8]}"
    return {(place, name, int(one["trained"])): [value] for one in epochs for name, value in one.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_epochs_are_there_as_they_end(kind, cell, tmp_path):
    log = Log(tmp_path, [kind])
    hears(log, Started(cell), *told(cell, 1, 2))
    assert read(kind, tmp_path) == whole(cell, EPOCHS[:2])
    hears(log, *told(cell, 3), Finished(cell, done(cell)))
    log.close()
    assert read(kind, tmp_path) == whole(cell)
    assert {file.parent.parent.name for file in (tmp_path / LOG).rglob("*.csv")} <= {"SNIP"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("again", [(2, 3), (1, 2, 3), (3,), ()])
def test_a_run_that_was_killed_goes_on_and_nothing_is_there_twice(kind, again, cell, tmp_path):
    first = Log(tmp_path, [kind])
    hears(first, *told(cell, 1, 2))
    del first  # killed: nothing is closed
    second = Log(tmp_path, [kind])
    hears(second, *told(cell, *again), Finished(cell, done(cell)))
    second.close()
    assert read(kind, tmp_path) == whole(cell)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_that_begins_anew_takes_its_place(kind, cell, tmp_path):
    log = Log(tmp_path, [kind])
    hears(log, *told(cell, 1, 2, 1))
    log.close()
    assert read(kind, tmp_path) == whole(cell, EPOCHS[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_done_before_is_written_from_the_store(kind, cell, tmp_path):
    with Store(tmp_path / "results.sqlite", create=True) as store:
        store.save(done(cell))
        Log(tmp_path, [kind]).catch_up([cell], store)
        assert read(kind, tmp_path) == whole(cell)
        written = {file: file.stat().st_mtime_ns for file in (tmp_path / LOG).rglob("*.*")}
        Log(tmp_path, [kind]).catch_up([cell], store)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / LOG).rglob("*.*")} == written


def test_a_store_is_asked_for_some_cells_at_a_time(cell, tmp_path, monkeypatch):
    every, asked = [replace(cell, seed=seed) for seed in range(TOGETHER + 1)], []
    with Store(tmp_path / "results.sqlite", create=True) as store:
        store.save(done(every[0]), done(every[-1]))
        monkeypatch.setattr(store, "rows", lambda ids, rows=store.rows: asked.append(len(ids)) or rows(ids))
        Log(tmp_path, ["csv"]).catch_up(every, store)
    assert asked == [TOGETHER, 1]
    assert read("csv", tmp_path) == whole(every[0]) | whole(every[-1])


def test_without_a_kind_nothing_is_written(cell, tmp_path):
    log = Log(tmp_path, [])
    hears(log, *told(cell, 1), Finished(cell, done(cell)))
    log.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("cvs", "--log: got 'cvs'; must be csv or tensorboard; did you mean 'csv'?"),
        (",", '--log: got ","; names nothing: csv or tensorboard'),
    ],
)
def test_another_kind_is_refused(given, told, capsys, tmp_path):
    assert main(["run", "cartpole", "--log", given, "--dry-run", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [told]


def test_tensorboard_says_how_to_get_it(capsys, tmp_path, monkeypatch):
    assert set(SINKS) == {"csv", "tensorboard"}
    monkeypatch.setattr("rlprune.bench.log.find_spec", lambda name: None)
    assert main(["run", "cartpole", "--log", "csv,tensorboard", "--dry-run", "--out", str(tmp_path)]) == 2
    told = "--log: tensorboard needs tensorboard: python3 -m pip install 'rlprune[tensorboard]'\n"
    assert capsys.readouterr().err == told
