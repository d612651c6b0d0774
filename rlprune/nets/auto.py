"""What may be pruned in somebody's own network: its weights, and groups of channels that were tried out on a copy."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf, isclose, isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from rlprune.nets.channels import RETURNED, Call, follow
from rlprune.pruning import surgery
from rlprune.pruning.groups import Anatomy, Group, weights
from rlprune.pruning.probe import Loss

_CHEAP = 1_000_000
"""Parameters up to which a network is tried out in double precision."""


def anatomy(net: nn.Module, example: Tensor) -> Anatomy:
    """Return what of ``net`` may be pruned, found by following the channels of one example.

    Args:
        net: left as it is.
        example: a small batch of inputs.

    Raises:
        ValueError: the network does not run on the example.
    """
    groups, stays = cuttable(net, [((example,), {})])
    names = weights(net)
    return Anatomy({"network": names}, {"network": groups}, stays, heads=heads(names, stays))


def heads(names: Sequence[str], stays: Mapping[str, str]) -> list[str] | None:
    """Return which of these weights make the outputs, by what keeps their layers whole; None where none is known to."""
    return [name for name in names if stays.get(name.rpartition(".")[0]) == RETURNED] or None


def cuttable(net: nn.Module, calls: Sequence[Call]) -> tuple[list[Group], dict[str, str]]:
    """Return the groups whose cut computes what masking them does, and for each layer that stays whole what keeps it.

    Args:
        net: left as it is.
        calls: inputs of the network.

    Raises:
        ValueError: the network does not run on an input.
    """
    groups, stays = follow(net, calls)
    good, bad = tried(net, groups, calls)
    return good, stays | bad | _kinds(net, good, stays | bad)


def reached(net: nn.Module, losses: Sequence[Loss]) -> tuple[list[Group], dict[str, str]]:
    """Return the groups met by following the losses, whatever of the network they call, and what keeps other layers whole.

    Nothing is tried out; see ``agreed``.

    Raises:
        ValueError: channels that cannot be followed through a loss.
    """

    class Loss(nn.Module):  # the losses are no attribute: a copy of them would copy the data that they hold
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self) -> list[Tensor]:
            return [loss(self.net, 1.0) for loss in losses]

    def own(name: str) -> str:
        return name.removeprefix("net").removeprefix(".")

    found, stays = follow(Loss(), [((), {})])
    groups = [
        replace(
            group, name=own(group.name), members=tuple(replace(member, tensor=own(member.tensor)) for member in group.members)
        )
        for group in found
    ]
    kept = {own(layer): why.replace("'net.", "'") for layer, why in stays.items()}
    return groups, kept | _kinds(net, groups, kept)


def _kinds(net: nn.Module, groups: Sequence[Group], stays: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps those layers whole that are in no group, and of which nothing else is known."""
    grouped = {
        member.tensor.rpartition(".")[0] for group in groups for member in group.members if member.produces or not member.dim
    }
    found: dict[str, str] = {}
    for name in weights(net):
        path, weight = name.rpartition(".")[0], net.get_parameter(name)
        if path in grouped or path in stays or path in found:
            continue
        tied = [other for other, one in net.named_parameters(remove_duplicate=False) if one is weight and other != name]
        if not path:
            found[name] = f"its kind, a parameter of the {type(net).__name__} itself"
        elif tied:
            found[path] = f"its weight, which is {tied[0]}, too"
        else:
            found[path] = f"its kind, {type(net.get_submodule(path)).__name__}"
    return found


def told(stays: Mapping[str, str]) -> str:
    """Return in words which layers stay whole and why, the last layer last."""
    ordered = sorted(stays.items(), key=lambda item: item[1] == RETURNED)
    words = [f"'{layer}' stays whole because of {why}" for layer, why in ordered[:3]]
    return "; ".join([*words, f"and {len(ordered) - 3} more"] if ordered[3:] else words)


def tried(net: nn.Module, groups: Sequence[Group], calls: Sequence[Call]) -> tuple[list[Group], dict[str, str]]:
    """Cut some of the groups' channels out of a copy with weights drawn anew, and compare with masking them by value.

    Returns:
        The groups that passed, and what is wrong with each other one.

    Raises:
        ValueError: the network does not run on an input.
    """
    return _sifted(groups, partial(_wrong, net, calls))


def agreed(net: nn.Module, groups: Sequence[Group], losses: Sequence[Loss]) -> tuple[list[Group], dict[str, str]]:
    """Return the groups with which every loss is the same whether some of their channels are cut or masked, and what of others.

    A loss may read what the network's own forward does not show: another method, an attribute, a branch not taken before.
    """
    return _sifted(groups, partial(_differ, net, losses))


def _sifted(groups: Sequence[Group], wrong: Callable[[Sequence[Group]], str | None]) -> tuple[list[Group], dict[str, str]]:
    """Return the groups with which nothing is wrong, alone and together, and what is wrong with each other one."""
    why = wrong(groups) if groups else None
    if why is None:
        return list(groups), {}
    if len(groups) == 1:
        return [], {groups[0].name: why}
    half = len(groups) // 2
    first, second = _sifted(groups[:half], wrong), _sifted(groups[half:], wrong)
    good, bad = [*first[0], *second[0]], first[1] | second[1]
    if good and (why := wrong(good)) is not None:
        return [], bad | {group.name: why for group in good}
    return good, bad


def _wrong(net: nn.Module, calls: Sequence[Call], groups: Sequence[Group]) -> str | None:
    """Return what is wrong with a cut of these groups, or None."""
    size = sum(p.numel() for p in net.parameters())
    precise = size <= _CHEAP
    dtype: torch.dtype | None = torch.float64 if precise else torch.float32
    try:
        dense = _outputs(whole := _redrawn(net, dtype), calls)
    except Exception:  # what names its precision itself
        precise, dtype = False, None
        try:
            dense = _outputs(whole := _redrawn(net, dtype), calls)
        except Exception as error:
            raise ValueError(f"a {type(net).__name__} does not run on its example: {line(error)}") from error
    bound = 1e-9 if precise else 1e-3
    for number, (kept, training) in enumerate(_choices(groups, size)):
        if training and not _steady(partial(_outputs, whole.train(), calls), dense):
            continue
        trial, when = _redrawn(net, dtype).train(training), _WHEN[training]
        try:
            _silence(trial, groups, kept)
            masked = _outputs(trial, calls)
            surgery.cut(trial, surgery.cuts(trial, groups, kept))
            small = _outputs(trial, calls)
        except Exception as error:
            return f"what fails when they are cut{when} ({line(error)})"
        if [part.shape for part in small] != [part.shape for part in masked]:
            return f"what returns another shape when they are cut{when}"
        if number == 0 and not _apart(dense, masked) > 100 * bound:
            return "what does not depend on them on its example"
        gap = _apart(masked, small)
        if not gap <= bound:
            return f"what computes something else when they are cut{when} (relative error {gap:.1g})"
    return None


def _differ(net: nn.Module, losses: Sequence[Loss], groups: Sequence[Group]) -> str | None:
    """Return how a loss differs between masking these groups and cutting them, or None: with present weights, then others."""
    for kept, training in _choices(groups, sum(p.numel() for p in net.parameters())):
        for trial in (surgery.copied(net), _redrawn(net, None).requires_grad_(True)):
            if (why := _differs(trial.train(training), losses, groups, kept)) is not None:
                return f"what reads them and the network's own forward does not show{_WHEN[training]} ({why})"
    return None


def _differs(trial: nn.Module, losses: Sequence[Loss], groups: Sequence[Group], kept: Mapping[str, Tensor]) -> str | None:
    """Return how a loss differs between masking and cutting, which is done to the network, or None."""
    if trial.training and not _steady(partial(_values, trial, losses)):
        return None
    with torch.no_grad():
        _silence(trial, groups, kept)
    try:
        masked = _values(trial, losses)
    except Exception:  # weights that the loss cannot bear tell nothing about the cut
        return None
    try:
        surgery.cut(trial, surgery.cuts(trial, groups, kept))
        small = _values(trial, losses)
    except Exception as error:
        return f"cut, {line(error)}"
    eps = torch.finfo(next(trial.parameters()).dtype).eps
    for one, other in zip(masked, small, strict=True):
        if isfinite(one) and not isclose(one, other, rel_tol=3 * eps**0.5, abs_tol=8 * eps):
            return f"the loss is {one:.6g} when they are masked, {other:.6g} when cut"
    return None


_WHEN = {False: "", True: " in training"}


def _steady(compute: Callable[[int], list[Any]], otherwise: list[Any] | None = None) -> bool:
    """Return whether something can be computed, and comes out the same whatever is drawn meanwhile: dropout draws by the width.

    Args:
        compute: takes a seed; returns numbers, or tensors.
        otherwise: what is known already; where this comes out, too, there is nothing to look at.
    """
    try:
        first = compute(0)
        return not _equal(first, otherwise) and _equal(first, compute(1))
    except Exception:  # one sample is too few for batch normalisation, say
        return False


def _equal(one: list[Any], other: list[Any] | None) -> bool:
    if other is None or len(one) != len(other):
        return False
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(one, other, strict=True))


def _values(net: nn.Module, losses: Sequence[Loss], seed: int = 0) -> list[float]:
    place, found = next(net.parameters()).device, []
    torch.clear_autocast_cache()  # of weights that were changed in place, where somebody computes all of it under autocast
    for loss in losses:
        with torch.enable_grad(), torch.random.fork_rng([place] if place.type == "cuda" else []):
            torch.manual_seed(seed)
            found.append(float(loss(net, 1.0).detach()))
    return found


def _redrawn(net: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    trial = surgery.copied(net).eval().requires_grad_(False)
    trial = trial if dtype is None else trial.to(dtype)
    lots = torch.Generator().manual_seed(0)
    for parameter in trial.parameters():
        if parameter.ndim > 1:
            drawn = torch.randn(parameter.shape, generator=lots) * (len(parameter) / parameter.numel()) ** 0.5
        else:
            drawn = torch.rand(parameter.shape, generator=lots) + 0.5
        parameter.copy_(drawn)
    for layer in trial.modules():
        if (
            isinstance(layer, nn.modules.batchnorm._BatchNorm)
            and layer.running_mean is not None
            and layer.running_var is not None
        ):
            layer.running_mean.copy_(torch.rand(layer.running_mean.shape, generator=lots) - 0.5)
            layer.running_var.copy_(torch.rand(layer.running_var.shape, generator=lots) + 0.5)
    return trial


def _outputs(net: nn.Module, calls: Sequence[Call], seed: int = 0) -> list[Tensor]:
    weight = next(net.parameters())
    outputs: list[Tensor] = []
    with torch.no_grad(), torch.random.fork_rng([weight.device] if weight.device.type == "cuda" else []):
        torch.manual_seed(seed)
        for args, kwargs in tree_map_only(Tensor, lambda t: t.to(weight.dtype) if t.is_floating_point() else t, list(calls)):
            found = [leaf for leaf in tree_leaves(net(*args, **kwargs)) if isinstance(leaf, Tensor)]
            outputs += [leaf.double() for leaf in found if leaf.is_floating_point()]
    return outputs


def _choices(groups: Sequence[Group], size: int) -> Iterator[tuple[dict[str, Tensor], bool]]:
    """Yield channels to keep, and whether to try them in training, in a few ways: what fits one by luck does not fit all.

    The first leaves half of each group, and neither its first channel nor its last where it can; the others leave unequal counts
    of groups that are alike.

    Args:
        groups: of one network.
        size: its parameters; a large one is tried in fewer ways.
    """
    for way in range(3 if size <= _CHEAP else 2):
        lots, kept, alike = torch.Generator().manual_seed(way), {}, Counter[int]()
        for group in groups:
            width = group.size // group.blocks
            count = 1 + ((alike[width] >> (way - 1)) + way) % width if way else max(1, width // 2)
            alike[width] += 1
            order = torch.rand(group.blocks, width, generator=lots)
            order[:, -1 if way % 2 else 0] = 3  # goes first
            order[:, -1] += way == 0
            kept[group.name] = (order.argsort(1).argsort(1) < count).flatten()
        if not all(bool(keep.all()) for keep in kept.values()):
            yield kept, False
        if way == 0:
            yield kept, True


def _silence(net: nn.Module, groups: Sequence[Group], kept: Mapping[str, Tensor]) -> None:
    parameters = dict(net.named_parameters(remove_duplicate=False))
    for group in groups:
        for member in group.members:
            if member.tensor in parameters:
                parameter = parameters[member.tensor]
                gone = ~member.positions(kept[group.name]).view(member.blocks, -1)
                for block, lost in zip(parameter.chunk(member.blocks), gone, strict=True):
                    block.index_fill_(member.dim, (lost.nonzero().squeeze(1) + member.offset).to(parameter.device), 0)


def _apart(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Return the largest difference of two results, relative to the largest number in the first."""
    scale = max((float(part.abs().max()) for part in one if part.numel()), default=0.0)
    gaps = [float((a - b).abs().max()) for a, b in zip(one, other, strict=True) if a.numel()]
    gap = max(gaps, default=0.0)
    return gap / scale if scale else inf if gap else 0.0


def line(error: Exception) -> str:
    """Return an error as one line."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
