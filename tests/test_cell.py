import time

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rlprune.bench import worker
from rlprune.bench.cell import run_cell
from rlprune.bench.suite import cells, load_suite
from rlprune.costs import cost
from rlprune.pruning.follower import lacking
from rlprune.pruning.plan import Train
from rlprune.pruning.pruner import NOTHING, Pruner

SMALL = ["recipe.budget=640", "recipe.widths=[16, 16]", "recipe.evaluation_games=2"]
SMOKE = load_suite("cartpole", profile="smoke", overrides=SMALL)
CELLS = {cell.pruner: cell for cell in cells(SMOKE, "cpu")}

TIMES = {"training_seconds", "scoring_seconds", "batch_seconds", "latency_seconds"}


class Killed(Exception):  # noqa: N818
    """Stands for kill -9 at the end of an epoch."""


def timeless(values):
    return {name: value for name, value in values.items() if name not in TIMES | {"resumed"}}


@pytest.mark.parametrize("name", sorted(CELLS))
def test_a_cell_measures_quality_sparsity_and_cost(name, tmp_path):
    told = []
    measured = run_cell(CELLS[name], checkpoint=tmp_path / "cell.pt", tell=told.append)
    quality = {"return_greedy", "return_sampled", "sparsity_weights", "sparsity_nodes", "empty_layers"}
    costs = {"training_seconds", "batch_seconds", "latency_seconds", "macs", "parameters", "disk_csr_mb", "scoring_samples"}
    assert quality | costs <= set(measured.values)
    assert [row["trained"] for row in measured.epochs] == [1, 2, 3, 4]
    assert [row["of"] for row in told] == [4.0] * 4
    assert measured.values["trained_epochs"] == 4
    assert measured.values["training_samples"] == measured.epochs[-1]["samples"] == 640
    assert measured.values["sparsity_weights"] == pytest.approx(CELLS[name].sparsity, abs=0.05)
    kept, dense = (sum(layer[what] for layer in measured.layers.values()) for what in ("kept", "dense"))
    assert 1 - kept / dense == pytest.approx(measured.values["sparsity_weights"])
    network = load_file(tmp_path / "cell.safetensors")
    assert sum(int((network[layer] != 0).sum()) for layer in measured.layers) == kept


def test_a_sparsity_out_of_reach_is_said():
    tiny = load_suite("cartpole", "smoke", [*SMALL, "recipe.widths=[2, 2]"], {"pruners": "SNIP", "sparsities": ".99"})
    told = []
    run_cell(cells(tiny, "cpu")[0], tell=told.append)
    said = [row["said"] for row in told if "said" in row]
    assert len(said) == 1
    assert "of the weights are removed, not 0.99" in said[0]


def test_smaller_networks_cost_less(tmp_path):
    dense, cut = (run_cell(CELLS[name]).values for name in ("Dense", "CroP-S"))
    for measure in ("macs", "training_macs", "parameters", "disk_dense_mb", "disk_csr_mb", "memory_static_bytes"):
        assert cut[measure] < dense[measure] / 2, measure


def test_zeros_are_left_out_where_multiplications_are_counted_without_them():
    dense, masked, cut = (run_cell(CELLS[name]) for name in ("Dense", "SNIP", "CroP-S"))
    for one in (dense, cut):
        assert one.values["macs_nonzero"] == one.values["macs"]
        assert one.values["training_macs_nonzero"] == one.values["training_macs"]
    assert masked.values["macs"] == dense.values["macs"]
    kept = {name: layer["kept"] for name, layer in masked.layers.items()}
    assert masked.values["macs_nonzero"] == sum(kept[name] for name in kept if "policy_net" in name or "action" in name)
    assert masked.values["training_macs_nonzero"] == 640 * 4 * sum(kept.values())


def test_what_was_trained_before_pruning_counts_whole():
    until = ["pruner.EarlyCroP-U.until={epoch=2, cap=1.0}", "pruners=['EarlyCroP-U']"]
    (cell,) = cells(load_suite("cartpole", "smoke", [*SMALL, *until]), "cpu")
    measured = run_cell(cell)
    kept, dense = (sum(layer[what] for layer in measured.layers.values()) for what in ("kept", "dense"))
    assert measured.values["training_macs_nonzero"] == 4 * (320 * dense + 320 * kept)
    assert measured.values["training_macs"] == 4 * 640 * dense


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("name", sorted(CELLS))
def test_a_killed_cell_goes_on_from_its_last_epoch_and_ends_bit_identical(name, after, tmp_path):
    whole = run_cell(CELLS[name], checkpoint=tmp_path / "whole.pt")

    def kill(row):
        if row["trained"] == after:
            raise Killed

    with pytest.raises(Killed):
        run_cell(CELLS[name], checkpoint=tmp_path / "killed.pt", tell=kill)
    told = []
    resumed = run_cell(CELLS[name], checkpoint=tmp_path / "killed.pt", tell=told.append)
    assert told[0]["trained"] == after + 1, "an epoch was lost, or trained twice"
    assert resumed.values["resumed"] == 1
    assert timeless(resumed.values) == timeless(whole.values)
    assert resumed.epochs == whole.epochs
    ends = [load_file(tmp_path / f"{file}.safetensors") for file in ("whole", "killed")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_pruner_that_needs_a_normalisation_does_not_apply_without_one():
    picky = Pruner("Picky", None, cut=NOTHING, plan=[Train()], needs=frozenset({"batchnorm"}))
    assert lacking(picky, nn.Linear(2, 2)) == ["batchnorm"]
    assert not lacking(picky, nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))


def test_timing_the_final_network_is_no_cost_of_its_cell(tmp_path, monkeypatch):
    def slow(act, **options):
        time.sleep(0.6)
        return 1.0

    monkeypatch.setattr(cost, "settled_seconds", slow)
    one = cells(load_suite("cartpole", "smoke", ["recipe.budget=640", "recipe.evaluation_games=1", "pruners=['Dense']"]), "cpu")[
        0
    ]
    began = time.perf_counter()
    (record,) = worker.run(worker.Assignment((one,), (tmp_path / "cell.pt",), None), lambda values: None)
    assert record.values["wall_seconds"] < time.perf_counter() - began - 1.1
    assert record.values["worker_seconds"] > record.values["wall_seconds"] + 1.1
    assert 0 < record.values["training_seconds"] < record.values["wall_seconds"]
