"""Cut channels out of a live module: parameters, gradients, buffers and the optimizer's state, all by the same cut.

Nothing else in rlprune changes a tensor's shape. Every tensor is cut once, on all its dimensions, by boolean
keep-masks; the optimizer goes on with the state that belonged to what stayed.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from rlprune.groups import Group

Keeps: TypeAlias = dict[str, dict[int, Tensor]]
"""Tensor name to dimension to a boolean vector, True where a position stays.

Where the first dimension falls into blocks with positions of their own, it is a matrix with one row a block.
"""


def keeps(module: nn.Module, groups: Sequence[Group], kept: Mapping[str, Tensor]) -> Keeps:
    """Translate kept channels into kept positions of every tensor.

    Args:
        module: the module as it is now, before the cut.
        groups: groups whose sizes are the module's present ones.
        kept: group name to a boolean vector over its channels; groups left out stay whole.

    Raises:
        ValueError: a mask of the wrong length or type, a group that would lose every channel, blocks that would keep
            unequal counts, or an unknown group.
    """
    by_name = {group.name: group for group in groups}
    tensors = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}
    cuts: Keeps = {}
    for name, keep in kept.items():
        if name not in by_name:
            raise ValueError(f"no group is named '{name}'; groups: {', '.join(by_name)}")
        group = by_name[name]
        if keep.dtype != torch.bool or keep.shape != (group.size,):
            raise ValueError(f"group '{name}' wants a boolean vector of {group.size}, got {keep.dtype} {tuple(keep.shape)}")
        if not keep.any():
            raise ValueError(f"group '{name}' would lose all of its {group.size} channels")
        counts = keep.reshape(group.blocks, -1).sum(1)
        if bool((counts != counts[0]).any()):
            raise ValueError(f"group '{name}' must keep equal counts in its {group.blocks} blocks, got {counts.tolist()}")
        if keep.all():
            continue
        for member in group.members:
            length = tensors[member.tensor].shape[member.dim]
            if member.offset + member.span(group.size) > length:
                raise ValueError(f"group '{name}' reaches beyond dimension {member.dim} of {member.tensor} ({length} long)")
            shape = (length,) if member.blocks == 1 else (member.blocks, length)
            whole = torch.ones(shape, dtype=torch.bool, device=keep.device)
            stays = cuts.setdefault(member.tensor, {}).setdefault(member.dim, whole)
            stays[..., member.offset : member.offset + member.span(group.size)] &= member.positions(keep)
    return cuts


def cut(module: nn.Module, cuts: Keeps, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Replace every named tensor of ``module`` by its kept part, in place of the module but in new parameters.

    Tied parameters stay tied, frozen ones frozen. Layers' own size attributes follow.
    """
    places = _places(module)
    for name, dims in cuts.items():
        old = places[name][0]
        new = narrow(old, dims)
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=old.requires_grad)
            new.grad = None if old.grad is None else narrow(old.grad, dims)
            if optimizer is not None:
                _replace(optimizer, old, new, dims)
        for owner, attribute in places[name][1]:
            setattr(owner, attribute, new)
            _fit(owner)


def narrow(tensor: Tensor, dims: Mapping[int, Tensor]) -> Tensor:
    """Return the kept part of ``tensor``, detached and contiguous."""
    tensor = tensor.detach()
    blocks_first = sorted(dims.items(), key=lambda item: -item[1].ndim)  # a cut of dimension 0 would move their borders
    for dim, keep in blocks_first:
        rows = keep.to(tensor.device).view(-1, keep.shape[-1])
        parts = zip(tensor.chunk(len(rows)), rows, strict=True)
        tensor = torch.cat([part.index_select(dim, row.nonzero().squeeze(1)) for part, row in parts])
    return tensor.contiguous()


def _places(module: nn.Module) -> dict[str, tuple[Tensor, list[tuple[nn.Module, str]]]]:
    """Return every tensor's name with all the places that hold the same tensor."""
    named = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}
    holders: dict[int, list[tuple[nn.Module, str]]] = {}
    for name, tensor in named.items():
        owner, _, attribute = name.rpartition(".")
        holders.setdefault(id(tensor), []).append((module.get_submodule(owner), attribute))
    return {name: (tensor, holders[id(tensor)]) for name, tensor in named.items()}


def _replace(optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter, dims: Mapping[int, Tensor]) -> None:
    for group in optimizer.param_groups:
        group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
    if old in optimizer.state:
        state = optimizer.state.pop(old)
        optimizer.state[new] = {
            key: narrow(value, dims) if isinstance(value, Tensor) and value.shape == old.shape else value
            for key, value in state.items()
        }


def _fit(layer: nn.Module) -> None:
    """Make a layer's own size attributes agree with its tensors."""
    match layer:
        case nn.Linear():
            layer.out_features, layer.in_features = layer.weight.shape
        case _ConvNd(transposed=False):
            if layer.groups == layer.in_channels == layer.out_channels:  # depthwise: a group goes with its channel
                layer.groups = layer.weight.shape[0]
            layer.out_channels = layer.weight.shape[0]
            layer.in_channels = layer.weight.shape[1] * layer.groups
        case _NormBase():
            layer.num_features = len(layer.running_mean if layer.running_mean is not None else layer.weight)
        case nn.Embedding():
            layer.num_embeddings, layer.embedding_dim = layer.weight.shape
        case _:
            raise TypeError(f"surgery does not know the sizes of a {type(layer).__name__} yet")
