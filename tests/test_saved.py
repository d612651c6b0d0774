"""A network that was cut is written without pickle, and is itself again in another process."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

import rlprune


def convolutional():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 2))
    return nn.Sequential(body, nn.Conv2d(8, 8, 1), head)


IMAGES = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def small(net=None, inputs=IMAGES, **options):
    net = convolutional() if net is None else net
    rlprune.Pruning(net, "Random-S", 0.4, epochs=1, loss=lambda net: net(inputs).square().mean(), optimizer=None, **options)
    return net


def alike(one, other, inputs):
    tensors = other.state_dict()
    assert one.state_dict().keys() == tensors.keys()
    assert all(torch.equal(value, tensors[name]) for name, value in one.state_dict().items())
    assert torch.equal(one.eval()(inputs), other.eval()(inputs))


def frozen():
    net = small()
    net[2][5].bias.requires_grad_(False)
    return net


def test_a_cut_network_is_built_from_the_file_alone(tmp_path):
    net = frozen()
    rlprune.save(net, tmp_path / "small.safetensors")
    again = rlprune.load(tmp_path / "small.safetensors")
    assert again[2][3].out_features < 6
    assert again.training
    assert str(again) == str(net)
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in net.parameters()]
    alike(again, net, IMAGES)


def test_sizes_may_be_numpys(tmp_path):
    net = nn.Sequential(nn.Linear(5, np.int64(4)), nn.Linear(np.int32(4), 2))
    rlprune.save(net, tmp_path / "net.safetensors")
    assert torch.equal(rlprune.load(tmp_path / "net.safetensors")[0].weight, net[0].weight)


@pytest.mark.slow
def test_a_new_process_builds_the_same_network(tmp_path):
    net = small()
    rlprune.save(net, tmp_path / "small.safetensors")
    torch.save([IMAGES, net.eval()(IMAGES)], tmp_path / "expected")
    code = (
        "import torch, rlprune; net = rlprune.load('small.safetensors').eval(); images, expected = torch.load('expected');"
        "print(torch.equal(net(images), expected))"
    )
    place = os.path.dirname(os.path.dirname(rlprune.__file__))
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": place}, capture_output=True, text=True
    )
    assert told.stdout == "True\n", told.stderr


class Own(nn.Module):
    """A class of one's own, with what no file could tell."""

    def __init__(self, act=torch.tanh):
        super().__init__()
        self.act, self.first, self.second = act, nn.Linear(9, 12), nn.Linear(12, 3)
        self.register_buffer("steps", torch.tensor(3))

    def forward(self, x):
        return self.second(self.act(self.first(x.flatten(1))))


ROWS = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))


def test_a_network_of_ones_own_class_is_given_as_it_was_made(tmp_path):
    file, net = tmp_path / "own.safetensors", small(Own(), ROWS)
    rlprune.save(net, file)
    with pytest.raises(ValueError, match=r"cannot tell how to make the Own that it holds, for it is a Own, .*load\(file, Own"):
        rlprune.load(file)
    given = Own()
    assert rlprune.load(file, given) is given
    alike(given, net, ROWS)
    assert given.first.out_features == given.second.in_features == net.first.out_features < 12


@pytest.mark.parametrize("wrap", [AveragedModel, nn.DataParallel, lambda net: torch.compile(net, backend="eager")])
def test_what_is_wrapped_is_saved_and_filled_inside(wrap, tmp_path):
    net = small(Own(), ROWS)
    rlprune.save(wrap(net), tmp_path / "wrapped")
    alike(rlprune.load(tmp_path / "wrapped", Own()), net, ROWS)
    given = wrap(Own())
    assert rlprune.load(tmp_path / "wrapped", given) is given


def tied():
    net = nn.Sequential(nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 2))
    net[2].weight = net[0].weight
    return net


def repeated():
    layer = nn.Linear(9, 9)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.ModuleDict({"a": nn.Linear(9, 2)})["a"])


@pytest.mark.parametrize("make", [tied, repeated])
@pytest.mark.parametrize("given", [False, True])
def test_what_is_shared_stays_shared(make, given, tmp_path):
    torch.manual_seed(0)
    net = make()
    rlprune.save(net, tmp_path / "file")
    again = rlprune.load(tmp_path / "file", make() if given else None)
    alike(again, net, ROWS)
    assert again[0].weight is again[2].weight
    assert (again[0] is again[2]) == (net[0] is net[2])
    assert len(list(again.parameters())) == len(list(net.parameters()))


def test_a_loaded_network_learns_on_and_counts_from_the_dense_one(tmp_path):
    net = small()
    rlprune.save(net, tmp_path / "file")
    again = rlprune.load(tmp_path / "file")
    again(IMAGES).square().mean().backward()
    assert all(parameter.grad is not None for parameter in again.parameters())
    with pytest.warns(UserWarning, match="was cut before") as told:
        further = rlprune.Pruning(again, "Random-U", 0.9, epochs=1, loss=lambda net: net(IMAGES).square().mean())
    dense = sum(parameter.numel() for parameter in convolutional().parameters() if parameter.ndim > 1)
    assert told
    assert sum(layer["dense"] for layer in further.follower.layers().values()) == dense
    assert further.reached()["sparsity_weights"] == pytest.approx(0.9, abs=1 / dense)


def reduced(layer):
    layer.register_forward_hook(lambda *_: None)
    return layer


class Bent(nn.Linear):
    pass


def patched():
    layer = nn.Linear(9, 2)
    layer.forward = lambda x: x
    return layer


def bearing(net):
    net.register_buffer("mean", torch.zeros(9))
    return net


def bent(net):
    net.forward = lambda x: x
    return net


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: nn.Sequential(nn.ReLU(), Bent(9, 2)), "'1' is a Bent, which is none of torch.nn's own layers"),
        (lambda: nn.Sequential(reduced(nn.Linear(9, 2))), "'0' has hooks"),
        (lambda: nn.Sequential(patched()), "'0', a Linear, does not tell how it was made"),
        (lambda: bearing(nn.Sequential(nn.Linear(9, 2))), "it, a Sequential, has something of its own beside its layers"),
        (lambda: nn.Sequential(bent(nn.Sequential(nn.Linear(9, 2)))), "'0', a Sequential, has something of its own"),
        (lambda: nn.LSTM(9, 2), "it, a LSTM, does not tell how it was made"),
        (lambda: nn.MultiheadAttention(8, 2, bias=False), "it, a MultiheadAttention, does not tell"),
        (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(9, 2))), "'0' is a ParametrizedLinear"),
    ],
)
def test_what_the_file_cannot_tell_is_named_and_taken_from_the_network_given(make, why, tmp_path):
    net = make()
    rlprune.save(net, tmp_path / "file")
    with pytest.raises(ValueError, match=why) as error:
        rlprune.load(tmp_path / "file")
    assert "\n" not in str(error.value)
    given = rlprune.load(tmp_path / "file", make())
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in given.state_dict().items())


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(4, 6, (3, 2), padding="same", padding_mode="reflect", bias=False),
        lambda: nn.ConvTranspose1d(4, 6, 3, output_padding=1, stride=2, groups=2),
        lambda: nn.BatchNorm1d(4, eps=0.1, momentum=None, affine=False),
        lambda: nn.LayerNorm((3, 4), bias=False),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.Embedding(9, 4, padding_idx=2),
        lambda: nn.EmbeddingBag(9, 4, mode="sum"),
        lambda: nn.PReLU(4),
        lambda: nn.Hardtanh(-2, 2),
        lambda: nn.Unflatten(1, (2, 3)),
        lambda: nn.Upsample(scale_factor=(2.0, 2.0), mode="nearest"),
        lambda: nn.Bilinear(3, 4, 5, bias=False),
        lambda: nn.MultiheadAttention(8, 2, kdim=3, batch_first=True),
        lambda: nn.ModuleDict({"a": nn.Softmax(-1), "b": nn.ModuleList([nn.Linear(2, 2).double()])}),
    ],
)
def test_layers_of_torch_come_back_as_they_were_made(make, tmp_path):
    net = make()
    rlprune.save(net, tmp_path / "file")
    again = rlprune.load(tmp_path / "file")
    assert repr(again) == repr(net)
    assert {n: (t.dtype, t.shape) for n, t in again.state_dict().items()} == {
        n: (t.dtype, t.shape) for n, t in net.state_dict().items()
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (nn.Sequential(nn.Linear(9, 12)), r"this Sequential has a '0\.weight', and .* has none"),
        (nn.Linear(9, 12), "has none"),
        (Own().double(), "is float32 in .* and float64 in this Own: give it in float32"),
    ],
)
def test_another_network_is_refused_whole(given, message, tmp_path):
    rlprune.save(small(Own(), ROWS), tmp_path / "file")
    before = [tensor.clone() for tensor in given.state_dict().values()]
    with pytest.raises(ValueError, match=message):
        rlprune.load(tmp_path / "file", given)
    assert all(torch.equal(one, other) for one, other in zip(before, given.state_dict().values(), strict=True))


def test_a_network_that_is_smaller_than_the_file_is_refused(tmp_path):
    rlprune.save(Own(), tmp_path / "file")
    given = small(Own(), ROWS)
    with pytest.raises(ValueError, match=r"first\.\w+ is \(12.*cannot be cut from .* as it was made before"):
        rlprune.load(tmp_path / "file", given)


class Stateful(nn.Linear):
    def get_extra_state(self):
        return {"a": 1}

    def set_extra_state(self, state):
        pass


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (3.0, "net is a torch.nn.Module, not a scripted one; got a float"),
        (Stateful(2, 2), "_extra_state is a dict, and only tensors"),
        (nn.LazyLinear(2), "weight has no values yet"),
        (nn.Linear(2, 2, device="meta"), "weight has no values yet"),
    ],
)
def test_what_cannot_be_saved_is_refused_by_name(net, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        rlprune.save(net, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def header(file):
    with safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["rlprune network"])


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.update(layers={"is": "Net", "of": {}}),
        lambda about: about.update(layers={"is": "Linear", "in_features": 10**9, "out_features": 10**9}),
        lambda about: about.update(layers={"is": "Module"}),
        lambda about: about.update(layers={"same": "elsewhere"}),
        lambda about: about.update(same={"x": "y"}),
        lambda about: about.update(same=3),
        lambda about: about.pop("layers"),
        lambda about: about.update(dense={"x": "y"}),
    ],
)
def test_a_file_that_lies_is_refused_and_builds_nothing(change, tmp_path):
    rlprune.save(nn.Linear(2, 3), tmp_path / "file")
    about = header(tmp_path / "file")
    change(about)
    save_file(dict(nn.Linear(2, 3).state_dict()), tmp_path / "file", {"rlprune network": json.dumps(about)})
    with pytest.raises(ValueError, match=r"holds no network that rlprune\.save wrote") as error:
        rlprune.load(tmp_path / "file")
    assert "\n" not in str(error.value)


def test_a_file_that_is_none_is_told(tmp_path):
    (tmp_path / "text").write_text("x")
    with pytest.raises(ValueError, match="holds no network"):
        rlprune.load(tmp_path / "text")
    save_file({"weight": torch.ones(1)}, tmp_path / "tensors")
    with pytest.raises(ValueError, match="its header describes none"):
        rlprune.load(tmp_path / "tensors")
    with pytest.raises(FileNotFoundError):
        rlprune.load(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        rlprune.save(nn.Linear(1, 1), tmp_path / "no folder" / "file")
