"""A file of results of store schema 1, as the code before schema 2 wrote it: read as it is, gone on with, never lost."""

import json
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from older import killed, read, schema
from rows import JUDGED, row

from rlprune.costs.judged import Judged
from rlprune.costs.measures import Measure
from rlprune.report.comparable import gathered
from rlprune.report.page import write_report
from rlprune.store import SCHEMA, Store

WRITTEN = Path(__file__).with_name("schema1.sql").read_text(encoding="utf-8")

RETURNS = replace(JUDGED, also=(*JUDGED.also, Measure("return_train", "return (last 100 training games)")))
RMSE, REL = Measure("rmse", "RMSE", "m", better="lower"), Measure("rel", "relative error", better="lower")
DELTA = Measure("delta1", "share of pixels within a factor of 1.25")
ERRORS = Judged(
    RMSE, Measure("loss_train", "training loss (reverse Huber)", better="lower"), "epochs", (REL, DELTA), {"random": 1.36}
)


def small(pruner, seed, judged, values, epoch, **more):
    epochs = [{"trained": float(n), "epoch": float(n), "samples": 100.0 * n, **epoch} for n in (1, 2)]
    named, layers = f"{judged.metric.name}-{pruner}-{seed}", {"a.weight": {"kept": 3.0, "dense": 4.0}}
    return row(pruner, 0.9, seed, id=named, judged=judged, **{"values": values, "epochs": epochs, "layers": layers, **more})


def game(pruner, seed, greedy):
    values = {"return_greedy": greedy, "return_sampled": greedy - 10, "return_train": greedy - 20}
    values |= {
        "sparsity_weights": 0.0 if pruner == "Dense" else 0.9,
        "wall_seconds": 1.5,
        "macs": 33410.0,
        "energy_cpu_joules": 3.0,
    }
    labels = {"suite_title": "CartPole (cartpole)", "task_title": "CartPole-v1", "device": "cpu"}
    return small(pruner, seed, RETURNS, values, {"return_train": greedy / 2}, labels=labels)


def depth(pruner, rmse, **more):
    values = {"rmse": rmse, "rel": rmse / 4, "delta1": 0.5, "sparsity_weights": 0.0 if pruner == "Dense" else 0.9}
    labels = {"suite_title": "Depth (depth)", "task_title": "FCRN, rooms", "device": "cpu", "folder": "/data", "data": "1f2e"}
    places = {"suite": "depth", "task": "rooms-fcrn-small", "labels": labels}
    return small(pruner, 0, ERRORS, values, {"loss_train": rmse * 2}, **places, **more)


NOTHING = {"values": {}, "epochs": [], "layers": {}}
ROWS = [
    *(game("Dense", seed, greedy) for seed, greedy in enumerate((500.0, 480.0))),
    *(game("SNIP", seed, greedy) for seed, greedy in enumerate((300.0, 350.0))),
    depth("Dense", 0.5),
    depth("CroP-S", 0.75),
    replace(depth("SNIP", 1.0), status="failed", error="ValueError: why", **NOTHING),
    replace(depth("SynFlow", 1.0), status="skipped", error="needs what is not there", **NOTHING),
]
"""The rows in schema1.sql, as they are now."""


@pytest.fixture
def old(tmp_path):
    """A file as the code before wrote it."""
    file = tmp_path / "old" / "results.sqlite"
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(WRITTEN)
    return file


@pytest.fixture
def new(tmp_path):
    """A file with the same rows in the newest schema."""
    file = tmp_path / "new" / "results.sqlite"
    with Store(file) as store:
        for one in ROWS:
            store.save(one)
    return file


def by_headings(one):
    """Return a row as schema 1 could have it: of a measure its heading, and of the curve no direction."""
    judged = one.judged
    metric, *also = (Measure(it.name, it.heading, better=it.better) for it in (judged.metric, *judged.also))
    curve = Measure(judged.curve.name, judged.curve.heading, better=None)
    return replace(one, judged=replace(judged, metric=metric, curve=curve, also=tuple(also)))


def test_rows_of_schema_1_are_those_of_the_newest_value_by_value(old, new):
    assert (schema(old), schema(new)) == (1, SCHEMA)
    assert read(new) == sorted(ROWS, key=lambda one: (one.task, one.pruner, one.sparsity, one.seed))
    assert read(old) == list(map(by_headings, read(new)))
    assert read(old)[0].judged == replace(RETURNS, curve=replace(RETURNS.curve, better=None))


def test_reading_leaves_the_file_as_it_is(old):
    before = old.read_bytes()
    with Store(old, create=False) as store:
        assert store.finished() == {one.id for one in ROWS if one.status != "failed"}
        assert {one.id for one, _ in store.measured("rmse")} == {"rmse-Dense-0", "rmse-CroP-S-0"}
        store.write_csv(old.with_name("results.csv"))
    gathered([old.parent])
    assert (old.read_bytes(), schema(old)) == (before, 1)
    assert "judged.metric.name" in old.with_name("results.csv").read_text()


def test_a_run_goes_on_in_the_same_file(old, new):
    more = game("CroP-U", 0, 200.0)
    before = read(old)
    with Store(old, create=False) as store:
        finished = store.finished()
    with Store(old) as store:
        assert store.rows() == before
        assert store.finished() == finished
        store.save(more)
        store.save(depth("SNIP", 1.0))
    assert schema(old) == SCHEMA
    with Store(new) as store:
        store.save(more)
        store.save(depth("SNIP", 1.0))
    assert list(map(by_headings, read(old))) == list(map(by_headings, read(new)))
    with closing(sqlite3.connect(old)) as connection:
        stored = [json.loads(labels) for (labels,) in connection.execute("SELECT labels FROM cells")]
    assert {name for labels in stored for name in labels} == {"suite_title", "task_title", "device", "folder", "data"}


def test_who_reads_while_a_run_brings_the_file_to_the_newest_reads_on(old):
    with Store(old, create=False) as report:
        before = report.rows()
        with Store(old) as run:
            assert report.rows() == before
            run.save(game("CroP-U", 0, 200.0))
        assert len(report.rows()) == len(before) + 1
        assert report.finished() == {one.id for one in before if one.status != "failed"} | {"return_greedy-CroP-U-0"}


def test_the_report_is_the_same(old, new, tmp_path):
    pages = [write_report(gathered([file.parent]), tmp_path / file.parent.name / "report") for file in (old, new)]
    first, second = ({file.relative_to(page.parent): file.read_bytes() for file in page.parent.rglob("*.*")} for page in pages)
    assert len(first) > 40
    assert first == second


def test_cells_of_both_schemas_are_compared(old, tmp_path):
    other = tmp_path / "other"
    with Store(other / "results.sqlite") as store:
        store.save(game("Dense", 2, 490.0))
        store.save(game("Dense", 1, 480.0))
    assert sorted(one.seed for one in gathered([old.parent, other]) if (one.pruner, one.task) == ("Dense", "cartpole-v1")) == [
        0,
        1,
        2,
    ]


def test_kill_9_while_it_is_brought_to_the_newest_leaves_schema_1(old):
    before = read(old)
    assert killed(old, "UPDATE cells", 3) == -signal.SIGKILL
    assert schema(old) == 1
    assert read(old) == before
    with Store(old) as store:
        assert store.rows() == before
    assert schema(old) == SCHEMA


def test_a_damaged_row_of_schema_1_stays_one_that_runs_again(old):
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE cells SET labels = '[' WHERE id = 'rmse-Dense-0'")
        connection.execute("UPDATE cells SET labels = json_remove(labels, '$.metric') WHERE id = 'rmse-CroP-S-0'")
        connection.execute(
            "UPDATE cells SET labels = json_set(labels, '$.anchor_dense', 'many') WHERE id = 'return_greedy-SNIP-0'"
        )
    told = [], []
    with Store(old, create=False, warn=told[0].append) as store:
        before, finished = store.rows(), store.finished()
    assert {one.id for one in before} == {one.id for one in ROWS} - {"rmse-Dense-0", "rmse-CroP-S-0"}
    assert not {"rmse-Dense-0", "rmse-CroP-S-0"} & finished
    with Store(old, warn=told[1].append) as store:
        assert (store.rows(), store.finished()) == (before, finished)
    assert sorted(told[0]) == sorted(told[1])
    assert len(told[0]) == 3
