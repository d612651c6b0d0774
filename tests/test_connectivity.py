"""Two copies of a network, and the straight line between them."""

import copy
from dataclasses import replace

import numpy as np
import oracles
import pytest
import torch
from rows import row, rows
from safetensors.torch import load_file
from subjects import Tiny
from tiny_data import few
from torch import nn

from rlprune.__main__ import main
from rlprune.bench.cell import run_cell, run_cells
from rlprune.bench.matrix import cells
from rlprune.bench.mistakes import SuiteError
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import epochs_of
from rlprune.costs.measures import Measure
from rlprune.data import shapes
from rlprune.report import curves, moments, tables
from rlprune.task import tasks
from rlprune.training import connectivity
from rlprune.training.trainer import make

ERROR = Measure("error", "error", better="lower", span=1.0)


class Regression:
    """A network fitted to rows of data by plain gradient descent on few of them at a time."""

    def __init__(self, module, lots):
        self.module = module.double()
        self.lots = torch.Generator().manual_seed(lots)
        data = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(60, 3, generator=data, dtype=torch.float64)
        self.targets = self.inputs @ torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64)
        self.targets = self.targets + 0.1 * torch.randn(60, 1, generator=data, dtype=torch.float64)

    def loss(self, batch=slice(None)):
        return (self.module(self.inputs[batch]) - self.targets[batch]).square().mean()

    def train(self, epochs):
        for batch in (part for _ in range(epochs) for part in torch.randperm(60, generator=self.lots).split(20)):
            gradients = torch.autograd.grad(self.loss(batch), list(self.module.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(self.module.parameters(), gradients, strict=True):
                    parameter -= 0.1 * gradient

    def evaluate(self):
        return {"error": self.loss().item()}

    def normalise_anew(self):
        """It has no normalisation."""


def flat(weights):
    return np.concatenate([tensor.numpy().ravel() for tensor in weights.values()])


# -- the formula ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("better", "span"), [("lower", 1.0), ("lower", 4.0), ("higher", 100.0)])
def test_the_barrier_is_that_of_numpy(better, span):
    sizes, lots = (3, 4, 1), np.random.default_rng(3)
    nets = [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double() for _ in range(2)]
    for net in nets:
        for parameter in net.parameters():
            parameter.data = torch.tensor(lots.standard_normal(parameter.shape))
    one = Regression(nets[1], 0)
    first = connectivity.weights(nets[0])
    sign = 1 if better == "lower" else -1
    one.evaluate = lambda: {"error": sign * one.loss().item()}
    inputs, targets = one.inputs.numpy(), one.targets.numpy()
    ends = flat(first), flat(connectivity.weights(nets[1]))
    expected = oracles.barrier(*ends, lambda theta: oracles.mse_loss(theta, sizes, inputs, targets)) / span
    found = connectivity.measured(one, first, replace(ERROR, better=better, span=span))
    assert found["barrier"] == pytest.approx(expected, rel=1e-12)
    assert found["line_ends"] == pytest.approx(sign * np.mean([oracles.mse_loss(end, sizes, inputs, targets) for end in ends]))
    assert np.array_equal(flat(connectivity.weights(one.module)), ends[1]), "the network is its own again"


def test_a_metric_without_bounds_has_no_barrier():
    with pytest.raises(ValueError, match="nobody says how far error goes"):
        connectivity.barrier([1.0, 2.0], replace(ERROR, span=None))


@pytest.mark.parametrize("epoch", [0, 1, 3, 10])
def test_what_is_convex_has_no_barrier_from_the_first_epoch_on(epoch):
    trunk = Regression(nn.Linear(3, 1), 0)
    trunk.train(epoch)
    copies = [Regression(copy.deepcopy(trunk.module), lots) for lots in (1, 2)]
    for one in copies:
        one.train(40)
    ends = [one.evaluate()["error"] for one in copies]
    assert ends[0] != ends[1]
    found = connectivity.measured(copies[1], connectivity.weights(copies[0].module), ERROR)["barrier"]
    assert 0 <= found <= abs(ends[0] - ends[1]) / 2 + 1e-12
    assert found < 1e-3


def test_hidden_units_in_another_order_are_the_same_network_behind_a_wall():
    torch.manual_seed(0)
    one = Regression(nn.Sequential(nn.Linear(3, 12), nn.Tanh(), nn.Linear(12, 1)), 0)
    one.train(60)
    first, order = connectivity.weights(one.module), torch.arange(12).roll(1)
    with torch.no_grad():
        for parameter in (one.module[0].weight, one.module[0].bias):
            parameter.copy_(parameter[order])
        one.module[2].weight.copy_(one.module[2].weight[:, order])
    found = connectivity.measured(one, first, ERROR)
    assert found["line_ends"] == pytest.approx(one.evaluate()["error"])
    assert found["barrier"] > 0.2 > 5 * found["line_ends"]


# -- normalisation -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _few_drawings():
    with few(shapes, 160, 200):
        yield


def small(name="vgg-small-shapes"):
    recipe = tasks().load(name).settings({"budget": 4, "train_images": 40, "batch_size": 20, "scoring_batches": 1})
    return make(name, recipe.model_dump(mode="json"), 0, "cpu")


def test_statistics_are_those_of_one_pass_and_nothing_else_moves():
    trainer = small()
    before = connectivity.weights(trainer.module)
    layers = [layer for layer in trainer.module.modules() if isinstance(layer, nn.BatchNorm2d)]
    seen = []
    hook = layers[0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].detach().double()))
    trainer.normalise_anew()
    hook.remove()
    assert len(seen) == trainer.steps == 2
    means = np.stack([batch.numpy().mean((0, 2, 3)) for batch in seen])
    variances = np.stack([batch.numpy().var((0, 2, 3), ddof=1) for batch in seen])
    assert np.allclose(layers[0].running_mean, means.mean(0), atol=1e-6)
    assert np.allclose(layers[0].running_var, variances.mean(0), rtol=1e-5)
    assert {layer.momentum for layer in layers} == {0.1}
    assert all(part.training for part in trainer.module.modules())
    moved = {name for name, tensor in connectivity.weights(trainer.module).items() if not torch.equal(tensor, before[name])}
    assert {name.rpartition(".")[2] for name in moved} == {"running_mean", "running_var", "num_batches_tracked"}
    again = connectivity.weights(trainer.module)
    trainer.normalise_anew()
    assert all(torch.equal(tensor, again[name]) for name, tensor in connectivity.weights(trainer.module).items())


def test_a_network_without_normalisation_stays_as_it_is():
    module = Tiny().module
    trainer = small()
    trainer.module = module
    before = connectivity.weights(module)
    trainer.normalise_anew()
    assert all(torch.equal(tensor, before[name]) for name, tensor in connectivity.weights(module).items())


# -- cells ---------------------------------------------------------------------------------------------------------


TINY = ["recipe.budget=640", "recipe.epochs=4", "recipe.widths=[16, 16]", "recipe.evaluation_games=2", 'pruners=["Dense"]']
IMAGES = ["recipe.budget=4", "recipe.train_images=40", "recipe.batch_size=20", 'pruners=["Dense"]']
SUITES = {
    "alone": ("cartpole", [*TINY, "engine=sb3"]),
    "in a fleet": ("cartpole", [*TINY, "solo=0"]),
    "vision": ("vision", [*IMAGES, 'tasks=["vgg-small-shapes"]', "recipe.scoring_batches=1", "recipe.resize=8"]),
}


def planned(which, branches="[0, 3]"):
    name, overrides = SUITES[which]
    return cells(load_suite(name, "smoke", [*overrides, f"branches={branches}", "seeds=1"]), "cpu")


class Killed(Exception):  # noqa: N818
    """Stands for kill -9 at the end of an epoch."""


@pytest.mark.parametrize("which", list(SUITES))
def test_the_first_copy_is_the_dense_cells_network_and_the_second_meets_other_noise(which, tmp_path):
    dense, early, late = planned(which)
    assert [cell.method for cell in (dense, early, late)] == ["Dense", "Dense branched at 0", "Dense branched at 3"]
    alone = run_cell(dense, checkpoint=tmp_path / "dense.pt")
    for cell in (early, late):
        found = run_cell(cell, checkpoint=tmp_path / "two.pt")
        assert found.values["trained_epochs"] == epochs_of(cell) == 8 - cell.branch
        assert found.epochs[:4] == alone.epochs
        assert [epoch["epoch"] for epoch in found.epochs[4:]] == list(range(cell.branch + 1, 5))
        assert 0 <= found.values["barrier"] < 1
        ends = [load_file(tmp_path / f"{name}.safetensors") for name in ("dense", "two")]
        assert not all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
        (tmp_path / "two.pt").unlink()


def test_a_barrier_is_measured_between_the_two_networks_that_were_trained(tmp_path):
    dense, cell, _ = planned("vision")
    run_cell(dense, checkpoint=tmp_path / "dense.pt")
    found = run_cell(cell, checkpoint=tmp_path / "two.pt")
    trainer = make(cell.task, cell.recipe, cell.seed, cell.device)
    values = []
    first, second = (load_file(tmp_path / f"{name}.safetensors") for name in ("dense", "two"))
    for alpha in np.arange(11) / 10:
        mixed = {name: (1 - alpha) * first[name] + alpha * second[name] for name in first}
        trainer.module.load_state_dict(mixed)
        trainer.normalise_anew()
        values.append(trainer.evaluate()["top1"])
    assert found.values["barrier"] == pytest.approx(((values[0] + values[-1]) / 2 - min(values)) / 100, abs=1e-3)


@pytest.mark.parametrize(("which", "after"), [*(("in a fleet", after) for after in (2, 4, 5, 8)), ("alone", 5), ("vision", 6)])
def test_a_killed_branched_cell_goes_on_and_ends_bit_identical(which, after, tmp_path):
    _, cell, _ = planned(which)
    whole = run_cell(cell, checkpoint=tmp_path / "whole.pt")

    def kill(row):
        if row["trained"] == after:
            raise Killed

    with pytest.raises(Killed):
        run_cell(cell, checkpoint=tmp_path / "killed.pt", tell=kill)
    resumed = run_cell(cell, checkpoint=tmp_path / "killed.pt")
    assert resumed.epochs == whole.epochs
    assert [resumed.values[name] for name in ("barrier", "line_ends")] == [
        whole.values[name] for name in ("barrier", "line_ends")
    ]
    ends = [load_file(tmp_path / f"{file}.safetensors") for file in ("whole", "killed")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_company_in_a_fleet_changes_no_barrier():
    some = planned("in a fleet")
    together = run_cells(some, [None] * 3)
    for cell, found in zip(some[1:], together[1:], strict=True):
        assert found.values["barrier"] == run_cell(cell).values["barrier"]


# -- suites --------------------------------------------------------------------------------------------------------


def test_branches_are_further_cells_and_change_no_other():
    some, plain = planned("alone"), planned("alone", "[]")
    assert [cell.id for cell in some[:1]] == [cell.id for cell in plain]
    assert "branch" not in plain[0].config
    assert [cell.config["branch"] for cell in some[1:]] == [0, 3]
    assert len({cell.id for cell in some}) == 3


@pytest.mark.parametrize(
    ("suite", "more", "message"),
    [
        ("cartpole", ["branches=[1, 4]"], "got 4; must be less than the 4 epochs of cartpole-v1"),
        ("cartpole", ["branches=[1, 1]"], "1 is there twice"),
        ("cartpole", ["branches=[-1]"], "got -1; must be at least 0"),
        (
            "cartpole",
            ["branches=[1]", "recipe.max_episode_steps=50"],
            "for CartPole-v1, and this is CartPole-v1 (50 steps)",
        ),
        ("lunarlander", ["branches=[1]"], "nobody says how far return (greedy games) of lunarlander-v3 goes"),
    ],
)
def test_branches_that_say_nothing_are_refused(suite, more, message):
    with pytest.raises(SuiteError) as error:
        load_suite(suite, "smoke", [*TINY, *more])
    assert message in str(error.value)


def test_a_preview_shows_branches_with_what_they_train(tmp_path, capsys):
    command = ["run", "cartpole", "--profile", "smoke", "--dry-run", "--out", str(tmp_path)]
    assert main([*command, *(word for one in TINY for word in ("--set", one)), "--set", "branches=[1]", "--seeds", "2"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "branched" in line]
    assert line.split() == ["cartpole-v1", "Dense", "branched", "at", "1", "0", "2", "2", "0", "7", "2,240", "steps"]


# -- reports -------------------------------------------------------------------------------------------------------


def branched(epoch, seed, barrier):
    config = {**row().config, "branch": epoch}
    values = {**row().values, "barrier": barrier, "line_ends": 480.0}
    return replace(
        row("Dense", 0.0, seed, id=f"{epoch}/{seed}", config=config, values=values), pruner=f"Dense branched at {epoch}"
    )


BARRIERS = {0: 0.4, 1: 0.01, 2: 0.05, 5: 0.019, 10: 0.0}


def test_branched_cells_stand_beside_the_others_and_say_from_when_on_copies_are_connected():
    plain = rows(2, pruners=("Dense", "SNIP"), sparsities=(0.9,))
    some = [branched(epoch, seed, barrier) for epoch, barrier in BARRIERS.items() for seed in (0, 1)]
    (one,) = curves.comparisons([*plain, *some])
    (without,) = curves.comparisons(plain)
    assert one.rows == without.rows
    assert one.chart == without.chart
    assert (without.barriers, without.stable) == ({}, None)
    assert {epoch: barrier.iqm for epoch, barrier in one.barriers.items()} == pytest.approx(
        {epoch: 100 * barrier for epoch, barrier in BARRIERS.items()}
    )
    assert one.stable == 5, "at 2 the barrier was above 2 % again"
    assert curves.comparisons(some) == [], "there is nothing that they stand beside"
    assert replace(one, branched=one.branched[:2]).stable is None


def test_barriers_are_those_of_the_dense_network_whoever_else_is_not_cut():
    """Of two that are not cut, the one that came last was told of."""
    some = [branched(epoch, 0, barrier) for epoch, barrier in BARRIERS.items()]
    others = [
        replace(
            one, id=f"{one.id} held", pruner=one.pruner.replace("Dense", "Dense rate held"), values={**one.values, "barrier": 1.0}
        )
        for one in some
    ]
    (one,) = curves.comparisons([*rows(1, ("Dense", "SNIP"), (0.9,)), *some, *others])
    assert one.stable == 5
    assert [barrier.iqm for barrier in one.barriers.values()] == pytest.approx([100 * barrier for barrier in BARRIERS.values()])
    assert {line["line_ends"] for line in tables.barrier_table(one).csv} == {480.0}


def test_the_table_of_barriers_has_a_line_an_epoch():
    some = [branched(epoch, seed, barrier) for epoch, barrier in BARRIERS.items() for seed in (0, 1)]
    (one,) = curves.comparisons([*rows(2, pruners=("Dense", "SNIP"), sparsities=(0.9,)), *some])
    table = tables.barrier_table(one)
    ((_, lines),) = table.blocks
    assert [[entry.text for entry in line[:2]] for line in lines] == [[str(epoch), "2"] for epoch in BARRIERS]
    assert [line["mean"] for line in table.csv] == pytest.approx([100 * barrier for barrier in BARRIERS.values()])
    assert "it stays there from epoch 5 on" in table.note


def test_figure_2_has_the_stable_epoch_beside_the_triggers_and_the_best_fixed_moment():
    some = rows(2, ("Dense",)) + [branched(epoch, seed, barrier) for epoch, barrier in BARRIERS.items() for seed in (0, 1)]
    for moment, end in ((None, 300.0), (0, 100.0), (4, 400.0), (8, 200.0)):
        config = {**row().config, "pruner": "EarlyCroP-S", "settings": {"until": {"epoch": moment, "margin": 1.0}}}
        made = row(
            "EarlyCroP-S", 0.9, 0, id=f"at {moment}", config=config, epochs=[{"trained": 1.0, "epoch": 1.0, "trigger": 0.01}]
        )
        values = {**made.values, "return_greedy": end, "pruning_epoch": 2.0 if moment is None else float(moment)}
        name = "EarlyCroP-S" if moment is None else f"EarlyCroP-S at {moment}"
        some.append(replace(made, pruner=name, values=values))
    (one,) = curves.comparisons(some)
    assert moments.moments(one, 0.9, "EarlyCroP-S") == "its own moment 2, best fixed moment 4, stable from 5"
    above, trigger, barrier = moments.figure(one, 0.9).axes
    for axes in (above, trigger, barrier):
        assert [line.get_xdata()[0] for line in axes.get_lines() if list(line.get_xdata()) == [5, 5]] == [5]
    (ring,) = [line for line in above.get_lines() if line.get_markerfacecolor() == "none"]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (4, 400.0)
    assert list(barrier.get_lines()[0].get_ydata()) == pytest.approx([100 * height for height in BARRIERS.values()])
    assert len(moments.figure(replace(one, branched=()), 0.9).axes) == 2


def test_what_moments_end_at_is_a_table_and_moments_that_tie_are_all_named():
    some = rows(2, ("Dense",))
    for moment, seed, end in ((None, 0, 300.0), (0, 0, 400.0), (4, 0, 400.0), (4, 1, 400.0), (8, 0, 200.0)):
        config = {**row().config, "pruner": "SNIP", "settings": {"until": {"epoch": moment, "margin": 1.0}}}
        values = {**row().values, "return_greedy": end, "pruning_epoch": 2.0}
        some.append(
            replace(row("SNIP", 0.9, seed, id=f"{moment} {seed}", config=config), pruner=f"SNIP at {moment}", values=values)
        )
    (one,) = curves.comparisons(some)
    assert moments.moments(one, 0.9, "SNIP") == "its own moment 2, best fixed moments 0 and 4 tie"
    lines = [[word.strip() for word in line.strip("|").split("|")] for line in moments.table(one, 0.9).splitlines()]
    assert lines == [
        ["90 % removed after epoch", "SNIP"],
        ["---", "---"],
        ["0", "400"],
        ["4", "400 [400, 400]"],
        ["8", "200"],
        ["the trigger's", "300"],
    ]
