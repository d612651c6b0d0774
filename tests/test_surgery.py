import copy
from functools import partial

import numpy as np
import oracles
import pytest
import torch
from subjects import Tiny, bits, silenced
from torch import nn

from rlprune.pruning import surgery
from rlprune.pruning.groups import Group, Member, chain, everything, present, stream


def some(groups, seed=0, share=0.5):
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for group in groups:
        keep = torch.rand(group.size, generator=generator) < share
        keep[0] = True
        kept[group.name] = keep
    return kept


def test_a_cut_network_computes_what_the_masked_one_computes():
    subject = Tiny()
    groups = subject.anatomy.all_groups()
    kept = some(groups)
    masked = silenced(subject.module, groups, kept)
    expected = torch.cat([masked[name](subject.inputs) for name in masked], dim=1)
    surgery.cut(subject.module, surgery.cuts(subject.module, groups, kept), subject.optimizers)
    assert torch.allclose(subject.predict(), expected, rtol=1e-12)
    assert subject.module["actor"][0].out_features == int(kept["actor.0"].sum())
    assert subject.module["actor"][2].in_features == int(kept["actor.0"].sum())


COLUMNS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 1, 1, 0], [1, 1, 0, 0, 0]]).bool()
KEEPS = {
    "rows": {0: torch.tensor([0, 1, 1, 0, 1, 0]).bool()},
    "columns": {1: torch.tensor([1, 0, 0, 1, 1]).bool()},
    "both": {0: torch.tensor([0, 0, 1, 0, 0, 0]).bool(), 1: torch.tensor([0, 1, 1, 1, 1]).bool()},
    "columns by blocks": {1: COLUMNS},
    "rows and columns by blocks": {0: torch.tensor([1, 1, 0, 0, 1, 0]).bool(), 1: COLUMNS},
    "nothing": {},
}


@pytest.mark.parametrize("what", KEEPS)
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 2, 3)])
def test_what_is_kept_of_a_tensor_is_what_loops_over_its_entries_keep(what, shape):
    tensor = torch.randn(shape[::-1], generator=torch.Generator().manual_seed(0)).permute(*reversed(range(len(shape))))
    found = surgery.narrow(tensor, KEEPS[what])
    assert np.array_equal(found.numpy(), oracles.narrowed(tensor.numpy(), {dim: k.numpy() for dim, k in KEEPS[what].items()}))
    assert found.is_contiguous()


def stays(kept):
    """What stays of the tensors of a ``Tiny``: rows are a layer's own channels, columns those of the layer in front."""
    found = {}
    for network in Tiny.SIZES:
        for before, layer in ((None, 0), (0, 2), (2, 4)):
            own, read = (kept[name].numpy() if name in kept else None for name in (f"{network}.{layer}", f"{network}.{before}"))
            found[f"{network}.{layer}.weight"] = {dim: keep for dim, keep in ((0, own), (1, read)) if keep is not None}
            found[f"{network}.{layer}.bias"] = {} if own is None else {0: own}
    return found


@pytest.mark.parametrize("optimizer", [torch.optim.RMSprop, torch.optim.Adam])
def test_the_optimizer_goes_on_with_the_state_of_what_stayed(optimizer):
    subject = Tiny(optimizer=optimizer)
    subject.train_epoch()
    groups = subject.anatomy.all_groups()
    kept = some(groups)
    before = {name: copy.deepcopy(subject.optimizer.state[p]) for name, p in subject.module.named_parameters()}
    gradients = {name: p.grad.clone() for name, p in subject.module.named_parameters()}
    surgery.cut(subject.module, surgery.cuts(subject.module, groups, kept), subject.optimizers)
    assert len(subject.optimizer.state) == len(before)
    for name, parameter in subject.module.named_parameters():
        keeps = stays(kept)[name]
        assert np.array_equal(parameter.grad.numpy(), oracles.narrowed(gradients[name].numpy(), keeps))
        for key, value in subject.optimizer.state[parameter].items():
            old = before[name][key]
            if isinstance(old, torch.Tensor) and old.dim():
                assert np.array_equal(value.numpy(), oracles.narrowed(old.numpy(), keeps))
            else:
                assert value == old
    weights = [p.clone() for p in subject.module.parameters()]
    subject.train_epoch()
    assert all(not torch.equal(old, new) for old, new in zip(weights, subject.module.parameters(), strict=True)), (
        "a cut layer stopped learning"
    )


def test_two_cuts_are_one():
    once, twice = Tiny(), Tiny()
    groups = once.anatomy.all_groups()
    first, second = some(groups, 1, 0.7), some(groups, 2, 0.7)
    both = {name: first[name] & second[name] for name in first}
    surgery.cut(once.module, surgery.cuts(once.module, groups, both))
    surgery.cut(twice.module, surgery.cuts(twice.module, groups, first))
    left = {name: second[name][first[name]] for name in first}
    surgery.cut(twice.module, surgery.cuts(twice.module, present(groups, first), left))
    assert torch.equal(once.predict(), twice.predict())


class Convolutional(nn.Module):
    """Convolution, normalisation, flattening and a concatenated side input: channels with neighbours and offsets."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.side, self.head = (
            nn.Conv2d(2, 6, 3),
            nn.BatchNorm2d(6),
            nn.Linear(4, 5),
            nn.Linear(6 * 4 + 5, 3),
        )

    def forward(self, image, side):
        maps = torch.relu(self.norm(self.conv(image))).flatten(1)
        return self.head(torch.cat([maps, torch.relu(self.side(side))], dim=1))


CONVOLUTIONAL = [
    Group(
        "conv",
        6,
        (
            Member("conv.weight", 0, produces=True),
            Member("conv.bias", 0, produces=True),
            *(Member(f"norm.{name}", 0) for name in ("weight", "bias", "running_mean", "running_var")),
            Member("head.weight", 1, inner=4),
        ),
    ),
    Group(
        "side",
        5,
        (Member("side.weight", 0, produces=True), Member("side.bias", 0, produces=True), Member("head.weight", 1, offset=24)),
    ),
]


def test_convolutions_statistics_flattened_maps_and_concatenations_are_cut_together():
    torch.manual_seed(0)
    net = Convolutional()
    for tensor in net.norm.state_dict().values():
        if tensor.dtype.is_floating_point:
            tensor.uniform_(0.5, 2)
    net.eval()
    image, side = torch.randn(3, 2, 4, 4), torch.randn(3, 4)
    kept = some(CONVOLUTIONAL)
    expected = silenced(net, CONVOLUTIONAL, kept)(image, side)
    surgery.cut(net, surgery.cuts(net, CONVOLUTIONAL, kept))
    assert torch.allclose(net(image, side), expected, rtol=1e-5)
    assert net.norm.num_features == net.conv.out_channels == int(kept["conv"].sum())
    again = present(CONVOLUTIONAL, kept)
    fewer = everything(again)
    fewer["side"][-1] = False
    surgery.cut(net, surgery.cuts(net, again, fewer))
    assert net.head.in_features == 4 * again[0].size + again[1].size - 1


def test_tied_weights_stay_tied_and_frozen_ones_frozen():
    net = nn.ModuleDict({"make": nn.Linear(4, 6), "read": nn.Linear(6, 4)})
    net["again"] = nn.Linear(4, 6)
    net["again"].weight = net["make"].weight
    net["read"].weight.requires_grad_(False)
    biases = [Member(f"{layer}.bias", 0, produces=True) for layer in ("make", "again")]
    group = Group("hidden", 6, (Member("make.weight", 0, produces=True), *biases, Member("read.weight", 1)))
    kept = {"hidden": torch.tensor([True, False, True, True, False, True])}
    surgery.cut(net, surgery.cuts(net, [group], kept))
    assert net["again"].weight is net["make"].weight
    assert not net["read"].weight.requires_grad
    assert net["read"].weight.shape == (4, 4)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"actor.0": torch.zeros(16, dtype=torch.bool)}, "would lose all of its 16 channels"),
        ({"actor.0": torch.ones(15, dtype=torch.bool)}, "wants a boolean vector of 16"),
        ({"actor.0": torch.arange(16)}, "wants a boolean vector of 16"),
        ({"nobody": torch.ones(16, dtype=torch.bool)}, "no group is named 'nobody'"),
    ],
)
def test_bad_cuts_are_refused_before_anything_changes(kept, message):
    subject = Tiny()
    with pytest.raises(ValueError, match=message):
        surgery.cuts(subject.module, subject.anatomy.all_groups(), kept)


def test_a_group_beyond_its_tensor_is_refused():
    subject = Tiny()
    group = Group("actor.0", 16, (Member("actor.0.weight", 0, produces=True), Member("actor.2.weight", 1, inner=2)))
    with pytest.raises(ValueError, match="beyond dimension 1"):
        surgery.cuts(subject.module, [group], {"actor.0": torch.arange(16) < 3})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net: net.__setattr__("bend", nn.LayerNorm(5, bias=False)), "bend is a LayerNorm, whose channels cannot be cut"),
        (lambda net: net.__setattr__("bend", nn.Identity()), r"tensors of make that do not fit one another \(weight 3, bias 5\)"),
    ],
)
def test_a_cut_that_fails_leaves_network_and_optimizer_whole(change, message):
    net = nn.Module()
    net.first, net.make, net.read = nn.Linear(2, 4), nn.Linear(4, 5), nn.Linear(5, 3)
    change(net)
    optimizer = torch.optim.Adam(net.parameters())
    sum(parameter.square().sum() for parameter in net.parameters()).backward()
    optimizer.step()
    bend = [Member("bend.weight", 0)] if isinstance(net.bend, nn.LayerNorm) else []
    bias = [Member("make.bias", 0, produces=True)] if bend else []
    groups = [
        Group("first", 4, (*(Member(f"first.{own}", 0, True) for own in ("weight", "bias")), Member("make.weight", 1))),
        Group("make", 5, (Member("make.weight", 0, True), *bias, *bend, Member("read.weight", 1))),
    ]
    before = bits(net, optimizer)
    sizes = [(layer.in_features, layer.out_features) for layer in (net.first, net.make, net.read)]
    with pytest.raises(ValueError, match=message):
        surgery.cut(net, surgery.cuts(net, groups, {group.name: torch.arange(group.size) < 3 for group in groups}), [optimizer])
    assert bits(net, optimizer) == before
    assert sizes == [(layer.in_features, layer.out_features) for layer in (net.first, net.make, net.read)]
    assert [p for group in optimizer.param_groups for p in group["params"]] == list(net.parameters())


def hooked(net, optimizer):
    net[0].weight.register_hook(lambda gradient: gradient.clamp(-1, 1))


def stepping_in_backward(net, optimizer):
    net[2].weight.register_post_accumulate_grad_hook(lambda weight: None)


def listed(net, optimizer):
    net.decayed = [[net[0].weight], {"bias": net[2].bias}]


def factored(net, optimizer):
    optimizer.state[net[2].weight] = {"row_var": torch.ones(len(net[2].weight), 1), "step": torch.tensor(1.0)}


@pytest.mark.parametrize(
    ("bind", "message"),
    [
        (hooked, r"0\.weight has a hook of its own, which a cut would leave behind: remove it, or take a pruner of weights"),
        (stepping_in_backward, r"2\.weight has a hook of its own"),
        (listed, r"decayed of this network holds 0\.weight once more"),
        (factored, r"SGD keeps state in other shapes than its parameters \(row_var of 2\.weight\)"),
    ],
)
def test_what_is_bound_to_a_tensor_and_would_be_left_behind_is_told_before_anything_changes(bind, message):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = [id(parameter) for parameter in net.parameters()]
    group = Group("0", 4, (Member("0.weight", 0, produces=True), Member("0.bias", 0, produces=True), Member("2.weight", 1)))
    bind(net, optimizer)
    with pytest.raises(ValueError, match=message):
        surgery.cut(net, surgery.cuts(net, [group], {"0": torch.tensor([True, False, True, True])}), [optimizer])
    assert [id(parameter) for parameter in net.parameters()] == before


def test_what_is_written_on_a_parameter_is_on_the_new_one():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    net[0].weight.decays = False
    group = Group("0", 4, (Member("0.weight", 0, produces=True), Member("0.bias", 0, produces=True), Member("1.weight", 1)))
    surgery.cut(net, surgery.cuts(net, [group], {"0": torch.tensor([True, False, True, True])}))
    assert net[0].weight.shape == (3, 3)
    assert net[0].weight.decays is False


def test_one_tensor_is_not_cut_in_two_ways():
    net = nn.ModuleDict({"make": nn.Linear(4, 6, bias=False), "again": nn.Linear(4, 6, bias=False)})
    net["again"].weight = net["make"].weight
    groups = [Group(name, 6, (Member(f"{name}.weight", 0, produces=True),)) for name in net]
    cuts = surgery.cuts(net, groups, {"make": torch.arange(6) < 3, "again": torch.arange(6) > 2})
    with pytest.raises(ValueError, match=r"make\.weight and again\.weight are one tensor"):
        surgery.cut(net, cuts)
    surgery.cut(net, surgery.cuts(net, groups, {name: torch.arange(6) < 3 for name in net}))
    assert net["again"].weight is net["make"].weight
    assert net["again"].out_features == 3


def test_a_module_that_was_cut_gets_its_sizes_back():
    body = (nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 3, 1), nn.Conv2d(3, 2, 1))
    net = nn.Sequential(*body)
    net[0].bias.requires_grad_(False)
    tied = nn.ModuleDict({"net": net, "other": nn.Conv2d(3, 2, 1)})
    tied["other"].weight = net[4].weight
    whole, said = surgery.sizes(tied), str(tied)
    optimizer = torch.optim.Adam([p for p in tied.parameters() if p.requires_grad])
    sum(parameter.square().sum() for parameter in tied.parameters()).backward()
    optimizer.step()
    made = [Member(f"net.{layer}.{own}", 0, produces=layer == 0) for layer in (0, 1, 2) for own in ("weight", "bias")]
    made += [Member("net.1.running_mean", 0), Member("net.1.running_var", 0), Member("net.3.weight", 1)]
    last = [Member("net.3.weight", 0, True), Member("net.3.bias", 0, True), Member("net.4.weight", 1)]
    groups = [Group("wide", 4, tuple(made)), Group("last", 3, tuple(last))]
    kept = {group.name: torch.arange(group.size) < 1 for group in groups}
    surgery.cut(tied, surgery.cuts(tied, groups, kept), [optimizer])
    assert [layer.groups for layer in (net[0], net[2], net[3])] == [1, 1, 1]  # nothing tells a depthwise one any more
    surgery.restore(tied, whole, [optimizer])
    assert str(tied) == said
    assert surgery.sizes(tied) == whole
    assert tied["other"].weight is net[4].weight
    assert [p.requires_grad for p in net.parameters()] == [True, False, *8 * [True]]
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {
        id(p) for p in tied.parameters() if p.requires_grad
    }
    assert set(map(id, optimizer.state)) == {id(net[4].bias), id(tied["other"].bias)}
    surgery.cut(tied, surgery.cuts(tied, groups, kept), [optimizer])
    assert net(torch.ones(1, 1, 2, 2)).shape == (1, 2, 2, 2)


class Separable(nn.Module):
    """A grouped convolution, then a depthwise one, between pointwise ones."""

    def __init__(self):
        super().__init__()
        self.widen, self.grouped = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 6, 3, padding=1, groups=3)
        self.deep, self.close = nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 2, 1)

    def forward(self, images):
        maps = torch.relu(self.grouped(torch.relu(self.widen(images))))
        return self.close(self.deep(maps))

    def groups(self):
        return [
            stream(self, "wide", ["widen"], read_by=["grouped"]),
            stream(self, "narrow", ["grouped"], ["deep"], ["close"]),
        ]


def test_every_block_of_a_grouped_convolution_keeps_its_own_columns():
    torch.manual_seed(0)
    net = Separable().double()
    dense, images = copy.deepcopy(net), torch.randn(2, 3, 5, 5, dtype=torch.float64)
    kept = {
        "wide": torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0]).bool(),
        "narrow": torch.tensor([0, 1, 1, 0, 1, 0]).bool(),
    }
    with torch.no_grad():
        expected = silenced(net, net.groups(), kept)(images)
        surgery.cut(net, surgery.cuts(net, net.groups(), kept))
        assert torch.allclose(net(images), expected, rtol=1e-12)
    rows, columns = [1, 2, 4], [[1, 2], [0, 3], [0, 1]]
    assert net.grouped.weight.shape == (3, 2, 3, 3)
    for new, old in enumerate(rows):
        for place, column in enumerate(columns[old // 2]):
            assert torch.equal(net.grouped.weight[new, place], dense.grouped.weight[old, column])
    assert (net.grouped.groups, net.grouped.in_channels, net.grouped.out_channels) == (3, 6, 3)
    assert (net.deep.groups, net.deep.in_channels, net.deep.out_channels) == (3, 3, 3)
    again = net.groups()
    assert [(group.size, group.blocks) for group in again] == [(6, 3), (3, 3)]
    assert present(Separable().groups(), kept) == again


def test_unequal_counts_in_the_blocks_are_refused():
    net = Separable()
    with pytest.raises(ValueError, match=r"'wide' must keep equal counts in its 3 blocks, got \[3, 4, 4\]"):
        surgery.cuts(net, net.groups(), {"wide": torch.arange(12) > 0})


def test_a_group_refuses_blocks_that_cannot_be():
    with pytest.raises(ValueError, match="7 channels do not fall into 2 equal blocks"):
        Group("odd", 7, (), blocks=2)
    with pytest.raises(ValueError, match=r"needs a multiple of 4 blocks for conv\.weight"):
        Group("loose", 8, (Member("conv.weight", 1, blocks=4),), blocks=2)


def test_a_stream_refuses_layers_of_other_widths():
    net = Convolutional()
    assert stream(net, "conv", ["conv"], ["norm"], []).members == CONVOLUTIONAL[0].members[:-1]
    with pytest.raises(ValueError, match=r"'conv' has 6 channels; dimension 1 of head.weight fits 29 positions"):
        stream(net, "conv", ["conv"], ["norm"], ["head"], {"head": 4})
    with pytest.raises(ValueError, match=r"'both' has 6 channels; dimension 0 of side.weight fits 5 positions"):
        stream(net, "both", ["conv", "side"])


def test_what_has_no_channels_that_can_be_cut_is_told_where_groups_are_written():
    net = nn.Sequential(nn.Embedding(8, 8), nn.Conv1d(3, 8, 1), nn.ConvTranspose1d(8, 6, 1, groups=2), nn.Conv1d(6, 2, 1))
    net[0].register_buffer("frequency", torch.ones(8))
    for make in (partial(chain, net, ["1", "0"]), partial(stream, net, "all", ["1"], read_by=["0"])):
        with pytest.raises(ValueError, match="'0' is an Embedding: it reads words, and no channels"):
            make()
    for layers in (["1", "2"], ["2", "3"]):
        with pytest.raises(ValueError, match="'2' is a transposed convolution in 2 groups, whose channels cannot be cut"):
            chain(net, layers)
        with pytest.raises(ValueError, match="'2' is a transposed convolution in 2 groups, whose channels cannot be cut"):
            stream(net, "all", layers[:1], read_by=layers[1:])
    words = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 3))
    words[0].register_buffer("frequency", torch.ones(20))
    for groups in (chain(words, ["0", "1"]), [stream(words, "0", ["0"], read_by=["1"])]):
        assert [(member.tensor, member.dim) for member in groups[0].members] == [("0.weight", 1), ("1.weight", 1)]
    surgery.cut(words, surgery.cuts(words, groups, {"0": torch.arange(8) < 5}))
    assert (words[0].embedding_dim, len(words[0].frequency)) == (5, 20)
