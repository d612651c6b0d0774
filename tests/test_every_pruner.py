"""Laws of ``rlprune.laws`` that hold for every registered pruner, and what is asked of some alone."""

import numpy as np
import oracles
import pytest
import torch
from subjects import Tiny, seeds

from rlprune.laws import pruners as laws
from rlprune.laws.pruners import EPOCHS, chosen
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.pruner import CHANNELS, NOTHING, WEIGHTS, pruners
from rlprune.reason import NotApplicable

NAMES = pruners().names()
WEIGHT_PRUNERS = [name for name in NAMES if pruners().load(name).cut == WEIGHTS]
CHANNEL_PRUNERS = [name for name in NAMES if pruners().load(name).cut == CHANNELS]
CASES = [(name, law) for name in NAMES for law in laws.of(pruners().load(name))]


def prune(name, *given, **settings):
    return laws.prune(pruners().load(name), *given, **settings)


def test_there_are_pruners():
    assert {"Dense", "EarlyCroP-U", "EarlyCroP-S"} <= set(NAMES)
    assert len(NAMES) >= 17
    assert WEIGHT_PRUNERS
    assert CHANNEL_PRUNERS
    assert len(CASES) >= 6 * (len(NAMES) - 1)


@pytest.mark.parametrize(("name", "law"), CASES, ids=[f"{name}-{law.__name__}" for name, law in CASES])
def test_it_keeps_the_law(name, law):
    assert law(pruners().load(name)) is None


@pytest.mark.parametrize("sparsity", [0.5, 0.83, 0.95])
@pytest.mark.parametrize("name", CHANNEL_PRUNERS)
def test_channels_are_as_many_as_the_shapes_of_a_chain_say(name, sparsity):
    pruning, subject, _ = prune(name, sparsity)
    for network, sizes in Tiny.SIZES.items():
        kept = [int(pruning.state()["kept"][f"{network}.{index}"].sum()) for index in (0, 2)]
        assert [subject.module[network][index].out_features for index in (0, 2)] == kept
        left, dense = oracles.chain_weights(sizes, kept), oracles.chain_weights(sizes, sizes[1:-1])
        largest_channel = max(sizes[0] + kept[1] + 1, kept[0] + sizes[-1] + 1)
        assert abs(left - dense * (1 - sparsity)) <= largest_channel
        assert min(kept) >= 1


@pytest.mark.parametrize("name", ["Random-U", "Random-S"])
def test_another_seed_draws_other_lots(name):
    first, second = (prune(name, number=number)[0] for number in (0, 1))
    kept = [chosen(pruning) for pruning in (first, second)]
    assert any(not torch.equal(kept[0][n], kept[1][n]) for n in kept[0])


@pytest.mark.parametrize("scope", ["global", "network", "layer"])
@pytest.mark.parametrize("name", ["SNIP", "CroP-S"])
def test_every_scope_reaches_the_same_size(name, scope):
    pruning, _, _ = prune(name, scope=scope)
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.03)
    shares = [layer["kept"] / layer["dense"] for layer in pruning.layers().values()]
    if scope == "layer" and name == "SNIP":
        assert all(share == pytest.approx(0.2, abs=1 / 6 + 0.01) for share in shares)


@pytest.mark.parametrize("name", WEIGHT_PRUNERS)
def test_scope_erk_keeps_the_densities_of_an_erdos_renyi_kernel(name):
    pruning, subject, _ = prune(name, scope="erk")
    dense = Tiny().module
    for names in subject.anatomy.weights.values():
        shapes = [tuple(dense.get_parameter(n).shape) for n in names]
        for n, shape, density in zip(names, shapes, oracles.erk(shapes, 0.2), strict=True):
            assert pruning.layers()[n]["kept"] == pytest.approx(density * np.prod(shape), abs=1.5)
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("name", [name for name in CHANNEL_PRUNERS if pruners().load(name).scope is None])
def test_scope_erk_is_not_for_channels(name):
    with pytest.raises(NotApplicable, match=rf'scope = "erk" gives out weights, and {name} cuts channels: take "layer"'):
        prune(name, scope="erk")


def test_dense_removes_nothing():
    pruning, subject, _ = prune("Dense")
    assert pruners().load("Dense").cut == NOTHING
    assert pruning.reached() == {"sparsity_weights": 0.0, "empty_layers": 0.0, "sparsity_nodes": 0.0}
    assert subject.resizes == 0


@pytest.mark.parametrize("moments", ["keep", "reset"])
@pytest.mark.parametrize("name", ["EarlyCroP-U", "EarlyCroP-S"])
def test_the_optimizer_keeps_its_averages_or_starts_anew(name, moments):
    subject, pruner = Tiny(), pruners().load(name)
    pruning = PlanFollower(subject, pruner, pruner.settings({"moments": moments}), 0.8, EPOCHS, "network", seeds)
    while pruning.next_epoch() is not None:
        if pruning.pruning_epoch is not None:
            break
        subject.train_epoch()
        pruning.epoch_done()
    assert bool(subject.optimizer.state) == (moments == "keep")
