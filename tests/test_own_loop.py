"""One's own training loop: resumed where it was, through parts of a network, with copies and wrappers of it."""

import copy
from dataclasses import dataclass

import pytest
import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import rlprune
from rlprune.pruning.pruner import pruners

X = torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
Y = torch.randn(16, 2, generator=torch.Generator().manual_seed(2))


def mlp(seed=0):
    torch.manual_seed(seed)
    hidden = (nn.Linear(5, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 10), nn.BatchNorm1d(10), nn.ReLU())
    return nn.Sequential(*hidden, nn.Linear(10, 2))


def error(net):
    return (net(X) - Y).square().mean()


class Loop:
    """A loop of somebody's."""

    def __init__(self, name, seed=0, epochs=5, sparsity=0.6, **options):
        self.net = mlp(seed)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-2)
        self.pruning = rlprune.Pruning(
            self.net, name, sparsity, epochs=epochs, loss=error, optimizer=self.optimizer, **{**short(name), **options}
        )

    def train(self, epochs=99):
        while epochs and not self.pruning.done:
            for _ in range(2):
                self.optimizer.zero_grad()
                error(self.net).backward()
                self.optimizer.step()
            self.pruning.epoch_end()
            epochs -= 1
        return self

    def save(self, file):
        parts = ("pruning", "net", "optimizer")
        torch.save({part: getattr(self, part).state_dict() for part in parts}, file)
        return torch.load(file)

    def load(self, saved):
        for part in ("pruning", "net", "optimizer"):  # sizes first
            getattr(self, part).load_state_dict(saved[part])
        return self


def short(name):
    known = type(pruners().load(name).settings()).model_fields
    return {key: value for key, value in {"levels": 2, "rounds": 3}.items() if key in known}


def alike(one, other):
    assert one.pruning.done == other.pruning.done
    assert one.pruning.remaining == other.pruning.remaining
    assert one.pruning.reached() == other.pruning.reached()
    assert one.pruning.follower.progress == other.pruning.follower.progress
    tensors = other.net.state_dict()
    assert all(torch.equal(value, tensors[name]) for name, value in one.net.state_dict().items())
    assert str(one.net) == str(other.net)


# -- state -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in pruners().names() if name != "Dense"])
def test_a_loop_goes_on_where_it_was_to_the_bit(name, tmp_path):
    first = Loop(name).train(2)
    second = Loop(name, seed=1).load(first.save(tmp_path / "checkpoint"))
    alike(first, second)
    assert not first.pruning.done
    alike(first.train(), second.train())
    assert first.pruning.done


@pytest.mark.parametrize(
    ("name", "when"), [("CroP-S", 0), ("EarlyCroP-S", 1), ("EarlyCroP-S", 4), ("EarlyCroP-U", 1), ("SET", 1), ("LTR", 4)]
)
def test_a_loop_is_turned_back_whatever_came_after(name, when, tmp_path):
    loop = Loop(name).train(when)
    saved = loop.save(tmp_path / "checkpoint")
    expected = copy.deepcopy(loop.net.state_dict())
    ended = copy.deepcopy(loop.train().net.state_dict())
    loop.load(saved)
    assert all(torch.equal(value, expected[key]) for key, value in loop.net.state_dict().items())
    again = loop.train().net.state_dict()
    assert all(torch.equal(value, ended[key]) for key, value in again.items())


def test_a_finished_loop_stays_finished(tmp_path):
    saved = Loop("CroP-S").train().save(tmp_path / "checkpoint")
    loop = Loop("CroP-S", seed=1).load(saved)
    assert loop.pruning.done
    with pytest.raises(RuntimeError, match="the plan ended after 5 epochs"):
        loop.pruning.epoch_end()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Random-S"}, "this state has pruner = 'CroP-S', and this pruning pruner = 'Random-S'"),
        ({"sparsity": 0.5}, r"this state has sparsity = 0\.6, and this pruning sparsity = 0\.5"),
        ({"epochs": 4}, "this state has epochs = 5, and this pruning epochs = 4"),
        ({"floor": 2}, "this state has floor = 1, and this pruning floor = 2"),
    ],
)
def test_a_state_of_something_else_is_refused_by_name(options, message):
    state = Loop("CroP-S").pruning.state_dict()
    loop = Loop(**{"name": "CroP-S", "seed": 1, **options})
    before = copy.deepcopy(loop.net.state_dict())
    with pytest.raises(ValueError, match=message):
        loop.pruning.load_state_dict(state)
    assert all(torch.equal(value, before[key]) for key, value in loop.net.state_dict().items())


@pytest.mark.parametrize("state", [None, {}, {"progress": 3}])
def test_what_is_no_state_is_told(state):
    with pytest.raises(ValueError, match=r"this is no state of a Pruning, which its state_dict\(\) returns"):
        Loop("SNIP").pruning.load_state_dict(state)


@pytest.mark.parametrize("name", ["CroP-S", "SNIP"])
def test_a_state_of_another_network_is_refused(name):
    state = Loop(name).pruning.state_dict()
    net = nn.Sequential(nn.Linear(5, 11), nn.ReLU(), nn.Linear(11, 2))
    pruning = rlprune.Pruning(net, name, 0.6, epochs=5, loss=error, optimizer=None)
    with pytest.raises(ValueError, match="this state is of another network"):
        pruning.load_state_dict(state)


# -- channels are followed through whatever the loss calls ----------------------------------------------------------------


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU())
        self.head, self.other = nn.Linear(8 * 4, 3), nn.Linear(8 * 4, 1)

    def forward(self, images):
        return self.head(self.features(images).flatten(1)), self.other(self.features(images).flatten(1))

    def both(self, images):
        return self(images)


IMAGES = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(3))


def by_parts(net):
    maps = net.features(IMAGES).flatten(1)
    return nn.functional.cross_entropy(net.head(maps), torch.arange(8) % 3) + net.other(maps).square().mean()


def by_itself(net):
    logits, values = net(IMAGES)
    return nn.functional.cross_entropy(logits, torch.arange(8) % 3) + values.square().mean()


@pytest.mark.parametrize("groups", ["auto", None])
@pytest.mark.parametrize("loss", [by_parts, [lambda net: by_parts(net), lambda net: net.both(IMAGES)[1].mean()]])
def test_groups_are_found_through_a_loss_that_calls_parts(groups, loss):
    torch.manual_seed(0)
    nets = [Images()]
    nets.append(copy.deepcopy(nets[0]))
    options = {"sparsity": 0.5, "epochs": 1, "optimizer": None}
    one = rlprune.Pruning(nets[0], "Random-S", loss=loss, groups=groups, **options)
    other = rlprune.Pruning(nets[1], "Random-S", loss=by_itself, **options)
    assert one._subject.anatomy.groups == other._subject.anatomy.groups
    assert one._subject.anatomy.weights == other._subject.anatomy.weights
    assert str(nets[0]) == str(nets[1]) != str(Images())
    assert by_parts(nets[0]) == by_itself(nets[1])


def test_channels_that_a_loss_reads_itself_stay_whole():
    def loss(net):
        maps = net.features(IMAGES)
        return maps.mean() + net.head(maps.flatten(1)).mean()

    net = Images()
    with pytest.warns(UserWarning, match=r"loss does not reach other\.weight"):
        pruning = rlprune.Pruning(net, "Random-S", 0.1, epochs=1, loss=loss, optimizer=None)
    assert "mean in the Loss" in pruning._subject.anatomy.stays["features.3"]
    assert net.features[3].out_channels == 8
    assert net.features[0].out_channels < 6


# -- copies ----------------------------------------------------------------------------------------------------------


def smoothed(net, rate=0.9):
    return AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(rate), use_buffers=True)


@pytest.mark.parametrize("start", ["rescaled", "measured", "fan-in"])
@pytest.mark.parametrize("name", ["CroP-S", "CroP-U"])
def test_a_copy_is_multiplied_by_what_its_network_is(name, start):
    net = mlp()
    twice, halved = copy.deepcopy(net), copy.deepcopy(net)
    with torch.no_grad():
        for parameter in halved.parameters():
            parameter.mul_(0.5)
    rlprune.Pruning(net, name, 0.6, epochs=1, loss=error, optimizer=None, start=start, copies=[twice, halved])
    rlprune.Pruning(again := mlp(), name, 0.6, epochs=1, loss=error, optimizer=None, start="kept")
    assert not torch.equal(net[6].weight, again[6].weight)
    for one, other, third in zip(net.parameters(), twice.parameters(), halved.parameters(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, 2 * third)


@pytest.mark.parametrize("name", ["EarlyCroP-S", "EarlyCroP-U"])
def test_a_moving_average_is_that_of_what_stays(name):
    torch.manual_seed(0)
    net = mlp().double()
    inputs, average = X.double(), smoothed(net)
    target = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def loss(net):
        return (net(inputs) - Y.double()).square().mean()

    pruning = rlprune.Pruning(
        net, name, 0.6, epochs=6, loss=loss, optimizer=optimizer, copies=[average, target], until={"cap": 0.5}
    )
    history = []
    while not pruning.done:
        optimizer.zero_grad()
        loss(net).backward()
        optimizer.step()
        average.update_parameters(net)
        history.append(net.state_dict() | {key: value.clone() for key, value in net.named_parameters()})
        pruning.epoch_end()
    assert 0 < pruning.reached()["pruning_epoch"] < 6
    assert str(average.module) == str(target) == str(net)
    state = pruning.state_dict()
    masks = state["masks"] or {}
    for key, now in net.named_parameters():
        expected = None
        for entry in (dict(one)[key].detach().numpy() for one in history):
            value = entry
            if value.shape != now.shape:  # before the cut, of the layers' channels that stay
                kept = [state["kept"].get(layer) for layer in ("0", "3")]
                rows = {"0": kept[0], "1": kept[0], "3": kept[1], "4": kept[1]}.get(key[0])
                columns = {"3": kept[0], "6": kept[1]}.get(key[0])
                value = value if rows is None else value[rows.numpy()]
                value = value if columns is None or value.ndim < 2 else value[:, columns.numpy()]
            expected = value if expected is None else 0.9 * expected + 0.1 * value
        if key in masks:
            expected = expected * masks[key].numpy()
        assert torch.allclose(average.module.get_parameter(key), torch.from_numpy(expected), rtol=1e-12)
    assert all(not target.get_parameter(key)[~mask].any() for key, mask in masks.items())


def test_a_copy_is_turned_back_with_its_network(tmp_path):
    net = mlp()
    average = smoothed(net)
    pruning = rlprune.Pruning(net, "CroP-S", 0.6, epochs=2, loss=error, optimizer=None, copies=average)
    other = mlp(1)
    theirs = smoothed(other)
    second = rlprune.Pruning(other, "CroP-S", 0.6, epochs=2, loss=error, optimizer=None, copies=theirs)
    second.load_state_dict(pruning.state_dict())
    other.load_state_dict(net.state_dict())
    theirs.load_state_dict(average.state_dict())
    assert torch.equal(theirs(X), average(X))


@pytest.mark.parametrize(
    ("copies", "options", "message"),
    [
        (lambda net: [nn.Linear(5, 2)], {}, r"a Linear is no copy of this network: its 0\.weight is missing, not of \(12, 5\)"),
        (
            lambda net: smoothed(nn.Sequential(nn.Linear(5, 2))),
            {},
            r"a AveragedModel is no copy .* is of \(2, 5\), not of",
        ),
        (lambda net: [net], {}, r"a Sequential is no copy of this network: 0\.weight of both is the same"),
        (lambda net: [3], {}, "copies are networks; got a int"),
        (smoothed, {"start": "redrawn"}, r"CroP-S begins anew after a cut \(start = 'redrawn'\), which a copy cannot follow"),
        (smoothed, {"pruner": "LTR"}, "LTR rewinds, which a copy cannot follow: make it when pruning is done"),
    ],
)
def test_what_is_no_copy_or_cannot_follow_is_refused(copies, options, message):
    net = mlp()
    options = {"pruner": "CroP-S", "sparsity": 0.5, "epochs": 3, "loss": error, "optimizer": None, **options}
    with pytest.raises(ValueError, match=message):
        rlprune.Pruning(net, copies=copies(net), **options)
    assert net[0].out_features == 12


# -- wrappers --------------------------------------------------------------------------------------------------------


@pytest.fixture
def group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def trained(net, called, optimizer, steps=3):
    for _ in range(steps):
        optimizer.zero_grad()
        error(called).backward()
        optimizer.step()
    return net


@pytest.mark.parametrize("name", ["SNIP", "CroP-S"])
def test_a_network_is_replicated_after_the_cut_and_masked_before_or_after(name, group):
    nets = [mlp(), mlp()]
    for net, wrapped in zip(nets, (True, False), strict=True):
        optimizer = torch.optim.Adam(net.parameters())
        held = DistributedDataParallel(net) if wrapped and name == "SNIP" else None
        rlprune.Pruning(net, name, 0.6, epochs=1, loss=error, optimizer=optimizer)
        held = DistributedDataParallel(net) if wrapped and held is None else held
        trained(net, held or net, optimizer)
    assert all(torch.equal(one, other) for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


def test_channels_that_are_replicated_are_not_cut_under_way(group):
    loop = Loop("EarlyCroP-S", until={"cap": 0.4})
    with pytest.raises(ValueError, match=r"a DistributedDataParallel trains one copy .* by the same batch"):
        rlprune.Pruning(DistributedDataParallel(loop.net), "SNIP", 0.5, epochs=2, loss=error, optimizer=None)
    held = DistributedDataParallel(loop.net)
    trained(loop.net, held, loop.optimizer)
    with pytest.raises(ValueError, match=r"DistributedDataParallel holds this network.* let go of it before epoch_end") as told:
        loop.pruning.epoch_end()
    assert "\n" not in str(told.value)
    del held, told
    while not loop.pruning.done:
        loop.pruning.epoch_end()
        trained(loop.net, DistributedDataParallel(loop.net), loop.optimizer)
    assert loop.net[0].out_features < 12


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler about itself
def test_what_is_compiled_is_pruned_and_stays_compiled():
    plain, net = mlp(), mlp()
    called = torch.compile(net, backend="aot_eager")
    assert torch.allclose(called(X), plain(X))
    for one, loss in ((plain, error), (called, torch.compile(error, backend="aot_eager"))):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        rlprune.Pruning(one, "CroP-S", 0.6, epochs=1, loss=loss, optimizer=optimizer)  # differentiated twice
        trained(one, one, optimizer, steps=2)
    assert all(torch.allclose(p, q, rtol=1e-4, atol=1e-6) for p, q in zip(plain.parameters(), net.parameters(), strict=True))


def test_a_loss_of_another_network_than_it_is_given_is_refused_where_cuts_are_tried():
    net = mlp()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match="loss does not read the network that it is given, and cuts are tried on copies"):
        rlprune.Pruning(net, "CroP-S", 0.6, epochs=1, loss=lambda _: error(net), optimizer=None)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    rlprune.Pruning(net, "CroP-U", 0.6, epochs=1, loss=lambda _: error(net), optimizer=None)


# -- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sparsty": 0.5}, "^Pruning needs sparsity; 'sparsty' is no argument; did you mean 'sparsity'\\?$"),
        ({"sparsity": 0.5, "epoch": 2}, "^Pruning needs epochs; 'epoch' is no argument; did you mean 'epochs'\\?$"),
        ({}, "^Pruning needs sparsity$"),
    ],
)
def test_a_misspelt_argument_that_is_needed_is_told(given, message):
    with pytest.raises(TypeError, match=message):
        rlprune.Pruning(mlp(), "SNIP", loss=error, **given)


# -- optimizers that hold others, and what no loss reaches --------------------------------------------------------------


class SAM(torch.optim.Optimizer):
    """Steps up, and then by another optimizer from where it was (Foret et al., 2021)."""

    def __init__(self, parameters, inner, lr):
        super().__init__(parameters, {})
        self.inner = inner(self.param_groups, lr=lr)
        self.param_groups = self.inner.param_groups

    @torch.no_grad()
    def up(self):
        for weight in self.param_groups[0]["params"]:
            self.state[weight]["was"] = weight.clone()
            weight.add_(weight.grad, alpha=0.05)

    @torch.no_grad()
    def down(self):
        for weight in self.param_groups[0]["params"]:
            weight.copy_(self.state[weight]["was"])
        self.inner.step()


class Lookahead(torch.optim.Optimizer):
    """Goes a part of the way that another optimizer goes (Zhang et al., 2019)."""

    def __init__(self, inner):
        super().__init__(inner.param_groups, {})
        self.inner, self.slow = inner, [weight.detach().clone() for weight in inner.param_groups[0]["params"]]


@pytest.mark.parametrize("name", ["EarlyCroP-S", "EarlyCroP-U"])
def test_an_optimizer_inside_another_follows_masks_and_cuts(name):
    net = mlp()
    optimizer = SAM(net.parameters(), torch.optim.Adam, lr=1e-2)
    pruning = rlprune.Pruning(net, name, 0.6, epochs=4, loss=error, optimizer=optimizer, until={"cap": 0.5})
    while not pruning.done:
        for _ in range(2):
            for step in (optimizer.up, optimizer.down):
                net.zero_grad()
                error(net).backward()
                step()
            for name, mask in pruning.follower.masked.masks.items():
                assert not net.get_parameter(name)[~mask].any()
        pruning.epoch_end()
    state = optimizer.inner.state
    assert {id(weight) for weight in state} == {id(weight) for weight in net.parameters()}
    assert {int(state[weight]["step"]) for weight in state} == {8}
    assert all(state[weight]["exp_avg"].shape == weight.shape for weight in state)


def test_an_optimizer_with_weights_of_its_own_cuts_no_channels():
    net = mlp()
    optimizer = Lookahead(torch.optim.Adam(net.parameters()))
    with pytest.raises(ValueError, match=r"^Lookahead keeps parameters of its own \(\.slow\), which a cut would leave behind"):
        rlprune.Pruning(net, "CroP-S", 0.6, epochs=2, loss=error, optimizer=optimizer)
    assert net[0].out_features == 12


def test_a_head_that_no_loss_reaches_is_named_where_channels_are_cut():
    class Headed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.policy, self.value = nn.Linear(5, 12), nn.Linear(12, 2), nn.Linear(12, 1)

        def forward(self, inputs):
            return self.policy(self.body(inputs).relu())

    with pytest.warns(
        UserWarning, match=r"loss does not reach value\.weight: if they read channels that are cut, they no longer"
    ):
        rlprune.Pruning(Headed(), "CroP-S", 0.4, epochs=2, loss=error, optimizer=None)

    def loss(net):
        return error(net) + 0 * net.value(net.body(X).relu()).sum()

    headed = Headed()
    rlprune.Pruning(headed, "CroP-S", 0.4, epochs=2, loss=loss, optimizer=None)
    assert headed.value.in_features == headed.policy.in_features == headed.body.out_features < 12


# -- what a method needs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["EarlyBird", "GateDecorators"])
def test_a_penalty_that_no_optimizer_would_add_is_refused(name):
    with pytest.raises(ValueError, match=rf"{name} pulls at the scales of normalisations before each step .*: say optimizer="):
        rlprune.Pruning(mlp(), name, 0.5, epochs=4, loss=error, optimizer=None)
    if name == "EarlyBird":
        rlprune.Pruning(mlp(), name, 0.5, epochs=4, loss=error, optimizer=None, penalty=0.0)


class Flipped(nn.Module):
    """A convolution whose channels cannot be followed between two whose can and the output layer."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6)
        self.second, self.head = nn.Conv2d(6, 6, 3), nn.Linear(6, 3)

    def forward(self, images):
        hidden = self.second(self.norm(self.first(images)).relu())
        return self.head((hidden.flip(1) * torch.arange(6.0).view(-1, 1, 1)).mean((2, 3)))


def test_gates_are_decorated_with_the_output_layer_alone():
    """Every layer whose channels stay was taken for an output layer, and trained on."""
    torch.manual_seed(0)
    net, images, labels = Flipped(), torch.randn(8, 1, 7, 7), torch.randint(3, (8,))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def error(net):
        return nn.functional.cross_entropy(net(images), labels)

    pruning = rlprune.Pruning(net, "GateDecorators", 0.3, epochs=10, loss=error, optimizer=optimizer, rounds=2)
    trained = set()
    while not pruning.done:
        trained.add(tuple(name for name, weight in net.named_parameters() if weight.requires_grad and weight.ndim > 1))
        optimizer.zero_grad()
        error(net).backward()
        optimizer.step()
        pruning.epoch_end()
    assert ("head.weight",) in trained
    assert trained - {("head.weight",)} == {("first.weight", "second.weight", "head.weight")}


@dataclass
class Answer:
    logits: torch.Tensor


class Answering(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, inputs):
        return Answer(self.net(inputs))


def test_channels_are_followed_through_the_loss_where_a_network_returns_what_only_that_can_read():
    torch.manual_seed(0)
    net = Answering()
    pruning = rlprune.Pruning(net, "SNAP", 0.5, epochs=2, loss=lambda net: (net(X).logits - Y).square().mean(), optimizer=None)
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.5, abs=0.05)
    assert net.net[0].out_features < 12
    assert net.net[3].out_features < 10


class Zeros(nn.Module):
    """A classifier whose head starts at zero."""

    def __init__(self):
        super().__init__()
        self.body, self.head = mlp(), nn.Linear(2, 2)
        nn.init.zeros_(self.head.weight)

    def forward(self, inputs):
        return self.head(torch.relu(self.body(inputs)))


def test_weights_that_start_at_zero_are_told_before_they_are_all_removed():
    with pytest.warns(
        UserWarning, match=r"head\.weight: all zeros, as at the start, so that Magnitude-Before .* removes them first"
    ):
        rlprune.Pruning(Zeros(), "Magnitude-Before", 0.5, epochs=2, loss=error)
    with pytest.raises(
        ValueError, match=r"all scores of the network are 0, so nothing tells what to keep; head\.weight is all zeros"
    ):
        rlprune.Pruning(Zeros(), "SNIP", 0.5, epochs=2, loss=error)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.hidden, self.head = nn.Embedding(7, 6), nn.Linear(6, 6), nn.Linear(6, 7, bias=False)
        self.head.weight = self.words.weight
        self.turn = nn.Parameter(torch.eye(6))

    def forward(self, words):
        return self.head(torch.einsum("...i,ij->...j", torch.relu(self.hidden(self.words(words))), self.turn))


def test_what_stays_whole_is_named_with_what_it_is_tied_to():
    words = torch.arange(7)
    with pytest.raises(ValueError, match="'words' stays whole because of ") as told:
        rlprune.Pruning(Tied(), "SNAP", 0.5, epochs=2, loss=lambda net: net(words).square().mean(), optimizer=None)
    assert "Embedding" not in str(told.value)
    assert "''" not in str(told.value)
