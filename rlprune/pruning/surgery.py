"""Cut channels out of a live module: parameters, gradients, buffers and the optimizers' state, all by the same cut.

Nothing else in rlprune changes a tensor's shape. Every tensor is cut once, on all its dimensions, by boolean
keep-masks; optimizers go on with the state that belonged to what stayed.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves

from rlprune.pruning.groups import Group, made_on

Cuts: TypeAlias = dict[str, dict[int, Tensor]]
"""Tensor name to dimension to a boolean vector, True where a position stays.

Where the first dimension falls into blocks with positions of their own, it is a matrix with one row a block.
"""


@dataclass(frozen=True)
class Sizes:
    """The shapes of a module's tensors, and its layers' own size attributes."""

    tensors: Mapping[str, torch.Size]
    layers: Mapping[str, Mapping[str, Any]]


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer, one that several layers hold under each of its names."""
    parameters, buffers = module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)
    return {**dict(parameters), **dict(buffers)}


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
    tensors = named_tensors(module)
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
        ValueError: a layer of unknown sizes, tensors of a layer that would no longer fit one another, one tensor under two
            names that would be cut in two ways, or what ``bound`` refuses.
    """
    places = _places(module)
    bound(module, list(cuts), optimizers)
    cut_as: dict[int, str] = {}
    parts: dict[int, Tensor] = {}
    for name, dims in cuts.items():
        old = places[name][0]
        if id(old) in parts and not _equal(dims, cuts[cut_as[id(old)]]):
            raise ValueError(f"{cut_as[id(old)]} and {name} are one tensor and cannot be cut in two ways")
        if id(old) not in parts:
            cut_as[id(old)], parts[id(old)] = name, _part(old, dims)
    changes = _changes(places, {name: parts[key] for key, name in cut_as.items()})
    names = {layer: name for name, layer in module.named_modules()}
    sizes = {layer: _sizes(layer, names[layer], changed) for layer, changed in changes.items()}
    replaced = [(places[name][0], parts[key], cuts[name]) for key, name in cut_as.items()]
    states = [
        {id(old): _state(optimizer, old, dims) for old, _, dims in replaced if old in optimizer.state} for optimizer in optimizers
    ]
    _put(changes, sizes)
    for optimizer, kept in zip(optimizers, states, strict=True):
        _exchange(optimizer, {old: new for old, new, _ in replaced}, kept)


def bound(module: nn.Module, names: Sequence[str], optimizers: Sequence[torch.optim.Optimizer] = ()) -> None:
    """Refuse tensors to which something is bound that would be left behind where they are replaced.

    Args:
        module: the module that holds them.
        names: of what is cut.
        optimizers: whose state follows.

    Raises:
        ValueError: a hook, a second reference, or state of another shape, by its place.
    """
    places = _places(module)
    tensors = {name: places[name][0] for name in dict.fromkeys(names)}
    of = {id(tensor): name for name, tensor in tensors.items()}
    otherwise = "take a pruner of weights (-U)"
    for name, tensor in tensors.items():
        if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
            raise ValueError(f"{name} has a hook of its own, which a cut would leave behind: remove it, or {otherwise}")
    for path, layer in module.named_modules():
        for attribute, value in vars(layer).items():
            if attribute not in ("_parameters", "_buffers", "_modules"):
                for leaf in tree_leaves(value):
                    if id(leaf) in of:
                        where = f"{path}.{attribute}".removeprefix(".")
                        raise ValueError(
                            f"{where} of this network holds {of[id(leaf)]} once more, which a cut would leave behind: "
                            f"look it up when it is needed, or {otherwise}"
                        )
    for optimizer in optimizers:
        for name, tensor in tensors.items():
            for key, value in optimizer.state.get(tensor, {}).items():
                if isinstance(value, Tensor) and value.numel() > 1 and value.shape != tensor.shape:
                    raise ValueError(
                        f"{type(optimizer).__name__} keeps state in other shapes than its parameters ({key} of {name}), "
                        f"which a cut cannot follow: take another optimizer, or {otherwise}"
                    )


def sizes(module: nn.Module) -> Sizes:
    """Return how large a module is, for ``restore``."""
    return Sizes(
        {name: tensor.shape for name, (tensor, _) in _places(module).items()},
        {name: _own(layer) for name, layer in module.named_modules()},
    )


def restore(module: nn.Module, whole: Sizes, optimizers: Sequence[torch.optim.Optimizer] = ()) -> None:
    """Give a module that was cut its sizes back, in new parameters of zeros, without the optimizers' state of what changes."""
    places = _places(module)
    names = {layer: name for name, layer in module.named_modules()}
    fresh: dict[int, Tensor] = {}
    for name, shape in whole.tensors.items():
        if (old := places[name][0]).shape != shape:
            zeros = old.detach().new_zeros(shape)
            fresh.setdefault(id(old), nn.Parameter(zeros, old.requires_grad) if isinstance(old, nn.Parameter) else zeros)
    changed = {name: fresh[id(old)] for name, (old, _) in places.items() if id(old) in fresh}
    changes = _changes(places, changed)
    _put(changes, {layer: whole.layers[names[layer]] for layer in changes})
    for optimizer in optimizers:
        _exchange(optimizer, {places[name][0]: new for name, new in changed.items()}, {})


def copied(module: nn.Module, memo: Mapping[int, Any] | None = None) -> nn.Module:
    """Return a deep copy, also of a network that keeps what it computed last as an attribute."""
    known = dict(memo or {})
    for layer in module.modules():
        for leaf in tree_leaves(vars(layer)):
            if isinstance(leaf, Tensor) and leaf.grad_fn is not None:
                known.setdefault(id(leaf), leaf.detach().clone())
    return copy.deepcopy(module, known)


def _changes(places: Mapping[str, "_Place"], parts: Mapping[str, Tensor]) -> dict[nn.Module, dict[str, Tensor]]:
    """Return which attributes of which layers new tensors are for."""
    changes: dict[nn.Module, dict[str, Tensor]] = {}
    for name, new in parts.items():
        for owner, attribute in places[name][1]:
            changes.setdefault(owner, {})[attribute] = new
    return changes


def _put(changes: Mapping[nn.Module, Mapping[str, Tensor]], sizes: Mapping[nn.Module, Mapping[str, Any]]) -> None:
    for layer, changed in changes.items():
        for attribute, value in (*changed.items(), *sizes[layer].items()):
            setattr(layer, attribute, value)


def _exchange(optimizer: torch.optim.Optimizer, new: Mapping[Tensor, Tensor], states: Mapping[int, dict[str, Any]]) -> None:
    """Let an optimizer hold new parameters for old ones, with these states of the old by their identity."""
    for group in optimizer.param_groups:
        group["params"] = [new.get(parameter, parameter) for parameter in group["params"]]
    for old, fresh in new.items():
        if optimizer.state.pop(old, None) is not None and id(old) in states:
            optimizer.state[fresh] = states[id(old)]


def narrow(tensor: Tensor, dims: Mapping[int, Tensor]) -> Tensor:
    """Return the kept part of ``tensor``, detached and contiguous."""
    tensor = tensor.detach()
    blocks_first = sorted(dims.items(), key=lambda item: -item[1].ndim)  # a cut of dimension 0 would move their borders
    for dim, keep in blocks_first:
        rows = keep.to(tensor.device).view(-1, keep.shape[-1])
        parts = zip(tensor.chunk(len(rows)), rows, strict=True)
        tensor = torch.cat([part.index_select(dim, row.nonzero().squeeze(1)) for part, row in parts])
    return tensor.contiguous()


_Place: TypeAlias = tuple[Tensor, list[tuple[nn.Module, str]]]


def _places(module: nn.Module) -> dict[str, _Place]:
    """Return every tensor's name with all the places that hold the same tensor."""
    named = named_tensors(module)
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
        vars(new).update(vars(old))
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
    weight_dim = made_on(layer)
    lengths = {own: tensor.shape[weight_dim if own == "weight" else 0] for own, tensor in tensors.items() if tensor.dim()}
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):  # others are about words
        lengths = {"weight": lengths["weight"]}
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
        case _ConvNd(groups=1):  # transposed
            inputs, outputs = tensors["weight"].shape[:2]
            return {"out_channels": outputs, "in_channels": inputs}
        case _NormBase():
            return {"num_features": next(iter(lengths.values()))}
        case nn.PReLU():
            return {"num_parameters": lengths["weight"]}
        case nn.Embedding() | nn.EmbeddingBag():
            return {"num_embeddings": len(tensors["weight"]), "embedding_dim": tensors["weight"].shape[1]}
        case _:
            raise ValueError(f"{name} is a {type(layer).__name__}, whose channels cannot be cut; pruners of weights need no cut")


_SIZES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features"),
    _ConvNd: ("in_channels", "out_channels", "groups"),
    _NormBase: ("num_features",),
    nn.PReLU: ("num_parameters",),
    nn.Embedding: ("num_embeddings", "embedding_dim"),
    nn.EmbeddingBag: ("num_embeddings", "embedding_dim"),
}


def _own(layer: nn.Module) -> dict[str, Any]:
    """Return a layer's own size attributes, of the kinds that can be cut."""
    return {name: getattr(layer, name) for kind, names in _SIZES.items() if isinstance(layer, kind) for name in names}
