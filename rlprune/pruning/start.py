"""Where training starts after a cut: a layer with fewer inputs passes on less, and what stays can be made to pass on as much.

Done once where a plan goes from pruning to training, so that no score and no mask depends on it but those of rounds to come.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from rlprune.pruning.groups import made_on
from rlprune.reason import NotApplicable

_MEASURED = (nn.Linear, nn.Embedding, nn.EmbeddingBag, _ConvNd)
_NORMALISING = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True)
class Gain:
    """What a weight passes on.

    Args:
        energy: ``‖W‖² / outputs``: the mean squared output of the layer to inputs of mean square 1.
        inputs: weights that are there [outputs], or one number where all outputs have as many.
    """

    energy: Tensor
    inputs: Tensor


def gains(module: nn.Module, names: Sequence[str], masks: Mapping[str, Tensor]) -> dict[str, Gain]:
    """Return what weights pass on as they are.

    Args:
        module: the module that holds them.
        names: of the weights.
        masks: True where a weight is kept; a name left out is all kept.
    """
    found = {}
    for name in names:
        rows = _rows(module, name, module.get_parameter(name).detach())
        whole = torch.tensor(rows.shape[1], device=rows.device)
        inputs = _rows(module, name, masks[name]).sum(1) if name in masks else whole
        found[name] = Gain(rows.double().square().sum() / len(rows), inputs)
    return found


def rescale(
    module: nn.Module,
    before: Mapping[str, Gain],
    masks: Mapping[str, Tensor],
    but: frozenset[str],
    followers: Callable[[str], Sequence[Tensor]] = lambda name: (),
) -> None:
    """Multiply each weight by ``√(E / E′)``, so that its mean squared gain is what it was.

    Source: Lee et al., 2020; Evci et al., 2022.

    Args:
        module: the module that holds the weights.
        before: what they passed on before they were cut or masked.
        masks: True where a weight is kept.
        but: weights to leave alone.
        followers: returns what follows a weight, say a target network's, and is multiplied by the same.
    """
    now = gains(module, list(before), masks)
    for name, then in before.items():
        if name not in but and float(now[name].energy) > 0:
            _multiply(module, name, (then.energy / now[name].energy).sqrt(), followers)


def rescale_by_inputs(
    module: nn.Module,
    before: Mapping[str, Gain],
    masks: Mapping[str, Tensor],
    but: frozenset[str],
    followers: Callable[[str], Sequence[Tensor]] = lambda name: (),
) -> None:
    """Multiply the weights of each output by ``√(inputs before / inputs kept)``; an embedding has one input and is left alone.

    Source: Evci et al., 2022.
    """
    now = gains(module, list(before), masks)
    for name, then in before.items():
        if name not in but and not isinstance(_layer(module, name), nn.Embedding | nn.EmbeddingBag):
            factors = (then.inputs.double() / now[name].inputs.clamp(min=1)).sqrt()
            for weight in (module.get_parameter(name), *followers(name)):
                rows = _rows(module, name, weight.data)
                rows.mul_((factors.view(-1, 1) if factors.dim() else factors).to(weight))
                weight.data.copy_(_as(module, name, rows, weight))


def outputs(module: nn.Module, names: Sequence[str], run: Callable[[nn.Module], object]) -> dict[str, Tensor]:
    """Return the mean squares of what layers put out on data, biases aside; in the order in which layers are first called.

    Args:
        module: the module that holds the layers.
        names: of their weights; left out are those of layers that ``run`` does not call, or that are no linear layer,
            convolution or embedding.
        run: runs the module on data, leaving it as it is.
    """
    squares: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def look(layer: nn.Module, inputs: object, output: object, name: str) -> None:
        if isinstance(output, Tensor):
            made = output.detach().double()
            if isinstance(bias := getattr(layer, "bias", None), Tensor):
                made = made - bias.detach().double().view(-1, *[1] * len(getattr(layer, "kernel_size", ())))
            squares[name] = squares.get(name, 0) + made.square().sum()
            counts[name] = counts.get(name, 0) + made.numel()

    found = {name: layer for name in names if isinstance(layer := _layer(module, name), _MEASURED) and name.endswith("weight")}
    with ExitStack() as hooks:
        for name, layer in found.items():
            hooks.enter_context(layer.register_forward_hook(partial(look, name=name)))
        run(module)
    return {name: total / counts[name] for name, total in squares.items()}


def rescale_by_outputs(
    module: nn.Module,
    before: Mapping[str, Gain],
    then: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    but: frozenset[str],
    run: Callable[[nn.Module], object],
    followers: Callable[[str], Sequence[Tensor]] = lambda name: (),
) -> None:
    """Multiply each weight so that its layer puts out as much as it did, in the mean square, one layer after the other.

    Weights of layers that were not measured, or that put out nothing, are multiplied as by ``rescale``. A layer that is called
    several times, or whose inputs depend on layers called later, comes near to what it was.

    Source: Mishkin & Matas, 2016 (layer-sequential unit-variance), with the layer's own mean square in the place of 1.

    Args:
        module: the module that holds the weights.
        before: what they passed on before they were cut or masked.
        then: their ``outputs`` at that time.
        masks: True where a weight is kept.
        but: weights to leave alone.
        run: runs the module on the same data.
        followers: returns what follows a weight, and is multiplied by the same.
    """
    rescale(module, before, masks, but.union(then), followers)
    for name, wanted in then.items():
        if name in but:
            continue
        now = outputs(module, [name], run).get(name)
        if now is None or float(now) == 0 or float(wanted) == 0:
            rescale(module, {name: before[name]}, masks, frozenset(), followers)
        else:
            _multiply(module, name, (wanted / now).sqrt(), followers)


def redraw(module: nn.Module, fresh: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Take new weights at the places that are kept, those of each output scaled to the inputs that are.

    Source: Liu et al., 2019; Frankle et al., 2021.

    Args:
        module: the module that holds the weights.
        fresh: weights of a new network of the same sizes.
        masks: True where a weight is kept; a name left out is all kept.
    """
    for name, weight in fresh.items():
        module.get_parameter(name).data.copy_(weight)
    whole = gains(module, [name for name in fresh if name in masks], {})
    for name in whole:
        module.get_parameter(name).data.mul_(masks[name])
    rescale_by_inputs(module, whole, masks, frozenset())


def drawn_anew(module: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """Return weights of a module drawn anew from torch's generator of the CPU, as ``reset_parameters`` of its parts draw them.

    Args:
        module: a copy of the network: it is moved to the CPU, and all of it is drawn.
        names: of the weights.

    Raises:
        NotApplicable: a weight that none of them draws.
    """
    module, reached = module.cpu().to(memory_format=torch.contiguous_format), set[int]()  # torch.nn.init wants no other layout

    def visit(part: nn.Module) -> None:
        reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if callable(reset):
            reset()
            reached.update(id(parameter) for parameter in part.parameters())
        else:
            for child in part.children():
                visit(child)

    visit(module)
    if missing := [name for name in names if id(module.get_parameter(name)) not in reached]:
        raise NotApplicable(f'start = "redrawn" needs reset_parameters() in the layer of {missing[0]}')
    return {name: module.get_parameter(name).detach() for name in names}


def shuffled(masks: Mapping[str, Tensor], alive: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Return masks that keep as many weights in each tensor, at any of the places that are alive.

    Source: Frankle et al., 2021.

    Args:
        masks: True where a weight is kept.
        alive: where it may be kept; a name left out may be anywhere.
        generator: on the CPU, so that every device draws the same.
    """
    found = {}
    for name, mask in masks.items():
        lots = torch.rand(mask.numel(), generator=generator)
        if name in alive:
            lots[~alive[name].flatten().cpu()] = -1
        chosen = torch.zeros(mask.numel(), dtype=torch.bool)
        chosen[lots.argsort(descending=True, stable=True)[: int(mask.sum())]] = True
        found[name] = chosen.view_as(mask).to(mask.device)
    return found


def shuffled_channels(kept: Mapping[str, Tensor], blocks: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Return keep-masks over channels that keep as many in each group, and in each of its blocks, any of them."""
    found = {}
    for name, keep in kept.items():
        rows = keep.reshape(blocks[name], -1)
        order = torch.argsort(torch.rand(rows.shape, generator=generator), dim=1, descending=True, stable=True)
        found[name] = torch.zeros(rows.shape, dtype=torch.bool)
        found[name].scatter_(1, order, torch.arange(rows.shape[1]).expand_as(order) < rows.sum(1, keepdim=True).cpu())
        found[name] = found[name].flatten().to(keep.device)
    return found


def normalised(module: nn.Module, names: Sequence[str], run: Callable[[nn.Module], Sequence[Tensor]]) -> frozenset[str]:
    """Return the weights of layers whose outputs go straight into normalisations, which undo any factor on them, and only there.

    What goes past them, say in a residual stream or through a tied layer, is found by doubling outputs and halving what
    normalisations get: both are exact, so that all that is computed is the same to the bit where there is no other way.

    Args:
        module: the module that holds them.
        names: of the weights.
        run: runs the network once, leaving it as it is, and returns what it computes; where that differs from time to time, what
            goes past a normalisation is not looked for.
    """
    norms = [part for part in module.modules() if isinstance(part, _NORMALISING)]
    if not norms:
        return frozenset()
    weights = {id(module.get_parameter(name)): name for name in names}
    held = {
        part: [weights[id(parameter)] for parameter in part.parameters(recurse=False) if id(parameter) in weights]
        for part in module.modules()
    }
    makers = {part: own[0] for part, own in held.items() if len(own) == 1}  # a factor on one of several is not one on the output
    found, plain = _into(module, makers, norms, run)
    if not found or not _equal(_into(module, {}, norms, run)[1], plain):
        return frozenset(found)

    def undone(some: Sequence[str]) -> list[str]:
        factors = {name: 2.0 ** (1 + index % 4) for index, name in enumerate(some)}  # unlike, lest two of them cancel out
        own = {part: name for part, name in makers.items() if name in factors}
        if _equal(_into(module, own, norms, run, factors)[1], plain):
            return list(some)
        half = len(some) // 2
        return [*undone(some[:half]), *undone(some[half:])] if half else []

    return frozenset(undone(found))


def _into(
    module: nn.Module,
    makers: Mapping[nn.Module, str],
    norms: Sequence[nn.Module],
    run: Callable[[nn.Module], Sequence[Tensor]],
    factors: Mapping[str, float] | None = None,
) -> tuple[list[str], Sequence[Tensor]]:
    """Return the weights of layers whose outputs normalisations get, and what is computed where these undo factors on them."""
    made: dict[int, str] = {}
    held: list[Tensor] = []  # so that no other tensor gets its place
    found: dict[str, None] = {}

    def after(layer: nn.Module, inputs: object, output: object) -> object:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return output
        held.append(output if factors is None else output * factors[makers[layer]])
        made[held[-1].untyped_storage().data_ptr()] = makers[layer]
        return held[-1]

    def given(value: object) -> object:
        if not isinstance(value, Tensor) or (name := made.get(value.untyped_storage().data_ptr())) is None:
            return value
        found[name] = None
        return value if factors is None else value / factors[name]

    def before(
        layer: nn.Module, inputs: tuple[object, ...], named: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        return tuple(map(given, inputs)), {key: given(value) for key, value in named.items()}

    with ExitStack() as hooks:
        for maker in makers:
            hooks.enter_context(maker.register_forward_hook(after, prepend=True))
        for norm in norms:
            hooks.enter_context(norm.register_forward_pre_hook(before, with_kwargs=True))
        computed = [each.detach().clone() for each in run(module)]
    return list(found), computed


def _equal(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return all(torch.allclose(one, other, rtol=0, atol=0, equal_nan=True) for one, other in zip(some, others, strict=True))


def _multiply(module: nn.Module, name: str, factor: Tensor, followers: Callable[[str], Sequence[Tensor]]) -> None:
    """Multiply a weight, and what follows it."""
    for weight in (module.get_parameter(name), *followers(name)):
        weight.data.mul_(factor.to(weight))


def _layer(module: nn.Module, name: str) -> nn.Module:
    return module.get_submodule(name.rpartition(".")[0])


def _rows(module: nn.Module, name: str, weight: Tensor) -> Tensor:
    """Return a weight as a matrix with one row an output."""
    if made_on(_layer(module, name)) == 0:
        return weight.flatten(1)
    return _by_block(module, name, weight).flatten(0, 1).flatten(1)


def _by_block(module: nn.Module, name: str, weight: Tensor) -> Tensor:
    """Return a weight [inputs, outputs a group, ...] as [groups, outputs a group, inputs a group, ...].

    The groups of a transposed convolution have outputs of their own; other layers are one group.
    """
    groups: int = getattr(_layer(module, name), "groups", 1)
    return weight.view(groups, len(weight) // groups, *weight.shape[1:]).movedim(2, 1)


def _as(module: nn.Module, name: str, rows: Tensor, weight: Tensor) -> Tensor:
    """Return such a matrix in the shape of the weight."""
    if made_on(_layer(module, name)) == 0:
        return rows.view_as(weight)
    return rows.view(_by_block(module, name, weight).shape).movedim(1, 2).flatten(0, 1)
