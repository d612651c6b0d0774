"""Laws that hold for every registered pruner; a third-party one is held to them as soon as it is registered."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import oracles
import pytest
import torch
from subjects import Tiny, bits, seeds, silenced

from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.groups import present
from rlprune.pruning.plan import Grow, Prune, Train, trained_epochs
from rlprune.pruning.pruner import CHANNELS, NOTHING, WEIGHTS, pruners
from rlprune.reason import NotApplicable

NAMES = pruners().names()
EPOCHS = 4
WEIGHT_PRUNERS = [name for name in NAMES if pruners().load(name).cut == WEIGHTS]
CHANNEL_PRUNERS = [name for name in NAMES if pruners().load(name).cut == CHANNELS]


def shortened(pruner, **settings):
    """The settings that keep a pruner's own plan short enough for a test, and others."""
    known = type(pruner.settings()).model_fields
    short = {key: value for key, value in {"levels": 2, "rounds": 3}.items() if key in known}
    return pruner.settings({**short, **settings})


def fit(name):
    """A network that has what the pruner needs."""
    return Tiny(normed="batchnorm" in pruners().load(name).needs)


def prune(name, sparsity=0.8, subject=None, watch=lambda pruning, subject: None, number=0, scope="network", **settings):
    subject, pruner = subject or fit(name), pruners().load(name)
    settings = shortened(pruner, **settings)
    pruning = PlanFollower(subject, pruner, settings, sparsity, EPOCHS, scope, partial(seeds, number=number))
    epochs = 0
    while pruning.next_epoch() is not None:
        watch(pruning, subject)
        subject.train_epoch()
        pruning.epoch_done()
        epochs += 1
    watch(pruning, subject)
    return pruning, subject, epochs


def chosen(pruning):
    """What is kept so far: channels by group in the dense numbering, weights by name."""
    state = pruning.state()
    return {name: keep.clone() for name, keep in {**state["kept"], **state["masks"]}.items()}


def test_there_are_pruners():
    assert {"Dense", "EarlyCroP-U", "EarlyCroP-S"} <= set(NAMES)
    assert len(NAMES) >= 17
    assert WEIGHT_PRUNERS
    assert CHANNEL_PRUNERS


@pytest.mark.parametrize("name", NAMES)
def test_the_network_still_learns_and_the_plan_costs_what_it_says(name):
    subject = fit(name)
    before = subject.loss(subject.module).item()
    pruning, subject, epochs = prune(name, subject=subject)
    assert epochs <= trained_epochs(pruning.plan, EPOCHS)
    assert pruning.progress.trained == epochs >= EPOCHS
    assert subject.loss(subject.module).item() < before


@pytest.mark.parametrize("sparsity", [0.5, 0.83, 0.95])
@pytest.mark.parametrize("name", WEIGHT_PRUNERS)
def test_weights_reach_the_sparsity_to_one_weight(name, sparsity):
    pruning, subject, _ = prune(name, sparsity)
    dense = {n: subject.module.get_parameter(n).numel() for n in subject.anatomy.all_weights()}
    for network, weights in subject.anatomy.weights.items():
        kept = sum(int(pruning.masked.masks[n].sum()) for n in weights)
        assert abs(kept - sum(dense[n] for n in weights) * (1 - sparsity)) <= 1, network
    total = sum(dense.values())
    assert sum(int(mask.sum()) for mask in pruning.masked.masks.values()) == round(total * (1 - sparsity))
    assert pruning.reached()["sparsity_weights"] == pytest.approx(1 - round(total * (1 - sparsity)) / total)
    assert not any(bool(subject.module.get_parameter(n)[~mask].any()) for n, mask in pruning.masked.masks.items())


@pytest.mark.parametrize("sparsity", [0.5, 0.83, 0.95])
@pytest.mark.parametrize("name", CHANNEL_PRUNERS)
def test_channels_reach_the_same_sparsity_to_one_channel(name, sparsity):
    pruning, subject, _ = prune(name, sparsity)
    for network, sizes in Tiny.SIZES.items():
        kept = [int(pruning.state()["kept"][f"{network}.{index}"].sum()) for index in (0, 2)]
        assert [subject.module[network][index].out_features for index in (0, 2)] == kept
        left, dense = oracles.chain_weights(sizes, kept), oracles.chain_weights(sizes, sizes[1:-1])
        largest_channel = max(sizes[0] + kept[1] + 1, kept[0] + sizes[-1] + 1)
        assert abs(left - dense * (1 - sparsity)) <= largest_channel
        assert min(kept) >= 1


@pytest.mark.parametrize("name", WEIGHT_PRUNERS + CHANNEL_PRUNERS)
def test_what_is_pruned_stays_pruned_or_as_much_goes_as_grows(name):
    seen = []

    def watch(pruning, subject):
        alive = chosen(pruning)
        if seen and any(isinstance(step, Grow) for step in pruning.plan):
            for names in subject.anatomy.weights.values():  # by layer under some scopes, by network under all
                now, before = (sum(int(some[n].sum()) for n in names if n in some) for some in (alive, seen[-1]))
                assert now <= before or not before
        elif seen:
            assert not any(bool((alive[n] & ~before).any()) for n, before in seen[-1].items() if n in alive)
        seen.append(alive)

    prune(name, watch=watch)
    assert len(seen) > EPOCHS


@pytest.mark.parametrize("name", NAMES)
def test_scoring_leaves_network_optimizer_and_global_generators_alone(name):
    subject, pruner = fit(name), pruners().load(name)
    if pruner.score is None:
        pytest.skip(f"{name} scores nothing")
    subject.train_epoch()
    before = (
        bits(subject.module, subject.optimizer),
        torch.get_rng_state(),
        np.random.get_state(legacy=False)["state"]["key"].copy(),
    )
    modes = [module.training for module in subject.module.modules()]
    now = replace(pruner, plan=[Prune(), Train()])
    pruning = PlanFollower(subject, now, now.settings({"start": "kept"}), 0.0, EPOCHS, "network", seeds)
    pruning.next_epoch()
    assert pruning.pruning_epoch == 0, "it was scored, and all was kept"
    assert bits(subject.module, subject.optimizer) == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], before[2])
    assert [module.training for module in subject.module.modules()] == modes


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_network(name):
    first, second = (prune(name)[1] for _ in range(2))
    assert bits(first.module, first.optimizer) == bits(second.module, second.optimizer)


@pytest.mark.parametrize("name", ["Random-U", "Random-S"])
def test_another_seed_draws_other_lots(name):
    first, second = (prune(name, number=number)[0] for number in (0, 1))
    kept = [chosen(pruning) for pruning in (first, second)]
    assert any(not torch.equal(kept[0][n], kept[1][n]) for n in kept[0])


@pytest.mark.parametrize("name", CHANNEL_PRUNERS)
def test_the_cut_network_equals_the_masked_one(name):
    subject, pruner = fit(name), pruners().load(name)
    pruning = PlanFollower(subject, pruner, shortened(pruner, start="kept"), 0.8, EPOCHS, "network", seeds)
    cuts, training = 0, True
    while training:
        dense, before = copy.deepcopy(subject.module), chosen(pruning)
        training = pruning.next_epoch() is not None
        kept = {group: keep[before[group]] for group, keep in chosen(pruning).items()}
        if not all(bool(keep.all()) for keep in kept.values()):
            cuts += 1
            masked = silenced(dense, present(subject.anatomy.all_groups(), before), kept)
            assert torch.allclose(subject.predict(), subject.predict(masked), rtol=1e-5, atol=1e-12)
        if training:
            subject.train_epoch()
            pruning.epoch_done()
    assert cuts
    assert subject.resizes == pruning.progress.rounds


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_run_resumed_at_any_epoch_ends_bit_identical(name, stop, tmp_path):
    _, whole, _ = prune(name)
    subject, pruner = fit(name), pruners().load(name)
    pruning = PlanFollower(subject, pruner, shortened(pruner), 0.8, EPOCHS, "network", seeds)
    for _ in range(stop):
        pruning.next_epoch()
        subject.train_epoch()
        pruning.epoch_done()
    torch.save([pruning.state(), subject.module.state_dict(), subject.optimizer.state_dict()], tmp_path / "state")
    saved = torch.load(tmp_path / "state", weights_only=True)
    subject = fit(name)
    pruning = PlanFollower(subject, pruner, shortened(pruner), 0.8, EPOCHS, "network", seeds)
    pruning.load_state(saved[0])
    subject.module.load_state_dict(saved[1])
    subject.optimizer.load_state_dict(saved[2])
    while pruning.next_epoch() is not None:
        subject.train_epoch()
        pruning.epoch_done()
    assert bits(subject.module, subject.optimizer) == bits(whole.module, whole.optimizer)


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
