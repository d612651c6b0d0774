import pytest
import torch
from torch import nn

import rlprune
from rlprune.pruner import CHANNELS, pruners


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
    before, epochs = loss(net).item(), 0
    while not pruning.done:
        assert 0 < pruning.remaining <= 1
        optimizer.zero_grad()
        loss(net).backward()
        optimizer.step()
        pruning.epoch_end()
        epochs += 1
    assert epochs == pruning.follower.progress.trained >= 5
    left = sum(int((p != 0).sum()) for n, p in net.named_parameters() if n.endswith("weight"))
    assert 1 - left / (5 * 24 + 24 * 16 + 16 * 2) == pytest.approx(0.8, abs=0.05 if pruner.cut == CHANNELS else 0.001)
    assert loss(net).item() < before + 0.2
    with pytest.raises(RuntimeError, match="the plan ended"):
        pruning.epoch_end()


def test_channels_of_an_unknown_network_need_groups():
    net = nn.Sequential(nn.Sequential(nn.Linear(3, 4)), nn.Linear(4, 1))
    with pytest.raises(ValueError, match="groups="):
        rlprune.Pruning(net, "CroP-S", 0.5, epochs=2, loss=lambda net: net(torch.ones(1, 3)).sum())


def test_a_network_without_weights_is_refused():
    with pytest.raises(ValueError, match="nothing to prune"):
        rlprune.Pruning(nn.Tanh(), "SNIP", 0.5, epochs=2, loss=lambda net: torch.zeros(()))


def test_only_pruning_is_offered():
    with pytest.raises(AttributeError, match="no attribute 'Prune'"):
        _ = rlprune.Prune
