import numpy as np
import oracles
import pytest
import torch
from subjects import Tiny, bits, outputs, seeds
from torch import nn

from rlprune.pruning.formula import Formula
from rlprune.pruning.groups import Group, Member
from rlprune.pruning.probe import Probe, Scoring
from rlprune.pruning.pruner import pruners

SIZES = (3, 5, 4, 2)


def probing(subject, masks=None):
    return Probe(
        subject.module,
        subject.anatomy,
        subject.scoring(0),
        torch.Generator().manual_seed(0),
        masks or {},
        subject.anatomy.all_groups(),
    )


@pytest.fixture
def small():
    """A network small enough for its dense Hessian: (subject, flat parameters, loss of flat parameters)."""
    subject = Tiny(widths={"only": SIZES})
    theta = torch.cat([p.detach().flatten() for p in subject.module.parameters()]).numpy()
    targets = subject.targets["only"].numpy()
    return subject, theta, lambda flat: oracles.mse_loss(flat, SIZES, subject.inputs.numpy(), targets)


def flat(tensors, module):
    return torch.cat([tensors[name].flatten() for name, _ in module.named_parameters()]).numpy()


def test_gradients_are_those_of_the_mean_loss(small):
    subject, theta, loss = small
    assert flat(probing(subject).gradient(), subject.module) == pytest.approx(oracles.gradient(loss, theta), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("masking", [False, True])
def test_hessian_gradient_products_agree_with_the_dense_hessian(small, masking):
    subject, theta, loss = small
    masks = {}
    if masking:
        mask = torch.rand(4, 5, generator=torch.Generator().manual_seed(3)) < 0.5
        masks = {"only.2.weight": mask}
        with torch.no_grad():
            subject.module["only"][2].weight.mul_(mask)
        theta = torch.cat([p.detach().flatten() for p in subject.module.parameters()]).numpy()
    gradient = dict(
        zip(
            [n for n, _ in subject.module.named_parameters()],
            np.split(oracles.gradient(loss, theta), [15, 20, 40, 44, 52]),
            strict=True,
        )
    )
    direction = np.concatenate(
        [g * (masks[n].numpy().ravel() if n in masks else 1) if n.endswith("weight") else 0 * g for n, g in gradient.items()]
    )
    product, _ = probing(subject, masks).hessian_gradient()
    assert flat(product, subject.module) == pytest.approx(oracles.hessian(loss, theta) @ direction, rel=1e-6, abs=1e-8)


def test_the_channel_score_is_the_slope_at_a_gate_of_one():
    """∂⟨stop(g), g⟩/∂c by real gates on the outputs of every hidden unit, against θ·Hg + ‖g‖² + b·(Hg)_b."""
    subject = Tiny()
    gates = {
        group.name: torch.ones(group.size, dtype=torch.float64, requires_grad=True) for group in subject.anatomy.all_groups()
    }

    def gated(network):
        hidden = subject.inputs
        for index, layer in enumerate(subject.module[network]):
            hidden = layer(hidden)
            hidden = hidden * gates[f"{network}.{index}"] if f"{network}.{index}" in gates else hidden
        return hidden

    loss = sum((gated(name) - subject.targets[name]).square().mean() for name in subject.module)
    weights = [subject.module.get_parameter(name) for name in subject.anatomy.all_weights()]
    slopes = torch.autograd.grad(loss, weights, create_graph=True)
    flow = sum((slope.detach() * slope).sum() for slope in slopes)
    expected = torch.autograd.grad(flow, list(gates.values()))
    scores = pruners().load("CroP-S").score(probing(subject))
    for (name, score), slope in zip(scores.items(), expected, strict=True):
        assert torch.allclose(score.double(), slope.abs(), rtol=1e-9), name


def test_the_gate_slope_of_the_loss_is_snaps_score():
    subject = Tiny()
    gate = torch.ones(16, dtype=torch.float64, requires_grad=True)
    net = subject.module["actor"]
    out = net[4](torch.tanh(net[2](torch.tanh(net[0](subject.inputs) * gate))))
    loss = (out - subject.targets["actor"]).square().mean()
    (slope,) = torch.autograd.grad(loss, [gate])
    assert torch.allclose(pruners().load("SNAP").score(probing(subject))["actor.0"].double(), slope.abs())


def test_synflow_agrees_with_counting_every_path():
    subject = Tiny(widths={"only": SIZES})
    scores = pruners().load("SynFlow").score(probing(subject))
    weights = [subject.module.get_parameter(name).detach().numpy() for name in subject.anatomy.all_weights()]
    for score, expected in zip(scores.values(), oracles.synflow(weights), strict=True):
        assert score.numpy() == pytest.approx(expected)


def test_true_grasp_raises_the_gradient_flow_its_inverse_lowers_it_and_crop_keeps_it():
    def flow_after(name, **settings):
        subject = Tiny(seed=5)
        pruner = pruners().load(name)
        scores = pruner.score(probing(subject), **settings)
        joined = torch.cat([score.flatten() for score in scores.values()])
        threshold = joined.sort().values[len(joined) // 20]
        with torch.no_grad():
            for weight, score in scores.items():
                subject.module.get_parameter(weight).mul_(score >= threshold)
        g = probing(subject).gradient()
        return float(sum(g[weight].square().sum() for weight in scores))

    before = float(sum(g.square().sum() for n, g in probing(Tiny(seed=5)).gradient().items() if n.endswith("weight")))
    grasp = flow_after("GraSP", temperature=1.0)
    inverted = flow_after("GraSP", temperature=1.0, sign="earlycrop")
    crop = flow_after("CroP-U")
    assert inverted < before < grasp
    assert abs(crop - before) < min(grasp - before, before - inverted)


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(2, 6, 3, bias=False), nn.BatchNorm2d(6), nn.Linear(6, 3)

    def forward(self, images):
        return self.head(torch.tanh(self.norm(self.conv(images))).mean((2, 3)))


def test_a_normalisation_in_training_mode_makes_channel_scores_vanish():
    """Scaling a filter in front of a batch norm changes nothing, so θ_f·g_f = 0; on stored statistics it does."""
    torch.manual_seed(0)
    net, images, targets = (
        Normalised().double(),
        torch.randn(16, 2, 5, 5, dtype=torch.float64),
        torch.randn(16, 3, dtype=torch.float64),
    )
    loss = (net(images) - targets).square().mean()
    (gradient,) = torch.autograd.grad(loss, [net.conv.weight])
    assert (net.conv.weight * gradient).sum((1, 2, 3)).abs().max().item() < 1e-4 * float(gradient.norm())

    group = Group("conv", 6, (Member("conv.weight", 0, produces=True),))
    scoring = Scoring(lambda: [lambda module, temperature: (module(images) - targets).square().mean()], 16, outputs)
    before = bits(net)
    anatomy = Tiny().anatomy.__class__({"net": ["conv.weight"]}, {"net": [group]})
    score = pruners().load("SNAP").score(Probe(net, anatomy, scoring, torch.Generator(), {}, [group]))["conv"]
    assert float(score.min()) > 1e-6
    assert bits(net) == before, "scoring moved the statistics of a normalisation"
    assert net.training
    assert net.norm.training


def test_scoring_batches_are_collected_only_when_asked_for():
    subject = Tiny()
    probe = probing(subject)
    pruners().load("Magnitude-Before").score(probe)
    assert probe.samples == 0
    pruners().load("SNIP").score(probe)
    assert probe.samples == 20


@pytest.mark.parametrize("masked", [False, True])
def test_channel_sums_of_the_hessian_gradient_need_not_hold_it(masked):
    tiny = Tiny()
    masks = {"actor.0.weight": torch.arange(48).view(16, 3) % 3 > 0} if masked else {}
    probe = Probe(tiny.module, tiny.anatomy, tiny.scoring(0), torch.Generator(), masks, tiny.anatomy.all_groups())
    hg, g = probe.hessian_gradient()
    expected = probe.by_channel({name: w * hg[name] + g[name] ** 2 for name, w in probe.parameters.items()})
    got = probe.channel_hessian_gradient(lambda name, w, product, slope: w * product + slope**2)
    assert {name: len(sums) for name, sums in got.items()} == {name: len(sums) for name, sums in expected.items()}
    assert all(torch.allclose(got[name], expected[name], rtol=1e-12) for name in expected)
    assert all(parameter.grad is None for parameter in tiny.module.parameters())


def test_actor_and_critic_apart_are_scored_each_by_its_own_loss():
    """They share no parameter, so the weight of the value loss moves no score of the actor, and no rank in the critic."""
    from rlprune.training.a2c import A2CTrainer
    from rlprune.training.recipes import A2CRecipe

    scores = {}
    for weight in (0.5, 5.0):
        recipe = A2CRecipe(environment="CartPole-v1", budget=1000, widths=(8, 8), scoring_steps=160, value_weight=weight)
        trainer = A2CTrainer(recipe, seeds, "cpu")
        probe = Probe(trainer.module, trainer.anatomy, trainer.scoring(0), torch.Generator())
        hg, _ = probe.hessian_gradient()
        scores[weight] = {name: (theta * hg[name]).abs() for name, theta in probe.weights.items()}
        trainer.close()
    for network, names in trainer.anatomy.weights.items():
        times = 1.0 if network == "actor" else 100.0
        for name in names:
            assert torch.allclose(scores[5.0][name], times * scores[0.5][name], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("name", ["SNIP", "CroP-U", "CroP-S"])
def test_scores_are_taken_in_single_precision_on_the_way_back_too(name):
    cudnn, seen, subject = torch.backends.cudnn, set(), Tiny()

    def note(*_):
        seen.add((cudnn.enabled, cudnn.allow_tf32, torch.is_autocast_enabled("cpu")))

    hooks = [
        layer.register_forward_hook(lambda layer, given, made: (note(), made.register_hook(note))[0])
        for layer in subject.module.modules()
        if isinstance(layer, nn.Linear)
    ]
    pruner, before = pruners().load(name), (cudnn.enabled, cudnn.allow_tf32)
    with torch.autocast("cpu", torch.bfloat16):
        Formula(pruner, pruner.settings())(probing(subject))
    for hook in hooks:
        hook.remove()
    assert seen == {(cudnn.enabled, False, False)}
    assert (cudnn.enabled, cudnn.allow_tf32) == before
