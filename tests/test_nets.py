import pytest
import torch
from subjects import silenced
from torch import nn

from rlprune.costs import cost
from rlprune.nets.classifiers import NAMES, classifier
from rlprune.pruning import select, surgery
from rlprune.pruning.groups import present
from rlprune.pruning.probe import Probe, Scoring
from rlprune.pruning.pruner import pruners

SMALL = ["resnet-small", "vgg-small", "vgg-small-plain", "resnext-small"]


def small(name, seed=0):
    """A small network in float64 whose normalisation has statistics and weights of its own."""
    torch.manual_seed(seed)
    net, anatomy = classifier(name, 5)
    for layer in net.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (layer.weight, layer.running_var):
                nn.init.uniform_(tensor, 0.5, 2)
            for tensor in (layer.bias, layer.running_mean):
                nn.init.normal_(tensor)
    return net.double().eval(), anatomy, torch.randn(3, 3, 32, 32, dtype=torch.float64)


def some(groups, share=0.5, seed=0):
    """Random channels, as many in every block of a group."""
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for group in groups:
        rank = torch.rand(group.blocks, group.size // group.blocks, generator=generator).argsort(1)
        kept[group.name] = (rank < max(1, int(share * rank.shape[1]))).flatten()
    return kept


def best(net, anatomy, seed=0):
    """What is kept of random scores at a sparsity of 0.7, as a pruner keeps it."""
    generator = torch.Generator().manual_seed(seed)
    groups = anatomy.all_groups()
    shapes = {name: tuple(net.get_parameter(name).shape) for name in anatomy.all_weights()}
    dense = select.weights_left(shapes, groups, {})
    scores = {group.name: torch.rand(group.size, generator=generator) for group in groups}
    blocks = {group.name: group.blocks for group in groups}
    return select.keep_channels(scores, lambda left: select.weights_left(shapes, groups, left), round(0.3 * dense), blocks=blocks)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("choose", ["some", "best"])
def test_a_cut_network_computes_what_the_silenced_dense_one_computes(name, choose):
    net, anatomy, images = small(name)
    groups = anatomy.all_groups()
    kept = some(groups) if choose == "some" else best(net, anatomy)
    with torch.no_grad():
        expected = silenced(net, groups, kept)(images)
        dense = net(images)
        shapes = {weight: tuple(net.get_parameter(weight).shape) for weight in anatomy.all_weights()}
        surgery.cut(net, surgery.cuts(net, groups, kept))
        assert torch.allclose(net(images), expected, rtol=1e-10)
    assert not torch.allclose(dense, expected, rtol=1e-2)
    left = {group: int(keep.sum()) for group, keep in kept.items()}
    counted = sum(net.get_parameter(weight).numel() for weight in shapes)
    assert counted == select.weights_left(shapes, groups, left)
    if choose == "best":
        dense_weights = select.weights_left(shapes, groups, {})
        assert counted / dense_weights == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("name", SMALL)
def test_two_cuts_of_a_network_are_one(name):
    (once, anatomy, images), (twice, _, _) = small(name), small(name)
    groups = anatomy.all_groups()
    first = some(groups, 0.75, seed=1)
    second = some(present(groups, first), 0.5, seed=2)
    both = {group: keep.clone() for group, keep in first.items()}
    for group, keep in both.items():
        keep[first[group]] = second[group]
    surgery.cut(once, surgery.cuts(once, groups, both))
    surgery.cut(twice, surgery.cuts(twice, groups, first))
    surgery.cut(twice, surgery.cuts(twice, present(groups, first), second))
    with torch.no_grad():
        assert torch.equal(once(images), twice(images))


@pytest.mark.parametrize("name", SMALL)
def test_gradients_and_moments_of_what_stays_follow_the_cut(name):
    """Moments and gradients that repeat their weight's values must still repeat them afterwards."""
    net, anatomy, images = small(name)
    groups = anatomy.all_groups()
    net.get_parameter(anatomy.all_weights()[1]).requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad])
    net(images).square().sum().backward()
    optimizer.step()
    for parameter, state in optimizer.state.items():
        for tensor in (parameter.grad, state["exp_avg"], state["exp_avg_sq"]):
            tensor.copy_(parameter.detach())
    surgery.cut(net, surgery.cuts(net, groups, some(groups)), [optimizer])
    frozen = [key for key, parameter in net.named_parameters() if not parameter.requires_grad]
    assert frozen == [anatomy.all_weights()[1]]
    assert set(optimizer.state) == {p for p in net.parameters() if p.requires_grad}
    for parameter, state in optimizer.state.items():
        for tensor in (parameter.grad, state["exp_avg"], state["exp_avg_sq"]):
            assert torch.equal(tensor, parameter)
    before = [p.detach().clone() for p in net.parameters() if p.requires_grad]
    optimizer.zero_grad()
    net(images).square().sum().backward()
    optimizer.step()
    after = [p for p in net.parameters() if p.requires_grad]
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True)), "a cut layer stopped learning"


def test_a_grouped_convolution_refuses_unequal_counts_before_anything_changes():
    net, anatomy, _ = small("resnext-small")
    groups = anatomy.all_groups()
    blocked = next(group for group in groups if group.blocks == 4)
    keep = torch.ones(blocked.size, dtype=torch.bool)
    keep[0] = False
    with pytest.raises(ValueError, match=r"equal counts in its 4 blocks, got \[3, 4, 4, 4\]"):
        surgery.cuts(net, groups, {blocked.name: keep})


@pytest.mark.parametrize("name", SMALL)
def test_the_channel_sum_is_the_derivative_by_one_gate_on_all_makers(name):
    net, anatomy, images = small(name)
    groups = anatomy.all_groups()
    scoring = Scoring(lambda: [lambda module, temperature: module(images).square().mean()], 3, lambda module: [])
    probe = Probe(net, anatomy, scoring, torch.Generator(), {}, groups)
    gradient = probe.gradient()
    sums = probe.by_channel({key: probe.parameters[key] * slope for key, slope in gradient.items()})

    gates = {group.name: torch.ones(group.size, dtype=torch.float64, requires_grad=True) for group in groups}
    for group in groups:
        for layer in {member.tensor.rpartition(".")[0] for member in group.members if member.produces}:
            gate = gates[group.name]
            shaped = gate if isinstance(net.get_submodule(layer), nn.Linear) else gate[:, None, None]
            net.get_submodule(layer).register_forward_hook(lambda _, __, output, shaped=shaped: output * shaped)
    net(images).square().mean().backward()
    for group in groups:
        assert torch.allclose(sums[group.name], gates[group.name].grad, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", SMALL)
def test_synflow_conserves_the_flow_from_the_first_layer_to_the_last(name):
    """Every path crosses the stem and the head once, so both hold all of R; normalisation neither stops nor bends it."""
    net, anatomy, images = small(name)
    net.train()
    scoring = Scoring(list, 0, lambda module: [module(torch.ones_like(images[:1]))])
    scores = pruners().load("SynFlow").score(Probe(net, anatomy, scoring, torch.Generator(), {}, anatomy.all_groups()))
    sums = [float(score.sum()) for score in scores.values()]
    assert all(total > 0 for total in sums)
    assert sums[0] == pytest.approx(sums[-1], rel=1e-9)
    assert all(bool((score > 0).flatten(1).any(1).all()) for score in scores.values()), "a channel carries no flow"


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("resnet18", 10, 11_707_978),
        ("vgg16", 10, 50_703_946),
        ("resnext101-32x16d", 1000, 194_026_792),
        ("resnext101-32x48d", 1000, 828_411_176),
    ],
)
def test_networks_have_the_papers_size(name, classes, parameters):
    with torch.device("meta"):
        net, _ = classifier(name, classes)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters


@pytest.mark.parametrize("name", NAMES)
def test_every_network_maps_images_to_classes_and_names_all_its_layers(name):
    with torch.device("meta"):
        net, anatomy = classifier(name, 7)
        assert net(torch.empty(2, 3, 64, 64)).shape == (2, 7)
    layers = [layer for layer, part in net.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    assert anatomy.all_weights() == [f"{layer}.weight" for layer in layers]
    made = [member.tensor for group in anatomy.all_groups() for member in group.members if member.produces]
    read = [member.tensor for group in anatomy.all_groups() for member in group.members if member.dim == 1]
    assert sorted(tensor for tensor in made if tensor.endswith("weight")) == sorted(anatomy.all_weights()[:-1])
    assert sorted(read) == sorted(anatomy.all_weights()[1:])
    normalised = [member.tensor for group in anatomy.all_groups() for member in group.members if "running_var" in member.tensor]
    assert sorted(normalised) == sorted(key for key in net.state_dict() if key.endswith("running_var"))


def cut_evenly(name, keep):
    """The paper's network with ``keep(size)`` channels left in every group; its values do not matter."""
    with torch.device("meta"):
        net, anatomy = classifier(name, 10)
    net.to_empty(device="cpu")
    weights = sum(net.get_parameter(weight).numel() for weight in anatomy.all_weights())
    nodes = sum(len(net.get_parameter(weight)) for weight in anatomy.all_weights()[:-1])
    kept = {group.name: torch.arange(group.size) < keep(group.size) for group in anatomy.all_groups()}
    surgery.cut(net, surgery.cuts(net, anatomy.all_groups(), kept))
    left = sum(net.get_parameter(weight).numel() for weight in anatomy.all_weights())
    nodes_left = sum(len(net.get_parameter(weight)) for weight in anatomy.all_weights()[:-1])
    shapes = [parameter.shape for key, parameter in net.named_parameters() if key.endswith("weight")]
    megabits = sum(cost.csr_bits(shape, shape.numel()) for shape in shapes) / 1e6
    return nodes, f"{100 - 100 * left / weights:.1f} {100 - 100 * nodes_left / nodes:.1f} {megabits:.1f}"


@pytest.mark.parametrize(
    ("name", "keep", "nodes", "reached"),
    [
        ("resnet18", lambda size: size, 5056, "0.0 0.0 397.8"),
        ("resnet18", lambda size: size // 4, 5056, "93.7 75.0 25.0"),  # Random-S, node sparsity .75
        ("vgg16", lambda size: size, 12928, "0.0 0.0 1723.1"),
        ("vgg16", lambda size: int(0.14 * size), 12928, "98.0 86.1 33.7"),  # Random-S, .86
        ("vgg16", lambda size: size - int(0.86 * size), 12928, "98.0 86.0 34.2"),  # EfficientConvNets, .86
    ],
)
def test_even_cuts_reach_the_papers_numbers(name, keep, nodes, reached):
    assert cut_evenly(name, keep) == (nodes, reached)


def test_a_network_is_a_function_of_the_global_seed():
    torch.manual_seed(3)
    first = classifier("vgg-small", 4)[0].state_dict()
    torch.manual_seed(3)
    second = classifier("vgg-small", 4)[0].state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    third = classifier("vgg-small", 4)[0].state_dict()
    assert not torch.equal(first["layers.0.weight"], third["layers.0.weight"])


def test_an_unknown_network_suggests_the_nearest():
    with pytest.raises(ValueError, match="no network is named 'resnet81'; did you mean 'resnet18'"):
        classifier("resnet81", 10)


def test_streams_of_resnet18_hold_all_their_makers_and_readers():
    with torch.device("meta"):
        _, anatomy = classifier("resnet18", 10)
    sizes = [group.size for group in anatomy.all_groups() if sum(member.produces for member in group.members) > 2]
    makers = [sum(m.produces and m.tensor.endswith("weight") for m in group.members) for group in anatomy.all_groups()]
    assert sizes == [64, 128, 256, 512]
    assert sorted(makers) == [1] * 9 + [3] * 4
