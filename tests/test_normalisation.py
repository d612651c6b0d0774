"""What pruners do with batch normalisation: scales as scores, gates, penalties, frozen layers, masks that settle."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from subjects import Tiny, seeds
from torch import nn

from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.groups import Anatomy, Group, Member
from rlprune.pruning.plan import Exponential, LazyRegime, Level, MaskDistance, Prune, Train
from rlprune.pruning.probe import Probe, Scoring
from rlprune.pruning.pruner import CHANNELS, Pruner, pruners
from rlprune.reason import NotApplicable


def probe_of(tiny):
    return Probe(tiny.module, tiny.anatomy, tiny.scoring(0), torch.Generator(), {}, tiny.anatomy.all_groups())


def norms(tiny):
    return [layer for layer in tiny.module.modules() if isinstance(layer, nn.BatchNorm1d)]


def unlike(tiny):
    """Normalisation of every channel its own."""
    with torch.no_grad():
        for layer in norms(tiny):
            for tensor in (layer.weight, layer.bias, layer.running_mean):
                tensor.copy_(torch.randn(tensor.shape, dtype=tensor.dtype, generator=torch.Generator().manual_seed(3)))
    return tiny


def follow(tiny, plan, score, epochs=6, watch=lambda pruning: None, sparsity=0.5):
    pruner = Pruner("test", score, cut=CHANNELS, plan=plan)
    pruning = PlanFollower(tiny, pruner, pruner.settings(), sparsity, epochs, "network", seeds)
    while pruning.next_epoch() is not None:
        watch(pruning)
        tiny.train_epoch()
        pruning.epoch_done()
    return pruning


def test_earlybird_scores_a_channel_by_its_scale():
    tiny = unlike(Tiny(normed=True))
    scores = pruners().load("EarlyBird").score(probe_of(tiny))
    assert torch.equal(scores["critic.2"], tiny.module["critic"][3][0].weight.detach().abs())


def test_the_gate_score_is_the_slope_of_a_gate_behind_the_normalisation():
    tiny = unlike(Tiny(normed=True))
    probe = probe_of(tiny)
    expected = torch.zeros(12, dtype=torch.float64)
    layer = tiny.module["actor"][3][0]
    for loss in probe.batches:
        gate = torch.ones(12, dtype=torch.float64, requires_grad=True)
        hook = layer.register_forward_hook(lambda module, given, out, gate=gate: out * gate)
        tiny.module.eval()
        expected += torch.autograd.grad(loss(tiny.module, 1.0), gate)[0].abs()
        tiny.module.train()
        hook.remove()
    got = pruners().load("GateDecorators").score(probe)["actor.2"]
    assert torch.allclose(got.double(), expected, rtol=1e-5)


def test_a_penalty_pulls_scales_to_zero_only_while_its_step_lasts():
    sums = {}
    for penalty in (0.0, 1.0):
        tiny = Tiny(normed=True)
        pruning = follow(tiny, [Train(share=0.5, penalty=penalty), Prune(), Train()], lambda probe: probe.scales(), sparsity=0.1)
        sums[penalty] = sum(float(layer.weight.detach().abs().mean()) for layer in norms(tiny))
        assert not tiny.optimizer._optimizer_step_pre_hooks
        assert not pruning._undo
    assert sums[1.0] < sums[0.0] - 0.1


def test_when_gates_train_alone_the_layers_in_front_of_them_stay():
    tiny, seen = Tiny(normed=True), []

    def watch(pruning):
        if pruning.progress.step == 0:
            seen.append({name: parameter.detach().clone() for name, parameter in tiny.module.named_parameters()})

    follow(tiny, [Train(epochs=3, only="gates"), Train()], lambda probe: probe.scales(), watch=watch)
    first, last = seen[0], seen[-1]
    moved = {name for name in first if not torch.equal(first[name], last[name])}
    heads = {f"{net}.4.{kind}" for net in ("actor", "critic") for kind in ("weight", "bias")}
    gates = {f"{net}.{index}.0.{kind}" for net in ("actor", "critic") for index in (1, 3) for kind in ("weight", "bias")}
    assert moved == heads | gates
    assert all(parameter.requires_grad for parameter in tiny.module.parameters())


def test_the_mask_distance_counts_channels_that_changed_their_side():
    tiny = Tiny(normed=True)
    order = iter([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]])

    def score(probe):
        values = next(order)
        return {group.name: torch.tensor(values).repeat(-(-group.size // 4))[: group.size] for group in probe.groups}

    pruner = Pruner("test", score, cut=CHANNELS, plan=[Train()])
    pruning = PlanFollower(tiny, pruner, pruner.settings(), 0.75, 4, "network", seeds)
    assert pruning.mask_distance(2) == 1.0  # there is nothing to compare with
    assert pruning.mask_distance(2) == 0.0
    assert 0.5 <= pruning.mask_distance(2) <= 1.0


def test_a_mask_that_stays_fires_after_a_whole_window():
    trigger = MaskDistance(window=3, threshold=0.1, cap=1.0)
    fixed = torch.arange(16.0)
    pruning = follow(
        Tiny(normed=True),
        [Train(until=trigger), Prune(), Train()],
        lambda p: {g.name: fixed[: g.size] for g in p.groups},
        epochs=9,
    )
    assert pruning.pruning_epoch == 3
    assert not trigger.fires((), 0.9)
    assert trigger.value(()) is None
    assert LazyRegime().cap == MaskDistance().cap


def test_efficientconvnets_takes_the_same_share_of_every_layer_whatever_the_task_ranks():
    tiny, pruner = Tiny(), pruners().load("EfficientConvNets")
    pruning = PlanFollower(tiny, pruner, pruner.settings(), 0.75, 4, "global", seeds)
    while pruning.next_epoch() is not None:
        tiny.train_epoch()
        pruning.epoch_done()
    shares = [float(kept.double().mean()) for kept in pruning._kept.values()]
    assert max(shares) - min(shares) <= 1 / 12 + 1e-9
    assert pruning.pruning_epoch == 3


@pytest.mark.parametrize("name", ["EarlyBird", "GateDecorators"])
def test_a_network_without_normalisation_is_refused_in_words(name):
    pruner = pruners().load(name)
    with pytest.raises(ValueError, match=f"{name} needs batchnorm, which this network does not have"):
        PlanFollower(Tiny(), pruner, pruner.settings(), 0.5, 4, "network", seeds)


class Joint(nn.Module):
    """Two maps side by side behind one normalisation, one of them normalised by itself as well."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.own = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6)
        self.norm, self.head = nn.BatchNorm2d(10), nn.Linear(10 * 4, 2)

    def forward(self, images, gate_own=1.0, gate_joint=1.0):
        left, right = self.left(images), self.own(self.right(images)) * gate_own
        return self.head(torch.tanh(self.norm(torch.cat([left, right], 1)) * gate_joint).flatten(1))


def joint():
    """The network, in float64 and evaluation mode, with its groups and images of 2x2."""
    torch.manual_seed(0)
    net = Joint().double().eval()
    for layer in (net.own, net.norm):
        for tensor in (layer.weight, layer.bias, layer.running_mean):
            nn.init.uniform_(tensor, 0.5, 2)
    statistics = ("weight", "bias", "running_mean", "running_var")
    groups = []
    for name, size, offset in (("left", 4, 0), ("right", 6, 4)):
        made = [Member(f"{name}.{own}", 0, produces=True) for own in ("weight", "bias")]
        own = [Member(f"own.{tensor}", 0) for tensor in statistics] if name == "right" else []
        shared = [Member(f"norm.{tensor}", 0, offset=offset) for tensor in statistics]
        groups.append(Group(name, size, (*made, *own, *shared, Member("head.weight", 1, inner=4, offset=4 * offset))))
    return net, groups, torch.randn(8, 3, 2, 2, dtype=torch.float64)


def test_channels_side_by_side_are_scored_by_their_own_part_of_a_joint_normalisation():
    net, groups, images = joint()
    scoring = Scoring(lambda: [lambda net, t: net(images).square().mean()], 8, lambda net: [net(images)])
    anatomy = Anatomy({"net": ["left.weight", "right.weight", "head.weight"]}, {"net": groups})
    probe = Probe(net, anatomy, scoring, torch.Generator(), {}, groups)
    scales = pruners().load("EarlyBird").score(probe)
    assert torch.equal(scales["left"], net.norm.weight[:4].abs())
    assert torch.equal(scales["right"], net.norm.weight[4:].abs() + net.own.weight.abs())
    slopes = pruners().load("GateDecorators").score(probe)
    gates = [torch.ones(size, 1, 1, dtype=torch.float64, requires_grad=True) for size in (6, 10)]
    own, joined = torch.autograd.grad(net(images, *gates).square().mean(), gates)
    assert torch.allclose(slopes["left"].double(), joined.flatten()[:4].abs(), rtol=1e-5)
    assert torch.allclose(slopes["right"].double(), (own + joined[4:]).flatten().abs(), rtol=1e-5)


@pytest.mark.parametrize("name", ["EarlyBird", "GateDecorators"])
def test_a_group_without_a_normalisation_of_its_own_is_refused_before_it_trains(name):
    tiny, pruner = Tiny(normed=True), pruners().load(name)
    bare, *others = tiny.anatomy.groups["actor"]
    bare = replace(bare, members=tuple(member for member in bare.members if not member.tensor.startswith("actor.1.")))
    tiny.anatomy = Anatomy(tiny.anatomy.weights, {**tiny.anatomy.groups, "actor": [bare, *others]})
    with pytest.raises(NotApplicable, match=rf"{name}: no batch normalisation that is trained scales the channels of actor\.0"):
        PlanFollower(tiny, pruner, pruner.settings(), 0.5, 4, "network", seeds)
    tiny = Tiny(normed=True)
    for layer in norms(tiny):
        layer.weight.requires_grad_(False)
    with pytest.raises(NotApplicable, match=r"the channels of actor\.0, actor\.2, critic\.0 and 1 more"):
        PlanFollower(tiny, pruner, pruner.settings(), 0.5, 4, "network", seeds)


def test_gate_slopes_are_of_batches_however_small_their_pieces():
    tiny = Tiny(normed=True)
    halves = [partial(tiny.loss, rows=slice(start, start + 5)) for start in (0, 5, 10, 15)]
    wholes = [lambda module, t=1.0, two=two: (two[0](module, t) + two[1](module, t)) / 2 for two in (halves[:2], halves[2:])]

    def slopes(losses, pieces):
        scoring = replace(tiny.scoring(0), collect=lambda: losses, pieces=pieces)
        return Probe(tiny.module, tiny.anatomy, scoring, torch.Generator(), groups=tiny.anatomy.all_groups()).gate_slopes()

    whole, cut = slopes(wholes, 1), slopes(halves, 2)
    assert all(torch.allclose(cut[name], whole[name], rtol=1e-9) for name in whole)


def test_what_a_mask_distance_scores_is_counted():
    pruning = follow(
        Tiny(normed=True),
        [Train(until=MaskDistance(window=4, cap=1.0)), Prune(), Train()],
        pruners().load("SNAP").score,
        epochs=6,
    )
    assert pruning.pruning_epoch >= 4
    assert pruning.scoring_samples == 20 * (pruning.pruning_epoch + 1)


@pytest.mark.parametrize("trigger", [LazyRegime(cap=0.8), MaskDistance(window=2, cap=0.8)])
def test_a_plan_waits_again_after_channels_were_cut(trigger):
    first = replace(trigger, cap=0.4)
    plan = [Train(until=first), Prune(Level(Exponential(2), 1)), Train(until=trigger), Prune(), Train()]
    pruning = follow(Tiny(normed=True), plan, pruners().load("SNAP").score, epochs=10)
    assert pruning.progress.trained == 10
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.5, abs=0.03)
