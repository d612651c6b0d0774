"""BERT with a head of one layer, for sentences and pairs of them: new, or from a checkpoint (extra ``glue``)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rlprune.pruning.groups import Anatomy, Group, Member, chain

_READ = ("config.json", "model.safetensors or pytorch_model.bin")


class Marks(NamedTuple):
    """Token ids with a meaning of their own.

    Args:
        pad: fills rows; nobody attends to it.
        separator: stands behind each text.
    """

    pad: int
    separator: int


class BertClassifier(nn.Module):
    """BERT, its pooler on the first token, dropout, and a linear layer; attention is plain matrix products.

    Args:
        config: a ``transformers.BertConfig``.
        outputs: classes, or 1 for a regression.
        marks: what padding and separators are.
    """

    def __init__(self, config: Any, outputs: int, marks: Marks) -> None:
        super().__init__()
        config._attn_implementation = "eager"  # fused attention has no second derivative
        self.bert = _library().BertModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, outputs)
        nn.init.normal_(self.classifier.weight, std=config.initializer_range)
        nn.init.zeros_(self.classifier.bias)
        self._marks = marks

    def reset_parameters(self) -> None:
        """Draw the weights of its linear layers anew, from torch's global generator."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=self.bert.config.initializer_range)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits [N, C] of token ids [N, T]; what stands behind the first separator is the second text."""
        kind = self.classifier.weight.dtype
        ends = (tokens == self._marks.separator).long()
        second = (ends.cumsum(1) > ends).long()
        # in the shape that attention adds to its scores, so that nobody has to look at the values
        hidden = (tokens == self._marks.pad)[:, None, None, :].to(kind) * torch.finfo(kind).min
        found = self.bert(input_ids=tokens, token_type_ids=second, attention_mask=hidden)
        return self.classifier(self.dropout(found.pooler_output))  # type: ignore[no-any-return]

    def anatomy(self) -> Anatomy:
        """Return what may be pruned: the encoder's linear layers; whole heads and feed-forward units of each layer."""
        weights, groups = list[str](), list[Group]()
        for number, layer in enumerate(self.bert.encoder.layer):
            name = f"bert.encoder.layer.{number}"
            attention, made = f"{name}.attention.self", ("query", "key", "value")
            width = layer.attention.self.attention_head_size
            makers = [
                Member(f"{attention}.{part}.{own}", 0, produces=True, inner=width) for part in made for own in ("weight", "bias")
            ]
            reader = Member(f"{name}.attention.output.dense.weight", 1, inner=width)
            groups.append(Group(attention, layer.attention.self.num_attention_heads, (*makers, reader)))
            groups += chain(self, [f"{name}.intermediate.dense", f"{name}.output.dense"])
            weights += [f"{attention}.{part}.weight" for part in made]
            weights += [f"{name}.{part}.dense.weight" for part in ("attention.output", "intermediate", "output")]
        return Anatomy({"network": weights}, {"network": groups}, heads=[])


def small(
    *, vocabulary: int, layers: int, hidden: int, heads: int, intermediate: int, max_tokens: int, outputs: int, marks: Marks
) -> BertClassifier:
    """Return a new BERT, its weights drawn from torch's global generator.

    Their deviation is ``hidden ** -0.5``, which keeps the size of what passes; BERT's own 0.02 is that of 2,500 units.
    """
    config = _library().BertConfig(
        vocab_size=vocabulary,
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=max_tokens,
        pad_token_id=marks.pad,
        initializer_range=hidden**-0.5,
    )
    return BertClassifier(config, outputs, marks)


def pretrained(folder: Path, outputs: int, marks: Marks, max_tokens: int) -> BertClassifier:
    """Return the BERT of a checkpoint with a new head, and a new pooler where it has none; nothing is downloaded.

    Args:
        folder: holds ``config.json``, and ``model.safetensors`` or ``pytorch_model.bin``.
        outputs: of the head.
        marks: of the checkpoint's tokenizer.
        max_tokens: how long rows may get.

    Raises:
        ValueError: a file that is missing, another kind of network, weights that do not fit, rows that are too long.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} is no checkpoint of BERT: config.json missing; expected {' and '.join(_READ)}")
    try:
        config = _library().BertConfig.from_json_file(folder / "config.json")
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder}/config.json cannot be read: {' '.join(str(error).split())}") from None
    if config.model_type != "bert":
        raise ValueError(f"{folder}/config.json is of a '{config.model_type}'; a checkpoint of BERT was expected")
    if max_tokens > config.max_position_embeddings:
        raise ValueError(f"{folder} knows {config.max_position_embeddings} positions; max_tokens is {max_tokens}")
    net = BertClassifier(config, outputs, marks)
    given = {_named(name): tensor for name, tensor in _tensors(folder).items()}
    known = net.bert.state_dict()
    missing = [name for name in known if name not in given and not name.startswith("pooler.")]
    if missing:
        raise ValueError(f"{folder}: the weights lack {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}")
    wrong = [name for name in known if name in given and given[name].shape != known[name].shape]
    if wrong:
        got, expected = tuple(given[wrong[0]].shape), tuple(known[wrong[0]].shape)
        raise ValueError(f"{folder}: {wrong[0]} is {got}, config.json makes it {expected}")
    net.bert.load_state_dict({name: given.get(name, tensor) for name, tensor in known.items()})
    return net


def _tensors(folder: Path) -> Mapping[str, Tensor]:
    for name, load in (("model.safetensors", load_file), ("pytorch_model.bin", _pickled)):
        if (folder / name).is_file():
            try:
                return load(folder / name)
            except Exception as error:  # broken files make the libraries raise whatever comes
                raise ValueError(f"{folder / name} cannot be read: {str(error).partition(chr(10))[0]}") from None
    raise ValueError(f"{folder} holds no weights; expected {_READ[1]}")


def _pickled(file: Path) -> Mapping[str, Tensor]:
    return torch.load(file, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]


def _named(name: str) -> str:
    """Return the present name of a tensor: the first checkpoints called normalisation's weights gamma and beta."""
    return name.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _library() -> Any:
    try:
        import transformers
    except ImportError:
        raise ImportError("BERT needs transformers: python3 -m pip install 'rlprune[glue]'") from None
    return transformers
