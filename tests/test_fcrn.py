from functools import partial
from math import isfinite

import pytest
import torch
from subjects import bits, seeds, silenced
from test_nets import best, some
from torch import nn
from torchvision.models.resnet import BasicBlock

from rlprune.laws.pruners import shortened
from rlprune.nets.fcrn import FCRN, NAMES, depth_network, unpooled
from rlprune.pruning import select, surgery
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.pruner import NOTHING, pruners
from rlprune.training.depth import DepthTrainer, berhu
from rlprune.training.recipes import DepthRecipe


def small(seed=0):
    """A small network in float64 whose normalisation has statistics and weights of its own."""
    torch.manual_seed(seed)
    net, anatomy = depth_network("fcrn-small")
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.running_var):
                nn.init.uniform_(tensor, 0.5, 2)
            for tensor in (layer.bias, layer.running_mean):
                nn.init.normal_(tensor)
    return net.double().eval(), anatomy, torch.randn(2, 3, 22, 30, dtype=torch.float64)


def test_unpooling_puts_values_between_zeros():
    assert unpooled(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))[0, 0].tolist() == [
        [1, 0, 2, 0],
        [0, 0, 0, 0],
        [3, 0, 4, 0],
        [0, 0, 0, 0],
    ]


@pytest.mark.parametrize("choose", ["some", "best"])
def test_a_cut_network_computes_what_the_silenced_dense_one_computes(choose):
    net, anatomy, images = small()
    groups = anatomy.all_groups()
    kept = some(groups) if choose == "some" else best(net, anatomy)
    with torch.no_grad():
        expected, dense = silenced(net, groups, kept)(images), net(images)
        shapes = {weight: tuple(net.get_parameter(weight).shape) for weight in anatomy.all_weights()}
        surgery.cut(net, surgery.cuts(net, groups, kept))
        assert torch.allclose(net(images), expected, rtol=1e-10)
    assert not torch.allclose(dense, expected, rtol=1e-2)
    left = {group: int(keep.sum()) for group, keep in kept.items()}
    assert sum(net.get_parameter(weight).numel() for weight in shapes) == select.weights_left(shapes, groups, left)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_maps_images_to_depth_and_names_all_its_layers(name):
    with torch.device("meta"):
        net, anatomy = depth_network(name)
        assert net(torch.empty(2, 3, 45, 61)).shape == (2, 1, 45, 61)
    layers = [layer for layer, part in net.named_modules() if isinstance(part, nn.Conv2d)]
    assert anatomy.all_weights() == [f"{layer}.weight" for layer in layers]
    made = [member.tensor for group in anatomy.all_groups() for member in group.members if member.produces]
    read = [member.tensor for group in anatomy.all_groups() for member in group.members if member.dim == 1]
    assert sorted(tensor for tensor in made if tensor.endswith("weight")) == sorted(set(anatomy.all_weights()) - {"head.weight"})
    assert sorted(read) == sorted(set(anatomy.all_weights()) - {"conv1.weight"})
    normalised = [member.tensor for group in anatomy.all_groups() for member in group.members if "running_var" in member.tensor]
    assert sorted(normalised) == sorted(key for key in net.state_dict() if key.endswith("running_var"))


def test_the_paper_s_network_has_its_maps_and_size():
    """ResNet-50 without its head has 23,508,032 parameters; 304x228 becomes maps of 160x128."""
    with torch.device("meta"):
        net, _ = depth_network("fcrn")
        inside = []
        net.up.register_forward_hook(lambda _, __, maps: inside.append(maps.shape))
        net(torch.empty(1, 3, 228, 304))
    assert inside == [(1, 64, 128, 160)]
    encoder = [own for name, own in net.named_parameters() if name.startswith(("conv1", "bn1", "stages"))]
    assert sum(parameter.numel() for parameter in encoder) == 23_508_032


def test_an_unknown_network_suggests_the_nearest():
    with pytest.raises(ValueError, match="no network of depth is named 'fcrn-smal'; did you mean 'fcrn-small'"):
        depth_network("fcrn-smal")


# -- the loss ----------------------------------------------------------------------------------------------------


def test_the_reverse_huber_loss_is_its_formula_over_known_pixels():
    truth = torch.tensor([1.0, 2.0, 0.0, 4.0]).view(1, 1, 2, 2)
    predicted = torch.tensor([1.1, 1.0, 50.0, 6.0]).view(1, 1, 2, 2)
    border = 0.2 * 2
    expected = (0.1 + (1 + border**2) / (2 * border) + (4 + border**2) / (2 * border)) / 3
    assert float(berhu(predicted, truth)) == pytest.approx(expected)
    assert float(berhu(predicted, torch.zeros_like(truth))) == 0
    assert float(berhu(truth, truth)) == 0


def test_the_loss_bends_where_errors_are_large_and_nowhere_else():
    """Its second derivative by a depth is 1/c beyond the border c, divided by the pixels that count."""
    truth = torch.tensor([1.0, 2.0, 0.0, 4.0], dtype=torch.float64).view(1, 1, 2, 2)
    predicted = torch.tensor([1.1, 1.0, 50.0, 6.0], dtype=torch.float64).view(1, 1, 2, 2)
    bends = torch.autograd.functional.hessian(lambda depths: berhu(depths, truth), predicted).view(4, 4)
    assert torch.allclose(bends, torch.diag(torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)) / 0.4 / 3)


# -- every pruner ------------------------------------------------------------------------------------------------


class Tiny(DepthTrainer):
    """An FCRN of few channels on few rendered rooms."""

    def network(self):
        net = FCRN(BasicBlock, (1, 1), (8, 8), 8, (8, 8), small_images=True)
        return net, net.anatomy()


def tiny():
    recipe = DepthRecipe(budget=4, batch_size=4, height=16, width=20, train_images=8, scoring_batches=1, network="none")
    return Tiny(recipe, seeds, "cpu")


@pytest.mark.parametrize("name", pruners().names())
def test_every_pruner_prunes_a_network_of_depth(name):
    trainer, pruner = tiny(), pruners().load(name)
    before = bits(trainer.module)
    pruning = PlanFollower(trainer, pruner, shortened(pruner), 0.7, 4, "global", partial(seeds, number=0))
    while pruning.next_epoch() is not None:
        trainer.train_epoch(TrainEpoch(1.0, 0.5))
        pruning.epoch_done()
    assert bits(trainer.module) != before
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.0 if pruner.cut == NOTHING else 0.7, abs=0.03)
    assert isfinite(trainer.evaluate()["rmse"])
