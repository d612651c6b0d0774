import copy
import gc
import warnings
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import rlprune
from rlprune.pruning.groups import Group, Member
from rlprune.pruning.pruner import CHANNELS, pruners


def setting(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(5, 24), nn.Tanh(), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 2))
    inputs, targets = torch.randn(32, 5), torch.randn(32, 2)

    def loss(net):
        return (net(inputs) - targets).square().mean()

    return net, loss, torch.optim.Adam(net.parameters(), lr=1e-2)


@pytest.mark.parametrize("name", [n for n in pruners().names() if n != "Dense" and not pruners().load(n).needs])
def test_a_plain_loop_follows_any_plan(name):
    net, loss, optimizer = setting()
    pruner = pruners().load(name)
    short = {key: value for key, value in {"levels": 2, "rounds": 3}.items() if key in type(pruner.settings()).model_fields}
    pruning = rlprune.Pruning(net, name, 0.8, epochs=5, loss=loss, optimizer=optimizer, **short)
    epochs = 0
    while not pruning.done:
        assert 0 < pruning.remaining <= 1
        optimizer.zero_grad()
        before, weights = loss(net), {n: p.detach().clone() for n, p in net.named_parameters() if n.endswith("weight")}
        before.backward()
        optimizer.step()
        after, moved = loss(net), {n: bool((net.get_parameter(n) != weight).any()) for n, weight in weights.items()}
        pruning.epoch_end()
        epochs += 1
    assert epochs == pruning.follower.progress.trained >= 5
    left = sum(int((p != 0).sum()) for n, p in net.named_parameters() if n.endswith("weight"))
    assert 1 - left / (5 * 24 + 24 * 16 + 16 * 2) == pytest.approx(0.8, abs=0.05 if pruner.cut == CHANNELS else 0.001)
    assert after < before
    assert all(moved.values()), f"what is left learns no more: {moved}"
    with pytest.raises(RuntimeError, match="the plan ended"):
        pruning.epoch_end()


@pytest.mark.parametrize(
    ("name", "rate_held", "remaining"),
    [
        ("EarlyCroP-S", None, [1, 1, 1, 0.5]),
        ("EarlyCroP-S", 0, [1, 0.75, 0.5, 0.25]),
        ("EarlyCroP-S", 3, [1, 1, 1, 1]),
        ("CroP-S", None, [1, 0.75, 0.5, 0.25]),
        ("CroP-S", 2, [1, 1, 1, 0.5]),
        ("CroP-S", 9, [1, 1, 1, 1]),
    ],
)
def test_what_remains_of_a_schedule_is_held_while_a_plan_waits_or_as_long_as_it_is_told(name, rate_held, remaining):
    net, loss, optimizer = setting()
    own = {"until": {"epoch": 2}} if name == "EarlyCroP-S" else {}
    pruning = rlprune.Pruning(net, name, 0.5, epochs=4, loss=loss, optimizer=optimizer, rate_held=rate_held, **own)
    found = []
    while not pruning.done:
        found.append(pruning.remaining)
        pruning.epoch_end()
    assert found == remaining


def test_channels_of_a_nested_network_are_found_and_the_cut_ones_are_trained():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Sequential(nn.Linear(3, 8), nn.ReLU()), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 1))
    inputs, optimizer = torch.randn(16, 3), torch.optim.Adam(net.parameters())
    pruning = pruned(net, "CroP-S", loss=lambda net: net(inputs).square().mean(), optimizer=optimizer, epochs=1)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in net.parameters()}
    net(inputs).square().mean().backward()
    optimizer.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.5, abs=0.1)


def test_where_hardly_anything_passes_any_more_is_told():
    net = nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 2))
    assert pruned(copy.deepcopy(net), sparsity=0.5).collapsed() == []
    masked = pruned(copy.deepcopy(net), "Random-U", sparsity=0.984)  # 3 of 200 weights: one a layer
    assert masked.collapsed() == ["1 of 80 weights of 0.weight", "1 of 100 weights of 2.weight", "1 of 20 weights of 4.weight"]
    cut = pruned(copy.deepcopy(net), "CroP-S", sparsity=0.94)  # of 12 weights left 8 + 1 + 2 is nearest
    assert cut.collapsed() == ["1 of 100 weights of 2.weight", "1 of 10 channels of 0", "1 of 10 channels of 2"]


def test_a_network_without_weights_is_refused():
    with pytest.raises(ValueError, match="nothing to prune"):
        rlprune.Pruning(nn.Tanh(), "SNIP", 0.5, epochs=2, loss=lambda net: torch.zeros(()))


X, SEQUENCE, WORDS = torch.randn(6, 8), torch.randn(6, 5, 8), torch.arange(30).view(6, 5) % 10


def pruned(net, pruner="SNIP", sparsity=0.5, loss=None, **options):
    shape = {nn.Embedding: WORDS, nn.LSTM: SEQUENCE, nn.GRU: SEQUENCE, Attention: SEQUENCE}
    inputs = shape.get(type(next(net.children(), net)), X)

    def squares(net):
        out = net(inputs)
        return (out[0] if isinstance(out, tuple) else out).square().mean()

    return rlprune.Pruning(
        net, pruner, sparsity, **{"epochs": 2, "loss": squares if loss is None else loss, "optimizer": None, **options}
    )


class Attention(nn.MultiheadAttention):
    def forward(self, inputs):
        return super().forward(inputs, inputs, inputs, need_weights=False)[0]


class Matrix(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix, self.scale = nn.Parameter(torch.randn(8, 4)), nn.Parameter(torch.ones(1, 1, 4))

    def forward(self, inputs):
        return (inputs @ self.matrix) * self.scale[0]


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.bilinear = nn.Bilinear(8, 8, 3)

    def forward(self, inputs):
        return self.bilinear(inputs, inputs)


def tied():
    net = nn.Sequential(nn.Embedding(10, 6), nn.Linear(6, 10))
    net[1].weight = net[0].weight
    return net


def repeated():
    layer = nn.Linear(8, 8)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(8, 2))


@pytest.mark.parametrize(
    ("make", "weights"),
    [
        (lambda: nn.Sequential(nn.LSTM(8, 3, batch_first=True)), {"0.weight_ih_l0": 96, "0.weight_hh_l0": 36}),
        (lambda: nn.Sequential(Attention(8, 2, batch_first=True)), {"0.in_proj_weight": 192, "0.out_proj.weight": 64}),
        (lambda: nn.Sequential(Matrix()), {"0.matrix": 32}),
        (lambda: nn.Sequential(Both()), {"0.bilinear.weight": 192}),
        (
            lambda: nn.Sequential(nn.Linear(8, 12), nn.Unflatten(1, (3, 4)), nn.ConvTranspose1d(3, 2, 2)),
            {"0.weight": 96, "2.weight": 12},
        ),
        (tied, {"0.weight": 60}),
        (repeated, {"0.weight": 64, "4.weight": 16}),
    ],
)
@pytest.mark.parametrize("pruner", ["SNIP", "Random-U"])
def test_every_matrix_is_pruned_and_counted_once(make, weights, pruner):
    torch.manual_seed(0)
    net = make()
    parameters = dict(net.named_parameters())
    pruning = pruned(net, pruner)
    assert dict(net.named_parameters()).keys() == parameters.keys()
    assert all(net.get_parameter(name) is parameter for name, parameter in parameters.items())
    assert {name: layer["dense"] for name, layer in pruning.follower.layers().items()} == weights
    zeros = sum(int((net.get_parameter(name) == 0).sum()) for name in weights)
    assert zeros == sum(weights.values()) - round(0.5 * sum(weights.values()))


def frozen():
    net = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    net[0].weight.requires_grad_(False)
    return net


def overlapping():
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    net[1].weight = nn.Parameter(net[0].weight.data.t())
    return net


class Adding(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(8, 4))
        self.register_buffer("weight", torch.randn(4, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (frozen, r"0\.weight is frozen .* weights=\['1\.weight'\]"),
        (overlapping, r"0\.weight and 1\.weight share memory|1\.weight and 0\.weight share memory"),
        (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 4))), "'0' is parametrized"),
        (lambda: nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(8, 4))), "'0' is parametrized"),
        (lambda: nn.Sequential(prune.l1_unstructured(nn.Linear(8, 4), "weight", 0.3)), "'0' computes its weight"),
        (lambda: nn.Sequential(prune.identity(nn.LSTM(8, 4), "weight_hh_l0")), "'0' computes its weight_hh_l0"),
        (lambda: nn.Sequential(nn.LazyLinear(4)), r"0\.weight is not initialised"),
        (lambda: nn.Sequential(nn.Linear(8, 4, dtype=torch.complex64)), r"0\.weight is complex64"),
        (lambda: nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2).double()), r"in torch\.float32, 1\.weight in torch\.float64"),
        (lambda: nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2, device="meta")), r"on cpu, 1\.weight on meta"),
        (lambda: nn.Sequential(nn.Embedding(10, 4, sparse=True)), "'0' has sparse=True"),
        (lambda: nn.Sequential(nn.Embedding(10, 4, max_norm=1.0)), "'0' has max_norm"),
        (Adding, "keeps its weight as a buffer"),
        (lambda: torch.jit.trace(nn.Linear(8, 4), X), "scripted network"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_networks_that_cannot_be_pruned_are_refused_by_name(make, message):
    net = make()
    with pytest.raises(ValueError, match=message):
        pruned(net)


def test_a_wrapped_network_is_unwrapped():
    net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    for wrapped in (torch.optim.swa_utils.AveragedModel(net), nn.DataParallel(net)):
        assert list(pruned(wrapped).follower.layers()) == ["0.weight", "2.weight"]
    compiled = torch.compile(copy.deepcopy(NET), backend="eager")
    assert list(pruned(compiled, optimizer=torch.optim.SGD(compiled.parameters())).follower.layers()) == ["0.weight", "2.weight"]


def test_weights_may_be_named():
    net = frozen()
    assert list(pruned(net, weights=["1.weight"]).follower.layers()) == ["1.weight"]
    with pytest.raises(ValueError, match=r"no parameter '1\.wieght'; did you mean '1\.weight'"):
        pruned(net, weights=["1.wieght"])


NET = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
OTHER = nn.Linear(8, 2)


def hidden(name, produces=True):
    made = (Member(tensor, 0, produces=produces) for tensor in ("0.weight", "0.bias"))
    return Group(name, 6, (*made, Member("2.weight", 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": ..., "pruner": "EarlyCroP-U"}, "say optimizer=: .* what EarlyCroP-U removes"),
        ({"optimizer": ..., "pruner": "SNAP"}, "say optimizer="),
        ({"optimizer": ..., "pruner": "LTR"}, "say optimizer="),
        ({"optimizer": torch.optim.SGD(OTHER.parameters())}, r"does not hold 0\.weight"),
        ({"optimizer": torch.optim.SGD(NET[2].parameters())}, r"does not hold 0\.weight"),
        ({"optimizer": NET.parameters()}, "a torch.optim.Optimizer, or None; got a generator"),
        ({"optimizer": torch.optim.LBFGS(NET.parameters()), "pruner": "CroP-S"}, "LBFGS keeps parameters of its own"),
        ({"sparsity": 1.0}, "between 0 and 1; got 1.0"),
        ({"sparsity": float("nan")}, "between 0 and 1; got nan"),
        ({"sparsity": 99.5}, r"between 0 and 1; got 99.5; did you mean 0\.995\?"),
        ({"sparsity": "0.5"}, "between 0 and 1; got '0.5'"),
        ({"epochs": 0}, "epochs is a whole number, at least 1; got 0"),
        ({"epochs": 2.5}, "epochs is a whole number"),
        ({"samples": -1}, "samples is a whole number"),
        ({"seed": 1.0}, r"seed is a whole number, at least 0; got 1\.0"),
        ({"scope": "globl"}, "scope is one of global, network, layer, erk; got 'globl'; did you mean 'global'"),
        ({"round": 3, "pruner": "EarlyCroP-U"}, "EarlyCroP-U, setting 'round': no such key; did you mean 'rounds'"),
        ({"sparsty": 0.1}, "SNIP, setting 'sparsty': no such key; did you mean 'sparsity'"),
        (
            {"optimzer": 3},
            r"'optimizer'\? \(allowed: scope, .*, loss, optimizer, samples, weights, groups, copies, seed\)$",
        ),
        ({"floor": 0}, "SNIP, setting 'floor': got 0; must be at least 1"),
        ({"loss": []}, "or several; got none"),
        ({"loss": 3.0}, "got a float"),
        ({"loss": lambda net: net(X)}, r"loss returns a tensor of \(6, 2\)"),
        ({"loss": lambda net: 3.0}, "loss returns a float"),
        ({"loss": lambda net: net(X).sum() / 0}, "must be finite"),
        ({"loss": lambda net: net(X).detach().sum()}, "loss has no gradient"),
        ({"loss": lambda net: OTHER(X).sum()}, "does not depend on the network's weights"),
        ({"loss": [lambda net: net(X).sum(), lambda net: torch.zeros(())]}, "loss 1 has no gradient"),
        (
            {"pruner": "CroP-S", "groups": [Group("0", 6, (Member("1.weight", 0, produces=True),))]},
            r"no tensor is named '1\.weight'",
        ),
        (
            {"pruner": "CroP-S", "groups": [Group("0", 6, (Member("0.bias", 1, produces=True),))]},
            r"0\.bias of \(6,\) has no dimension 1",
        ),
        ({"pruner": "CroP-S", "groups": [Group("0", 6, (Member("0.weight", 0, produces=True),))]}, "group '0' cannot be cut"),
        ({"pruner": "CroP-S", "groups": 2 * [Group("0", 6, ())]}, "two groups are named '0'"),
        (
            {"pruner": "CroP-S", "groups": [hidden("a"), hidden("b")]},
            "groups 'a' and 'b' both hold positions of dimension 0 of 0.bias",
        ),
        ({"pruner": "CroP-S", "groups": [hidden("a", False)]}, r"channels of 'a' are made by none .*produces=True"),
        (
            {"pruner": "Random-S", "weights": ["2.weight"]},
            r"channels of '0' are made by none of the weights to prune \(2\.weight\)",
        ),
        ({"pruner": "CroP-S", "sparsity": 0.99}, "CroP-S reaches a sparsity of 0.833 here at most, not 0.99"),
        ({"pruner": "CroP-S", "groups": "atuo"}, "groups is 'auto' or a list of Group; got 'atuo'; did you mean 'auto'"),
    ],
)
def test_what_is_given_wrongly_is_told_before_anything_changes(options, message):
    before = {name: tensor.clone() for name, tensor in NET.state_dict().items()}
    with pytest.raises(ValueError, match=message) as error:
        pruned(NET, **options)
    assert "\n" not in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in NET.state_dict().items())
    assert all(parameter.grad is None for parameter in NET.parameters())


def test_numbers_may_be_numpys():
    one, other = copy.deepcopy(NET), copy.deepcopy(NET)
    pruned(one, "Random-U", np.float32(0.5), epochs=np.int64(3), samples=np.int16(4), seed=np.uint8(1))
    pruned(other, "Random-U", 0.5, epochs=3, samples=4, seed=1)
    assert torch.equal(one[0].weight, other[0].weight)


def test_a_pruner_that_is_none_or_removes_nothing_is_told():
    with pytest.raises(KeyError, match=r"^no pruner is named 'SNUP'; did you mean 'SNIP'"):
        pruned(NET, "SNUP")
    with pytest.warns(UserWarning, match="^Dense removes nothing, whatever sparsity it is given$") as told:
        assert pruned(NET, "Dense").reached()["sparsity_weights"] == 0
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    "make",
    [
        partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        torch.optim.LBFGS,
        torch.optim.Adafactor,
        partial(torch.optim.AdamW, lr=0.1),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_pruned_weights_stay_zero_whatever_the_optimizer(make, given):
    net, loss, _ = setting()
    optimizer = make(net.parameters())

    def closure():
        optimizer.zero_grad()
        value = loss(net)
        value.backward()
        return value

    optimizer.step(closure)
    pruning = rlprune.Pruning(net, "SNIP", 0.8, epochs=3, loss=loss, **({"optimizer": optimizer} if given else {}))
    zeros = {name: parameter == 0 for name, parameter in net.named_parameters() if name.endswith("weight")}
    while not pruning.done:
        optimizer.step(closure)
        assert all(not net.get_parameter(name)[zero].any() for name, zero in zeros.items())
        pruning.epoch_end()


class Noisy(torch.optim.SGD):
    def step(self, closure=None):
        super().step(closure)
        for weight in self.param_groups[0]["params"]:
            weight.data.add_(torch.randn_like(weight), alpha=0.01)


@pytest.mark.parametrize(("given", "after"), [(False, False), (False, True), (True, True)])
def test_pruned_weights_stay_zero_though_nobody_holds_on_to_the_pruning_or_its_optimizer(given, after):
    net, loss, _ = setting()
    optimizer = torch.optim.Adam(net.parameters())
    loss(net).backward()
    optimizer.step()  # what it remembers would move weights that have no gradient
    rlprune.Pruning(net, "SNIP", 0.8, epochs=1, loss=loss, **({"optimizer": optimizer} if given else {}))
    zeros = {name: parameter == 0 for name, parameter in net.named_parameters() if name.endswith("weight")}
    if after:
        optimizer = Noisy(net.parameters())
    gc.collect()
    for _ in range(3):
        optimizer.zero_grad()
        loss(net).backward()
        optimizer.step()
    assert all(not net.get_parameter(name)[zero].any() for name, zero in zeros.items())
    gone = weakref.ref(net)
    del net, optimizer, loss
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("name", ["GMP", "EarlyCroP-U", "RigL"])
def test_what_an_optimizer_keeps_of_all_weights_together_begins_anew_when_some_go(name):
    def trained(**settings):
        net, loss, _ = setting()
        optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1)

        def closure():
            optimizer.zero_grad()
            value = loss(net)
            value.backward()
            return value

        pruning = rlprune.Pruning(net, name, 0.5, epochs=6, loss=loss, optimizer=optimizer, **settings)
        while not pruning.done:
            optimizer.step(closure)
            pruning.epoch_end()
        optimizer.step(closure)
        return [parameter.detach() for parameter in net.parameters()]

    for kept, reset in zip(trained(), trained(moments="reset"), strict=True):
        assert torch.equal(kept, reset)


@pytest.mark.parametrize("name", ["GMP", "EarlyCroP-S", "LTR"])
def test_a_weight_that_is_frozen_before_it_is_pruned_is_told(name):
    net, loss, optimizer = setting()
    pruning = rlprune.Pruning(net, name, 0.8, epochs=4, loss=loss, optimizer=optimizer)
    net[0].requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match=r"^0\.weight is frozen, and is yet to be pruned: let it learn until then$"):
        pruning.epoch_end()


def test_a_weight_that_is_frozen_when_pruning_is_done_trains_no_more():
    net, loss, optimizer = setting()
    pruning = rlprune.Pruning(net, "SNIP", 0.8, epochs=2, loss=loss, optimizer=optimizer)
    net[0].requires_grad_(requires_grad=False)
    while not pruning.done:
        pruning.epoch_end()
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.003)


@pytest.mark.parametrize("seed", range(3))
def test_channels_are_cut_where_all_of_it_runs_under_autocast(seed):
    net, loss, _ = setting(seed)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pruning = rlprune.Pruning(net, "CroP-S", 0.5, epochs=1, loss=loss, optimizer=None)
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.5, abs=0.05)


def test_a_loss_may_map_the_network_over_its_samples():
    net, inputs = setting()[0], torch.randn(32, 5)

    def loss(net):
        return torch.func.vmap(net)(inputs).square().mean()

    pruning = rlprune.Pruning(net, "SNIP", 0.8, epochs=1, loss=loss, optimizer=None)
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.003)


def test_weights_that_come_back_are_zero_again_at_the_epochs_end():
    net, loss, _ = setting()
    best = copy.deepcopy(net.state_dict())
    pruning = rlprune.Pruning(net, "SNIP", 0.8, epochs=2, loss=loss, optimizer=None)
    net.load_state_dict(best)
    pruning.epoch_end()
    assert sum(int((net[i].weight != 0).sum()) for i in (0, 2, 4)) == round(0.2 * (5 * 24 + 24 * 16 + 16 * 2))


def test_an_optimizer_that_goes_stale_is_told_at_the_epochs_end():
    net, loss, optimizer = setting()
    pruning = rlprune.Pruning(net, "SNIP", 0.8, epochs=2, loss=loss, optimizer=optimizer)
    net[0].weight = nn.Parameter(net[0].weight.detach().clone())
    with pytest.raises(ValueError, match=r"does not hold 0\.weight"):
        pruning.epoch_end()


def test_an_optimizer_that_took_the_place_of_the_given_one_is_told_before_a_cut_leaves_it_behind():
    net, loss, optimizer = setting()
    pruning = rlprune.Pruning(net, "EarlyRandom-S", 0.5, epochs=4, loss=loss, optimizer=optimizer)
    another = torch.optim.SGD(net.parameters(), lr=0.1)
    loss(net).backward()
    another.step()
    with pytest.raises(ValueError, match=r"^a SGD that this pruning does not know trains 0\.weight, and a cut would"):
        pruning.epoch_end()


@pytest.mark.parametrize("given", [False, True])
def test_a_layer_that_was_replaced_after_pruning_stops_nobodys_training(given):
    net, loss, optimizer = setting()
    rlprune.Pruning(net, "SNIP", 0.8, epochs=1, loss=loss, **({"optimizer": optimizer} if given else {}))
    net[-1] = nn.Identity()
    for other in (nn.Linear(3, 3), net):
        training = torch.optim.SGD(other.parameters(), lr=0.1)
        other(torch.randn(4, next(other.parameters()).shape[1])).square().sum().backward()
        training.step()
    assert int((net[0].weight == 0).sum()) > 0


def test_an_optimizer_of_one_step_or_of_the_same_groups_stops_no_cut():
    class Around(torch.optim.Optimizer):
        def __init__(self, base):
            super().__init__([nn.Parameter(torch.zeros(1))], {})
            self.param_groups = base.param_groups

        def step(self, closure=None):
            pass

    net, loss, optimizer = setting()
    pruning = rlprune.Pruning(net, "EarlyRandom-S", 0.5, epochs=4, loss=loss, optimizer=optimizer)
    once, around = torch.optim.SGD(net.parameters(), lr=1e-3), Around(optimizer)
    loss(net).backward()
    once.step()
    with pytest.raises(ValueError, match="a SGD that this pruning does not know"):
        pruning.epoch_end()
    while not pruning.done:
        around.step()
        pruning.epoch_end()
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.5, abs=0.1)


def test_a_state_that_was_kept_before_a_cut_is_none_of_after_it():
    net, loss, optimizer = setting()
    pruning = rlprune.Pruning(net, "EarlyCroP-S", 0.5, epochs=4, loss=loss, optimizer=optimizer)
    kept = pruning.state_dict()
    shapes = {name: tensor.shape for each in kept["references"].values() for name, tensor in each.items()}
    while not pruning.done:
        loss(net).backward()
        optimizer.step()
        pruning.epoch_end()
    assert pruning.reached()["sparsity_nodes"] > 0
    assert {name: tensor.shape for each in kept["references"].values() for name, tensor in each.items()} == shapes


def test_pruned_weights_stay_zero_in_another_precision():
    net, loss, optimizer = setting()
    pruning = rlprune.Pruning(net, "SNIP", 0.8, epochs=1, loss=loss, optimizer=optimizer)
    net.to(torch.bfloat16)
    net(torch.randn(8, 5, dtype=torch.bfloat16)).float().square().mean().backward()
    optimizer.step()
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.003)


@pytest.mark.parametrize(("settings", "starves"), [({}, True), ({"scope": "layer"}, False)])
def test_a_network_whose_loss_is_dwarfed_by_another_is_not_starved_without_a_word(settings, starves):
    torch.manual_seed(0)
    sides = {name: nn.Sequential(nn.Linear(4, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 2)) for name in "ab"}
    net, x = nn.ModuleDict(sides), torch.randn(32, 4)

    def loss(module):
        return module["a"](x).square().mean() * 1e-6 + (module["b"](x) - 100).square().mean()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pruning = rlprune.Pruning(net, "SNIP", 0.8, epochs=1, loss=loss, **settings)
    assert bool(pruning.collapsed()) == starves
    assert [str(one.message).partition(",")[0] for one in told] == starves * ["SNIP leaves 1 of 576 weights of a.2.weight"]
    assert {one.filename for one in told} <= {__file__}


def test_several_optimizers_of_parts_are_told_to_have_a_pruning_each():
    net, loss, _ = setting()
    part = torch.optim.SGD(list(net.parameters())[:2], lr=0.1)
    with pytest.raises(ValueError, match=r"does not hold 2\.weight: .* each part with its own has a Pruning of its own"):
        rlprune.Pruning(net, "SNIP", 0.5, epochs=1, loss=loss, optimizer=part)


def test_a_layer_used_twice_is_cut_in_both_places():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), *2 * [nn.Linear(6, 6)], nn.ReLU(), nn.Linear(6, 2)).double()
    inputs, dense = X.double(), copy.deepcopy(net)
    kept = pruned(net, "Random-S", loss=lambda net: net(inputs).square().mean(), epochs=1).follower.state()["kept"]["0"]
    with torch.no_grad():
        for layer in (dense[0], dense[2]):
            layer.weight[~kept] = 0
            layer.bias[~kept] = 0
        assert 0 < int(kept.sum()) < 6
        assert net[2] is net[3]
        assert torch.allclose(net(inputs), dense(inputs), rtol=1e-12)


class Critic(nn.Module):
    """An actor and its critic: only the actor is what is called, and what it computed last is kept."""

    def __init__(self):
        super().__init__()
        self.i, self.h, self.p, self.q = nn.Linear(8, 16), nn.Linear(16, 12), nn.Linear(12, 3), nn.Linear(16, 1)
        self.last = None

    def forward(self, x):
        self.last = self.i(x).relu()
        return self.p(self.h(self.last).relu() if len(x) == 2 or x.sum() > 1e9 else self.h(self.last).relu() * self.last.mean())

    def value(self, x):
        return self.q(self.i(x).relu())


@pytest.mark.filterwarnings("ignore:loss does not reach q.weight")
@pytest.mark.parametrize(
    "unseen",
    [
        lambda net: net.value(X).square().mean(),
        lambda net: net.last.square().mean(),
        lambda net: torch.zeros(()),  # the branch of two samples is not that of six
        lambda net: net.q(torch.ones(1, net.i.out_features)).mean(),
    ],
)
def test_channels_that_only_the_loss_reads_stay_whole(unseen):
    torch.manual_seed(0)
    net = Critic()
    before, lots = copy.deepcopy(net.state_dict()), torch.get_rng_state()

    def loss(net):
        return net(X).square().mean() + unseen(net)

    with pytest.raises(ValueError, match="'i' stays whole because of what reads them and the network's own forward"):
        pruned(net, "Random-S", sparsity=0.9, loss=loss)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), lots)
    pruned(net, "Random-S", sparsity=0.15, loss=loss)
    assert (net.i.out_features, net.q.in_features) == (16, 16)
    assert net.h.out_features < 12
    assert loss(net).isfinite()


def test_given_groups_are_tried_with_the_loss():
    net = Critic()
    group = Group("i", 16, (Member("i.weight", 0, produces=True), Member("i.bias", 0, produces=True), Member("h.weight", 1)))

    def loss(net):
        return net.p(net.h(net.i(X))).square().mean() + net.value(X).mean()

    with pytest.raises(ValueError, match="group 'i' cannot be cut because of what reads them"):
        pruned(net, "Random-S", sparsity=0.3, loss=loss, groups=[group])
    whole = Group("i", 16, (*group.members, Member("q.weight", 1)))
    pruned(net, "Random-S", sparsity=0.3, loss=loss, groups=[whole])
    assert net.q.in_features == net.i.out_features < 16


@pytest.mark.parametrize("pruner", ["SNIP", "CroP-U", "GraSP"])
def test_weights_that_no_loss_reaches_are_refused_by_name(pruner):
    net = copy.deepcopy(NET)
    net.aux = nn.Linear(8, 3)

    def loss(net):
        return net[2](net[1](net[0](X))).square().mean()

    with pytest.raises(ValueError, match=r"loss does not reach aux\.weight.* weights=\['0\.weight', '2\.weight'\]"):
        pruned(net, pruner, loss=loss)
    both = [loss, lambda net: loss(net) + net.aux(X).square().mean()]  # one of them reaches it
    for name, options in ((pruner, {"loss": both}), (pruner, {"weights": ["0.weight", "2.weight"]}), ("Magnitude-Before", {})):
        pruned(copy.deepcopy(net), name, **{"loss": loss, **options})


def test_channels_of_a_network_whose_weights_are_masked_are_not_cut():
    net, loss, optimizer = setting()
    rlprune.Pruning(net, "SNIP", 0.5, epochs=2, loss=loss, optimizer=optimizer)
    with pytest.raises(ValueError, match=r"Random-S cuts channels; 0\.weight is masked already"):
        rlprune.Pruning(net, "Random-S", 0.8, epochs=2, loss=loss, optimizer=optimizer)
    net[0].weight.grad = torch.ones_like(net[0].weight)
    net[0].weight = nn.Parameter(torch.ones(7, 5))  # cut by hand
    optimizer.step()
    assert net[0].weight.shape == (7, 5)


@pytest.mark.parametrize("pruner", ["CroP-S", "EarlyRandom-S"])
def test_state_of_other_shapes_is_refused_only_where_channels_are_yet_to_go(pruner):
    net, loss, _ = setting()
    optimizer = torch.optim.Adafactor(net.parameters())

    def step():
        loss(net).backward()
        optimizer.step()

    pruning = rlprune.Pruning(net, pruner, 0.5, epochs=4, loss=loss, optimizer=optimizer)
    step()
    if pruner == "CroP-S":  # cut at once, before there was any state
        pruning.epoch_end()
        return
    with pytest.raises(ValueError, match=r"Adafactor keeps state in other shapes"):
        pruning.epoch_end()
    with pytest.raises(ValueError, match=r"Adafactor keeps state in other shapes than its parameters \(row_var of 0\.weight\)"):
        rlprune.Pruning(net, pruner, 0.5, epochs=2, loss=loss, optimizer=optimizer)


def test_only_pruning_is_offered():
    with pytest.raises(AttributeError, match="no attribute 'Prune'"):
        _ = rlprune.Prune
