import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
import torchvision
from subjects import silenced
from test_nets import SMALL, small, some
from torch import nn

import rlprune
from rlprune.nets.auto import anatomy, cuttable, tried
from rlprune.nets.classifiers import classifier
from rlprune.pruning import surgery
from rlprune.pruning.groups import Group, Member, present


def by_tensor(groups):
    return {frozenset(group.members): (group.size, group.blocks) for group in groups}


@pytest.mark.parametrize("name", SMALL)
def test_traced_groups_are_the_ones_we_wrote_down(name):
    net, ours, images = small(name)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    net.get_parameter(ours.all_weights()[0]).requires_grad_(False)
    traced = anatomy(net, images)
    assert by_tensor(traced.all_groups()) == by_tensor(ours.all_groups())
    assert traced.all_weights() == ours.all_weights()
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())
    assert not net.get_parameter(ours.all_weights()[0]).requires_grad


def randomised(net):
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                nn.init.uniform_(tensor, 0.5, 2)
    return net.double().eval()


class Crossing(nn.Module):
    """Two maps side by side, one of them normalised again together with the other, as in DenseNet; then one by one."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 3, padding=1)
        self.norm, self.join = nn.BatchNorm2d(10), nn.Conv2d(10, 8, 1)
        self.deep, self.head = nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8 * 9, 2)

    def forward(self, images):
        left = self.left(images)
        both = torch.relu(self.norm(torch.cat([left, self.right(torch.relu(left))], dim=1)))
        return self.head(torch.relu(self.deep(self.join(both))).flatten(1))


def test_concatenated_and_depthwise_channels_are_traced_and_cut_exactly():
    torch.manual_seed(0)
    net, images = randomised(Crossing()), torch.randn(2, 3, 5, 5, dtype=torch.float64)
    groups = anatomy(net, images).all_groups()
    assert {(group.name, group.size, group.blocks) for group in groups} == {("left", 4, 1), ("right", 6, 1), ("join", 8, 1)}
    first = some(groups, 0.75)
    second = some(present(groups, first), 0.5, seed=1)
    both = {group: keep.clone() for group, keep in first.items()}
    for group, keep in both.items():
        keep[first[group]] = second[group]
    masked = silenced(net, groups, both)
    surgery.cut(net, surgery.cuts(net, groups, first))
    surgery.cut(net, surgery.cuts(net, present(groups, first), second))
    with torch.no_grad():
        assert torch.allclose(net(images), masked(images), rtol=1e-10)
    assert net.deep.groups == net.deep.out_channels == int(both["join"].sum())


@pytest.mark.parametrize("name", ["mobilenet_v2", "googlenet"])
def test_networks_of_torchvision_are_cut_exactly(name):
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    net = randomised(torchvision.models.get_model(name, num_classes=5, **options))
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    groups = anatomy(net, images).all_groups()
    kept = some(groups)
    with torch.no_grad():
        expected = silenced(net, groups, kept)(images)
        surgery.cut(net, surgery.cuts(net, groups, kept))
        assert torch.allclose(net(images), expected, rtol=1e-8)


def test_a_classifier_of_torchvision_is_had_by_its_name():
    net, anatomy = classifier("torchvision/mobilenet_v2", 7)
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert len(anatomy.all_groups()) > 20
    assert anatomy.heads == ["classifier.1.weight"]
    with pytest.raises(ValueError, match=r"torchvision has no classifier 'resnet19'; did you mean 'torchvision/resnet1"):
        classifier("torchvision/resnet19", 7)


class Windows(nn.Module):
    """Maps that end in rows of channels-last numbers, as a permutation and a flattening leave them."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6 * 9, 2)

    def forward(self, images):
        return self.head(torch.relu(self.conv(images)).permute(0, 2, 3, 1).flatten(1))


class Shuffled(nn.Module):
    """Half of the channels go one way, half another, and they are shuffled, as in ShuffleNet."""

    def __init__(self):
        super().__init__()
        self.stem, self.inner, self.outer, self.head = (nn.Conv2d(a, b, 1) for a, b in ((3, 8), (4, 5), (5, 4), (8, 2)))

    def forward(self, images):
        kept, worked = self.stem(images).chunk(2, dim=1)
        both = torch.cat([kept, self.outer(torch.relu(self.inner(worked)))], 1)
        return self.head(both.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2))


class Gated(nn.Module):
    """A gate for every channel from the mean of all, as in squeeze-and-excitation; and one gate for every place."""

    def __init__(self):
        super().__init__()
        self.conv, self.down, self.up, self.place = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 4, 1), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 1, 1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, images):
        maps = self.conv(images)
        gate = torch.sigmoid(self.up(torch.relu(self.down(maps.mean((2, 3), keepdim=True)))))
        return self.head(nn.functional.max_pool2d(maps * gate * self.place(maps).tanh(), 2))


class Auxiliary(nn.Module):
    """A head that is there in training alone."""

    def __init__(self):
        super().__init__()
        self.conv, self.aux, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1), nn.Conv2d(6, 2, 1)

    def forward(self, images):
        maps = nn.functional.dropout(self.conv(images), 0.5, self.training)
        return (self.head(maps), self.aux(maps)) if self.training else self.head(maps)


class Twice(nn.Module):
    """One layer between two widths, used twice, and a decoder that shares the encoder's weight."""

    def __init__(self):
        super().__init__()
        self.encoder, self.again, self.decoder = nn.Linear(12, 6), nn.Linear(6, 6), nn.Linear(6, 12)
        self.other = nn.Linear(12, 6)
        self.other.weight = self.encoder.weight

    def forward(self, images):
        rows = images.flatten(1)[:, :12]
        return self.decoder(torch.tanh(self.again(torch.tanh(self.again(torch.tanh(self.encoder(rows)))))) + self.other(rows))


class Streams(nn.Module):
    """One layer whose outputs are split by what two others read, as value and advantage of a dueling network are."""

    def __init__(self, first=4, second=6):
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2d(3, first + second, 1), nn.Conv2d(first, 2, 1), nn.Conv2d(second, 2, 1)

    def forward(self, images):
        both = torch.relu(self.stem(images)).split([self.first.in_channels, self.second.in_channels], 1)
        return self.first(both[0]) + self.second(both[1])


class Words(nn.Module):
    """Numbers of words from the first map, looked up; and bags of them."""

    def __init__(self):
        super().__init__()
        self.word, self.bag = nn.Embedding(3, 6), nn.EmbeddingBag(3, 4)
        self.first, self.second = nn.Linear(6 * 25, 2), nn.Linear(4, 2)

    def forward(self, images):
        words = (images[:, 0].flatten(1) > 0).long() + (images[:, 1].flatten(1) > 0)
        return self.first(self.word(words).tanh().flatten(1)) + self.second(self.bag(words).tanh())


class Stacked(nn.Module):
    """Two layers' outputs one above the other, which have to be of one size."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(12, 2, 1)

    def forward(self, images):
        return self.head(torch.stack([torch.relu(self.one(images)), self.other(images)], 1).flatten(1, 2))


class Written(nn.Module):
    """Two layers of one width, and then what is done to their outputs, which are put side by side."""

    def __init__(self, change):
        super().__init__()
        self.change = [change]  # a module here would be a part of this one
        self.one, self.other, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1), nn.Conv2d(16, 2, 1)

    def forward(self, images):
        maps = torch.cat([self.one(images), self.other(images)], 1)
        return self.head(self.change[0](maps, self.training))


def swapped(maps, training):
    return torch.cat(maps.chunk(2, 1)[::-1], 1)


def rolled(maps, training):
    return maps.roll(maps.shape[1] // 2, 1)


def every_other_place(maps, training):
    return maps[:, :, torch.arange(0, maps.shape[2], 2)].index_select(3, torch.tensor([1, 0]))


def turned_round(maps, training):
    return maps[:, torch.arange(maps.shape[1] - 1, -1, -1)]


def places_that_a_channel_chooses(maps, training):
    """The first channel says which places go on: cut, another one would."""
    return maps[maps[:, 0].amax((1, 2)) < 1e9]


class Experts(nn.Module):
    """Each sample goes to one expert of eight, so that most have none."""

    def __init__(self):
        super().__init__()
        self.stem, self.gate = nn.Linear(75, 12), nn.Linear(75, 8)
        self.experts = nn.ModuleList(nn.Linear(12, 5) for _ in range(8))
        self.head, self.out = nn.Linear(5, 8), nn.Linear(8, 2)

    def forward(self, images):
        rows = images.flatten(1)
        hidden, chosen = self.stem(rows).relu(), self.gate(rows).argmax(1)
        found = hidden.new_zeros(len(rows), 5)
        for number, expert in enumerate(self.experts):
            found[chosen == number] = expert(hidden[chosen == number])
        return self.out(self.head(found).relu())


class Backwards(nn.Module):
    """Rows of a large map picked by a buffer, which goes to the device that has no data."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 64, 1), nn.Conv2d(64, 6, 1), nn.Conv2d(6, 2, 1)
        self.register_buffer("back", torch.arange(4, -1, -1))

    def forward(self, images):
        return self.c(self.b(self.a(images).relu()[:, :, self.back]).relu())


class Tokens(nn.Module):
    """A slope for each of five tokens, not for each channel."""

    def __init__(self):
        super().__init__()
        self.a, self.bend, self.b = nn.Linear(15, 12), nn.PReLU(5), nn.Linear(12, 2)

    def forward(self, images):
        return self.b(self.bend(self.a(images.transpose(1, 2).flatten(2))))


class Upwards(nn.Module):
    """A layer called by names in another order than its own."""

    def __init__(self):
        super().__init__()
        self.a, self.up, self.head = nn.Conv2d(3, 6, 1), nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Conv2d(4, 2, 1)

    def forward(self, images):
        return self.head(self.up(output_size=(10, 10), input=self.a(images).relu()).relu())


def first_squashed(maps, training):
    maps[:, 0].sigmoid_()
    return maps


def last_turned(maps, training):
    maps[:, -2:].neg_()
    return maps


def middle_doubled(maps, training):
    maps.narrow(1, 5, 2).mul_(2)
    return maps


def some_gone_in_training(maps, training):
    return torch.cat([maps[:, :3] * 0, maps[:, 3:]], 1) if training else maps


def more_read_in_training(maps, training):
    return maps.mul(maps.mean(1, keepdim=True)) if training else maps


SEQUENCES = {
    "streams": (Streams(), {"stem/1": 4, "stem/2": 6}),
    "streams of one size": (Streams(5, 5), {"stem/1": 5, "stem/2": 5}),
    "stacked": (Stacked(), {"one": 6}),
    "words": (Words(), {"word": 6, "bag": 4}),
    "swapped": (Written(swapped), {}),
    "rolled": (Written(rolled), {}),
    "picked": (Written(every_other_place), {"one": 8, "other": 8}),
    "turned round": (Written(turned_round), {}),
    "a channel chooses": (Written(places_that_a_channel_chooses), {"one": 7, "other": 8}),
    "experts": (Experts(), {"stem": 12, "head": 8}),
    "backwards": (Backwards(), {"a": 64, "b": 6}),
    "tokens": (Tokens(), {"a": 12}),
    "names": (Upwards(), {"a": 6, "up": 4}),
    "first": (Written(first_squashed), {"other": 8}),
    "last": (Written(last_turned), {"one": 8}),
    "middle": (Written(middle_doubled), {"other": 8}),
    "training alone": (Written(some_gone_in_training), {"other": 8}),
    "more in training": (Written(more_read_in_training), {}),
    "flattened": (
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(54, 7), nn.GELU(), nn.Linear(7, 2)),
        {"0": 6, "2": 7},
    ),
    "reshaped": (
        nn.Sequential(
            nn.Flatten(), nn.Linear(75, 18), nn.ReLU(), nn.Unflatten(1, (2, 3, 3)), nn.Conv2d(2, 5, 1), nn.Conv2d(5, 2, 1)
        ),
        {"4": 5},
    ),
    "shuffled": (
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.PixelShuffle(2), nn.Conv2d(2, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 1)),
        {"0": 2, "2": 5},
    ),
    "gated": (
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.GLU(1), nn.Conv2d(4, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 1)),
        {"0": 4, "2": 5},
    ),
    "gated by the last": (
        nn.Sequential(nn.Flatten(), nn.Linear(75, 12), nn.GLU(), nn.Linear(6, 4), nn.GLU(-1), nn.Linear(2, 2)),
        {"1": 6, "3": 2},
    ),
    "gated along a map": (nn.Sequential(nn.Conv2d(3, 8, 2), nn.GLU(), nn.Conv2d(8, 2, 1)), {"0": 8}),
    "softmax": (
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.Softmax(1), nn.Conv2d(8, 5, 1), nn.Hardswish(), nn.Conv2d(5, 2, 1)),
        {"2": 5},
    ),
    "normed": (
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.Conv2d(8, 5, 1), nn.PReLU(), nn.Conv2d(5, 2, 1)),
        {"2": 5},
    ),
    "slopes": (
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.PReLU(8), nn.Conv2d(8, 5, 1), nn.PReLU(), nn.Conv2d(5, 2, 1)),
        {"0": 8, "2": 5},
    ),
    "slopes of one layer twice": (
        nn.Sequential(nn.Conv2d(3, 6, 1), (bend := nn.PReLU(6)), nn.Conv2d(6, 6, 1), bend, nn.Conv2d(6, 2, 1)),
        {"0": 6},
    ),
    "transposed": (
        nn.Sequential(
            nn.ConvTranspose2d(3, 8, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(8, 5, 1),
            nn.ConvTranspose2d(5, 4, 2, bias=False),
            nn.BatchNorm2d(4),
            nn.ConvTranspose2d(4, 2, 1),
        ),
        {"0": 8, "2": 5, "3": 4},
    ),
    "transposed in groups": (
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.ConvTranspose2d(8, 6, 1, groups=2), nn.Conv2d(6, 5, 1), nn.Conv2d(5, 2, 1)),
        {"2": 5},
    ),
    "dropped maps": (
        nn.Sequential(nn.Conv2d(3, 8, 1), nn.Dropout2d(), nn.Conv2d(8, 5, 1), nn.FeatureAlphaDropout(), nn.Conv2d(5, 2, 1)),
        {"0": 8, "2": 5},
    ),
    "channels last": (Windows(), {"conv": 6}),
    "halves": (Shuffled(), {"inner": 5}),
    "gates": (Gated(), {"conv": 6, "down": 4}),
    "aux": (Auxiliary(), {"conv": 6}),
    "twice": (Twice(), {"encoder": 6}),
    "one group": (nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1, groups=2), nn.Conv2d(6, 2, 1)), {"0": 6, "1": 6}),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_what_is_grouped_is_cut_as_masked_and_the_rest_is_named(name):
    net, expected = copy.deepcopy(SEQUENCES[name][0]).double(), SEQUENCES[name][1]
    images = torch.randn(4, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = anatomy(net, images)
    groups = found.all_groups()
    assert {group.name: group.size for group in groups} == expected
    makers = {weight.rpartition(".")[0] for weight in found.all_weights()}
    in_groups = {member.tensor.rpartition(".")[0] for group in groups for member in group.members if member.produces}
    assert makers <= in_groups | set(found.stays)
    kept = some(groups)
    with torch.no_grad():
        expected_values = silenced(net.eval(), groups, kept)(images)
        surgery.cut(net, surgery.cuts(net, groups, kept))
        assert torch.allclose(net(images), expected_values, rtol=1e-10, atol=1e-12)
    net.train()(images)


def test_an_example_that_does_not_fit_is_told():
    with pytest.raises(ValueError, match="does not run on its example"):
        anatomy(nn.Linear(3, 2), torch.ones(2, 4))


def test_a_network_that_wants_more_in_training_is_told():
    class Lossy(Windows):
        def forward(self, images, labels=None):
            if self.training and labels is None:
                raise ValueError("no labels")
            return super().forward(images)

    with pytest.raises(ValueError, match="a Lossy in training does not run on what it is evaluated with: no labels"):
        anatomy(Lossy(), torch.ones(2, 3, 5, 5))


def test_groups_whose_cut_computes_something_else_do_not_pass():
    net, images = Windows().double(), torch.randn(2, 3, 5, 5, dtype=torch.float64)
    right = anatomy(net, images).all_groups()[0]
    wrong = replace(right, members=tuple(replace(m, inner=9, outer=1) if m.dim == 1 else m for m in right.members))
    good, bad = tried(net, [wrong], [((images,), {})])
    assert not good
    assert "computes something else" in bad["conv"]
    assert tried(net, [right], [((images,), {})]) == ([right], {})


@pytest.mark.parametrize(
    ("name", "kept"),
    [("shufflenet_v2_x0_5", "stage2.0.branch2.5"), ("swin_t", "features.0.0"), ("convnext_tiny", "features.0.0")],
)
def test_networks_with_other_normalisations_keep_what_cannot_go_and_say_so(name, kept):
    net, found = classifier(f"torchvision/{name}", 3)
    assert len(found.all_groups()) >= 12
    assert kept in found.stays
    assert len(set(found.all_weights())) == len(found.all_weights())
    assert net.training


def test_auxiliary_heads_are_left_out():
    with torch.device("cpu"):
        net, found = classifier("torchvision/googlenet", 3)
    assert isinstance(net(torch.zeros(2, 3, 64, 64)), torch.Tensor)
    assert not [name for name in found.all_weights() if name.startswith("aux")]


class Twice(nn.Module):
    """A grouped convolution that reads what it put out."""

    def __init__(self):
        super().__init__()
        self.first, self.shared, self.head = nn.Conv2d(3, 32, 3), nn.Conv2d(32, 32, 3, padding=1, groups=4), nn.Linear(32, 10)

    def forward(self, images):
        maps = torch.relu(self.shared(torch.relu(self.first(images))))
        return self.head(torch.relu(self.shared(maps)).mean((2, 3)))


def in_blocks(blocks, between=nn.ReLU):
    shared = nn.Conv2d(32, 32, 3, padding=1, groups=blocks)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), between(), shared, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    )


@pytest.mark.parametrize("sizes", [(16,), (16, 8)])
@pytest.mark.parametrize("make", [partial(in_blocks, 2), partial(in_blocks, 4), partial(in_blocks, 8), Twice])
def test_what_a_grouped_convolution_reads_is_counted_once_however_often_it_is_called(make, sizes):
    torch.manual_seed(0)
    net, images = make(), torch.randn(16, 3, 8, 8)
    whole = sum(parameter.numel() for parameter in net.parameters() if parameter.ndim > 1)
    pruning = rlprune.Pruning(
        net, "SNAP", 0.7, epochs=1, loss=lambda net: sum(net(images[:size]).square().mean() for size in sizes), optimizer=None
    )
    groups = pruning.follower._subject.anatomy.all_groups()
    for group in groups:
        assert len({(member.tensor, member.dim) for member in group.members}) == len(group.members)
    left = sum(parameter.numel() for parameter in net.parameters() if parameter.ndim > 1)
    step = max(group.blocks for group in groups) * (27 + 9 * 32 / 4 + 10)  # a channel of every block
    assert abs(0.3 * whole - left) <= step
    assert pruning.reached()["sparsity_weights"] == pytest.approx(1 - left / whole)


def test_channels_that_are_not_zero_where_nothing_comes_in_go_through_blocks_too():
    torch.manual_seed(0)
    for blocks in (1, 2):
        groups, stays = cuttable(in_blocks(blocks, nn.Softplus), [((torch.ones(4, 3, 8, 8),), {})])
        assert {group.name for group in groups} == {"0", "2"}
        assert "0" not in stays


def test_a_group_that_names_a_place_twice_is_refused():
    with pytest.raises(ValueError, match=r"group 'it' names the same place of b\.weight more than once"):
        Group("it", 4, (Member("a.weight", 0, produces=True), *2 * [Member("b.weight", 1)]))
