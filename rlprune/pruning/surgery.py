"""Cut channels out of a live module: parameters, gradients, buffers and the optimizers' state, all by the same cut.

Nothing else in rlprune changes a tensor's shape. Every tensor is cut once, on all its dimensions, by boolean
keep-masks; optimizers go on with the state that belonged to what stayed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from rlprune.pruning.groups import Group

Cuts: TypeAlias = dict[str, dict[int, Tensor]]
"""Tensor name to dimension to a boolean vector, True where a position stays.

Where the first dimension falls into blocks with positions of their own, it is a matrix with one row a block.
"""


def cuts(module: nn.Module, groups: Sequence[Group], kept: Mapping[str, Tensor], copies: Mapping[str, str] | None = None) -> Cuts:
    """Translate kept channels into kept positions of every tensor.

    Args:
        module: the module as it is now, before the cut.
        groups: groups whose sizes are the module's present ones.
        kept: group name to a boolean vector over its channels; groups left out stay whole.
        copies: a tensor's name to the name of the one that it is a copy of, and is cut like.

    Raises:
        ValueError: a mask of the wrong length or type, a group that would lose every channel, blocks that would keep
            unequal counts, or an unknown group.
    """
    by_name = {group.name: group for group in groups}
    tensors = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers(remove_duplicate=False))}
    found: Cuts = {}
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
            stays = found.setdefault(member.tensor, {}).setdefault(member.dim, whole)
            stays[..., member.offset : member.offset + member.span(group.size)] &= member.positions(keep)
    return found | {copy: found[name] for copy, name in (copies or {}).items() if name in found}


def cut(module: nn.Module, cuts: Cuts, optimizers: Sequence[torch.optim.Optimizer] = ()) -> None:
    """Replace every named tensor of ``module`` by its kept part, in place of the module but in new parameters.

    Tied parameters stay tied, frozen ones frozen. Layers' own size attributes follow. All is made and checked before the first
    tensor changes, so that a cut that fails leaves the module whole.

    Raises:
        ValueError: a layer of unknown sizes, tensors of a layer that would no longer fit one another, or one tensor under two
            names that would be cut in two ways.
    """
    places = _places(module)
    cut_as: dict[int, str] = {}
    parts: dict[int, Tensor] = {}
    for name, dims in cuts.items():
        old = places[name][0]
        if id(old) in parts and not _equal(dims, cuts[cut_as[id(old)]]):
            raise ValueError(f"{cut_as[id(old)]} and {name} are one tensor and cannot be cut in two ways")
        if id(old) not in parts:
            cut_as[id(old)], parts[id(old)] = name, _part(old, dims)
    changes: dict[nn.Module, dict[str, Tensor]] = {}
    for key, name in cut_as.items():
        for owner, attribute in places[name][1]:
            changes.setdefault(owner, {})[attribute] = parts[key]
    names = {layer: name for name, layer in module.named_modules()}
    sizes = {layer: _sizes(layer, names[layer], changed) for layer, changed in changes.items()}
    replaced = [(places[name][0], parts[key], cuts[name]) for key, name in cut_as.items()]
    states = [
        {id(old): _state(optimizer, old, dims) for old, _, dims in replaced if old in optimizer.state} for optimizer in optimizers
    ]

    for layer, changed in changes.items():
        for attribute, tensor in changed.items():
            setattr(layer, attribute, tensor)
        for attribute, size in sizes[layer].items():
            setattr(layer, attribute, size)
    for optimizer, kept in zip(optimizers, states, strict=True):
        for old, new, _ in replaced:
            for group in optimizer.param_groups:
                group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
            if id(old) in kept:
                del optimizer.state[old]
                optimizer.state[new] = kept[id(old)]


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


def _part(old: Tensor, dims: Mapping[int, Tensor]) -> Tensor:
    """Return the kept part of a parameter with its gradient, or of a buffer."""
    new = narrow(old, dims)
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
        new.grad = None if old.grad is None else narrow(old.grad, dims)
    return new


def _state(optimizer: torch.optim.Optimizer, old: Tensor, dims: Mapping[int, Tensor]) -> dict[str, Any]:
    return {
        key: narrow(value, dims) if isinstance(value, Tensor) and value.shape == old.shape else value
        for key, value in optimizer.state[old].items()
    }


def _equal(dims: Mapping[int, Tensor], others: Mapping[int, Tensor]) -> bool:
    return dims.keys() == others.keys() and all(torch.equal(keep, others[dim]) for dim, keep in dims.items())


def _sizes(layer: nn.Module, name: str, changed: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return a layer's own size attributes once these of its tensors have changed.

    Raises:
        ValueError: a layer of unknown sizes, or tensors that do not fit one another.
    """
    tensors = {**dict(layer.named_parameters(recurse=False)), **dict(layer.named_buffers(recurse=False)), **changed}
    lengths = {own: len(tensor) for own, tensor in tensors.items() if tensor.dim()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{own} {length}" for own, length in lengths.items())
        raise ValueError(f"this cut would leave tensors of {name} that do not fit one another ({told}): a group leaves some out")
    match layer:
        case nn.Linear():
            return {"out_features": len(tensors["weight"]), "in_features": tensors["weight"].shape[1]}
        case _ConvNd(transposed=False):
            one_by_one = layer.groups == layer.in_channels == layer.out_channels  # depthwise: a group goes with its channel
            outputs, inputs = tensors["weight"].shape[:2]
            groups = outputs if one_by_one else layer.groups
            return {"groups": groups, "out_channels": outputs, "in_channels": inputs * groups}
        case _NormBase():
            return {"num_features": next(iter(lengths.values()))}
        case nn.Embedding():
            return {"num_embeddings": len(tensors["weight"]), "embedding_dim": tensors["weight"].shape[1]}
        case _:
            raise ValueError(f"{name} is a {type(layer).__name__}, whose channels cannot be cut; pruners of weights need no cut")
