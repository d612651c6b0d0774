"""How many weights stay where: sparsities of actor and critic apart, output layers that stay whole; laws for every pruner."""

import copy
import warnings
from functools import partial

import numpy as np
import oracles
import pytest
import torch
from stable_baselines3 import A2C
from subjects import Tiny, bits, finish_together, seeds
from torch import nn

import rlprune
from rlprune.bench.matrix import cells
from rlprune.bench.mistakes import SuiteError
from rlprune.bench.suite import load_suite
from rlprune.nets.classifiers import classifier
from rlprune.nets.fcrn import depth_network
from rlprune.nets.psmm import PSMM
from rlprune.pruning.follower import Missed, PlanFollower
from rlprune.pruning.plan import Prune, PruneTo, after, next_action
from rlprune.pruning.pruner import CHANNELS, NOTHING, WEIGHTS, pruners
from rlprune.reason import NotApplicable
from rlprune.sb3 import PruneCallback
from rlprune.training import policies
from rlprune.training.fleet import FleetAgent
from rlprune.training.recipes import A2CRecipe

NAMES = [name for name in pruners().names() if pruners().load(name).cut != NOTHING]
WEIGHT_PRUNERS = [name for name in NAMES if pruners().load(name).cut == WEIGHTS]
CHANNEL_PRUNERS = [name for name in NAMES if pruners().load(name).cut == CHANNELS]
ONCE = [name for name in NAMES if pruners().load(name).steps(pruners().load(name).settings())[0] == Prune()]
HEADS = ("actor.4.weight", "critic.4.weight")


def follow(name, sparsity=0.8, subject=None, epochs=4, scope="network", **settings):
    pruner = pruners().load(name)
    subject = subject or Tiny(normed="batchnorm" in pruner.needs)
    known = type(pruner.settings()).model_fields
    short = {key: value for key, value in {"levels": 2, "rounds": 3}.items() if key in known}
    return PlanFollower(subject, pruner, pruner.settings({**short, **settings}), sparsity, epochs, scope, seeds), subject


def finish(pruning, subject, watch=lambda: None):
    while pruning.next_epoch() is not None:
        watch()
        subject.train_epoch()
        pruning.epoch_done()
    watch()
    return subject


def dense(network):
    return oracles.chain_weights(Tiny.SIZES[network], Tiny.SIZES[network][1:-1])


def left(subject, network):
    """Weights of one network that masks keep."""
    return sum(int(subject.masked.masks[name].sum()) for name in subject.anatomy.weights[network])


# -- actor and critic --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["network", "layer", "erk"])
@pytest.mark.parametrize("name", WEIGHT_PRUNERS)
def test_actor_and_critic_lose_what_is_asked_of_each(name, scope):
    subject = finish(*follow(name, 0.8, scope=scope, actor=0.9, critic=0.55))
    assert left(subject, "actor") == round(dense("actor") * 0.1)
    assert left(subject, "critic") == round(dense("critic") * 0.45)


@pytest.mark.parametrize("scope", ["network", "layer"])
@pytest.mark.parametrize("name", CHANNEL_PRUNERS)
def test_channels_of_actor_and_critic_lose_what_is_asked_of_each_to_one_channel(name, scope):
    pruning, subject = follow(name, 0.8, scope=scope, actor=0.85, critic=0.4)
    finish(pruning, subject)
    for network, sparsity in (("actor", 0.85), ("critic", 0.4)):
        sizes = Tiny.SIZES[network]
        kept = [subject.module[network][index].out_features for index in (0, 2)]
        channel = max(sizes[0] + kept[1] + 1, kept[0] + sizes[-1] + 1)
        assert abs(oracles.chain_weights(sizes, kept) - dense(network) * (1 - sparsity)) <= channel


@pytest.mark.parametrize("name", ONCE)
def test_what_is_asked_of_the_actor_changes_nothing_of_the_critic(name):
    plain, apart = (follow(name, 0.8, start="kept", **settings) for settings in ({}, {"actor": 0.5}))
    for pruning, _ in (plain, apart):
        pruning.next_epoch()
    assert bits(apart[1].module["critic"]) == bits(plain[1].module["critic"])
    assert bits(apart[1].module["actor"]) != bits(plain[1].module["actor"])


@pytest.mark.parametrize("name", ["CroPit-U", "SynFlow"])
def test_each_network_is_at_its_own_sparsity_after_every_round(name):
    pruning, subject = follow(name, 0.6, actor=0.9, rounds=6)
    schedule, seen = pruning.plan[0].schedule, []
    while isinstance(action := next_action(pruning.plan, 0.6, 4, pruning.progress), PruneTo):
        pruning._prune(action)
        seen.append([left(subject, network) for network in ("actor", "critic")])
        pruning.progress = after(pruning.plan, 0.6, 4, pruning.progress, action)
    rounds = zip(schedule.sparsities(0.9), schedule.sparsities(0.6), strict=True)
    assert seen == [[round(dense("actor") * (1 - one)), round(dense("critic") * (1 - other))] for one, other in rounds]
    assert len(seen) == 6


def test_a_critic_alone_may_be_pruned():
    subject = finish(*follow("SNIP", 0.9, actor=0))
    assert left(subject, "actor") == dense("actor")
    assert left(subject, "critic") == round(dense("critic") * 0.1)


def test_what_no_network_can_have_is_refused_by_name():
    subject = Tiny()
    subject.anatomy = copy.copy(subject.anatomy)
    object.__setattr__(subject.anatomy, "weights", {"network": subject.anatomy.all_weights()})
    before = bits(subject.module)
    with pytest.raises(
        NotApplicable, match=r"actor = 0\.9 is the sparsity of one of several networks, and this one has no actor"
    ):
        follow("SNIP", subject=subject, actor=0.9)
    assert bits(subject.module) == before
    with pytest.raises(
        NotApplicable, match=r'scope = "global" ranks all networks as one, and critic = 0\.5 sets one apart: take "network"'
    ):
        follow("SNIP", scope="global", critic=0.5)
    for wrong in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="actor"):
            pruners().load("SNIP").settings({"actor": wrong})


def test_a_sparsity_that_one_network_cannot_reach_is_told_of_that():
    pruning, _ = follow("SNIP", 0.8, critic=0.99, floor=5)
    with pytest.warns(Missed) as told:
        pruning.next_epoch()
    assert [str(one.message) for one in told] == [
        "SNIP: 0.9405 of the weights of critic are removed, not 0.99: 5 stay in every weight tensor"
    ]


# -- heads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["network", "layer", "erk"])
@pytest.mark.parametrize("name", WEIGHT_PRUNERS)
def test_dense_heads_stay_whole_and_the_others_of_their_network_pay_for_them(name, scope):
    pruning, subject = follow(name, 0.8, scope=scope, heads="dense")
    seen = []
    finish(pruning, subject, lambda: seen.append(dict(subject.masked.masks)))
    assert all(bool(masks[head].all()) for masks in seen if masks for head in HEADS)
    assert all(left(subject, network) == round(dense(network) * 0.2) for network in Tiny.SIZES)


def test_dense_heads_under_one_ranking_of_all():
    pruning, subject = follow("SNIP", 0.8, scope="global", heads="dense")
    pruning.next_epoch()
    masks = subject.masked.masks
    assert sum(int(mask.sum()) for mask in masks.values()) == round((dense("actor") + dense("critic")) * 0.2)
    assert all(bool(masks[head].all()) for head in HEADS)


def test_the_others_are_ranked_as_if_there_were_no_heads():
    pruning, subject = follow("SNIP", 0.8, heads="dense")
    scores = pruning._scored(pruning._probe(0))
    pruning.next_epoch()
    for network, names in subject.anatomy.weights.items():
        hidden = [name for name in names if name not in HEADS]
        joined = np.concatenate([scores[name].numpy().ravel() for name in hidden])
        kept = np.concatenate([subject.masked.masks[name].numpy().ravel() for name in hidden])
        head = subject.module[network][4].weight.numel()
        assert set(kept.nonzero()[0]) == oracles.highest(joined.tolist(), round(dense(network) * 0.2) - head)


def test_scope_erk_solves_the_densities_of_the_others():
    pruning, subject = follow("Random-U", 0.8, scope="erk", heads="dense")
    pruning.next_epoch()
    for network, names in subject.anatomy.weights.items():
        shapes = [tuple(subject.module.get_parameter(name).shape) for name in names[:-1]]
        rest = sum(int(np.prod(shape)) for shape in shapes)
        share = (round(dense(network) * 0.2) - subject.module[network][4].weight.numel()) / rest
        for name, shape, density in zip(names, shapes, oracles.erk(shapes, share), strict=False):
            assert int(subject.masked.masks[name].sum()) == pytest.approx(density * np.prod(shape), abs=1)


def test_scope_layer_takes_a_like_share_of_the_others():
    pruning, subject = follow("Random-U", 0.7, scope="layer", heads="dense")
    pruning.next_epoch()
    for names in subject.anatomy.weights.values():
        share = [float(subject.masked.masks[name].double().mean()) for name in names]
        assert share[0] == pytest.approx(share[1], abs=0.02)
        assert share[0] < 0.3 < share[2] == 1


def test_heads_that_are_more_than_may_stay_are_told():
    pruning, subject = follow("SNIP", 0.95, heads="dense")
    with pytest.warns(Missed) as told:
        pruning.next_epoch()
    assert [str(one.message) for one in told] == [
        f"SNIP: {reached} are removed, not 0.95: 1 stay in every weight tensor, and all in output layers"
        for reached in ("0.9015 of the weights of actor", "0.9444 of the weights of critic")
    ]
    assert [left(subject, network) for network in Tiny.SIZES] == [24 + 2, 12 + 2]


@pytest.mark.parametrize("name", CHANNEL_PRUNERS)
def test_outputs_are_never_cut_so_dense_heads_change_nothing_for_channels(name):
    one, other = (finish(*follow(name, heads=heads)) for heads in ("pruned", "dense"))
    assert bits(one.module, one.optimizer) == bits(other.module, other.optimizer)


def test_heads_of_a_network_that_nobody_knows_are_refused_by_name():
    net, inputs = nn.Sequential(nn.Linear(5, 30), nn.Tanh(), nn.Linear(30, 2)), torch.ones(4, 5)
    before = bits(net)
    told = 'heads = "dense" leaves output layers whole, and nothing says which of this network they are'
    for settings, message in (({"heads": "dense"}, told), ({"actor": 0.5}, "this one has no actor")):
        with pytest.raises(NotApplicable, match=message):
            rlprune.Pruning(net, "SNIP", 0.8, epochs=2, loss=lambda net: net(inputs).square().mean(), optimizer=None, **settings)
    assert bits(net) == before


@pytest.mark.parametrize("name", ["resnet-small", "vgg-small", "resnext-small"])
def test_the_heads_of_classifiers_are_the_layers_of_their_classes(name):
    with torch.random.fork_rng([]):
        net, anatomy = classifier(name, 7)
    assert list(anatomy.heads) == [name for name in anatomy.all_weights() if len(net.get_parameter(name)) == 7]


def test_the_heads_of_other_networks_are_the_layers_of_their_outputs():
    with torch.random.fork_rng([]):
        assert depth_network("fcrn-small")[1].heads == ["head.weight"]
        assert PSMM(11, 4).anatomy().heads == ["output.weight"]
    for layers in ([], [8]):
        policy = A2C("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": layers}).policy
        assert policies.anatomy(policy).heads == ["action_net.weight", "value_net.weight"]


# -- both --------------------------------------------------------------------------------------------------------

BOTH = {"actor": 0.6, "critic": 0.85, "heads": "dense"}


@pytest.mark.parametrize("name", ["SNIP", "CroP-S", "CroPit-U", "EarlyCroP-U", "EarlyCroP-S", "LTR"])
def test_a_resumed_run_ends_bit_identical(name):
    whole = finish(*follow(name, **BOTH))
    pruning, subject = follow(name, **BOTH)
    for _ in range(2):
        pruning.next_epoch()
        subject.train_epoch()
        pruning.epoch_done()
    saved = copy.deepcopy([pruning.state(), subject.module.state_dict(), subject.optimizer.state_dict()])
    pruning, subject = follow(name, **BOTH)
    pruning.load_state(saved[0])
    subject.module.load_state_dict(saved[1])
    subject.optimizer.load_state_dict(saved[2])
    finish(pruning, subject)
    assert bits(subject.module, subject.optimizer) == bits(whole.module, whole.optimizer)


TINY = A2CRecipe(
    environment="CartPole-v1", budget=960, epochs=3, environments=4, widths=(20, 20), scoring_steps=40, evaluation_games=2
)


def agent(name, number=0, **settings):
    trainer, pruner = FleetAgent(TINY, partial(seeds, number=number), "cpu"), pruners().load(name)
    chosen = pruner.settings(settings)
    return trainer, PlanFollower(trainer, pruner, chosen, 0.8, 3, "network", partial(seeds, number=number))


@pytest.mark.parametrize("name", ["EarlyCroP-U", "Tiny"])
def test_company_in_a_fleet_changes_no_bit(name):
    def finished(*pairs):
        finish_together(*pairs)
        return bits(pairs[0][0].module, pairs[0][0].optimizer)

    others = [agent("Dense", 1), agent("SNIP", 2, critic=0.5), agent("Tiny", 3), agent("SNIP", 4, heads="dense")]
    assert finished(agent(name, **BOTH), *others) == finished(agent(name, **BOTH))


def test_a_callback_takes_them():
    model = A2C("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [32, 32]}, seed=0)
    callback = PruneCallback("SNIP", 0.8, epochs=2, scoring_steps=20, **BOTH)
    model.learn(20, callback=callback)
    kept = {name: int((weight != 0).sum()) for name, weight in model.policy.named_parameters() if weight.dim() == 2}
    actor, critic = ((4 * 32 + 32 * 32 + 32 * outputs) for outputs in (2, 1))
    assert sum(count for name, count in kept.items() if "policy" in name or "action" in name) == round(actor * 0.4)
    assert sum(count for name, count in kept.items() if "value" in name) == round(critic * 0.15)
    assert kept["action_net.weight"] == 64
    assert kept["value_net.weight"] == 32
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        again = PruneCallback("SNIP", 0.8, epochs=2, scoring_steps=20, actor=0.7, critic=0.5)
        model.learn(20, callback=again)
    assert any("sparsity=0.8 counts from that network" in str(one.message) for one in told)
    assert any("0.8497 of the weights of critic are removed, not 0.5: more was pruned before" in str(one.message) for one in told)
    assert again.pruning.tallies()[0].kept == round(actor * 0.3)


# -- suites ------------------------------------------------------------------------------------------------------


def made(*overrides, names="['SNIP']"):
    return cells(load_suite("cartpole", "smoke", [f"pruners={names}", *overrides]), "cpu")


def test_cells_without_them_have_the_ids_they_always_had():
    plain = made()[0]
    assert not {"actor", "critic", "heads"} & set(plain.settings)
    assert made("pruning.heads=pruned")[0].id == plain.id
    (other,) = {made("pruning.actor=.9")[0].settings["actor"]}
    assert other == 0.9
    assert len({plain.id, *(made(one)[0].id for one in ("pruning.actor=.9", "pruning.critic=.9", "pruning.heads=dense"))}) == 4


def test_heads_make_no_other_cell_of_a_pruner_of_channels():
    assert made("pruning.heads=dense", names="['SNAP']")[0].id == made(names="['SNAP']")[0].id
    assert made("pruning.actor=.9", names="['SNAP']")[0].id != made(names="['SNAP']")[0].id
    with pytest.raises(SuiteError, match="has all settings of 'SNAP'"):
        made('variant."SNAP whole"={ of = "SNAP", heads = "dense" }', names="['SNAP', 'SNAP whole']")


def test_a_list_makes_a_variant_of_each_and_a_share_out_of_range_is_told():
    found = made('variant."SNIP, actor {actor}"={ of = "SNIP", actor = [0, 0.9] }', names="['SNIP, actor {actor}']")
    assert {(cell.variant, cell.settings["actor"]) for cell in found} == {("SNIP, actor 0", 0.0), ("SNIP, actor 0.9", 0.9)}
    with pytest.raises(SuiteError, match=r"actor: got 1\.5; must be less than 1"):
        made("pruner.SNIP.actor=1.5")
