"""Where training starts after a cut: laws for every pruner, formulas by hand, and what a fresh network would be."""

import copy
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from subjects import Tiny, bits, finish_together, seeds
from torch import nn

import rlprune
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.nets.classifiers import classifier
from rlprune.pruning import start as starts
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import Prune
from rlprune.pruning.pruner import NOTHING, WEIGHTS, pruners
from rlprune.reason import NotApplicable
from rlprune.sb3 import PruneCallback
from rlprune.training.a2c import A2CTrainer
from rlprune.training.fleet import FleetAgent
from rlprune.training.recipes import A2CRecipe

STARTS = ("kept", "rescaled", "measured", "fan-in", "redrawn", "shuffled", "shuffled-rescaled")
NAMES = [name for name in pruners().names() if pruners().load(name).cut != NOTHING]
BEFORE = [name for name in NAMES if isinstance(pruners().load(name).steps(pruners().load(name).settings())[0], Prune)]
ONCE = [
    name for name in BEFORE if len(pruners().load(name).steps(pruners().load(name).settings())[0].schedule.sparsities(0.5)) == 1
]


def fit(name):
    return Tiny(normed="batchnorm" in pruners().load(name).needs)


def follow(name, start, subject=None, sparsity=0.8, epochs=4, number=0):
    subject, pruner = subject or fit(name), pruners().load(name)
    known = type(pruner.settings()).model_fields
    short = {key: value for key, value in {"levels": 2, "rounds": 3}.items() if key in known}
    settings = pruner.settings({**short, "start": start})
    return PlanFollower(subject, pruner, settings, sparsity, epochs, "network", partial(seeds, number=number)), subject


def finish(pruning, subject):
    while pruning.next_epoch() is not None:
        subject.train_epoch()
        pruning.epoch_done()
    return pruning


def of(pruning, subject):
    """What is left: masks, channels, weights a layer."""
    return (
        {name: mask.numpy().tobytes() for name, mask in subject.masked.masks.items()},
        {name: keep.numpy().tobytes() for name, keep in pruning._kept.items()},
        pruning.layers(),
    )


# -- laws --------------------------------------------------------------------------------------------------------


def test_there_are_pruners_that_prune_before_training():
    assert {"SNIP", "CroP-S", "SynFlow", "Random-U", "Random-S"} <= set(BEFORE)
    assert {"SNIP", "CroP-S"} <= set(ONCE)


@pytest.mark.parametrize("name", BEFORE)
def test_masks_and_channels_do_not_depend_on_the_start(name):
    kept, subject = follow(name, "kept")
    kept.next_epoch()
    for start in ("rescaled", "measured", "fan-in", "redrawn"):
        pruning, other = follow(name, start)
        pruning.next_epoch()
        assert of(pruning, other) == of(kept, subject)
        assert bits(other.module) != bits(subject.module)


@pytest.mark.parametrize("name", ONCE)
def test_shuffled_keeps_as_many_in_each_layer_at_other_places(name):
    kept, subject = follow(name, "kept")
    dense = copy.deepcopy(subject.module)
    kept.next_epoch()
    pruning, other = follow(name, "shuffled")
    pruning.next_epoch()
    assert pruning.layers() == kept.layers()
    assert of(pruning, other)[:2] != of(kept, subject)[:2]
    for weight, mask in other.masked.masks.items():
        assert torch.equal(other.module.get_parameter(weight), dense.get_parameter(weight) * mask)


@pytest.mark.parametrize("name", ONCE)
def test_shuffled_and_rescaled_differs_from_shuffled_by_a_factor_a_layer(name):
    (plain, other), (pruning, subject) = follow(name, "shuffled"), follow(name, "shuffled-rescaled")
    before = {weight: gain(subject.module.get_parameter(weight)) for weight in subject.anatomy.all_weights()}
    plain.next_epoch()
    pruning.next_epoch()
    assert of(pruning, subject) == of(plain, other)
    alone = {"body.0.weight", "body.2.weight"} if "batchnorm" in pruners().load(name).needs else set()
    for weight, then in before.items():
        shuffled, rescaled = (one.module.get_parameter(weight).detach() for one in (other, subject))
        factor = 1 if weight in alone else (then / gain(shuffled)) ** 0.5
        assert torch.allclose(rescaled, shuffled * factor, rtol=1e-12)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", NAMES)
def test_every_pruner_reaches_its_size_from_every_start_and_learns(name, start):
    subject = fit(name)
    before = subject.loss(subject.module).item()
    pruning = finish(*follow(name, start, subject))
    within = 1e-3 if pruners().load(name).cut == WEIGHTS else 0.03
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=within)
    if name in BEFORE:  # what is rescaled late has little time to mend what that breaks
        assert subject.loss(subject.module).item() < before
    for weight, mask in subject.masked.masks.items():
        assert not subject.module.get_parameter(weight)[~mask].any()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", ["SNIP", "CroP-S", "CroPit-U", "EarlyCroP-U", "EarlyCroP-S", "LTR"])
def test_a_resumed_run_ends_bit_identical_and_the_same_seed_gives_the_same_network(name, start):
    whole = finish(*follow(name, start))._subject
    pruning, subject = follow(name, start)
    for _ in range(2):
        pruning.next_epoch()
        subject.train_epoch()
        pruning.epoch_done()
    saved = copy.deepcopy([pruning.state(), subject.module.state_dict(), subject.optimizer.state_dict()])
    pruning, subject = follow(name, start)
    pruning.load_state(saved[0])
    subject.module.load_state_dict(saved[1])
    subject.optimizer.load_state_dict(saved[2])
    finish(pruning, subject)
    assert bits(subject.module, subject.optimizer) == bits(whole.module, whole.optimizer)


@pytest.mark.parametrize("start", ["redrawn", "shuffled", "shuffled-rescaled"])
@pytest.mark.parametrize("name", ["SNIP", "CroP-S"])
def test_another_seed_draws_other_lots_and_the_global_generators_stand_still(name, start):
    runs = [follow(name, start, number=number) for number in (0, 1)]
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state(legacy=False)["state"]["key"].copy()
    for pruning, _ in runs:
        pruning.next_epoch()
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], numpy_before)
    assert bits(runs[0][1].module) != bits(runs[1][1].module)


# -- formulas ----------------------------------------------------------------------------------------------------


def gain(weight):
    return sum(float(value) ** 2 for row in weight.detach().numpy().reshape(len(weight), -1) for value in row) / len(weight)


@pytest.mark.parametrize("name", BEFORE)
def test_a_rescaled_layer_has_the_mean_squared_gain_it_had(name):
    pruning, subject = follow(name, "rescaled")
    before = {weight: gain(subject.module.get_parameter(weight)) for weight in subject.anatomy.all_weights()}
    pruning.next_epoch()
    for weight, then in before.items():
        assert gain(subject.module.get_parameter(weight)) == pytest.approx(then, rel=1e-12)


@pytest.mark.parametrize("name", BEFORE)
def test_a_measured_layer_puts_out_as_much_on_the_data_as_it_did(name):
    pruning, subject = follow(name, "measured")
    losses = subject.scoring(0).collect()

    def run(module):
        for loss in losses:
            loss(module, 1.0)

    layers = {weight: subject.module.get_submodule(weight.rpartition(".")[0]) for weight in subject.anatomy.all_weights()}

    def put_out():
        seen = {weight: [] for weight in layers}
        hooks = [
            layer.register_forward_hook(lambda layer, _, output, weight=weight: seen[weight].append(output - layer.bias))
            for weight, layer in layers.items()
        ]
        subject.module.eval()
        with torch.no_grad():
            run(subject.module)
        for hook in hooks:
            hook.remove()
        return {weight: float(torch.cat(some).square().mean()) for weight, some in seen.items()}

    before = put_out()
    pruning.next_epoch()
    after, left_alone = put_out(), {"body.0.weight", "body.2.weight"} if "batchnorm" in pruners().load(name).needs else set()
    assert {weight for weight in before if after[weight] != pytest.approx(before[weight], rel=1e-9)} <= left_alone
    assert pruning.scoring_samples >= subject.scoring(0).samples


def test_data_by_which_layers_are_measured_are_counted_and_paid_for_once_a_cut():
    for start, times in {"kept": 0, "rescaled": 0, "measured": 1}.items():
        pruning, subject = follow("SynFlow", start)
        pruning.next_epoch()
        assert pruning.scoring_samples == times * subject.scoring(0).samples


@pytest.mark.parametrize("name", ["Random-U", "SNIP", "CroP-S"])
def test_behind_a_normalisation_outputs_are_those_of_training(name):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(9, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 3, bias=False)).double()
    inputs = torch.randn(50, 9).double()

    def loss(net):
        return net(inputs).square().mean()

    before = loss(net).item()
    assert net[1].num_batches_tracked == 1
    statistics = [buffer.clone() for buffer in net.buffers()]
    rlprune.Pruning(net, name, 0.8, epochs=2, loss=loss, optimizer=None, start="measured")
    assert all(module.training for module in net.modules())
    if name != "CroP-S":
        assert all(torch.equal(now, was) for now, was in zip(net.buffers(), statistics, strict=True))
    assert loss(net).item() == pytest.approx(before, rel=1e-9)


@pytest.mark.parametrize("start", ["measured", "rescaled"])
@pytest.mark.parametrize("name", ["SNIP", "Random-U"])
def test_a_loss_may_take_gradients_and_draw_noise_of_its_own(name, start):
    net, inputs = nn.Sequential(nn.Linear(5, 30), nn.LayerNorm(30), nn.Tanh(), nn.Linear(30, 2)), torch.ones(4, 5)

    def loss(net):
        given = (inputs + torch.randn(4, 5)).requires_grad_()
        out = net(given).square().sum()
        (slope,) = torch.autograd.grad(out, given, create_graph=True)
        return out + slope.square().sum()

    other = copy.deepcopy(net)
    states = []
    for one, begun in ((net, start), (other, "kept")):
        torch.manual_seed(1)
        rlprune.Pruning(one, name, 0.5, epochs=2, loss=loss, optimizer=None, start=begun)
        states.append(torch.get_rng_state())
    assert torch.equal(*states), "what measuring draws is not missed"
    assert not torch.equal(net[3].weight, other[3].weight)


def test_a_network_may_keep_what_it_computed_under_a_loss_with_gradients_of_its_own():
    class Keeps(nn.Sequential):
        def forward(self, inputs):
            self.last = super().forward(inputs)
            return self.last

    net = Keeps(nn.Linear(5, 30), nn.Tanh(), nn.Linear(30, 2))

    def loss(net):
        inputs = torch.ones(4, 5).requires_grad_()
        (slope,) = torch.autograd.grad(net(inputs).sum(), inputs, create_graph=True)
        return slope.square().sum()

    pruning = rlprune.Pruning(net, "SynFlow", 0.5, epochs=2, loss=loss, optimizer=None, start="measured")
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.5, abs=0.01)


def test_a_layer_that_puts_out_nothing_or_what_cannot_be_measured_goes_by_its_gain():
    class Pair(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs), inputs

    net = nn.ModuleDict({"dead": nn.Linear(6, 6, bias=False), "pair": Pair(6, 6)})
    inputs, names = torch.ones(3, 6), ["dead.weight", "pair.weight"]

    def run(module):
        module["pair"](module["dead"](inputs))

    with torch.no_grad():
        net["dead"].weight[:3] = net["dead"].weight[3:]
        before, then = starts.gains(net, names, {}), starts.outputs(net, names, run)
        assert list(then) == ["dead.weight"]
        net["dead"].weight[:, :3] = 0
        net["dead"].weight[:, 3:] = torch.tensor([1.0, -0.5, -0.5])
        net["pair"].weight[:, :3] = 0
    starts.rescale_by_outputs(net, before, then, {}, frozenset(), run)
    for name, now in starts.gains(net, names, {}).items():
        assert float(now.energy) == pytest.approx(float(before[name].energy)), name


class Reader(nn.Module):
    """A convolution, an embedding, a layer that is called twice, and one whose weights are used past it."""

    def __init__(self):
        super().__init__()
        self.conv, self.words = nn.Conv2d(2, 3, 2), nn.Embedding(5, 3)
        self.twice, self.past = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, images, ids):
        rows = self.conv(images).mean((2, 3)) + self.words(ids)
        rows = self.twice(torch.tanh(self.twice(rows)))
        return nn.functional.linear(rows, self.past.weight)


def test_outputs_are_without_biases_over_all_calls_and_others_go_by_their_gain():
    torch.manual_seed(0)
    net, images, ids = Reader().double(), torch.randn(4, 2, 3, 3).double(), torch.tensor([0, 1, 1, 4])
    names = [f"{name}.weight" for name in ("past", "twice", "words", "conv")]

    def run(module):
        return module(images, ids)

    found = starts.outputs(net, names, run)
    assert list(found) == ["conv.weight", "words.weight", "twice.weight"], "in the order of their calls"
    bare = nn.functional.conv2d(images, net.conv.weight)
    assert float(found["conv.weight"]) == pytest.approx(float(bare.square().mean().detach()))
    assert float(found["words.weight"]) == pytest.approx(float(net.words.weight[ids].square().mean().detach()))
    rows = net.conv(images).mean((2, 3)) + net.words(ids)
    first = nn.functional.linear(rows, net.twice.weight)
    second = nn.functional.linear(torch.tanh(first + net.twice.bias), net.twice.weight)
    assert float(found["twice.weight"]) == pytest.approx(float(torch.stack([first, second]).square().mean().detach()))
    before = starts.gains(net, names, {})
    for name in names:
        net.get_parameter(name).data[..., :1] = 0
    starts.rescale_by_outputs(net, before, found, {}, frozenset({"words.weight"}), run)
    now, gains = starts.outputs(net, names, run), starts.gains(net, names, {})
    assert float(now["conv.weight"]) == pytest.approx(float(found["conv.weight"]))
    assert float(gains["past.weight"].energy) == pytest.approx(float(before["past.weight"].energy))
    assert float(gains["words.weight"].energy) < float(before["words.weight"].energy), "was to be left alone"
    assert not any(part._forward_hooks for part in net.modules())


@pytest.mark.parametrize("name", ["SNIP", "Random-U"])
def test_fan_in_scales_each_row_by_its_own_inputs(name):
    pruning, subject = follow(name, "fan-in")
    dense = copy.deepcopy(subject.module)
    pruning.next_epoch()
    for weight, mask in subject.masked.masks.items():
        for row, was, keep in zip(subject.module.get_parameter(weight), dense.get_parameter(weight), mask, strict=True):
            factor = (len(keep) / max(1, int(keep.sum()))) ** 0.5
            assert torch.allclose(row, was * keep * factor, rtol=1e-12)


def test_fan_in_scales_a_cut_layer_by_the_inputs_it_had():
    pruning, subject = follow("Random-S", "fan-in")
    kept, plain = follow("Random-S", "kept")
    kept.next_epoch()
    pruning.next_epoch()
    inputs = {name: subject.module.get_parameter(name).shape[1] for name in subject.anatomy.all_weights()}
    dense = {name: Tiny().module.get_parameter(name).shape[1] for name in inputs}
    for name, left in inputs.items():
        factor = (dense[name] / left) ** 0.5
        assert torch.allclose(subject.module.get_parameter(name), plain.module.get_parameter(name) * factor, rtol=1e-12)


def test_rounds_with_no_training_between_them_are_rescaled_once():
    pruning, subject = follow("SynFlow", "rescaled")
    plain, kept = follow("SynFlow", "kept")
    pruning.next_epoch()
    plain.next_epoch()
    for name in subject.anatomy.all_weights():
        ratio = subject.module.get_parameter(name) / kept.module.get_parameter(name)
        ratio = ratio[kept.module.get_parameter(name) != 0]
        assert torch.allclose(ratio, ratio[0].expand_as(ratio), rtol=1e-12)
        assert float(ratio[0].detach()) > 1


@pytest.mark.parametrize("start", ["fan-in", "shuffled"])
def test_what_was_saved_is_whole_where_a_plan_rewinds(start):
    pruning, subject = follow("IMP", start, sparsity=0.6)
    saved = copy.deepcopy(subject.module)
    chosen = {}
    while pruning.next_epoch() is not None and pruning.progress.rounds == 0:
        subject.train_epoch()
        pruning.epoch_done()
        smallest = {name: subject.module.get_parameter(name).detach().abs() for name in subject.anatomy.all_weights()}
    for name, mask in subject.masked.masks.items():
        weight, was = subject.module.get_parameter(name), saved.get_parameter(name)
        chosen[name] = bool(smallest[name][mask].min() > smallest[name][~mask].max()) if not bool(mask.all()) else True
        factors = (mask.shape[1] / mask.sum(1).clamp(min=1)).sqrt()[:, None] if start == "fan-in" else 1.0
        assert torch.allclose(weight, was * mask * factors, rtol=1e-6)
    assert all(chosen.values()) == (start == "fan-in")


def test_a_plan_that_rewinds_starts_from_what_was_saved():
    pruning, subject = follow("IMP", "rescaled", sparsity=0.6)
    saved = {name: gain(subject.module.get_parameter(name)) for name in subject.anatomy.all_weights()}
    while pruning.next_epoch() is not None and pruning.progress.rounds == 0:
        subject.train_epoch()
        pruning.epoch_done()
    assert pruning.progress.rounds == 1
    for name, then in saved.items():
        assert not bool(subject.masked.masks[name].all())
        assert gain(subject.module.get_parameter(name)) == pytest.approx(then, rel=1e-12)


# -- networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SNIP", "CroP-S"])
def test_a_layer_that_is_normalised_is_left_alone(name):
    def shares(start):
        pruning, subject = follow(name, start, Tiny(normed=True))
        pruning.next_epoch()
        return {weight: subject.module.get_parameter(weight).detach().clone() for weight in subject.anatomy.all_weights()}

    kept = shares("kept")
    for start in ("rescaled", "measured", "fan-in"):
        for weight, tensor in shares(start).items():
            assert torch.equal(tensor, kept[weight]) == (weight.split(".")[1] in "02")


@pytest.mark.parametrize("name", ["SNIP", "CroP-S"])
@pytest.mark.parametrize(("all_of_it", "own"), [("rescaled", "measured"), ("measured", "kept"), ("kept", "fan-in")])
def test_a_network_has_a_start_of_its_own(name, all_of_it, own):
    def started(**settings):
        pruner = pruners().load(name)
        subject, given = Tiny(), pruner.settings(settings)
        PlanFollower(subject, pruner, given, 0.8, 4, "network", seeds).next_epoch()
        return {weight: tensor.detach().clone() for weight, tensor in subject.module.named_parameters()}

    plain, other, apart = started(start=all_of_it), started(start=own), started(start=all_of_it, start_critic=own)
    assert {weight.partition(".")[0] for weight in apart} == {"actor", "critic"}
    for weight, tensor in apart.items():
        assert torch.equal(tensor, (other if weight.startswith("critic") else plain)[weight])
    assert not all(torch.equal(apart[weight], plain[weight]) for weight in apart)
    assert not all(torch.equal(apart[weight], other[weight]) for weight in apart)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"start": "redrawn", "start_actor": "kept"}, r'start_actor = "kept" is of one network, and start = "redrawn" of all'),
        ({"start_critic": "measured"}, r'start_critic = "measured" is of one of several networks, and this one has no critic'),
    ],
)
def test_a_start_of_a_network_that_is_not_there_is_refused(settings, why):
    subject, pruner = Tiny(), pruners().load("SNIP")
    if "start" not in settings:
        subject.anatomy = replace(subject.anatomy, weights={"network": subject.anatomy.all_weights()})
    with pytest.raises(NotApplicable, match=why):
        PlanFollower(subject, pruner, pruner.settings(settings), 0.8, 4, "network", seeds)


class Mixed(nn.Module):
    """Layers before each kind of normalisation, behind a view, beside a sum, and before none."""

    def __init__(self):
        super().__init__()
        self.conv, self.batch = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.flat, self.layer = nn.Linear(4, 6), nn.LayerNorm(6)
        self.side, self.root = nn.Linear(6, 6), nn.RMSNorm(6)
        self.grouped, self.groups = nn.Linear(6, 6), nn.GroupNorm(2, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, images):
        maps = torch.relu(self.batch(self.conv(images))).mean((2, 3))
        rows = self.layer(self.flat(maps).unsqueeze(1)).squeeze(1)
        rows = self.root(self.side(rows) + rows)
        return self.head(self.groups(self.grouped(rows)))


def test_what_goes_straight_into_a_normalisation_is_found():
    net = Mixed().eval()
    names = [f"{name}.weight" for name in ("conv", "flat", "side", "grouped", "head")]
    before = bits(net)
    found = starts.normalised(net, names, lambda module: [module(torch.ones(2, 3, 5, 5))])
    assert found == {"conv.weight", "flat.weight", "grouped.weight"}
    assert bits(net) == before
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


class Streams(nn.Module):
    """Layers whose outputs go into a normalisation and past it: around it, added to in place, by a second call."""

    def __init__(self):
        super().__init__()
        self.words, self.first = nn.Linear(3, 6), nn.LayerNorm(6)
        self.inner, self.added, self.second = nn.Linear(6, 6), nn.Linear(6, 6), nn.RMSNorm(6)
        self.twice, self.third, self.head = nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 2)
        self.only, self.last = nn.Linear(6, 6), nn.LayerNorm(6)

    def forward(self, inputs):
        stream = self.words(inputs)
        stream = stream + self.inner(self.first(stream))
        more = self.added(stream)
        more += stream  # the sum is where the output was
        rows = self.third(self.twice(self.second(more)))
        rows = rows + torch.relu(self.twice(rows))
        return self.head(self.last(self.only(rows)))


def test_a_layer_of_several_weights_is_not_left_alone_for_one_of_them():
    """A recurrent cell in front of a normalisation: neither weight is a factor of what the cell puts out."""
    cell = nn.Sequential(nn.RNNCell(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    names = ["0.weight_ih", "0.weight_hh", "2.weight"]
    assert starts.normalised(cell, names, lambda module: [module(torch.ones(2, 3))]) == frozenset()


def test_what_goes_past_a_normalisation_too_is_not_undone_by_it():
    net = Streams()
    names = [f"{name}.weight" for name in ("words", "inner", "added", "twice", "only", "head")]
    before = bits(net)
    assert starts.normalised(net, names, lambda module: [module(torch.ones(5, 3))]) == {"only.weight"}
    assert bits(net) == before
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


class Odd(nn.Module):
    """A normalisation called by keyword, a mask that a layer makes, a leak that is small beside all else, and a tied head."""

    def __init__(self):
        super().__init__()
        self.words, self.keyword = nn.Linear(6, 6, bias=False), nn.LayerNorm(6)
        self.tied = nn.Linear(6, 6, bias=False)
        self.tied.weight = self.words.weight
        self.masks, self.gated, self.norm = Gate(6, 6), nn.Linear(6, 6), nn.RMSNorm(6)
        self.leaks, self.after, self.head = nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 2)

    def forward(self, inputs):
        rows = self.keyword(input=self.words(inputs))
        rows = torch.where(self.masks(rows), self.norm(self.gated(rows)), rows)
        leak = self.leaks(rows)
        return self.head(self.after(leak)) + 1e-6 * leak[:, :2], 1e4 + self.tied(rows)


class Gate(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs) > 0


@pytest.mark.parametrize("draws", [False, True])
def test_what_a_normalisation_undoes_is_found_in_odd_networks(draws):
    net = Odd()
    names = [f"{name}.weight" for name in ("words", "masks", "gated", "leaks", "head")]
    lots = np.random.default_rng(0)

    def run(module):
        return [output * (lots.random() if draws else 1) for output in module(torch.ones(5, 6))]

    found = {"gated.weight"} | ({"words.weight", "leaks.weight"} if draws else set())
    assert starts.normalised(net, names, run) == found, "what differs from time to time says nothing of leaks"


def test_groups_of_a_transposed_convolution_have_outputs_and_inputs_of_their_own():
    net = nn.ModuleDict({"up": nn.ConvTranspose1d(4, 6, 3, groups=2)})
    mask = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    then, before = starts.gains(net, ["up.weight"], {}), net["up"].weight.detach().clone()
    assert float(then["up.weight"].energy) == pytest.approx(float(before.double().square().sum()) / 6)
    net["up"].weight.data.mul_(mask)
    starts.rescale_by_inputs(net, then, {"up.weight": mask}, frozenset())
    for group, output in product(range(2), range(3)):
        kept = mask[2 * group : 2 * group + 2, output]
        expected = before[2 * group : 2 * group + 2, output] * kept * (6 / max(1, int(kept.sum()))) ** 0.5
        assert torch.allclose(net["up"].weight[2 * group : 2 * group + 2, output], expected)


def test_an_embedding_and_a_transposed_convolution_have_their_outputs_last():
    net = nn.ModuleDict({"words": nn.Embedding(10, 4), "up": nn.ConvTranspose2d(3, 5, 2)})
    masks = {"up.weight": torch.rand(3, 5, 2, 2, generator=torch.Generator().manual_seed(0)) < 0.5}
    then = starts.gains(net, ["words.weight", "up.weight"], {})
    assert float(then["words.weight"].energy) == pytest.approx(float(net["words"].weight.detach().double().square().sum()) / 4)
    before = {name: tensor.detach().clone() for name, tensor in net.named_parameters()}
    net["up"].weight.data.mul_(masks["up.weight"])
    starts.rescale_by_inputs(net, then, masks, frozenset())
    assert torch.equal(net["words"].weight, before["words.weight"])
    for output in range(5):
        kept = masks["up.weight"][:, output]
        expected = before["up.weight"][:, output] * kept * (12 / max(1, int(kept.sum()))) ** 0.5
        assert torch.allclose(net["up"].weight[:, output], expected)


def test_a_weight_that_nobody_draws_is_refused_by_name():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix, self.layer = nn.Parameter(torch.ones(3, 3)), nn.Linear(3, 3)

    with pytest.raises(ValueError, match=r'start = "redrawn" needs reset_parameters\(\) in the layer of matrix'):
        starts.drawn_anew(Own(), ["layer.weight", "matrix"])


def test_shuffled_blocks_keep_equal_counts():
    kept = {"g": torch.tensor([True, False, False, True, True, False, True, False])}
    for seed in range(5):
        found = starts.shuffled_channels(kept, {"g": 2}, torch.Generator().manual_seed(seed))["g"]
        assert found.view(2, 4).sum(1).tolist() == [2, 2]


# -- agents ------------------------------------------------------------------------------------------------------


TINY = A2CRecipe(
    environment="CartPole-v1", budget=960, epochs=3, environments=4, widths=(40, 40), scoring_steps=40, evaluation_games=2
)


def agent(kind, name, start, sparsity=0.8, number=0):
    trainer, pruner = kind(TINY, partial(seeds, number=number), "cpu"), pruners().load(name)
    settings = pruner.settings({"start": start})
    return trainer, PlanFollower(trainer, pruner, settings, sparsity, 3, "network", partial(seeds, number=number))


@pytest.mark.parametrize("kind", [A2CTrainer, FleetAgent])
def test_a_redrawn_small_policy_is_as_stable_baselines3_makes_one_of_its_widths(kind):
    """Orthogonal rows or columns, of a gain of √2 in hidden layers, 0.01 for actions and 1 for the value."""
    trainer, pruning = agent(kind, "Random-S", "redrawn")
    pruning.next_epoch()
    policy = trainer.module
    heads = {policy.action_net: 0.01, policy.value_net: 1.0}
    layers = [layer for layer in policy.modules() if isinstance(layer, nn.Linear)]
    assert max(layer.in_features for layer in layers) < 40
    for layer in layers:
        weight = layer.weight.detach().double()
        square = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
        assert torch.allclose(square, torch.eye(len(square)).double() * heads.get(layer, 2**0.5) ** 2, atol=1e-6)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", ["SNIP", "CroP-S"])
def test_company_in_a_fleet_changes_no_bit(name, start):
    def finished(*pairs):
        finish_together(*pairs)
        return bits(pairs[0][0].module, pairs[0][0].optimizer)

    alone = finished(agent(FleetAgent, name, start))
    others = [agent(FleetAgent, name, other, number=number) for number, other in enumerate(STARTS, 1)]
    assert finished(agent(FleetAgent, name, start), *others) == alone


@pytest.mark.parametrize("name", ["vgg-small", "resnet-small"])
def test_a_network_of_images_is_redrawn_as_it_was_made(name):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        net, anatomy = classifier(name, 10)
        made = {weight: net.get_parameter(weight).detach().clone() for weight in anatomy.all_weights()}
        torch.manual_seed(0)
        again = starts.drawn_anew(copy.deepcopy(net), anatomy.all_weights())
    for weight, was in made.items():
        now = again[weight]
        assert now.square().mean() == pytest.approx(float(was.square().mean()), rel=1e-5)
        assert not torch.equal(now, was)


def test_a_network_that_keeps_what_it_computed_is_redrawn():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(5, 30), nn.Linear(30, 2)

        def forward(self, inputs):
            self.hidden = torch.tanh(self.first(inputs))
            return self.head(self.hidden)

    net, inputs = Keeps(), torch.ones(4, 5)
    net(inputs)
    before = net.first.weight.detach().clone()
    rlprune.Pruning(net, "SNIP", 0.8, epochs=2, loss=lambda net: net(inputs).square().mean(), optimizer=None, start="redrawn")
    assert not torch.isin(net.first.weight[net.first.weight != 0], before).any()


def test_a_callback_and_a_loop_take_the_setting():
    model = A2C("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [32, 32]}, seed=0)
    before = {name: gain(weight) for name, weight in model.policy.named_parameters() if weight.dim() == 2}

    class Seen(BaseCallback):
        def _on_rollout_start(self):
            if not self.num_timesteps:
                self.gains = {name: gain(weight) for name, weight in model.policy.named_parameters() if weight.dim() == 2}

        def _on_step(self):
            return True

    seen = Seen()
    model.learn(20, callback=[PruneCallback("Random-S", 0.8, epochs=2, start="rescaled"), seen])
    assert seen.gains == pytest.approx(before, rel=1e-5)
    net = nn.Sequential(nn.Linear(5, 30), nn.Tanh(), nn.Linear(30, 2))
    before = [gain(net[place].weight) for place in (0, 2)]
    inputs = torch.ones(4, 5)
    rlprune.Pruning(net, "SNIP", 0.8, epochs=2, loss=lambda net: net(inputs).square().mean(), optimizer=None, start="rescaled")
    assert [gain(net[place].weight) for place in (0, 2)] == pytest.approx(before, rel=1e-5)


def test_a_cell_that_starts_from_what_was_kept_has_the_id_it_always_had():
    plain = cells(load_suite("cartpole", "smoke", ["pruners=['SNIP']", "pruning.start=kept"]), "cpu")[0]
    assert plain.id == "8be85ce281d38f04"
    assert "start" not in plain.settings
    assert cells(load_suite("cartpole", "smoke", ["pruners=['SNIP kept']"]), "cpu")[0].id == plain.id
    other = cells(load_suite("cartpole", "smoke", ["pruners=['SNIP']"]), "cpu")[0]
    assert other.settings["start"] == "rescaled", "the default of agents"
    assert other.id != plain.id


LISTED = ("EarlyCroP-S", "EarlyRandom-S", "SNIP", "GMP", "LTR", "Dense")


@pytest.mark.parametrize(("held", "moved"), [(0, {"EarlyCroP-S", "EarlyRandom-S"}), (2, {*LISTED})])
def test_how_long_a_rate_is_held_is_told_where_it_changes_something(held, moved):
    listed = f"pruners={[*LISTED]}"
    plain, other = (
        {cell.pruner: cell for cell in cells(load_suite("cartpole", "smoke", [listed, *more]), "cpu")}
        for more in ([], [f"pruning.rate_held={held}"])
    )
    assert all("rate_held" not in cell.settings for cell in plain.values()), "ids are what they were before it came"
    assert {name for name in plain if plain[name].id != other[name].id} == moved
    assert {other[name].settings["rate_held"] for name in moved} == {held}
    constant = [listed, "recipe.annealing=constant"]
    one, two = (cells(load_suite("cartpole", "smoke", [*constant, *more]), "cpu") for more in ([], [f"pruning.rate_held={held}"]))
    assert [cell.id for cell in one] == [cell.id for cell in two], "there is nothing to hold"


def test_agents_start_rescaled_in_anybodys_suite_and_other_networks_kept(tmp_path):
    mine = tmp_path / "mine.toml"
    lists = 'tasks = ["cartpole-v1", "vgg-small-shapes"]\npruners = ["Dense", "Tiny", "SNIP"]\n'
    mine.write_text(f'title = "mine"\n{lists}sparsities = [0.9]\nseeds = 1\n')
    starts = {(one.task, one.pruner): one.settings.get("start") for one in cells(load_suite(str(mine), "smoke"), "cpu")}
    assert starts == {
        ("cartpole-v1", "Dense"): None,
        ("cartpole-v1", "Tiny"): "redrawn",
        ("cartpole-v1", "SNIP"): "rescaled",
        ("vgg-small-shapes", "Dense"): None,
        ("vgg-small-shapes", "Tiny"): "redrawn",
        ("vgg-small-shapes", "SNIP"): None,
    }
    kept = {one.settings.get("start") for one in cells(load_suite("cartpole", "paper"), "cpu")}
    assert kept == {None}
