"""A network on disk, as small as it was cut: tensors as safetensors, and its architecture in words beside them, no pickle.

rlprune.save(net, "small.safetensors")
net = rlprune.load("small.safetensors")            # layers of torch.nn, in Sequential, ModuleList and ModuleDict
net = rlprune.load("small.safetensors", Net())     # any other, made as before it was pruned
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlprune.files import written
from rlprune.nets.accepted import inside
from rlprune.pruning import surgery
from rlprune.pruning.follower import DENSE
from rlprune.safely import plain
from rlprune.words import nearest

_NETWORK = "rlprune network"
_HOLDERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

Words: TypeAlias = dict[str, Any]


def save(net: nn.Module, file: str | Path) -> None:
    """Write a network, or the one inside what compiles, replicates or averages it.

    Any network can be saved; what ``load`` needs besides the file, if anything, it tells by name.

    Raises:
        ValueError: what is no network, or has no tensors to be written.
        OSError: the file cannot be written.
    """
    if not isinstance(net, nn.Module) or isinstance(net, torch.jit.ScriptModule):
        raise ValueError(f"net is a torch.nn.Module, not a scripted one; got a {type(net).__name__}")
    net = inside(net)
    tensors: dict[str, Tensor] = {}
    same: dict[str, str] = {}
    first: dict[int, str] = {}
    for name, value in net.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} is a {type(value).__name__}, and only tensors can be saved without pickle")
        if nn.parameter.is_lazy(value) or value.is_meta:
            raise ValueError(f"{name} has no values yet: run the network once, on a device, before it is saved")
        if (known := first.setdefault(id(value), name)) != name:
            same[name] = known
        else:
            tensors[name] = value.detach().contiguous().clone()
    about: Words = {"is": type(net).__name__, "same": same, "dense": getattr(net, DENSE, {})}
    about["frozen"] = [name for name, parameter in net.named_parameters() if not parameter.requires_grad]
    try:
        about["layers"] = _described(net, "", {})
    except _UntoldError as error:
        about["why"] = str(error)
    try:
        written(Path(file), lambda fresh: save_file(tensors, fresh, {"format": "pt", _NETWORK: json.dumps(about)}))
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise ValueError(f"this {type(net).__name__} cannot be written as safetensors: {plain(str(error), 200)}") from None


def load(file: str | Path, net: nn.Module | None = None) -> nn.Module:
    """Return the network of a file that ``save`` wrote, in training mode, on the CPU.

    Args:
        net: the network as it was made, before it was pruned, where the file alone does not tell how: it is cut to the sizes in
            the file, given its weights, and returned.

    Raises:
        ValueError: the file is damaged, or none of these, or holds another network than the one given, or needs one; then
            nothing is changed.
        FileNotFoundError: it is not there.
    """
    try:
        with safe_open(file, "pt") as opened:
            header = opened.metadata() or {}
        if _NETWORK not in header:
            raise LookupError("its header describes none")
        about: Words = json.loads(header[_NETWORK])
        tensors = load_file(file)
        tensors |= {name: tensors[known] for name, known in about["same"].items()}
        dense = {str(name): tuple(map(int, shape)) for name, shape in about["dense"].items()}
        made = None if net is not None or "why" in about else _rebuilt(about, tensors)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{file} holds no network that rlprune.save wrote: {plain(f'{error}', 200)}") from None
    if made is None and net is None:
        kind = plain(str(about["is"]), 80)
        raise ValueError(
            f"{file} cannot tell how to make the {kind} that it holds, for {plain(str(about['why']), 200)}: "
            f"give the network as it was made before it was pruned, rlprune.load(file, {kind}(...))"
        )
    if made is None:
        assert net is not None
        made = _filled(inside(net), tensors, str(file))
    for name in about["frozen"]:
        made.get_parameter(name).requires_grad_(False)
    if dense:
        setattr(made, DENSE, dense)
    return made if net is None else net


# -- the network in words --------------------------------------------------------------------------------------------


class _UntoldError(Exception):
    """Why a network cannot be made of words."""


def _described(layer: nn.Module, path: str, seen: dict[nn.Module, str]) -> Words:
    """Return what a layer is and is made from, by the arguments that it remembers: what these make is compared with it.

    Raises:
        _UntoldError: something else.
    """
    if layer in seen:
        return {"same": seen[layer]}
    seen[layer] = path
    kind, at = type(layer).__name__, f"'{path}'" if path else "it"
    if _KINDS.get(kind) is not type(layer):
        raise _UntoldError(f"{at} is a {kind}, which is none of torch.nn's own layers")
    if any(getattr(layer, hooks) for hooks in _HOOKS):
        raise _UntoldError(f"{at} has hooks")
    if isinstance(layer, _HOLDERS):
        if layer._parameters or layer._buffers or "forward" in vars(layer):
            raise _UntoldError(f"{at}, a {kind}, has something of its own beside its layers")
        children = {
            name: _described(child, f"{path}.{name}".removeprefix("."), seen)
            for name, child in layer._modules.items()
            if child is not None
        }
        words: Words = {"is": kind, "of": children}
        return words
    words = {"is": kind, **{name: value for name in _arguments(type(layer)) if _told(value := _remembered(layer, name))}}
    try:
        alike = _facts(_made(json.loads(json.dumps(words)), "", {})) == _facts(layer)
    except Exception:  # a layer that remembers too little may fail in any way
        alike = False
    if not alike:
        raise _UntoldError(f"{at}, a {kind}, does not tell how it was made")
    return words


def _arguments(kind: type[nn.Module]) -> Iterator[str]:
    return (name for name in inspect.signature(kind).parameters if name not in ("device", "dtype"))


def _remembered(layer: nn.Module, name: str) -> Any:
    """Return what a layer remembers of an argument; of one that is a parameter now, whether it has any."""
    if name in layer._parameters:
        return layer._parameters[name] is not None
    value = getattr(layer, name, ...)
    return value.item() if isinstance(value, np.generic) else value


def _told(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str)) or (isinstance(value, tuple) and all(map(_told, value)))


def _facts(layer: nn.Module) -> tuple[dict[str, Any], dict[str, torch.Size]]:
    """Return what a layer computes by, beside the values of its tensors."""
    own = {name: value for name, value in vars(layer).items() if name not in _COMMON}
    return own, {name: tensor.shape for name, tensor in layer.state_dict().items()}


_KINDS = {kind.__name__: kind for kind in vars(nn).values() if isinstance(kind, type) and issubclass(kind, nn.Module)}
_KINDS = {name: kind for name, kind in _KINDS.items() if kind.__module__.startswith("torch.nn.modules.")}
_COMMON = vars(nn.Module())


# -- a network of words ----------------------------------------------------------------------------------------------


def _made(words: Words, path: str, made: dict[str, nn.Module]) -> nn.Module:
    """Return a layer without values; no memory is taken before the tensors are found to have its sizes."""
    if "same" in words:
        return made[words["same"]]
    with torch.device("meta"):
        arguments = {name: _tupled(value) for name, value in words.items() if name not in ("is", "of")}
        layer = made[path] = _KINDS[words["is"]](**arguments)
    for name, child in words.get("of", {}).items():
        layer.add_module(name, _made(child, f"{path}.{name}".removeprefix("."), made))
    return layer


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


def _rebuilt(about: Words, tensors: Mapping[str, Tensor]) -> nn.Module:
    net = _made(about["layers"], "", {})
    net.load_state_dict(tensors, assign=True)
    for name, known in about["same"].items():
        owner, _, attribute = name.rpartition(".")
        place, _, source = known.rpartition(".")
        setattr(net.get_submodule(owner), attribute, getattr(net.get_submodule(place), source))
    return net


def _filled(net: nn.Module, tensors: Mapping[str, Tensor], file: str) -> nn.Module:
    """Cut a network to the shapes of tensors and give it their values.

    Raises:
        ValueError: it is another one, or was cut already.
    """
    own = net.state_dict(keep_vars=True)
    kind = type(net).__name__
    for name in (name for name in (*own, *tensors) if name not in own or name not in tensors):
        has, lacks, others = (f"this {kind}", file, tensors) if name in own else (file, f"this {kind}", own)
        raise ValueError(f"{has} has a '{name}', and {lacks} has none{nearest(name, others)}")
    cuts: surgery.Cuts = {}
    for name, tensor in tensors.items():
        now = own[name]
        if now.ndim != tensor.ndim or any(size > most for size, most in zip(tensor.shape, now.shape, strict=True)):
            raise ValueError(
                f"{name} is {tuple(tensor.shape)} in {file} and cannot be cut from {tuple(now.shape)}: "
                f"give the {kind} as it was made before it was pruned"
            )
        if now.dtype != tensor.dtype:
            one, other = (str(of.dtype).removeprefix("torch.") for of in (tensor, now))
            raise ValueError(f"{name} is {one} in {file} and {other} in this {kind}: give it in {one}")
        for dim, size in enumerate(tensor.shape):
            if size < now.shape[dim]:
                cuts.setdefault(name, {})[dim] = torch.arange(now.shape[dim]) < size
    surgery.cut(net, cuts)
    net.load_state_dict(tensors)
    return net
