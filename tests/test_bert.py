import copy
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from subjects import seeds, silenced
from torch.nn import functional
from transformers import BertConfig, BertModel

from rlprune.nets.bert import BertClassifier, Marks, pretrained, small
from rlprune.pruning import select, surgery
from rlprune.pruning.follower import PlanFollower, lacking
from rlprune.pruning.groups import present
from rlprune.pruning.masked import Masked
from rlprune.pruning.probe import Probe, Scoring
from rlprune.pruning.pruner import CHANNELS, NOTHING, pruners
from rlprune.pruning.start import drawn_anew

MARKS = Marks(pad=0, separator=3)
TOKENS = torch.tensor([[2, 7, 8, 9, 3, 5, 6, 3], [2, 5, 3, 9, 7, 3, 0, 0], [2, 11, 4, 3, 10, 3, 0, 0], [2, 6, 6, 3, 6, 3, 0, 0]])
LABELS = torch.tensor([0, 1, 1, 0])


def tiny(seed=0, outputs=2):
    """A BERT of two layers in float64, its normalisation with weights of its own."""
    torch.manual_seed(seed)
    net = small(vocabulary=12, layers=2, hidden=12, heads=3, intermediate=10, max_tokens=8, outputs=outputs, marks=MARKS)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias") or "LayerNorm" in name:
                parameter.add_(torch.randn_like(parameter) / 3)
    return net.double().eval()


def loss(module, temperature=1.0):
    return functional.cross_entropy(module(TOKENS) / temperature, LABELS)


def scoring(samples=4):
    return Scoring(lambda: [loss], samples, lambda module: [module(TOKENS)])


def probe(net):
    anatomy = net.anatomy()
    return Probe(net, anatomy, scoring(), torch.Generator(), {}, anatomy.all_groups())


# -- what it computes --------------------------------------------------------------------------------------------


def test_it_computes_what_transformers_computes_with_masks_and_token_types_spelled_out():
    net = tiny()
    types = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]])
    with torch.no_grad():
        found = net.bert(input_ids=TOKENS, token_type_ids=types, attention_mask=(TOKENS != 0).long())
        assert torch.allclose(net(TOKENS), net.classifier(found.pooler_output), rtol=1e-10)


def test_padding_changes_nothing():
    net = tiny()
    with torch.no_grad():
        assert torch.allclose(net(TOKENS[1:2]), net(TOKENS[1:2, :6]), rtol=1e-10)


def test_hessian_gradient_products_are_finite_differences_of_gradients():
    net = tiny()
    found, gradient = probe(net).hessian_gradient()
    pruned, step = set(net.anatomy().all_weights()), 1e-5
    ends = []
    for sign in (1, -1):
        moved = copy.deepcopy(net)
        with torch.no_grad():
            for name, parameter in moved.named_parameters():
                if name in pruned:
                    parameter.add_(gradient[name], alpha=sign * step)
        ends.append(probe(moved).gradient())
    for name, product in found.items():
        expected = (ends[0][name] - ends[1][name]) / (2 * step)
        assert torch.allclose(product, expected, rtol=1e-5, atol=1e-8), name
    assert sum(float(found[name].abs().sum()) for name in pruned) > 0


def test_only_the_encoders_linear_layers_are_weights_to_prune():
    net = tiny()
    names = net.anatomy().all_weights()
    assert len(names) == 2 * 6
    linear = [f"{name}.weight" for name, layer in net.named_modules() if isinstance(layer, torch.nn.Linear)]
    assert sorted(names) == sorted(name for name in linear if ".encoder." in name)


# -- cuts --------------------------------------------------------------------------------------------------------


KEPT = {
    "heads": {"attention.self": [True, False, True], "intermediate.dense": [True] * 10},
    "units": {"attention.self": [True] * 3, "intermediate.dense": [False, True] * 5},
    "both": {"attention.self": [False, False, True], "intermediate.dense": [True] + [False] * 9},
}


@pytest.mark.parametrize("what", KEPT)
def test_a_network_without_heads_and_units_computes_what_the_masked_one_computes(what):
    net = tiny()
    groups = net.anatomy().all_groups()
    kept = {group.name: torch.tensor(KEPT[what][".".join(group.name.split(".")[4:])]) for group in groups}
    with torch.no_grad():
        dense, expected = net(TOKENS), silenced(net, groups, kept)(TOKENS)
        surgery.cut(net, surgery.cuts(net, groups, kept))
        assert torch.allclose(net(TOKENS), expected, rtol=1e-8)
        assert not torch.allclose(dense, expected, rtol=1e-3)
    left = {name: int(keep.sum()) for name, keep in kept.items()}
    shapes = {name: tuple(tiny().get_parameter(name).shape) for name in net.anatomy().all_weights()}
    assert sum(net.get_parameter(name).numel() for name in shapes) == select.weights_left(shapes, groups, left)


def test_a_cut_network_is_cut_again_and_still_learns():
    net = tiny()
    groups = net.anatomy().all_groups()
    first = {group.name: torch.arange(group.size) != 0 for group in groups}
    surgery.cut(net, surgery.cuts(net, groups, first))
    left = present(groups, first)
    surgery.cut(net, surgery.cuts(net, left, {group.name: torch.arange(group.size) != 1 for group in left}))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    before = loss(net).item()
    for _ in range(20):
        optimizer.zero_grad()
        loss(net).backward()
        optimizer.step()
    assert loss(net).item() < before / 2


# -- pruners -----------------------------------------------------------------------------------------------------


class Subject:
    """A tiny BERT in training."""

    def __init__(self):
        self.module = tiny()
        self.anatomy = self.module.anatomy()
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=1e-2)
        self.optimizers = [self.optimizer]
        self.masked = Masked(self.module, self.optimizers)

    def scoring(self, round):
        return scoring()

    def learned(self, round):
        return scoring()

    def resized(self):
        pass

    def redrawn(self):
        return drawn_anew(copy.deepcopy(self.module), self.anatomy.all_weights())

    def train_epoch(self):
        self.optimizer.zero_grad()
        loss(self.module).backward()
        self.optimizer.step()


@pytest.mark.parametrize("name", pruners().names())
def test_every_pruner_prunes_it_or_says_what_it_lacks(name):
    subject, pruner = Subject(), pruners().load(name)
    known = type(pruner.settings()).model_fields
    settings = pruner.settings({key: 2 for key in ("levels", "rounds") if key in known})
    if lacking(pruner, subject.module):
        with pytest.raises(ValueError, match=rf"{name} needs (batchnorm|feedforward), which this network does not have"):
            PlanFollower(subject, pruner, settings, 0.6, 4, "global", seeds)
        return
    pruning = PlanFollower(subject, pruner, settings, 0.6, 4, "global", seeds)
    while pruning.next_epoch() is not None:
        subject.train_epoch()
        pruning.epoch_done()
    reached = pruning.reached()["sparsity_weights"]
    tolerance = 0.06 if pruner.cut == CHANNELS else 0.001  # a head is 3 % of so small a network
    assert reached == pytest.approx(0 if pruner.cut == NOTHING else 0.6, abs=tolerance)
    assert torch.isfinite(subject.module(TOKENS)).all()


def test_what_needs_batch_normalisation_or_a_flow_of_ones_is_told():
    refused = {name for name in pruners().names() if lacking(pruners().load(name), tiny())}
    assert refused == {"EarlyBird", "GateDecorators", "SynFlow"}


# -- checkpoints -------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(5)
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 10}
    model = BertModel(BertConfig(vocab_size=20, max_position_embeddings=16, **sizes))
    model.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert", model.eval()


def test_a_checkpoint_saved_by_transformers_is_loaded_without_a_network(checkpoint):
    folder, model = checkpoint
    net = pretrained(folder, 3, MARKS, 8).eval()
    with torch.no_grad():
        expected = model(input_ids=TOKENS[:1, :5], token_type_ids=torch.zeros(1, 5, dtype=torch.int64)).pooler_output
        assert torch.allclose(net(TOKENS[:1, :5]), net.classifier(expected), atol=1e-6)
    assert isinstance(net, BertClassifier)
    assert net(TOKENS).shape == (4, 3)


def test_old_names_pickles_and_a_missing_pooler_are_understood(checkpoint):
    folder, model = checkpoint
    tensors = load_file(folder / "model.safetensors")
    old = {f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in tensors.items()}
    torch.save({name: tensor for name, tensor in old.items() if "pooler" not in name}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    net = pretrained(folder, 2, MARKS, 8)
    given = dict(model.named_parameters())
    for name, parameter in net.bert.named_parameters():
        assert torch.equal(parameter, given[name]) != name.startswith("pooler.dense.weight")


def test_what_is_wrong_with_a_checkpoint_is_told_in_one_line(checkpoint, tmp_path):
    folder, _ = checkpoint
    with pytest.raises(ValueError, match=r"nowhere is no checkpoint of BERT: config\.json missing"):
        pretrained(tmp_path / "nowhere", 2, MARKS, 8)
    with pytest.raises(ValueError, match="knows 16 positions; max_tokens is 17"):
        pretrained(folder, 2, MARKS, 17)
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "embeddings.LayerNorm.bias": torch.zeros(5)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"embeddings\.LayerNorm\.bias is \(5,\), config\.json makes it \(12,\)"):
        pretrained(folder, 2, MARKS, 8)
    save_file({name: tensor for name, tensor in tensors.items() if "layer.1.output" not in name}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"the weights lack encoder\.layer\.1\.output\.dense\.weight"):
        pretrained(folder, 2, MARKS, 8)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"holds no weights; expected model\.safetensors or pytorch_model\.bin"):
        pretrained(folder, 2, MARKS, 8)
    config = (folder / "config.json").read_text().replace('"model_type": "bert"', '"model_type": "gpt2"')
    (folder / "config.json").write_text(config)
    with pytest.raises(ValueError, match="is of a 'gpt2'; a checkpoint of BERT was expected"):
        pretrained(folder, 2, MARKS, 8)


def test_without_transformers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"python3 -m pip install 'rlprune\[glue\]'"):
        tiny()
