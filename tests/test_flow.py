"""What SynFlow passes over, what it refuses, and that every layer of a network that it scores carries flow."""

import oracles
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from rlprune.pruning import flow
from rlprune.reason import NotApplicable

# softmax and its kin mix their inputs, a gated unit multiplies them: they are no function of one number
MIXING = {"GLU", "MultiheadAttention", "Softmax", "Softmax2d", "LogSoftmax", "Softmin"}
ACTIVATIONS = sorted(set(nn.modules.activation.__all__) - MIXING)
NORMALISATIONS = [
    lambda: nn.BatchNorm1d(6),
    lambda: nn.LayerNorm(6),
    lambda: nn.GroupNorm(2, 6),
    lambda: nn.RMSNorm(6),
    lambda: nn.LocalResponseNorm(2),
    lambda: nn.Dropout(0.5),
]


def linear(*between):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), *between, nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def matrices(net):
    return [f"{name}.weight" for name, layer in net.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]


def ones(*shape):
    return lambda net: [net(torch.ones(shape, dtype=next(net.parameters()).dtype))]


def scores(net, outputs):
    slopes = flow.gradient(net, matrices(net), outputs)
    return [(net.get_parameter(name) * slope).abs() for name, slope in slopes.items()]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_torch_is_passed_over(name):
    kind = getattr(nn, name)
    net = linear(kind(0.1, 20.0) if name == "Threshold" else kind())
    flow.check(net, matrices(net), ones(1, 3))
    expected = oracles.synflow([net.get_parameter(weight).detach().numpy() for weight in matrices(net)])
    for score, paths in zip(scores(net, ones(1, 3)), expected, strict=True):
        assert score.detach().numpy() == pytest.approx(paths)


@pytest.mark.parametrize("make", NORMALISATIONS)
def test_every_normalisation_is_passed_over_whatever_its_scale(make):
    net = linear(make(), nn.ReLU6())
    flow.check(net, matrices(net), ones(1, 3))
    plain = nn.Sequential(*(layer for layer in net if isinstance(layer, nn.Linear)))
    for with_it, without in zip(scores(net, ones(1, 3)), scores(plain, ones(1, 3)), strict=True):
        assert torch.equal(with_it, without)


class Forward(nn.Module):
    """A convolution, a branch around another one, and a head; ``bend`` is applied to the sum."""

    def __init__(self, bend):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 2)
        self.bend = bend

    def forward(self, images):
        maps = self.a(images)
        return self.c(self.bend(maps + self.b(maps)).flatten(2).mean(2))


@pytest.mark.parametrize(
    "bend",
    [
        torch.tanh,
        functional.relu6,
        lambda maps: maps.sigmoid_(),
        lambda maps: functional.gelu(input=maps),
        lambda maps: functional.group_norm(maps, 2),
        lambda maps: functional.dropout(maps, 0.5),
        lambda maps: maps.clamp(min=0),
        lambda maps: functional.max_pool2d(maps, 3, 2, 1),
        lambda maps: maps.relu(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AdaptiveMaxPool2d(2),
        lambda maps: torch.cat([maps[:, :3], 2 * maps[:, 3:]], 1),
    ],
)
def test_functions_are_passed_over_like_layers_and_branches_joined_or_pooled_are_linear(bend):
    net = Forward(bend)
    flow.check(net, matrices(net), ones(1, 3, 7, 7))
    assert all(bool((score > 0).any()) for score in scores(net, ones(1, 3, 7, 7)))


@pytest.mark.parametrize(
    "bend",
    [
        lambda maps: maps.clamp(0, 6),
        lambda maps: maps * torch.sigmoid(maps),  # a swish by hand is a product
        lambda maps: functional.normalize(maps, dim=1),
        lambda maps: functional.normalize(maps, dim=1) * maps.mean(),  # of degree one, and yet not linear
        lambda maps: maps.softmax(1),
        lambda maps: maps.log_softmax(1),
        torch.sin,
        lambda maps: maps.sqrt(),
        lambda maps: maps / (1 + maps),
        lambda maps: maps.square() * 1e-6,
    ],
)
def test_what_bends_the_flow_is_refused_with_the_layers_in_front_of_it(bend):
    net = Forward(bend)
    with pytest.raises(NotApplicable, match=r"the flow of ones is not linear in (a|b)\.weight"):
        flow.check(net, matrices(net), ones(1, 3, 7, 7))


def test_heads_that_take_the_size_away_are_refused():
    for head, message in (
        (nn.Softmax(1), r"does not go through all of 0\.weight, 2\.weight, 4\.weight"),
        (nn.LogSoftmax(1), "not linear in"),
    ):
        net = linear(nn.ReLU())
        net.append(head)
        with pytest.raises(NotApplicable, match=message):
            flow.check(net, matrices(net), ones(1, 3))


class Odd(nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.how = forward

    def forward(self, inputs):
        return self.how(self, inputs)


def test_layers_used_twice_or_never_are_named():
    twice, never = Odd(lambda net, inputs: net.b(net.a(net.a(inputs)))), Odd(lambda net, inputs: net.a(inputs))
    with pytest.raises(NotApplicable, match=r"not linear in a\.weight: .* or a weight is used twice"):
        flow.check(twice, matrices(twice), ones(1, 3))
    with pytest.raises(NotApplicable, match=r"does not go through all of b\.weight"):
        flow.check(never, matrices(never), ones(1, 3))


class Scaled(nn.Module):
    """A block around which the maps go, scaled by a small number a channel, as in ConvNeXt; and a number that is added."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 4)
        self.scale, self.shift = nn.Parameter(torch.full((4,), -0.5)), nn.Parameter(torch.ones(4))

    def forward(self, x):
        x = self.a(x) + self.shift
        return x + self.scale * self.b(x)


def test_what_multiplies_stays_and_what_is_added_goes():
    net = Scaled().double()
    flow.check(net, matrices(net), ones(1, 3))
    first, second = (net.get_parameter(name).detach().abs() for name in matrices(net))
    expected = (0.5 * second * first.sum(1)).detach()
    assert torch.allclose(scores(net, ones(1, 3))[1], expected)


class Placed(nn.Module):
    """Adds a position to what it sees, as many networks do: by a buffer that no one learns."""

    def __init__(self, place):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.register_buffer("place", torch.full((8,), place))

    def forward(self, x):
        return self.last(torch.relu(self.first(x) + self.place))


def test_a_constant_that_forward_adds_is_refused():
    """It moved SynFlow's choice without a word: R is affine in it, in every layer."""
    names = ["first.weight", "last.weight"]
    flow.check(Placed(0.0), names, lambda net: [net(torch.ones(1, 6, dtype=torch.float64))])
    with pytest.raises(NotApplicable, match="without any input it is not 0"):
        flow.check(Placed(10.0), names, lambda net: [net(torch.ones(1, 6, dtype=torch.float64))])


def test_attention_is_refused_although_ones_all_attend_alike():
    net = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    names = [name for name, parameter in net.named_parameters() if parameter.dim() > 1]
    with pytest.raises(NotApplicable, match=r"does not go through all of self_attn\.in_proj_weight"):
        flow.check(net, names, ones(1, 3, 8))


def test_numbers_beyond_float64_are_told():
    net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(12)))
    with torch.no_grad():
        for layer in net:
            layer.weight.fill_(1e38)
    flow.check(net, matrices(net), ones(1, 4))
    with pytest.raises(NotApplicable, match="beyond what float64 holds"):
        flow.gradient(net, matrices(net), ones(1, 4))


def test_the_check_touches_neither_network_nor_global_generators():
    net = linear(nn.BatchNorm1d(6)).train()
    before, lots = {key: tensor.clone() for key, tensor in net.state_dict().items()}, torch.get_rng_state()
    flow.check(net, matrices(net), ones(1, 3))
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), lots)
    assert net.training


def test_a_mobilenet_has_flow_in_every_channel_and_squeezed_maps_are_refused():
    net = torchvision.models.MobileNetV2(5, inverted_residual_setting=[[1, 8, 1, 1], [6, 12, 2, 2]])
    flow.check(net, matrices(net), ones(1, 3, 32, 32))
    assert all(bool((score > 0).flatten(1).any(1).all()) for score in scores(net, ones(1, 3, 32, 32)))
    gated = nn.Sequential(nn.Conv2d(3, 8, 3), torchvision.ops.SqueezeExcitation(8, 4), nn.Conv2d(8, 2, 3))
    with pytest.raises(NotApplicable, match=r"not linear in 0\.weight: something other than"):
        flow.check(gated, matrices(gated), ones(1, 3, 9, 9))
