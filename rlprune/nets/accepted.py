"""Which networks, and which of their weights, can be pruned: what cannot is refused by name, before anything is changed."""

import gc
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel

from rlprune.pruning.groups import weights
from rlprune.words import nearest, several

_DETACH = "take that off before pruning (torch.nn.utils.parametrize.remove_parametrizations, or remove of torch.nn.utils)"


def unwrapped(net: nn.Module) -> nn.Module:
    """Return the network inside what compiles, replicates or averages it.

    Raises:
        ValueError: what is no module, or trains copies of one that would be pruned apart.
    """
    if isinstance(net, torch.jit.ScriptModule):
        raise ValueError("a scripted network cannot be changed: prune the module that it was made of")
    if not isinstance(net, nn.Module):
        raise ValueError(f"net is a torch.nn.Module; got a {type(net).__name__}")
    kind = type(net).__name__
    if isinstance(net, nn.parallel.DistributedDataParallel) or kind.startswith(("FSDP", "FullySharded", "DeepSpeed")):
        raise ValueError(
            f"a {kind} trains one copy of a network in each process, which would be pruned apart: prune it in one process, or "
            "the network inside, by the same batch in all"
        )
    return net if (inner := _within(net)) is None else unwrapped(inner)


def inside(net: nn.Module) -> nn.Module:
    """Return the network inside whatever compiles, replicates or averages it."""
    return net if (inner := _within(net)) is None else inside(inner)


def _within(net: nn.Module) -> nn.Module | None:
    if isinstance(net, nn.DataParallel | nn.parallel.DistributedDataParallel | AveragedModel):
        return net.module
    return net._modules.get("_orig_mod") if type(net).__name__ == "OptimizedModule" else None


def replicated(net: nn.Module) -> bool:
    """Return whether a DistributedDataParallel of this process holds a network or a part of it; none says so by itself."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    parts = set(net.modules())

    def held() -> bool:
        kind = nn.parallel.DistributedDataParallel
        return any(not parts.isdisjoint(one.modules()) for one in gc.get_objects() if issubclass(type(one), kind))

    if held():
        gc.collect()  # one that was let go of may be waiting
    return held()


def prunable(net: nn.Module, given: Sequence[str] | None) -> list[str]:
    """Return the names of the weights to prune.

    Raises:
        ValueError: weights that cannot be pruned, or not without a word from their owner.
    """
    what = f"a {type(net).__name__}"
    _supported(net)
    found = weights(net)
    if given is not None:
        names = {id(parameter): name for name, parameter in net.named_parameters()}
        every = dict(net.named_parameters(remove_duplicate=False))
        if isinstance(given, str) or not given:
            raise ValueError(f"weights is a list of names of parameters, say {found[:1]}; got {given!r}")
        for name in given:
            if name not in every:
                raise ValueError(f"weights: {what} has no parameter '{name}'{nearest(name, list(every))}")
        found = list(dict.fromkeys(names[id(every[name])] for name in given))
    if not found:
        raise ValueError(f"{what} without linear, convolution or embedding layers or other matrices has nothing to prune")
    frozen = [name for name in found if not net.get_parameter(name).requires_grad]
    if frozen:
        trained = [name for name in found if name not in frozen]
        raise ValueError(
            f"{several(frozen)} {'is' if len(frozen) == 1 else 'are'} frozen (requires_grad=False): thaw before pruning"
            + (
                f", or name what is to be pruned: weights=[{', '.join(map(repr, trained[:3]))}{', ...' if trained[3:] else ''}]"
                if trained
                else ""
            )
        )
    spans = sorted((*_span(net.get_parameter(name)), name) for name in found)
    for (_, stop, one), (start, _, other) in pairwise(spans):
        if start < stop:
            raise ValueError(f"{one} and {other} share memory but are two parameters: tie them as one, `b.weight = a.weight`")
    return found


def _supported(net: nn.Module) -> None:
    """Refuse what has no weights of its own, real and in one place, by name.

    Raises:
        ValueError: the first thing that is not supported.
    """
    for path, layer in net.named_modules():
        name = f"{type(layer).__name__}{f' {path!r}' if path else ''}"
        if "quantized" in type(layer).__module__:
            raise ValueError(f"{name} is quantized: prune before quantizing")
        if parametrize.is_parametrized(layer):
            raise ValueError(f"{name} is parametrized ({', '.join(layer.parametrizations)}): {_DETACH}")
        computed = [key for key, value in vars(layer).items() if isinstance(value, Tensor)]
        for key in computed:
            if any(own.startswith(f"{key}_") for own in layer._parameters):
                raise ValueError(f"{name} computes its {key} from other parameters (torch.nn.utils): {_DETACH}")
        if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)) and (layer.sparse or layer.max_norm is not None):
            option = "sparse=True" if layer.sparse else "max_norm"
            raise ValueError(f"{name} has {option}, which moves weights past their masks: make it without")
        for key, buffer in layer.named_buffers(recurse=False):
            if key.endswith("weight") and buffer.ndim > 1:
                raise ValueError(f"{name} keeps its {key} as a buffer, which nobody trains: make it a parameter")
    places: dict[torch.device, str] = {}
    kinds: dict[torch.dtype, str] = {}
    for name, parameter in net.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ValueError(f"{name} is not initialised yet: run the network once on an input before pruning")
        if parameter.is_complex() or not parameter.is_floating_point() or parameter.layout is not torch.strided:
            raise ValueError(
                f"{name} is {str(parameter.dtype).removeprefix('torch.')}, {parameter.layout}: rlprune prunes dense real weights"
            )
        if type(parameter.data) is not Tensor:
            raise ValueError(f"{name} is a {type(parameter.data).__name__}: rlprune prunes plain tensors")
        places.setdefault(parameter.device, name)
        kinds.setdefault(parameter.dtype, name)
    for seen, word in ((places, "on"), (kinds, "in")):
        if len(seen) > 1:
            (one, first), (other, second), *_ = seen.items()
            raise ValueError(f"{first} is {word} {one}, {second} {word} {other}: put the network {word} one before pruning")
    if any(place.type == "meta" for place in places):
        raise ValueError("this network is on the meta device and has no weights yet")


def _span(parameter: Tensor) -> tuple[int, int]:
    """Return where in memory a parameter begins and ends."""
    last = sum((size - 1) * stride for size, stride in zip(parameter.shape, parameter.stride(), strict=True))
    return parameter.data_ptr(), parameter.data_ptr() + (last + 1) * parameter.element_size()
