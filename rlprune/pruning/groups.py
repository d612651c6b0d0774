"""Which channels belong together, and what of a module may be pruned.

A group is one set of channels that several tensors share: the rows of the layer that makes them, its bias, the
statistics that normalise them, the columns of the layers that read them. Channels of a group are removed together.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import lcm

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


@dataclass(frozen=True)
class Member:
    """One dimension of one tensor on which a group's channels lie.

    Channel ``c`` owns the positions ``offset + (o * size + c) * inner + i`` for ``o < outer`` and ``i < inner``.
    With ``blocks`` above 1 the tensor's first dimension falls into so many equal blocks, each reads its own share of
    the channels, and the formula holds inside a block: ``c`` counts in it, and ``size`` is the share.

    Args:
        tensor: name of a parameter or buffer.
        dim: the dimension.
        produces: whether these entries make the channel (weights and bias of its layer) or only read or scale it.
        outer: blocks one after another, each with every channel (4 for the gates of an LSTM).
        inner: neighbouring positions a channel owns (49 for a flattened 7x7 map).
        offset: positions in front that belong to others (concatenation).
        blocks: the ``groups`` of a grouped convolution, for its dimension 1.
    """

    tensor: str
    dim: int
    produces: bool = False
    outer: int = 1
    inner: int = 1
    offset: int = 0
    blocks: int = 1

    def positions(self, keep: Tensor) -> Tensor:
        """Return the kept positions inside this member's own span: a boolean vector, or one row a block."""
        own = keep if self.blocks == 1 else keep.reshape(self.blocks, -1)
        return torch.cat(self.outer * [own], dim=-1).repeat_interleave(self.inner, dim=-1)

    def span(self, size: int) -> int:
        """Return how many positions of the dimension ``size`` channels take."""
        return self.outer * size * self.inner // self.blocks


@dataclass(frozen=True)
class Group:
    """Channels that must be cut together: ``size`` of them, on the dimensions listed in ``members``.

    Args:
        blocks: equal blocks of neighbouring channels that must keep equal counts; 1 where no grouped convolution is near.

    Raises:
        ValueError: blocks that do not divide the channels, a member with blocks that they do not respect, or one that is there
            twice and would be counted so.
    """

    name: str
    size: int
    members: tuple[Member, ...]
    blocks: int = 1

    def __post_init__(self) -> None:
        if self.size % self.blocks:
            raise ValueError(f"group '{self.name}': {self.size} channels do not fall into {self.blocks} equal blocks")
        for member in self.members:
            if self.blocks % member.blocks:
                raise ValueError(f"group '{self.name}' needs a multiple of {member.blocks} blocks for {member.tensor}")
        places = Counter((member.tensor, member.dim, member.offset) for member in self.members)
        if twice := [tensor for (tensor, _, _), times in places.items() if times > 1]:
            raise ValueError(f"group '{self.name}' names the same place of {twice[0]} more than once")


@dataclass(frozen=True)
class Anatomy:
    """What of a module may be pruned: for each network in it, the names of its weights and its groups of channels.

    Networks are what the scope ``network`` ranks apart, say ``actor`` and ``critic``. Names refer to the module
    that holds them all. Groups keep the numbering of the dense module for good. ``stays`` says of layers whose channels
    are in no group what they meet. ``copies`` are tensors, a target network's say, each with the name of the one it is a copy
    of: they follow its masks and cuts, and count neither as weights to prune nor in the distance that training has gone.
    ``heads`` are those weights that make the outputs; None where nobody knows.
    """

    weights: Mapping[str, Sequence[str]]
    groups: Mapping[str, Sequence[Group]]
    stays: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    heads: Sequence[str] | None = None

    def all_weights(self) -> list[str]:
        """Return the names of all prunable weights, network by network."""
        return [name for names in self.weights.values() for name in names]

    def all_groups(self) -> list[Group]:
        """Return all groups, network by network."""
        return [group for groups in self.groups.values() for group in groups]

    def all_members(self) -> list[str]:
        """Return the names of the tensors that a cut of channels changes, group by group."""
        return [member.tensor for group in self.all_groups() for member in group.members]


_WEIGHED = (nn.Linear, _ConvNd, nn.Embedding, nn.EmbeddingBag, nn.Bilinear)
_SCALES = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def weights(module: nn.Module) -> list[str]:
    """Return the names of all weights, each once.

    They are the weights of linear, convolution and embedding layers, and every other matrix, those of recurrent and
    attention layers and of one's own among them. Scales of normalisations are none, nor what has more than two dimensions
    and only one of them longer than 1.
    """
    found: dict[int, str] = {}
    for path, layer in module.named_modules():
        for name, tensor in layer.named_parameters(recurse=False):
            matrix = tensor.ndim == 2 or (tensor.ndim > 2 and sum(size > 1 for size in tensor.shape) > 1)
            if (name == "weight" and isinstance(layer, _WEIGHED)) or (matrix and not isinstance(layer, _SCALES)):
                found.setdefault(id(tensor), f"{path}.{name}".removeprefix("."))
    return list(found.values())


def made_on(layer: nn.Module) -> int:
    """Return the dimension of a layer's weight on which its outputs lie; of the first two, its inputs lie on the other one."""
    return int(isinstance(layer, nn.Embedding | nn.EmbeddingBag | _ConvTransposeNd))


def chain(module: nn.Module, layers: Sequence[str]) -> list[Group]:
    """Return the groups between linear layers that feed one another; the last layer's outputs are nobody's to cut.

    Args:
        module: holds the layers.
        layers: their names in order, say ``["body.0", "body.2", "head"]``; one group for each but the last.

    Raises:
        ValueError: a layer that reads no channels, or whose channels cannot be cut.
    """
    groups = []
    for producer, consumer in pairwise(layers):
        maker, reads = module.get_submodule(producer), _read_on(consumer, module.get_submodule(consumer))
        makers = [replace(member, produces=True) for member in _along(producer, maker, buffers=False)]
        size = maker.get_parameter("weight").shape[made_on(maker)]
        groups.append(Group(producer, size, (*makers, Member(f"{consumer}.weight", reads))))
    return groups


def stream(
    module: nn.Module,
    name: str,
    made_by: Sequence[str],
    scaled_by: Sequence[str] = (),
    read_by: Sequence[str] = (),
    inner: Mapping[str, int] | None = None,
) -> Group:
    """Return the group of one stream of channels: a residual stream, or what lies between two convolutions.

    Args:
        module: holds the layers.
        name: of the group.
        made_by: layers whose outputs are the channels; several where their outputs are added.
        scaled_by: layers that treat every channel for itself: normalisation, depthwise convolution.
        read_by: layers whose inputs are the channels.
        inner: for a layer that reads flattened maps, how many positions a channel has there (4 for a 2x2 map).

    Raises:
        ValueError: a layer that makes, scales or reads another number of channels, or whose channels cannot be cut.
    """
    inner = inner or {}
    layers = {layer: module.get_submodule(layer) for layer in (*made_by, *scaled_by, *read_by)}
    shared = {layer: int(getattr(layers[layer], "groups", 1)) for layer in (*made_by, *read_by)}
    members = [
        replace(member, produces=layer in made_by) for layer in (*made_by, *scaled_by) for member in _along(layer, layers[layer])
    ]
    members += [
        Member(f"{layer}.weight", _read_on(layer, layers[layer]), inner=inner.get(layer, 1), blocks=shared[layer])
        for layer in read_by
    ]
    maker = layers[made_by[0]]
    size = maker.get_parameter("weight").shape[made_on(maker)]
    tensors = module.state_dict()
    for member in members:
        length = tensors[member.tensor].shape[member.dim]
        if length != member.span(size):
            raise ValueError(f"'{name}' has {size} channels; dimension {member.dim} of {member.tensor} fits {length} positions")
    return Group(name, size, tuple(members), blocks=lcm(*shared.values()))


def _along(name: str, layer: nn.Module, *, buffers: bool = True) -> Iterator[Member]:
    """Yield where the channels that a layer makes, or scales, lie in its tensors; an embedding's buffers are about words."""
    _refuse_blocks(name, layer)
    for own, tensor in (*layer.named_parameters(recurse=False), *(layer.named_buffers(recurse=False) if buffers else ())):
        if own == "weight" or (tensor.ndim and not isinstance(layer, nn.Embedding | nn.EmbeddingBag)):
            yield Member(f"{name}.{own}", made_on(layer) if own == "weight" else 0)


def _read_on(name: str, layer: nn.Module) -> int:
    """Return the dimension of a layer's weight on which the channels that it reads lie."""
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        raise ValueError(f"'{name}' is an {type(layer).__name__}: it reads words, and no channels")
    _refuse_blocks(name, layer)
    return 1 - made_on(layer)


def _refuse_blocks(name: str, layer: nn.Module) -> None:
    if isinstance(layer, _ConvTransposeNd) and layer.groups > 1:
        raise ValueError(f"'{name}' is a transposed convolution in {layer.groups} groups, whose channels cannot be cut")


def everything(groups: Sequence[Group]) -> dict[str, Tensor]:
    """Return keep-masks that keep every channel of every group."""
    return {group.name: torch.ones(group.size, dtype=torch.bool) for group in groups}


def present(groups: Sequence[Group], kept: Mapping[str, Tensor]) -> list[Group]:
    """Return groups as they are numbered after cuts.

    Args:
        groups: in the dense numbering.
        kept: group name to a boolean vector over its dense channels.
    """
    left = {group.name: int(kept[group.name].sum()) for group in groups}

    def moved(member: Member) -> Member:
        before = [
            other.span(group.size) - other.span(left[group.name])
            for group in groups
            for other in group.members
            if (other.tensor, other.dim) == (member.tensor, member.dim) and other.offset < member.offset
        ]
        return replace(member, offset=member.offset - sum(before))

    return [replace(group, size=left[group.name], members=tuple(map(moved, group.members))) for group in groups]
