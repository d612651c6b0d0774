import itertools
import math
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.sparse import csr_array
from torch import nn
from torch.nn import functional

from rlprune.costs import cost

CPU = torch.device("cpu")


def linear(weight, x, kept=None):
    """Return a linear layer's output for one input, and the multiplications it took with weights that are kept."""
    out, count = np.zeros(len(weight)), 0
    for o, i in itertools.product(range(weight.shape[0]), range(weight.shape[1])):
        if kept is None or kept[o, i]:
            out[o] += weight[o, i] * x[i]
            count += 1
    return out, count


def convolution(weight, x, stride, padding, groups, kept=None):
    """Return a convolution of one image, and the multiplications with kept weights; those with the border's zeros count."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    outs, ins, height, width = weight.shape
    rows, columns = (x.shape[1] - height) // stride + 1, (x.shape[2] - width) // stride + 1
    out, count = np.zeros((outs, rows, columns)), 0
    for o, r, c in itertools.product(range(outs), range(rows), range(columns)):
        for i, h, w in itertools.product(range(ins), range(height), range(width)):
            if kept is not None and not kept[o, i, h, w]:
                continue
            out[o, r, c] += weight[o, i, h, w] * x[o // (outs // groups) * ins + i, r * stride + h, c * stride + w]
            count += 1
    return out, count


def counted(module, *inputs):
    return cost.macs(lambda: module(*inputs), module)


def test_macs_of_a_linear_layer_are_those_of_a_loop():
    layer, x = nn.Linear(5, 3).double(), torch.randn(5, dtype=torch.float64)
    out, count = linear(layer.weight.detach().numpy(), x.numpy())
    assert np.allclose(out + layer.bias.detach().numpy(), layer(x).detach().numpy())
    assert counted(layer, x) == count
    assert counted(layer, x.expand(4, 5)) == 4 * count


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 1), (1, 1, 2), (3, 2, 4)])
def test_macs_of_a_convolution_are_those_of_a_loop(stride, padding, groups):
    layer = nn.Conv2d(4, 8, 3, stride, padding, groups=groups, bias=False).double()
    x = torch.randn(4, 7, 6, dtype=torch.float64)
    out, count = convolution(layer.weight.detach().numpy(), x.numpy(), stride, padding, groups)
    assert np.allclose(out, layer(x[None])[0].detach().numpy())
    assert counted(layer, x[None]) == count


def masked(module, *names, share=0.3, seed=0):
    """Masks that keep about a share of these weights, which are zeroed where they do not."""
    generator = torch.Generator().manual_seed(seed)
    masks = {name: torch.rand(module.get_parameter(name).shape, generator=generator) < share for name in names}
    with torch.no_grad():
        for name, mask in masks.items():
            module.get_parameter(name).mul_(mask)
    return masks


def test_macs_with_weights_that_are_kept_are_those_of_a_loop():
    layer, x = nn.Linear(9, 7).double(), torch.randn(9, dtype=torch.float64)
    masks = masked(layer, "weight")
    out, count = linear(layer.weight.detach().numpy(), x.numpy(), masks["weight"].numpy())
    assert np.allclose(out + layer.bias.detach().numpy(), layer(x).detach().numpy())
    assert 0 < count < 30
    assert cost.macs(lambda: layer(x), layer, masks) == count
    assert cost.macs(lambda: layer(x.expand(1000, 9)), layer, masks) == 1000 * count
    assert counted(layer, x) == 9 * 7


@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 1), (1, 1, 2), (3, 2, 4)])
def test_macs_of_a_masked_convolution_are_those_of_a_loop(stride, padding, groups):
    layer = nn.Conv2d(4, 8, 3, stride, padding, groups=groups, bias=False).double()
    x, masks = torch.randn(4, 7, 6, dtype=torch.float64), masked(layer, "weight")
    out, count = convolution(layer.weight.detach().numpy(), x.numpy(), stride, padding, groups, masks["weight"].numpy())
    assert np.allclose(out, layer(x[None])[0].detach().numpy())
    assert cost.macs(lambda: layer(x[None]), layer, masks) == count


def test_each_weight_of_a_recurrent_layer_that_is_kept_multiplies_once_a_step():
    layer = nn.LSTM(5, 7, num_layers=2, batch_first=True)
    masks = masked(layer, "weight_ih_l0", "weight_hh_l1")
    step = sum(int(mask.sum()) for mask in masks.values()) + 2 * 4 * 7 * 7
    assert cost.macs(lambda: layer(torch.randn(3, 10, 5)), layer, masks) == 3 * 10 * step


class Functional(nn.Module):
    """Layers whose weights are used without calling the layers."""

    def __init__(self):
        super().__init__()
        self.first, self.filters = nn.Linear(6, 8), nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2)
        self.table = nn.Parameter(torch.randn(8, 8))
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        x = functional.linear(x, self.first.weight, self.first.bias) + self.table[0]
        seen = functional.conv2d(x.view(-1, 2, 2, 2), self.filters.weight, None, 2, 1, 1, 2)
        return self.last(seen.flatten(1).repeat(1, 2) @ (2 * self.table))


def test_weights_are_counted_however_they_are_used():
    """Swin's attention calls no layer: its weights were left out, and its table of positions was refused."""
    filters = 5 * 4 * 1 * (1 * 3 * 3)
    assert counted(Functional(), torch.randn(5, 6)) == 5 * (6 * 8 + 8 * 8 + 8 * 3) + filters


def test_kept_weights_are_counted_however_they_are_used():
    module = Functional()
    masks = masked(module, "first.weight", "filters.weight", "table", "last.weight")
    first, filters, table, last = (int(mask.sum()) for mask in masks.values())
    assert cost.macs(lambda: module(torch.randn(5, 6)), module, masks) == 5 * (first + filters + table + last)


@pytest.mark.parametrize(
    "use",
    [
        functional.linear,
        lambda x, w: torch.addbmm(torch.zeros(4, 20), x[None], w.T[None]),
        lambda x, w: torch.einsum("bi,oi", x, w),
    ],
)
def test_weights_are_counted_under_inference_mode_too(use):
    """What autograd takes apart into products stays whole there, and counted as no product: 0."""
    module, x = nn.ParameterList([torch.randn(20, 30)]), torch.randn(4, 30)

    def run():
        with torch.inference_mode():
            use(x, module[0])

    assert cost.macs(run, module) == 4 * 20 * 30


def test_weights_of_any_name_have_a_size_and_tied_ones_have_it_once():
    module = nn.ModuleDict({"in": nn.Embedding(100, 10), "out": nn.Linear(10, 100, bias=False)})
    module["out"].weight = module["in"].weight
    one, tied = nn.Embedding(100, 10), cost.sizes(module, {})
    assert tied["disk_file_mb"] - cost.sizes(one, {})["disk_file_mb"] < 0.0001
    assert tied["parameters"] == 1000
    own = nn.ParameterDict({"kernel": torch.randn(40, 50)})
    masks = {"kernel": torch.arange(2000).view(40, 50) % 10 == 0}
    assert cost.sizes(own, masks)["disk_csr_mb"] == cost.csr_bits(torch.Size((40, 50)), 200) / 8e6
    assert cost.sizes(own, {})["disk_csr_mb"] == cost.csr_bits(torch.Size((40, 50)), 2000) / 8e6


@pytest.mark.parametrize("kind", ["functional", "recurrent", "convolution"])
def test_masks_of_ones_leave_every_multiplication(kind):
    module, x = {
        "functional": (Functional(), torch.randn(5, 6)),
        "recurrent": (nn.LSTM(5, 7), torch.randn(3, 5)),
        "convolution": (nn.Conv2d(4, 6, 3), torch.ones(4, 9, 9)),
    }[kind]
    ones = {name: torch.ones_like(own, dtype=torch.bool) for name, own in module.named_parameters() if own.ndim > 1}
    assert cost.macs(lambda: module(x), module, ones) == counted(module, x) > 0


class Parts(nn.Module):
    """Uses its weights by parts: two views of one, a copy of another, and two put together."""

    def __init__(self):
        super().__init__()
        self.one, self.two = (nn.Parameter(torch.randn(8, 6)) for _ in range(2))

    def forward(self, x):
        return x @ self.one[:3].mT, x @ self.one.mT[:, 3:5], x @ self.two.mT.contiguous(), x @ torch.cat([self.one, self.two]).mT


def test_of_a_part_of_a_weight_its_own_kept_entries_count():
    module = Parts()
    masks = {"one": torch.zeros(8, 6, dtype=torch.bool), "two": torch.ones(8, 6, dtype=torch.bool)}
    masks["one"][:4] = True
    assert cost.macs(lambda: module(torch.randn(2, 6)), module, masks) == 2 * (3 * 6 + 6 + 8 * 6 + (4 * 6 + 8 * 6))


class Tied(nn.Module):
    """What every layer does, and one of their weights by a function besides."""

    def __init__(self):
        super().__init__()
        self.embed, self.hidden = nn.Embedding(11, 8), nn.Linear(8, 8, bias=False)

    def forward(self, ids):
        return nn.functional.linear(self.hidden(self.embed(ids)) @ self.embed.weight.T, self.embed.weight.T)


def test_a_weight_of_a_layer_is_counted_where_a_function_uses_it_too():
    """Where all layers were called, nothing else was looked at: tied output weights cost nothing."""
    net, ids = Tied(), torch.randint(11, (3, 5))
    for _ in range(2):  # what is known of a network by then
        assert cost.macs(lambda: net(ids), net) == 15 * (64 + 2 * 88)
    assert cost.macs(lambda: net.hidden(net.embed(ids)), net) == 15 * 64
    assert cost.macs(lambda: net.hidden(net.embed(ids)), net) == 15 * 64


def test_masks_of_attention_and_of_a_parametrized_layer_count():
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    masks = masked(attention, "self_attn.in_proj_weight", "linear1.weight")
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert cost.macs(lambda: attention(torch.randn(3, 5, 8)), attention, masks) == 3 * 5 * (kept + 8 * 8 + 16 * 8)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    direction = "parametrizations.weight.original1"
    masks = masked(normed, direction)
    assert cost.macs(lambda: normed(torch.randn(2, 4)), normed, masks) == 2 * int(masks[direction].sum())


@pytest.mark.parametrize("training", [False, True])
def test_attention_is_counted_but_for_its_scores(training):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0).train(training)
    assert counted(layer, torch.randn(3, 5, 8)) == 3 * 5 * (4 * 8 * 8 + 2 * 8 * 16)


def test_a_parametrized_layer_is_counted_once():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    assert counted(layer, torch.randn(2, 4)) == 2 * 4 * 3


def test_a_transposed_convolution_costs_what_its_backward_convolution_costs():
    forward, backward = nn.Conv2d(4, 6, 3, 2, 1, groups=2), nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1, groups=2)
    small = forward(torch.randn(1, 4, 8, 8))
    assert backward(small).shape == (1, 4, 8, 8)
    assert counted(backward, small) == counted(forward, torch.randn(1, 4, 8, 8))


def test_a_layer_that_is_called_by_names_counts_as_one_that_is_not():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.ConvTranspose1d(3, 2, 2)

        def forward(self, given):
            return self.layer(output_size=None, input=given)

    net, given = Named(), torch.randn(1, 3, 5)
    assert counted(net, given) == counted(net.layer, given) == 5 * 3 * 2 * 2


def test_a_recurrent_layer_multiplies_each_weight_once_a_step():
    cell, layer = nn.LSTMCell(5, 7), nn.LSTM(5, 7, batch_first=True)
    step = 4 * 7 * (5 + 7)
    assert counted(cell, torch.randn(3, 5)) == 3 * step
    assert counted(layer, torch.randn(3, 10, 5)) == 3 * 10 * step
    both = nn.LSTM(5, 7, num_layers=2, bidirectional=True)
    assert counted(both, torch.randn(10, 5)) == 10 * (2 * step + 2 * 4 * 7 * (14 + 7))


def test_looking_up_costs_nothing_and_a_bilinear_layer_its_whole_tensor():
    assert counted(nn.Embedding(100, 8), torch.tensor([1, 2])) == 0
    assert counted(nn.Bilinear(3, 4, 5), torch.randn(2, 3), torch.randn(2, 4)) == 2 * 3 * 4 * 5


def test_layers_used_twice_count_twice_and_no_hook_stays():
    layer = nn.Linear(4, 4)
    assert counted(nn.Sequential(layer, nn.Tanh(), layer), torch.randn(1, 4)) == 32
    with pytest.raises(RuntimeError):
        counted(layer, torch.randn(1, 3))
    assert not layer._forward_hooks


class Trilinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(3, 4, 4))

    def forward(self, x):
        return functional.bilinear(x, x, self.table)


def test_a_step_without_a_rule_is_named_rather_than_taken_for_free():
    with pytest.raises(TypeError, match="no rule counts the multiplications of _trilinear"):
        counted(Trilinear(), torch.randn(2, 4))


def resnet18():
    """Weights of the paper's ResNet18: convolutions and linear layers, and the widths of its BatchNorm layers."""
    matrices, norms, width = [(64, 3, 7, 7)], [64], 64
    for channels in (64, 128, 256, 512):
        for _ in range(2):
            matrices += [(channels, width, 3, 3), (channels, channels, 3, 3)]
            norms += [channels, channels]
            if width != channels:
                matrices, norms = [*matrices, (channels, width, 1, 1)], [*norms, channels]
            width = channels
    return [*matrices, (256, 2048), (10, 256)], [*norms, 256]


def vgg16():
    channels = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 1024]
    matrices = [(o, i, 3, 3) for i, o in itertools.pairwise([3, *channels])]
    return [*matrices, (4096, 4096), (4096, 4096), (10, 4096)], [*channels, 4096, 4096]


@pytest.mark.parametrize(
    ("network", "nodes", "megabits"), [(resnet18(), 5056, "397.8"), (vgg16(), 12928, "1723.1")], ids=["ResNet18", "VGG16"]
)
def test_the_csr_formula_gives_the_papers_disk_sizes(network, nodes, megabits):
    matrices, norms = network
    assert sum(norms) == nodes
    shapes = [torch.Size(shape) for shape in (*matrices, *((width,) for width in norms))]
    assert f"{sum(cost.csr_bits(shape, shape.numel()) for shape in shapes) / 1e6:.1f}" == megabits


@pytest.fixture
def pruned():
    """A network with one masked layer, two weights in a hundred left."""
    module = nn.Sequential(nn.Linear(50, 40), nn.BatchNorm1d(40), nn.Linear(40, 2))
    mask = torch.zeros(40, 50, dtype=torch.bool)
    mask.view(-1)[::50] = True
    with torch.no_grad():
        module[0].weight.mul_(mask)
    return module, {"0.weight": mask}


def test_sizes_of_a_pruned_network(pruned, tmp_path):
    module, masks = pruned
    sizes = cost.sizes(module, masks)
    assert sizes["parameters"] == 40 + 40 + 2 * 40 + 2 * 40 + 2
    assert sizes["disk_dense_mb"] == pytest.approx((50 * 40 + 40 + 80 + 82) * 4 / 1e6)
    bits = (40 * 34 + 2 * 41) + (40 * 34 + 2 * 2) + (80 * 34 + 2 * 3)
    assert sizes["disk_csr_mb"] == pytest.approx(bits / 8e6)
    file = tmp_path / "network.safetensors"
    save_file(cost.packed(module.state_dict(), masks), file)
    assert sizes["disk_file_mb"] == file.stat().st_size / 1e6
    assert sizes["disk_file_mb"] < 0.4 * cost.sizes(module, {})["disk_file_mb"]


def test_a_packed_matrix_can_be_unpacked(pruned):
    module, masks = pruned
    parts = cost.packed(module.state_dict(), masks)
    rows, columns, values = (parts[f"0.weight.{part}"] for part in ("rows", "columns", "values"))
    dense = csr_array((values.numpy(), columns.numpy(), rows.numpy()), shape=(40, 50)).toarray()
    assert np.array_equal(dense, module[0].weight.detach().numpy())
    assert torch.equal(parts["2.weight"], module[2].weight)


def test_a_matrix_stays_dense_where_csr_would_be_larger(pruned):
    module, _ = pruned
    assert set(cost.packed(module.state_dict(), {"0.weight": torch.ones(40, 50, dtype=torch.bool)})) == set(module.state_dict())


def test_a_mask_of_a_convolution_packs_as_a_matrix():
    weight = torch.randn(8, 4, 3, 3)
    mask = weight > 2
    parts = cost.packed({"weight": weight}, {"weight": mask})
    assert parts["weight.rows"].tolist()[-1] == len(parts["weight.values"]) == int(mask.sum())
    assert torch.equal(parts["weight.values"], weight[mask])


def test_the_median_is_of_the_timed_runs_only():
    calls = []
    seconds = cost.median_seconds(lambda: calls.append(1), device=CPU, repeats=5, warmup=2)
    assert len(calls) == 7
    assert 0 < seconds < 0.01


def test_long_runs_are_timed_less_often():
    calls = []

    def run():
        calls.append(time.sleep(0.02))

    assert cost.median_seconds(run, device=CPU, limit=0.1) >= 0.02
    assert len(calls) == 2 + 5


def test_a_cold_machine_is_given_time():
    calls = []

    def run():
        calls.append(time.sleep(0.003 if len(calls) < 70 else 0.0005))

    assert cost.settled_seconds(run, device=CPU) < 0.002
    assert len(calls) >= 3 * 60


def test_a_machine_that_is_busy_for_a_while_slows_no_one_alone(monkeypatch):
    told = iter([*[0.2, 0.1] * 3, *[0.02, 0.01] * 9])
    monkeypatch.setattr(cost, "median_seconds", lambda run, **settings: next(told))
    assert cost.settled_together([int, float], device=CPU, rounds=4) == [0.02, 0.01]
    told = iter([0.2, 0.2, 0.1, *[0.02, 0.01] * 9])
    monkeypatch.setattr(cost, "median_seconds", lambda run, **settings: next(told))
    assert cost.settled_seconds(int, device=CPU) == 0.2, "twice the same"


def test_a_run_that_takes_long_is_not_timed_twice():
    calls = []

    def run():
        calls.append(time.sleep(0.03))

    assert cost.settled_seconds(run, device=CPU, limit=0.1) >= 0.03
    assert len(calls) == 2 + 5


def test_static_memory_is_parameters_and_buffers():
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    assert cost.static_memory(module) == 4 * (6 + 2 + 2 + 2 + 2 + 2) + 8


def test_a_cpu_counts_no_peak():
    assert cost.peak_memory(lambda: math.inf, device=CPU) == {}


@pytest.mark.cuda
def test_on_a_gpu_the_peak_holds_what_a_run_allocates():
    device = torch.device("cuda")
    weight = torch.ones(1000, 1000, device=device)
    held = torch.cuda.memory_allocated()
    peak = cost.peak_memory(lambda: weight @ weight, device=device)["memory_peak_bytes"]
    assert peak - held >= 4e6
    assert 0 < cost.median_seconds(lambda: weight @ weight, device=device) < 0.1
