"""What a hundred thousand cells need: nothing that is done once a kind is done once a cell, and nothing that is done is kept."""

import gc
import sys
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from rows import row, rows

from rlprune import stats
from rlprune.__main__ import main
from rlprune.bench import sweep as sweeps
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import Finished, sweep
from rlprune.bench.worker import Record
from rlprune.executors import Begun, Returned
from rlprune.pruning.plan import trained_epochs
from rlprune.report import curves
from rlprune.report.sound import sound
from rlprune.rows import Epochs, column
from rlprune.store import Store


def counted(act, code=None):
    """How many Python functions are called, or how often the one of this code is."""
    seen = 0

    def look(frame, event, _):
        nonlocal seen
        seen += event == "call" and code in (None, frame.f_code)

    sys.setprofile(look)
    try:
        assert act() == 0
    finally:
        sys.setprofile(None)
    return seen


def dry_run(seeds, out):
    return main(["run", "cartpole", "--dry-run", "--seeds", str(seeds), "--out", str(out)])


def test_a_dry_run_walks_each_kind_of_plan_once_however_many_cells_there_are(tmp_path):
    walks = []
    for seeds in (1, 10):
        sweeps._epochs.cache_clear()
        walks.append(counted(partial(dry_run, seeds, tmp_path), trained_epochs.__code__))
    assert walks == [17 + 49] * 2  # once a pruner to see that it can be followed, once a pruner and sparsity


def test_a_dry_run_does_little_for_another_cell(tmp_path):
    dry_run(1, tmp_path)  # what is imported and remembered
    few, many = (counted(partial(dry_run, seeds, tmp_path)) for seeds in (10, 20))
    assert (many - few) / (10 * 49) <= 50


# -- a sweep's own process -------------------------------------------------------------------------------------------


def here(work, jobs, workers, preload):
    """Return of every job what a worker would."""
    for job in jobs:
        yield Begun(job)
        yield Returned(job, [Record("begin", "end", {}, {}, values={"return_greedy": 1.0}) for _ in job.cells])


def test_a_sweep_keeps_nothing_of_a_cell_that_is_stored(tmp_path):
    suite = load_suite("cartpole", "smoke", options={"seeds": "5"})
    ended = []

    def listen(news):
        if isinstance(news, Finished):
            ended.append(weakref.ref(news.row))
            gc.collect()
            alive.append(sum(one() is not None for one in ended))

    alive = []
    gc.collect()
    gc.freeze()  # what was there before is nothing of the sweep's, and takes half a second to walk each time
    with Store(tmp_path / "results.sqlite") as store:
        outcome = sweep(cells(suite, "cpu"), store, suite=suite, jobs=1, out=tmp_path, execute=here, listen=listen)
    assert outcome.done == len(alive) == 20
    assert max(alive) <= 2
    gc.collect()
    gc.unfreeze()
    assert not any(one() for one in ended)


# -- rows ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "results.sqlite") as opened:
        found = rows(3, pruners=("Dense", "SNIP"), sparsities=(0.9,))
        opened.save(*(replace(one, config={**one.config, "device": "cpu"}) for one in found))
        yield opened


def test_rows_hold_once_what_they_have_alike(store):
    first, *others = store.rows()
    for one in others:
        assert one.versions is first.versions
        assert one.machine is first.machine
        assert one.labels is first.labels
        assert one.judged is first.judged
        assert one.config["recipe"] is first.config["recipe"]
        assert one.config["device"] is first.config["device"]
        assert one.status is first.status
        alike = next(other for other in (first, *others) if other.pruner == one.pruner)
        assert one.pruner is alike.pruner
        assert one.cut is alike.cut
    assert isinstance(first.epochs, Epochs)
    assert others[0].epochs.names is first.epochs.names
    assert others[0].layers.layers is first.layers.layers


def test_epochs_in_one_block_are_those_that_were_saved(store):
    ragged = [{"trained": 1.0, "a": 2.0}, {"trained": 2.0}, {"trained": 3.0, "b": 4.0, "a": 5.0}]
    store.save(row("CroP-U", 0.9, epochs=ragged))
    (one,) = (one for one in store.rows() if one.pruner == "CroP-U")
    assert one.epochs == ragged
    assert ragged == one.epochs
    assert (one.epochs[-1], one.epochs[:2]) == (ragged[-1], ragged[:2])
    assert one.epochs != ragged[:2]
    for name in ("trained", "a", "b", "c"):
        np.testing.assert_array_equal(one.epochs.column(name), column(ragged, name))
    assert column(ragged, "c") == []
    with pytest.raises(IndexError):
        one.epochs[3]


def test_rows_are_looked_at_once(store):
    once = sound(store.rows())
    assert sound(once) is once
    assert all(one.epochs is other.epochs for one, other in zip(store.rows(), once, strict=True)) is False
    assert [one.values for one in once] == [one.values for one in store.rows()]


def test_some_rows_are_read_by_their_ids(store):
    every = store.rows()
    assert store.rows([every[1].id, every[4].id, "nobody's"]) == [every[1], every[4]]


# -- thousands of seeds ------------------------------------------------------------------------------------------------


def test_intervals_of_many_seeds_are_those_of_the_samples_themselves(monkeypatch):
    values = np.random.default_rng(0).normal(size=(60, 9)).round(1)  # some are equal
    counted_ = stats.iqm_interval([values, values[:31]], 200)
    monkeypatch.setattr(stats, "_FEW", 1000)
    np.testing.assert_allclose(stats.iqm_interval([values, values[:31]], 200), counted_, rtol=1e-12, atol=1e-12)


def test_bands_of_a_hundred_seeds_take_all_resamples_and_those_of_thousands_fewer():
    def resamples(seeds):
        return curves.LearningCurve("SNIP", 0.9, np.arange(3.0), np.zeros((seeds, 3))).resamples

    assert resamples(100) == stats.RESAMPLES
    assert stats.RESAMPLES > resamples(5000) >= 200


# -- the same again --------------------------------------------------------------------------------------------------


def test_what_was_shown_is_shown_again_and_made_again_only_where_something_changed(tmp_path, capsys):
    out = tmp_path / "out"
    tiny = ["recipe.budget=160", "recipe.epochs=2", "recipe.evaluation_games=1"]
    suite = load_suite("cartpole", "smoke", tiny, {"pruners": "Dense"})
    command = ["run", "cartpole", "--profile", "smoke", "--pruners", "Dense", "--jobs", "1", "--out", str(out)]
    for value in tiny:
        command += ["--set", value]
    (cell,) = cells(suite, "cpu")
    done = replace(row("Dense"), **vars(sweeps.identity(cell, suite)))
    with Store(out / "results.sqlite") as store:
        store.save(done)

    def again():
        assert main(command) == 0
        return capsys.readouterr().out, (out / "report.html").stat().st_mtime_ns

    first, made = again()
    assert "Dense ends at" in first or "no pruner that removes anything" in first
    assert again() == (first, made)
    (out / "results.csv").unlink()
    assert again()[1] != made
    assert (out / "results.csv").exists()
    _, made = again()
    with Store(out / "results.sqlite") as store:
        store.save(replace(done, values={**done.values, "return_greedy": 1.0}))
    changed, remade = again()
    assert remade != made
    assert changed != first
