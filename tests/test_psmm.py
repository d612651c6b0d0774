import numpy as np
import pytest
import torch
from subjects import silenced

from rlprune.costs import cost
from rlprune.nets.psmm import PSMM
from rlprune.pruning import select, surgery
from rlprune.pruning.groups import present
from rlprune.pruning.probe import Probe, Scoring
from rlprune.pruning.pruner import pruners

WORDS, HIDDEN, LENGTH = 11, 6, 9


def small(dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    net = PSMM(WORDS, HIDDEN).to(dtype)
    torch.nn.init.normal_(net.query.weight)  # a pointer that is sure of itself
    ids, targets = torch.randint(WORDS, (2, 3, LENGTH))
    return net, ids, targets


def by_hand(net, row):
    """The probabilities of the next word after each word of a row, word by word in numpy."""
    state = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
    h, c, keys, found = np.zeros(HIDDEN), np.zeros(HIDDEN), [], []
    for word in row:
        x = state["embedding.weight"][word]
        gates = state["inputs.weight"] @ x + state["inputs.bias"] + state["recurrence.weight"] @ h + state["recurrence.bias"]
        i, f, g, o = np.split(gates, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        keys.append(h)
        query = np.tanh(state["query.weight"] @ h + state["query.bias"])
        attention = np.exp([*(query @ key for key in keys), query @ state["sentinel.weight"][0]])
        attention /= attention.sum()
        spoken = np.exp(state["output.weight"] @ h + state["output.bias"])
        mixed = attention[-1] * spoken / spoken.sum()
        for share, read in zip(attention[:-1], row[: len(keys)], strict=True):
            mixed[read] += share
        found.append(mixed)
    return np.array(found)


def test_the_mixture_is_the_one_of_the_paper():
    net, ids, _ = small()
    with torch.no_grad():
        got = net(ids).exp()
    assert torch.allclose(got.sum(2), torch.ones(3, LENGTH, dtype=torch.float64))
    expected = np.stack([by_hand(net, row) for row in ids.numpy()])
    assert np.allclose(got.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_targets_alone_have_the_probabilities_of_the_whole_mixture(dtype):
    net, ids, targets = small(dtype)
    whole = net(ids).gather(2, targets[..., None])[..., 0]
    assert torch.allclose(net.logp(ids, targets), whole, atol=1e-5 if dtype == torch.float32 else 1e-12)


def test_the_future_changes_nothing():
    net, ids, _ = small()
    changed = ids.clone()
    changed[:, 5:] = (ids[:, 5:] + 1) % WORDS
    with torch.no_grad():
        before, after = net(ids), net(changed)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


def test_a_word_that_the_vocabulary_never_says_can_be_pointed_at():
    net, ids, _ = small()
    net.output.bias.data[ids[0, 0]] = -200.0
    with torch.no_grad():
        assert net(ids)[0, 0, ids[0, 0]] > -20


def test_the_papers_network_has_as_many_parameters_as_the_paper_says():
    net = PSMM(10_000, 300)
    embedding, lstm, query, sentinel = 10_000 * 300, 4 * 300 * (300 + 300 + 2), 300 * 301, 300
    assert sum(parameter.numel() for parameter in net.parameters()) == embedding + lstm + query + sentinel + 10_000 * 301
    assert sum(parameter.numel() for parameter in net.parameters()) == 6_823_000


def test_multiplications_are_counted_by_the_shapes():
    net, ids, _ = small()
    matrices = 4 * HIDDEN * 2 * HIDDEN + HIDDEN * HIDDEN + HIDDEN + HIDDEN * WORDS
    assert cost.macs(lambda: net(ids), net) == 3 * LENGTH * matrices


def test_temperature_divides_every_logit():
    net, ids, targets = small()
    assert net.logp(ids, targets, 1e9)[:, 0].detach() == pytest.approx(
        torch.log(0.5 / WORDS + 0.5 * (ids == targets)[:, 0]), abs=1e-6
    )


# -- slopes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slopes_of_both_orders_are_numbers_also_where_nothing_points_to_the_target(dtype):
    net, ids, targets = small(dtype)
    targets = torch.where(torch.rand(targets.shape) < 0.5, ids[:, :1], WORDS - 1)
    ids = ids % (WORDS - 1)
    first = torch.autograd.grad(-net.logp(ids, targets).mean(), list(net.parameters()), create_graph=True)
    second = torch.autograd.grad(sum(slope.square().sum() for slope in first), list(net.parameters()))
    assert all(bool(slope.isfinite().all()) and bool(slope.any()) for slope in (*first, *second))


def test_hessian_products_are_differences_of_gradients():
    net, ids, targets = small()
    anatomy = net.anatomy()

    def loss(module, temperature):
        return -module.logp(ids, targets, temperature).mean()

    def probe():
        return Probe(net, anatomy, Scoring(lambda: [loss], 3, lambda module: []), torch.Generator())

    product, gradient = probe().hessian_gradient()
    step = 1e-6
    moved = {}
    for sign in (1, -1):
        with torch.no_grad():
            for name in anatomy.all_weights():
                net.get_parameter(name).add_(gradient[name], alpha=sign * step)
        moved[sign] = probe().gradient()
        with torch.no_grad():
            for name in anatomy.all_weights():
                net.get_parameter(name).sub_(gradient[name], alpha=sign * step)
    for name, exact in product.items():
        assert torch.allclose(exact, (moved[1][name] - moved[-1][name]) / (2 * step), atol=1e-8)


# -- cuts --------------------------------------------------------------------------------------------------------


def some(groups, share=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        group.name: torch.rand(group.size, generator=generator).argsort() < max(1, int(share * group.size)) for group in groups
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(4))
def test_a_cut_network_computes_what_the_silenced_dense_one_computes(dtype, seed):
    net, ids, targets = small(dtype, seed)
    groups = net.anatomy().all_groups()
    kept = some(groups, share=(seed + 1) / 6, seed=seed)
    shapes = {weight: tuple(net.get_parameter(weight).shape) for weight in net.anatomy().all_weights()}
    masked = silenced(net, groups, kept)
    with torch.no_grad():
        dense, expected, slopes = net(ids), masked(ids), masked.logp(ids, targets)
        surgery.cut(net, surgery.cuts(net, groups, kept))
        assert torch.allclose(net(ids), expected, atol=1e-5 if dtype == torch.float32 else 1e-12)
        assert torch.allclose(net.logp(ids, targets), slopes, atol=1e-5 if dtype == torch.float32 else 1e-12)
    assert not torch.allclose(dense, expected, rtol=1e-2)
    left = {name: int(keep.sum()) for name, keep in kept.items()}
    assert sum(net.get_parameter(weight).numel() for weight in shapes) == select.weights_left(shapes, groups, left)


def test_two_cuts_are_one_and_adams_moments_follow():
    (once, ids, targets), (twice, _, _) = small(), small()
    groups = once.anatomy().all_groups()
    optimizers = [torch.optim.Adam(net.parameters()) for net in (once, twice)]
    for net, optimizer in zip((once, twice), optimizers, strict=True):
        (-net.logp(ids, targets).mean()).backward()
        optimizer.step()
    first = some(groups, 0.75, seed=1)
    second = some(present(groups, first), 0.5, seed=2)
    both = {name: keep.clone() for name, keep in first.items()}
    for name, keep in both.items():
        keep[first[name]] = second[name]
    surgery.cut(once, surgery.cuts(once, groups, both), [optimizers[0]])
    surgery.cut(twice, surgery.cuts(twice, groups, first), [optimizers[1]])
    surgery.cut(twice, surgery.cuts(twice, present(groups, first), second), [optimizers[1]])
    for net, optimizer in zip((once, twice), optimizers, strict=True):
        optimizer.zero_grad()
        (-net.logp(ids, targets).mean()).backward()
        optimizer.step()
    for one, other in zip(once.parameters(), twice.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_channels_score_is_the_slope_of_a_gate_on_all_that_makes_it():
    net, ids, targets = small()
    groups = net.anatomy().all_groups()
    gates = {group.name: torch.ones(group.size, dtype=torch.float64, requires_grad=True) for group in groups}
    gated = {
        member.tensor: gates[group.name].repeat(member.outer) for group in groups for member in group.members if member.produces
    }
    named = {
        name: parameter.detach() * (gated[name] if parameter.dim() == 1 or name == "embedding.weight" else gated[name][:, None])
        if name in gated
        else parameter.detach()
        for name, parameter in net.named_parameters()
    }

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self):
            return -self.net.logp(ids, targets).mean()

    torch.func.functional_call(Loss(), {f"net.{name}": tensor for name, tensor in named.items()}).backward()
    scoring = Scoring(lambda: [lambda module, _: -module.logp(ids, targets).mean()], 3, lambda module: [])
    probe = Probe(net, net.anatomy(), scoring, torch.Generator(), groups=groups)
    scores = pruners().load("SNAP").score(probe)
    for name, gate in gates.items():
        assert torch.allclose(scores[name], gate.grad.abs(), rtol=1e-9)
