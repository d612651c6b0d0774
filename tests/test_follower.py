"""What a follower of plans refuses when it meets a network, what it counts, and what it says."""

import copy
import warnings
from itertools import pairwise

import pytest
import torch
from subjects import Tiny, bits, outputs, seeds
from torch import nn
from torch.nn import functional

from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.groups import Anatomy, chain
from rlprune.pruning.masked import Masked
from rlprune.pruning.plan import Prune, PruneTo, Train
from rlprune.pruning.probe import Scoring
from rlprune.pruning.pruner import CHANNELS, WEIGHTS, Pruner, pruners
from rlprune.reason import NotApplicable

NOW = (Prune(), Train())
LATER = (Train(epochs=1), Prune(), Train())


def follow(subject, pruner, sparsity=0.5, epochs=3, scope="network", **settings):
    pruner = pruners().load(pruner) if isinstance(pruner, str) else pruner
    return PlanFollower(subject, pruner, pruner.settings(settings), sparsity, epochs, scope, seeds)


def finish(pruning, subject):
    while pruning.next_epoch() is not None:
        subject.train_epoch()
        pruning.epoch_done()
    return pruning


def of(score, cut=WEIGHTS, plan=NOW):
    return Pruner("Mine", score, cut=cut, plan=plan)


# -- what is refused at once -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "epochs is how many the whole training has, a whole number from 1; got 0"),
        ({"epochs": 2.5}, "got 2.5"),
        ({"scope": "netwrk"}, "no scope is named 'netwrk'; did you mean 'network'"),
        ({"sparsity": float("nan")}, "at least 0 and less than 1; got nan"),
        ({"sparsity": 1.0}, "got 1.0"),
    ],
)
def test_what_cannot_be_followed_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        follow(Tiny(), "SNIP", **given)


@pytest.mark.parametrize("given", [{"levels": 1001}, {"levels": 0}])
def test_rounds_have_an_upper_bound(given):
    with pytest.raises(ValueError, match="levels"):
        pruners().load("LTR").settings(given)
    with pytest.raises(ValueError, match="rounds"):
        pruners().load("SynFlow").settings({"rounds": 10**9})


class Once(torch.autograd.Function):
    """Has a first derivative and no second one."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return slope.clone()


class Underivable(nn.Module):
    def forward(self, x):
        return Once.apply(x)


@pytest.mark.parametrize(
    ("activation", "told"),
    [
        (nn.Hardsigmoid, "cannot score this network: hardsigmoid has no second derivative"),
        (Underivable, "differentiated once only"),
    ],
)
@pytest.mark.parametrize("name", ["EarlyCroP-U", "EarlyCroP-S"])
def test_a_network_without_second_derivatives_is_refused_before_it_trains(name, activation, told):
    subject = Tiny(activation=activation)
    before = bits(subject.module, subject.optimizer)
    with pytest.raises(NotApplicable, match=f"{name}.* {told}"):
        follow(subject, name)
    assert bits(subject.module, subject.optimizer) == before
    with pytest.raises(NotApplicable, match=f"CroP-U.* {told}"):
        follow(subject, "CroP-U")
    finish(follow(subject, "SNIP"), subject)


@pytest.mark.parametrize("name", ["EarlyCroP-U", "EarlyCroP-S", "EarlyBird", "GateDecorators", "LTR", "SynFlow"])
def test_the_rehearsal_costs_no_batches_no_lots_and_no_samples(name):
    class Counting(Tiny):
        collected = 0

        def scoring(self, round):
            made = super().scoring(round)

            def collect():
                self.collected += 1
                return made.collect()

            return Scoring(collect, made.samples, made.outputs)

    subject, lots = Counting(normed=True), torch.get_rng_state()
    before = bits(subject.module, subject.optimizer)
    pruning = follow(subject, name)
    assert subject.collected == 0
    assert pruning.scoring_samples == 0
    assert pruning.scoring_seconds == 0
    assert torch.equal(torch.get_rng_state(), lots)
    assert bits(subject.module, subject.optimizer) == before


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.head = (nn.Linear(6, n) for n in (6, 6, 6, 2))

    def forward(self, x, plain=False):
        q, k, v = (layer(x) for layer in (self.q, self.k, self.v))
        if plain:
            return self.head((q @ k.mT / 6**0.5).softmax(-1) @ v).mean(1)
        return self.head(functional.scaled_dot_product_attention(q, k, v)).mean(1)


def test_fused_attention_is_scored_as_its_formula():
    torch.manual_seed(0)
    net, x = Attending().double(), torch.randn(5, 4, 6, dtype=torch.float64)
    names = [f"{layer}.weight" for layer in ("q", "k", "v", "head")]
    groups = chain(net, ["v", "head"])
    found = {}
    for plain in (False, True):
        subject = Tiny()
        subject.module, subject.anatomy = net, Anatomy({"net": names}, {"net": groups})
        subject.scoring = lambda round, plain=plain: Scoring(
            lambda: [lambda net, t: net(x, plain).square().mean()], 5, lambda net: [net(x)]
        )
        for name in ("CroP-U", "GraSP", "CroP-S"):
            pruning = follow(subject, name)
            found[name, plain] = pruning._scored(pruning._probe(0))
    for name in ("CroP-U", "GraSP", "CroP-S"):
        assert all(torch.allclose(score, found[name, True][key], rtol=1e-8) for key, score in found[name, False].items())


# -- scores ------------------------------------------------------------------------------------------------------


def constant(value, **fields):
    return lambda probe: {name: torch.full_like(w, value, **fields) for name, w in probe.weights.items()}


def without_one(probe):
    return dict(list(constant(1.0)(probe).items())[1:])


def misspelt(probe):
    return {name.replace("critic.4", "critc.4"): score for name, score in constant(1.0)(probe).items()}


def flattened(probe):
    return {name: score.flatten() for name, score in constant(1.0)(probe).items()}


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (constant(0.0), "Mine: all scores of actor are 0, so nothing tells what to keep"),
        (constant(float("nan")), r"Mine: the score of actor\.0\.weight holds infinities or values that are not numbers"),
        (constant(float("inf")), "holds infinities"),
        (without_one, r"Mine: the score leaves out the weight actor\.0\.weight"),
        (misspelt, r"'critc\.4\.weight', which is no weight to prune; did you mean 'critic\.4\.weight'"),
        (flattened, r"actor\.0\.weight has to be floating-point numbers of shape \(16, 3\), got torch.float64 \(48,\)"),
        (constant(1, dtype=torch.int64), "got torch.int64"),
        (constant(1.0, device="meta"), "lies on meta, the network on cpu"),
        (lambda probe: list(probe.weights.values()), "a score returns a tensor for each name, got a list"),
        (lambda probe: dict.fromkeys(probe.weights, 1.0), "got a float"),
    ],
)
@pytest.mark.parametrize("plan", [NOW, LATER])
def test_scores_that_are_none_are_told_in_plain_words(score, message, plan):
    subject = Tiny()
    with pytest.raises(ValueError, match=message):
        finish(follow(subject, of(score, plan=plan)), subject)


def test_weights_that_are_no_numbers_are_blamed_before_the_data():
    subject = Tiny()
    pruning = follow(subject, of(pruners().load("SNIP").score, plan=LATER))
    pruning.next_epoch()
    with torch.no_grad():
        next(subject.module.parameters())[0] = torch.inf
    pruning.epoch_done()
    with pytest.raises(ValueError, match="are not numbers, and so do the network's own weights: its training diverged"):
        pruning.next_epoch()


def test_a_loss_that_is_no_number_is_blamed_before_the_formula():
    subject = Tiny()
    subject.inputs[3] = torch.nan
    with pytest.raises(ValueError, match=r"holds infinities or values that are not numbers, as the loss is nan: data, or an env"):
        follow(subject, pruners().load("SNIP")).next_epoch()


@pytest.mark.parametrize("plan", [NOW, LATER])
@pytest.mark.parametrize("change", [torch.Tensor.zero_, torch.Tensor.abs_, torch.Tensor.neg_, torch.Tensor.exp_])
@pytest.mark.parametrize("most", [0, 10**6])
def test_a_score_that_changes_a_weight_is_refused(change, plan, most, monkeypatch):
    """``.data`` gets past autograd; a network too large to be copied is told of, but not put back."""
    monkeypatch.setattr("rlprune.pruning.formula._COPIED", most)

    def score(probe):
        change(probe.weights["actor.2.weight"].data)
        return constant(1.0)(probe)

    subject = Tiny()
    before = {name: tensor.clone() for name, tensor in subject.module.state_dict().items()}
    with pytest.raises(ValueError, match=r"Mine: its score changed the weight actor\.2\.weight: a score only reads"):
        finish(follow(subject, of(score, plan=plan)), subject)
    assert all(torch.equal(tensor, before[name]) for name, tensor in subject.module.state_dict().items()) == bool(most)


def test_channel_scores_are_looked_at_alike():
    subject = Tiny()
    with pytest.raises(ValueError, match=r"'actor\.1', which is no group to prune; did you mean 'actor"):
        follow(subject, of(lambda probe: {"actor.1": torch.ones(16)}, CHANNELS)).next_epoch()
    zeros = of(lambda probe: {group.name: torch.zeros(group.size) for group in probe.groups}, CHANNELS)
    with pytest.raises(ValueError, match="all scores of the network are 0"):
        follow(subject, zeros, scope="global").next_epoch()


@pytest.mark.parametrize("name", ["SNIP", "SNAP", "CroP-U", "CroP-S", "GraSP"])
def test_a_loss_that_ignores_its_network_is_refused(name):
    subject = Tiny()
    elsewhere = torch.ones(3, dtype=torch.float64, requires_grad=True)
    for loss, message in (
        (lambda net, t: torch.ones(()), "the loss does not depend on the network's parameters"),
        (lambda net, t: elsewhere.sum(), "all scores of actor are 0"),
        (lambda net, t: net["actor"](subject.inputs), r"a loss is one number with a graph, .* got a tensor of shape \(20, 2\)"),
    ):
        subject.scoring = lambda round, loss=loss: Scoring(lambda: [loss], 20, outputs)
        with pytest.raises(ValueError, match=message):
            follow(subject, name).next_epoch()


def test_a_layer_without_score_is_no_mistake():
    """Behind weights of zero no gradient comes back; the others still rank."""
    subject = Tiny()
    with torch.no_grad():
        subject.module["actor"][4].weight.zero_()
    with pytest.warns(UserWarning, match=r"actor\.4\.weight: all zeros, as at the start, so that SNIP scores them 0"):
        pruning = finish(follow(subject, "SNIP", scope="global"), subject)
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.5, abs=0.001)


def test_crop_s_adds_the_squared_gradient_once_whichever_layers_each_loss_touches():
    """One loss touches the actor, one the critic, one both: the same as their mean as a single loss."""
    subject = Tiny()

    def part(*names):
        return lambda net, t: sum((net[name](subject.inputs) - subject.targets[name]).square().mean() for name in names)

    losses = [part("actor"), part("critic"), part("actor", "critic")]
    scores = []
    for given in (losses, [lambda net, t: sum(loss(net, t) for loss in losses) / 3]):
        subject.scoring = lambda round, given=given: Scoring(lambda: given, 20, outputs)
        pruning = follow(subject, "CroP-S")
        scores.append(pruning._scored(pruning._probe(0)))
    assert all(torch.allclose(score, scores[1][name], rtol=1e-10) for name, score in scores[0].items())


# -- what is counted ---------------------------------------------------------------------------------------------


def test_what_is_zero_is_counted_not_what_masks_claim():
    subject = Tiny()
    pruning = finish(follow(subject, "SNIP", sparsity=0.8), subject)
    assert pruning.reached()["sparsity_weights"] == pytest.approx(0.8, abs=0.001)
    pruned = pruning.layers()["actor.2.weight"]["kept"]
    with torch.no_grad():
        subject.module["actor"][2].weight.fill_(1.0)
    assert pruning.layers()["actor.2.weight"]["kept"] == 12 * 16 > pruned
    assert pruning.reached()["sparsity_weights"] < 0.6
    pruning.masked.zero()
    assert pruning.layers()["actor.2.weight"]["kept"] == pruned


def weights_left(subject):
    return sum(int((subject.module.get_parameter(name) != 0).sum()) for name in subject.anatomy.all_weights())


@pytest.mark.parametrize(
    ("first", "second"),
    [(first, second) for first in ("Random-U", "SNAP") for second in ("SNIP", "Random-U")] + [("SNAP", "CroP-S")],
)
def test_what_is_pruned_already_counts_from_the_dense_network(first, second):
    subject = Tiny()
    dense = weights_left(subject)
    finish(follow(subject, first, sparsity=0.5), subject)
    subject.masked = Masked(subject.module, subject.optimizers)  # somebody who does not know of the first
    if first == "SNAP":
        subject.anatomy = again(subject)
    with pytest.warns(UserWarning, match="was cut before" if first == "SNAP" else "prunable weights are zero already"):
        pruning = finish(follow(subject, second, sparsity=0.8), subject)
    assert weights_left(subject) == pytest.approx(0.2 * dense, abs=1 if second != "CroP-S" else 20)
    assert pruning.reached()["sparsity_weights"] == pytest.approx(1 - weights_left(subject) / dense)


def test_channels_are_not_cut_where_somebody_else_holds_weights_at_zero():
    subject = Tiny()
    finish(follow(subject, "Random-U", sparsity=0.5), subject)
    subject.masked = Masked(subject.module, subject.optimizers)
    pruning = follow(subject, "CroP-S", sparsity=0.8)
    with pytest.warns(UserWarning, match="zero already"), pytest.raises(ValueError, match="has a hook of its own"):
        pruning.next_epoch()


@pytest.mark.parametrize("name", ["RigL", "SET"])
def test_what_was_pruned_before_does_not_grow(name, tmp_path):
    subject = Tiny()
    earlier = follow(subject, "Random-U", sparsity=0.5)
    finish(earlier, subject)
    gone = {name: ~mask for name, mask in earlier.masked.masks.items()}
    subject.masked = Masked(subject.module, subject.optimizers)
    pruning = follow(subject, name, sparsity=0.8)
    with pytest.warns(UserWarning, match="prunable weights are zero already: they stay zero"):
        pruning.next_epoch()
    subject.train_epoch()
    pruning.epoch_done()
    state = pruning.state()
    pruning.load_state(state)
    while pruning.next_epoch() is not None:
        subject.train_epoch()
        pruning.epoch_done()
    for name, mask in subject.masked.masks.items():
        assert not (mask & gone[name]).any()
    dense = sum(mask.numel() for mask in subject.masked.masks.values())
    assert sum(int(mask.sum()) for mask in subject.masked.masks.values()) == round(0.2 * dense)


def again(subject):
    """The anatomy of a network as it is now."""
    chains = {name: [f"{name}.{index}" for index in (0, 2, 4)] for name in subject.module}
    return Anatomy(subject.anatomy.weights, {name: chain(subject.module, layers) for name, layers in chains.items()})


def test_channels_are_not_cut_where_weights_are_masked():
    subject = Tiny()
    finish(follow(subject, "SNIP"), subject)
    with pytest.raises(NotApplicable, match=r"SNAP cuts channels, and weights of this network are masked: actor\.0\.weight"):
        follow(subject, "SNAP")


def test_a_sparsity_below_what_was_pruned_before_is_told():
    subject = Tiny()
    finish(follow(subject, "Random-U", sparsity=0.8), subject)
    subject.masked = Masked(subject.module, subject.optimizers)
    with pytest.warns(UserWarning, match="zero already|more was pruned before") as told:
        follow(subject, "SNIP", sparsity=0.5).next_epoch()
    assert "80.0% of this network's prunable weights are zero already: they stay zero" in str(told[0].message)
    assert "SNIP: 0.8004 of the weights are removed, not 0.5: more was pruned before" in str(told[1].message)


# -- how much ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floor", [1, 2])
def test_the_floor_holds_where_the_quota_is_smaller_and_the_others_pay_for_it(floor):
    """The critic's output layer has 12 weights, 0.06 of which would stay."""
    subject = Tiny()
    pruning = follow(subject, "SNIP", sparsity=0.97, scope="layer", floor=floor)
    pruning.next_epoch()
    layers = pruning.layers()
    dense = sum(layer["dense"] for layer in layers.values())
    assert all(layer["kept"] >= floor for layer in layers.values())
    assert sum(layer["kept"] for layer in layers.values()) == round(dense * 0.03)


@pytest.mark.parametrize(
    ("name", "why"), [("SNIP", "3 stay in every weight tensor"), ("SNAP", "3 stay in every group of channels")]
)
def test_a_sparsity_that_cannot_be_reached_is_told(name, why):
    subject = Tiny()
    pruning = follow(subject, name, sparsity=0.99, floor=3)
    with pytest.warns(UserWarning, match=rf"{name}: 0\.\d+ of the weights are removed, not 0\.99: {why}"):
        pruning.next_epoch()
    assert all(layer["kept"] >= 3 for layer in pruning.layers().values())


@pytest.mark.parametrize("scope", ["network", "layer"])
def test_quotas_of_nested_rounds_only_fall_and_every_round_is_exact(scope):
    subject = Tiny(widths={"actor": (3, 7, 5, 3), "critic": (3, 5, 7, 1)})
    pruner = pruners().load("CroPit-U")
    for sparsity in (0.47, 0.61, 0.83):
        fresh = copy.deepcopy(subject)
        pruning = PlanFollower(fresh, pruner, pruner.settings({"rounds": 12}), sparsity, 1, scope, seeds)
        dense, counts = sum(layer["dense"] for layer in pruning.layers().values()), []
        for number, target in enumerate(pruning.plan[0].schedule.sparsities(sparsity)):
            pruning._prune(PruneTo(target, number))
            counts.append({name: layer["kept"] for name, layer in pruning.layers().items()})
            assert sum(counts[-1].values()) == round(dense * (1 - target))
        assert all(after[name] <= before[name] for before, after in pairwise(counts) for name in before)


def test_a_temperature_acts_or_is_refused():
    scores = {}
    for temperature in (1.0, 2.0, 200.0):
        subject = Tiny()
        pruning = follow(subject, "GraSP", temperature=temperature)
        scores[temperature] = pruning._scored(pruning._probe(0))["actor.0.weight"]
    assert not torch.allclose(scores[1.0], scores[2.0])
    assert not torch.allclose(scores[2.0], scores[200.0])
    subject = Tiny()
    subject.scoring = lambda round: Scoring(list, 0, outputs, tempered=False)
    follow(subject, "GraSP")
    follow(subject, "GraSP", temperature=1.0)
    with pytest.raises(ValueError, match=r"GraSP: temperature = 2\.0 divides logits, and this loss has none to divide"):
        follow(subject, "GraSP", temperature=2.0)


def test_a_cut_that_fails_leaves_the_follower_and_the_network_whole():
    subject = Tiny()
    subject.module["actor"].append(nn.PReLU(2).double())
    first, *others = subject.anatomy.groups["actor"]
    broken = type(first)(first.name, first.size, first.members[:1] + first.members[2:])  # the bias is left out
    subject.anatomy = Anatomy(subject.anatomy.weights, {**subject.anatomy.groups, "actor": [broken, *others]})
    pruning = follow(subject, "SNAP")
    before = bits(subject.module, subject.optimizer)
    with pytest.raises(ValueError, match=r"tensors of actor\.0 that do not fit one another"):
        pruning.next_epoch()
    assert bits(subject.module, subject.optimizer) == before
    assert subject.resizes == 0
    assert all(bool(keep.all()) for keep in pruning._kept.values())


def test_right_networks_are_pruned_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("SNIP", "SNAP", "EarlyCroP-U", "EarlyCroP-S"):
            subject = Tiny()
            pruning = finish(follow(subject, name, sparsity=0.8), subject)
            assert pruning.pruning_epoch is not None
