"""What other tools read: rliable's own numbers of our file, learning curves line by line, the tasks together in our tables."""

import csv
import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from rows import as_task, row, rows

from rlprune import stats
from rlprune.costs.measures import Measure
from rlprune.report import curves, elsewhere, tables
from rlprune.store import Store

FEW = rows(4, ("Dense", "SNAP", "SNIP"), (0.8, 0.9))
BOTH = FEW + as_task(FEW, "acrobot-v1", "Acrobot-v1", -500, 0.8)


def scores(some, told=None):
    lines = [] if told is None else told
    return dict(np.load(io.BytesIO(elsewhere.to_rliable(some, lines.append))))


def test_scores_are_seeds_by_tasks_normalised_by_the_anchors():
    told = []
    found = scores(BOTH, told)
    assert list(found) == ["Dense", "SNIP, 80 %", "SNIP, 90 %", "SNAP, 80 %", "SNAP, 90 %"]
    expected = [(row("SNIP", 0.9, seed).values["return_greedy"] - 22) / (500 - 22) for seed in range(4)]
    assert found["SNIP, 90 %"] == pytest.approx(np.array([expected, expected]).T)  # the other task is the same one moved
    assert told == ["columns: acrobot-v1, cartpole-v1"]
    assert elsewhere.to_rliable(BOTH, told.append) == elsewhere.to_rliable(BOTH[::-1], told.append)


def test_profiles_that_stand_beside_each_other_are_told():
    told = []
    scores([replace(one, profile="paper") if one.task == "acrobot-v1" else one for one in BOTH], told)
    assert told == ["columns: acrobot-v1 (paper), cartpole-v1 (quick)"]


def test_what_not_all_tasks_have_is_left_out_and_named():
    told = []
    found = scores([one for one in BOTH if (one.task, one.sparsity) != ("acrobot-v1", 0.8) and one.id != "SNAP-0.9-2"], told)
    assert {name: len(values) for name, values in found.items()} == {"Dense": 4, "SNAP, 90 %": 3, "SNIP, 90 %": 4}
    assert told[1:] == [
        "left out, not finished in all tasks: SNIP, 80 %; SNAP, 80 %",
        "left out, seeds that not all tasks have: of SNAP, 90 %",
    ]
    unknown = [replace(one, judged=replace(one.judged, anchors={})) if one.task == "acrobot-v1" else one for one in BOTH]
    assert scores(unknown, told)["Dense"].shape == (4, 1)
    assert told[-1] == "left out: Acrobot-v1, without a random and a dense anchor that differ"


def test_what_cannot_be_normalised_is_refused():
    with pytest.raises(ValueError, match="cartpole-v1: no task states both a random and a dense anchor"):
        scores([replace(one, judged=replace(one.judged, anchors={"random": 22.0})) for one in FEW])
    with pytest.raises(ValueError, match="cartpole-v1 is there of several profiles, recipes or runs"):
        scores(FEW + [replace(one, profile="paper", id=f"{one.id}-paper") for one in FEW])
    with pytest.raises(ValueError, match="no pruner has a seed that is finished in all tasks"):
        scores([one for one in BOTH if (one.task == "acrobot-v1") == (one.seed < 2)])


def test_learning_curves_are_a_line_an_epoch():
    lines = list(csv.DictReader(io.StringIO(elsewhere.to_openrlbenchmark(FEW))))
    mine = [line for line in lines if (line["exp_name"], line["seed"]) == ("SNIP, 90 %", "3")]
    epochs = row("SNIP", 0.9, 3).epochs
    assert [int(line["global_step"]) for line in mine] == [round(epoch["samples"]) for epoch in epochs]
    assert [float(line["charts/episodic_return"]) for line in mine] == [epoch["return_train"] for epoch in epochs]
    assert len(lines) == 30 * len(FEW)
    with pytest.raises(ValueError, match="no finished cell has a learning curve of returns"):
        elsewhere.to_openrlbenchmark([replace(one, epochs=()) for one in FEW])


def test_two_profiles_are_two_experiments_and_losses_are_no_returns():
    both = FEW + [replace(one, profile="paper", id=f"{one.id}-paper") for one in FEW]
    lines = list(csv.DictReader(io.StringIO(elsewhere.to_openrlbenchmark(both))))
    assert {"SNIP, 90 % (quick)", "SNIP, 90 % (paper)"} <= {line["exp_name"] for line in lines}
    assert len({(line["exp_name"], line["env_id"], line["seed"], line["global_step"]) for line in lines}) == len(lines)
    loss = Measure("loss_train", "training loss", better="lower")
    lost = [replace(one, judged=replace(one.judged, curve=loss), epochs=[{"samples": 1.0, "loss_train": 2.0}]) for one in FEW]
    with pytest.raises(ValueError, match="no finished cell has a learning curve of returns"):
        elsewhere.to_openrlbenchmark(lost)


@pytest.mark.slow
def test_the_command_writes_both_in_place_of_the_page(tmp_path):
    with Store(tmp_path / "run" / "results.sqlite") as store:
        for one in FEW:
            store.save(one)
    files = tmp_path / "scores.npz", tmp_path / "curves.csv"
    command = [sys.executable, "-m", "rlprune", "report", str(tmp_path / "run")]
    command += ["--to-rliable", str(files[0]), "--to-openrlbenchmark", str(files[1])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [str(file) for file in files]
    assert dict(np.load(files[0]))["Dense"].shape == (4, 1)
    assert not (tmp_path / "run" / "report.html").exists()


def test_rliable_finds_in_our_file_what_we_find():
    metrics = pytest.importorskip("rliable.metrics", reason="rliable is missing")
    over = curves.normalisable(curves.comparisons(BOTH))
    for name, values in scores(BOTH).items():
        assert metrics.aggregate_iqm(values) == pytest.approx(float(stats.iqm(values.ravel())))
        assert metrics.aggregate_median(values) == pytest.approx(float(stats.median(list(values.T))))
        assert metrics.aggregate_optimality_gap(values) == pytest.approx(float(stats.optimality_gap(list(values.T))))
        pruner, _, sparsity = name.partition(", ")
        together = curves.normalised(over, pruner, float(sparsity.rstrip(" %") or 0) / 100)
        assert metrics.aggregate_iqm(values) == pytest.approx(stats.estimate([list(it.values()) for it in together]).iqm)


def values_of(pruner, values):
    return values[pruner if pruner == "Dense" else f"{pruner}, 90 %"]


def test_a_pruner_that_a_task_lacks_is_named_below_what_is_of_all_tasks():
    some = [one for one in BOTH if one.pruner != "SNIP" or one.task == BOTH[0].task]
    table = tables.tasks_table(*both_of(some), 0.9)
    assert table.note.endswith(" Not in all of them, and left out: SNIP.")
    assert "left out" not in tables.tasks_table(*both_of(BOTH), 0.9).note


def both_of(some):
    over = curves.normalisable(curves.comparisons(some))
    return over, curves.aggregate(over)


def test_tasks_together_have_a_mean_a_median_and_a_gap():
    (one, other) = curves.normalisable(curves.comparisons(BOTH))
    together = curves.aggregate([one, other])
    table = tables.tasks_table([one, other], together, 0.9)
    values = scores(BOTH)
    records = {record["pruner"]: record for record in table.csv}
    for pruner in ("Dense", "SNAP", "SNIP"):
        mine = values_of(pruner, values)
        assert records[pruner]["iqm"] == pytest.approx(np.sort(mine.ravel())[2:-2].mean())
        assert records[pruner]["median"] == pytest.approx(np.median(mine.mean(axis=0)))
        assert records[pruner]["optimality_gap"] == pytest.approx(1 - np.minimum(mine, 1).mean())
        assert (
            records[pruner]["optimality_gap_low"] <= records[pruner]["optimality_gap"] <= records[pruner]["optimality_gap_high"]
        )
    assert tables.to_latex(table).isascii()
    for _, block in table.blocks:
        for line in block:
            own = [np.sort(task)[1:-1].mean() if len(task) > 3 else task.mean() for task in values_of(line[0].text, values).T]
            assert [entry.task for entry in line[2:4]] == [one.task, other.task]
            assert [float(entry.text.replace("−", "-")) for entry in line[2:4]] == pytest.approx(own, abs=0.006)
    marks = {line[0].text: line[6].mark for _, block in table.blocks for line in block}
    assert marks == {"Dense": "", "SNAP": "", "SNIP": ""}  # one of a block is no best
    assert "anchors the tasks state (Acrobot-v1 −482 and −100; CartPole-v1 22.0 and 500)" in table.note
