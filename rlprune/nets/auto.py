"""What may be pruned in somebody's own network of convolutions and linear layers, traced by torch-pruning (extra ``auto``).

Only its dependency graph is used; the cutting is ours.
"""

import copy
from math import lcm
from typing import Any

import torch
from torch import Tensor, nn

from rlprune import surgery
from rlprune.groups import Anatomy, Group, Member
from rlprune.nets.resnet import matrices

_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def anatomy(net: nn.Module, example: Tensor) -> Anatomy:
    """Return what of ``net`` may be pruned, found by following one example through a copy of it.

    Channels that nothing reads, the network's outputs, belong to no group. The groups are tried out by a cut of the copy.

    Args:
        net: left as it is.
        example: a small batch of inputs.

    Raises:
        ImportError: torch-pruning is not installed.
        ValueError: channels that lie on something else than convolutions, linear layers and batch normalisation, or
            groups whose cut changes the shape of what the network returns.
    """
    try:
        import torch_pruning
    except ImportError:
        raise ImportError("finding the groups of a network needs torch-pruning: python3 -m pip install 'rlprune[auto]'") from None
    traced = copy.deepcopy(net).eval().requires_grad_()  # frozen layers would go unseen
    graph = torch_pruning.DependencyGraph().build_dependency(traced, example)
    names = {layer: name for name, layer in traced.named_modules()}
    groups = []
    for found in graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]):
        items = [item for item in found if item.dep.target.module in names or isinstance(item.dep.target.module, nn.Parameter)]
        if not all(graph.is_out_channel_pruning_fn(item.dep.handler) for item in items):
            groups.append(_group(items, names, graph))
    _try_out(traced, groups, example)
    return Anatomy({"network": matrices(net)}, {"network": groups})


def _group(items: list[Any], names: dict[nn.Module, str], graph: Any) -> Group:
    members: list[Member] = []
    blocks, made_by = 1, []
    for item in items:
        layer, makes = item.dep.target.module, graph.is_out_channel_pruning_fn(item.dep.handler)
        if not isinstance(layer, (nn.Linear, nn.Conv2d, *_NORMALISATIONS)):
            raise ValueError(f"channels on a {type(layer).__name__} cannot be grouped; say which belong together by hand")
        shared = getattr(layer, "groups", 1)
        one_by_one = isinstance(layer, _NORMALISATIONS) or shared == getattr(layer, "in_channels", 0) > 1
        places = sorted(zip(item.idxs, item.root_idxs, strict=True))
        offset, inner = places[0][0], item.root_idxs.count(0)
        if places != [(offset + at, at // inner) for at in range(len(places))]:
            raise ValueError(f"the channels of {names[layer]} lie in no order that a group can say")
        blocks = blocks if one_by_one else lcm(blocks, shared)
        if makes and not one_by_one:
            made_by.append(names[layer])
        if makes:
            own = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
            rows = [name for name, tensor in own if tensor.ndim]
            produces = not one_by_one
            members += [Member(f"{names[layer]}.{name}", 0, produces, inner=inner, offset=offset) for name in rows]
        else:
            members.append(Member(f"{names[layer]}.weight", 1, inner=inner, offset=offset, blocks=shared))
    size = len(set(items[0].root_idxs))
    return Group(made_by[0], size, tuple(members), blocks)


def _try_out(net: nn.Module, groups: list[Group], example: Tensor) -> None:
    """Keep the first half of every block of every group."""
    kept = {}
    for group in groups:
        block = group.size // group.blocks
        kept[group.name] = torch.arange(group.size) % block < max(1, block // 2)
    with torch.no_grad():
        before = net(example).shape
        surgery.cut(net, surgery.keeps(net, groups, kept))
        after = net(example).shape
    if after != before:
        raise ValueError(f"cutting these groups changes what the network returns from {tuple(before)} to {tuple(after)}")
