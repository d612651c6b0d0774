import sys

import pytest
import torch
import torchvision
from test_nets import SMALL, silenced, small, some
from torch import nn

from rlprune import surgery
from rlprune.groups import present
from rlprune.nets.auto import anatomy
from rlprune.nets.classifiers import classifier


def by_tensor(groups):
    return {frozenset(group.members): (group.size, group.blocks) for group in groups}


@pytest.mark.parametrize("name", SMALL)
def test_traced_groups_are_the_ones_we_wrote_down(name):
    pytest.importorskip("torch_pruning")
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
    pytest.importorskip("torch_pruning")
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
    surgery.cut(net, surgery.keeps(net, groups, first))
    surgery.cut(net, surgery.keeps(net, present(groups, first), second))
    with torch.no_grad():
        assert torch.allclose(net(images), masked(images), rtol=1e-10)
    assert net.deep.groups == net.deep.out_channels == int(both["join"].sum())


@pytest.mark.parametrize("name", ["mobilenet_v2", "googlenet"])
def test_networks_of_torchvision_are_cut_exactly(name):
    pytest.importorskip("torch_pruning")
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    net = randomised(torchvision.models.get_model(name, num_classes=5, **options))
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    groups = anatomy(net, images).all_groups()
    kept = some(groups)
    with torch.no_grad():
        expected = silenced(net, groups, kept)(images)
        surgery.cut(net, surgery.keeps(net, groups, kept))
        assert torch.allclose(net(images), expected, rtol=1e-8)


def test_what_cannot_be_grouped_is_named():
    pytest.importorskip("torch_pruning")
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.Flatten(), nn.Linear(8 * 16, 2))
    with pytest.raises(ValueError, match="channels on a GroupNorm cannot be grouped"):
        anatomy(net, torch.randn(2, 3, 4, 4))


def test_without_torch_pruning_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ImportError, match=r"rlprune\[auto\]"):
        anatomy(nn.Linear(2, 2), torch.randn(1, 2))


def test_a_classifier_of_torchvision_is_had_by_its_name():
    net, anatomy = classifier("torchvision/mobilenet_v2", 7)
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert len(anatomy.all_groups()) > 20
    with pytest.raises(ValueError, match=r"torchvision has no classifier 'resnet19'; did you mean 'torchvision/resnet1"):
        classifier("torchvision/resnet19", 7)
