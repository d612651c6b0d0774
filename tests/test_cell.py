import shutil
import subprocess
import time
from dataclasses import replace
from pkgutil import resolve_name

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rlprune.bench import cell as bench_cell
from rlprune.bench import checkpoint, worker
from rlprune.bench.cell import run_cell
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.costs import cost
from rlprune.pruning.follower import PlanFollower, lacking
from rlprune.pruning.plan import Train
from rlprune.pruning.pruner import NOTHING, Pruner
from rlprune.task import tasks

SMALL = ["recipe.budget=640", "recipe.widths=[16, 16]", "recipe.evaluation_games=2"]
SMOKE = load_suite("cartpole", profile="smoke", overrides=SMALL)
CELLS = {cell.pruner: cell for cell in cells(SMOKE, "cpu")}

TIMES = {"training_seconds", "scoring_seconds", "batch_seconds", "latency_seconds"}


class Killed(Exception):  # noqa: N818
    """Stands for kill -9 at the end of an epoch."""


def timeless(values):
    return {name: value for name, value in values.items() if name not in TIMES | {"resumed"}}


def test_a_cell_that_does_not_measure_what_its_task_is_judged_by_fails(monkeypatch):
    task = tasks().load("cartpole-v1")
    monkeypatch.setitem(vars(task), "metric", replace(task.metric, name="return_gredy"))
    with pytest.raises(ValueError, match=r"judged by 'return_gredy', which .* does not measure; did you mean 'return_greedy'"):
        run_cell(CELLS["SNIP"])


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


@pytest.mark.parametrize(
    ("suite", "fleet"), [("cartpole", True), ("cartpole", False), ("dqn", False), ("ppo", True), ("ppo", False)]
)
def test_training_takes_what_is_too_small_to_be_fast_for_zero_and_scoring_does_not(suite, fleet, monkeypatch):
    small = [*SMALL, "solo=0", f"engine={'fleet' if fleet else 'sb3'}"]
    cell, *_ = cells(load_suite(suite, "smoke", small, {"pruners": "SNIP"}), "cpu")
    assert cell.fleet == fleet
    tiny, flushed = torch.full((), torch.finfo(torch.float32).tiny), {}

    def watched(name, act):
        def watching(*args):
            flushed.setdefault(name, set()).add(bool(tiny / 8 == 0))
            return act(*args)

        return watching

    recipe = tasks().load(cell.task).settings(cell.recipe)
    trainer = resolve_name(recipe.fleet if fleet else recipe.trainer)
    for name in ("train_together", "evaluate_together"):
        monkeypatch.setattr(trainer, name, staticmethod(watched(name, getattr(trainer, name))))
    monkeypatch.setattr(PlanFollower, "next_epoch", watched("next_epoch", PlanFollower.next_epoch))
    run_cell(cell)
    assert flushed == {"train_together": {True}, "evaluate_together": {True}, "next_epoch": {False}}
    assert tiny / 8 > 0


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


DAMAGED = "it is damaged, or of another version of rlprune"


def damaged(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said", "first"),
    [
        (
            lambda new, old: damaged(new),
            f"goes on after epoch 2, from the checkpoint before: cell.pt is of no use: {DAMAGED}",
            3,
        ),
        (lambda new, old: new.unlink(), None, 3),  # as if killed while the one takes the place of the other
        (
            lambda new, old: (damaged(new), damaged(old)),
            f"starts over, its checkpoint is of no use: {DAMAGED}",
            1,
        ),
    ],
)
def test_of_two_checkpoints_the_newest_that_is_whole_is_used(damage, said, first, tmp_path):
    def kill(row):
        if row["trained"] == 3:
            raise Killed

    whole = run_cell(CELLS["CroP-S"], checkpoint=tmp_path / "whole.pt")
    new, old = tmp_path / "cell.pt", tmp_path / "cell.before.pt"
    with pytest.raises(Killed):
        run_cell(CELLS["CroP-S"], checkpoint=new, tell=kill)
    damage(new, old)
    told = []
    resumed = run_cell(CELLS["CroP-S"], checkpoint=new, tell=told.append)
    assert [row["said"] for row in told if "said" in row] == ([said] if said else [])
    assert next(row["trained"] for row in told if "trained" in row) == first
    assert resumed.epochs == whole.epochs
    assert (tmp_path / "cell.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_a_checkpoint_of_other_code_is_of_no_use(tmp_path, monkeypatch):
    def kill(row):
        if row["trained"] == 3:
            raise Killed

    told, file = [], tmp_path / "cell.pt"
    monkeypatch.setattr(bench_cell, "code", lambda cell: {"pruner": "mine 1.0 a1"})
    with pytest.raises(Killed):
        run_cell(CELLS["SNIP"], checkpoint=file, tell=kill)
    monkeypatch.setattr(bench_cell, "code", lambda cell: {"pruner": "mine 1.0 b2"})
    measured = run_cell(CELLS["SNIP"], checkpoint=file, tell=told.append)
    assert told[0]["said"] == "starts over, its checkpoint is of no use: it was trained by other code of SNIP"
    assert told[1]["trained"] == 1
    assert "resumed" not in measured.values


def test_a_good_checkpoint_is_not_lost_to_a_damaged_one(tmp_path):
    new, old = tmp_path / "cell.pt", tmp_path / "cell.before.pt"

    def kill(row):
        if row.get("trained") == 2:
            raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            run_cell(CELLS["Dense"], checkpoint=new, tell=kill)
        damaged(new)
    assert len(checkpoint.load(old, CELLS["Dense"].id)["rows"]) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_one_checkpoint_is_kept_where_there_is_no_room_for_two(small_disk):
    file = small_disk / "run" / "cell.pt"
    file.parent.mkdir()
    for number in range(3):
        checkpoint.save(file, "cell", {"number": number, "state": torch.ones(100_000)})
        assert checkpoint.load(file, "cell")["number"] == number
    (small_disk / "ballast").write_bytes(b"x" * 300_000)
    with pytest.raises(checkpoint.Unwritable, match=r"cell.pt cannot be written, its disk has 0\.\d MB left: "):
        checkpoint.save(file, "cell", {"number": 3, "state": torch.ones(100_000)})
    assert checkpoint.load(file, "cell")["number"] == 2
    assert [one.name for one in file.parent.iterdir()] == ["cell.pt"]


def test_a_cell_that_cannot_be_saved_stops_and_can_go_on(tmp_path):
    gone = tmp_path / "gone" / "checkpoints" / "cell.pt"
    (record,) = worker.run(worker.Assignment((CELLS["Dense"],), (gone,), None), lambda values: None)
    assert record.status == "stopped"
    assert record.error == f"{gone} cannot be written: No such file or directory"


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


@pytest.mark.parametrize(("training", "limit"), [(0.25, 0.25), (3600.0, 5.0)])
def test_the_final_network_is_not_timed_for_longer_than_it_trained(training, limit, monkeypatch):
    """Where a machine is busy no time settles, and each cell lost ten seconds to it, however small it was."""
    limits = []
    monkeypatch.setattr(cost, "settled_seconds", lambda run, device, limit: limits.append(limit) or 1.0)
    monkeypatch.setattr(bench_cell.Trainee, "trained", lambda trainee, seconds: setattr(trainee._training, "seconds", training))
    run_cell(CELLS["Dense"])
    assert limits == [limit, limit]


def test_what_stumbles_over_weights_that_are_no_numbers_is_a_divergence(monkeypatch):
    """A distribution refuses them at the next action, in words about its parameters, say: a report took that for a crash."""

    def stumble(trainers, epochs):
        next(trainers[0].module.parameters()).data.fill_(torch.nan)
        raise ValueError("expected parameter loc to satisfy the constraint Real()")

    cell = CELLS["Dense"]
    made = type(bench_cell.Trainee(cell, None).trainer)
    monkeypatch.setattr(made, "train_together", staticmethod(stumble))
    with pytest.raises(FloatingPointError, match="after epoch 1 of training, weights are NaN or infinite"):
        run_cell(cell)


@pytest.mark.parametrize("engine", ["fleet", "sb3"])
def test_games_of_another_network_are_no_measure_of_this_one(engine):
    """The hundred games before a cut, or a rewind, stayed in the mean: a cut network was "nearly as good as dense" by them."""
    sizes = ["recipe.budget=12_000", "recipe.epochs=6", "recipe.widths=[16, 16]", "recipe.evaluation_games=2"]
    suite = load_suite(
        "cartpole", "smoke", [*sizes, f"engine='{engine}'", "sparsities=[0.98]", "pruners=['Magnitude-After', 'LTR']"]
    )
    for cell in cells(suite, "cpu"):
        curve = [row["return_train"] for row in run_cell(cell).epochs]
        cut = 6 if cell.pruner == "LTR" else next(place for place in range(1, 6) if curve[place] < 0.75 * curve[place - 1])
        assert curve[cut] < 0.75 * curve[cut - 1]
        assert max(curve[cut:]) < 0.75 * curve[cut - 1]
