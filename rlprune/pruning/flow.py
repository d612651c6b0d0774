"""The flow of ones through a network of ``|θ|`` alone: no biases, activations, normalisation or dropout (Tanaka et al., 2020).

They are passed over wherever they are called, as layers or as functions. The rest of a network has to leave the flow linear in
every layer, or the scores are not what the paper means: ``check`` finds out by trying.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from rlprune.pruning.surgery import copied
from rlprune.reason import NotApplicable
from rlprune.words import several

_PASSED = frozenset(
    {
        *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus"),
        *("tanh", "sigmoid", "logsigmoid", "log_sigmoid", "hardtanh", "hardsigmoid", "hardswish", "softsign", "threshold"),
        *("softshrink", "hardshrink", "tanhshrink"),
        *("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm"),
        *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"),
    }
)
_POOLS = {
    getattr(functional, name): getattr(functional, f"{name}_with_indices")
    for name in (f"{kind}max_pool{dims}d" for kind in ("", "adaptive_") for dims in (1, 2, 3))
}
_FACTOR = 2.0**20  # what saturates does so at a million times its input; a power of two rounds nothing
_ROUNDING = 1e-12
_ENOUGH = 4  # layers found bent; the rest need no trying

Outputs: TypeAlias = Callable[[nn.Module], Sequence[Tensor]]


def gradient(module: nn.Module, names: Sequence[str], outputs: Outputs) -> dict[str, Tensor]:
    """Return ``∂R/∂θ`` of the named weights in float64, R the summed outputs of the network of ``|θ|``.

    Raises:
        NotApplicable: numbers beyond float64.
    """
    straight, scales = _straightened(module, names, lambda weight: weight.abs())
    slopes = _slopes(straight, names, outputs, _Straight(scales))[1]
    if beyond := [name for name, slope in slopes.items() if not bool(slope.isfinite().all())]:
        raise NotApplicable(f"the flow of ones through {several(beyond)} is beyond what float64 holds: scale the weights down")
    return slopes


def check(module: nn.Module, names: Sequence[str], outputs: Outputs) -> None:
    """Try whether the flow reaches every row of every named weight and is linear in each weight.

    That is ``R(s θ_l) = R + (s − 1) ⟨θ_l, ∂R/∂θ_l⟩``, and ``R = 0`` where nothing flows in. Random positive weights stand in for
    the network's own, and every maximum pool keeps to the places that it chose first.

    Raises:
        NotApplicable: which weights it does not reach, or in which it is not linear, or that a constant is added to it.
    """
    lots = torch.Generator().manual_seed(0)

    def stand_in(weight: Tensor) -> Tensor:
        drawn = 0.5 + torch.rand(weight.shape, generator=lots, dtype=weight.dtype)
        return drawn.to(weight.device) * len(weight) / weight.numel()

    straight, scales = _straightened(module, names, stand_in)
    mode = _Straight(scales, keeping=True)
    flow, slopes = _slopes(straight, names, outputs, mode)
    carried = {name: (straight.get_parameter(name).detach() * slope).flatten(1).sum(1) for name, slope in slopes.items()}
    if dry := [name for name, rows in carried.items() if not bool((rows.abs() > _ROUNDING * abs(flow)).all())]:
        raise NotApplicable(f"the flow of ones does not go through all of {several(dry)} to the outputs")
    bent: list[str] = []
    with torch.no_grad():
        for name, rows in carried.items():
            weight = straight.get_parameter(name)
            weight.mul_(_FACTOR)
            with mode.again():
                grown = float(_total(outputs(straight)))
            weight.div_(_FACTOR)
            expected = flow + (_FACTOR - 1) * float(rows.sum())
            if not abs(grown - expected) <= 1e-6 * abs(expected):
                bent.append(name)
            if len(bent) == _ENOUGH:
                break
    if bent:
        told = ", ".join(bent[:3]) + (" and others" if bent[3:] else "")
        raise NotApplicable(
            f"the flow of ones is not linear in {told}: something other than torch's own activations and normalisations bends it,"
            " or a weight is used twice"
        )
    if abs(_unfed(straight, outputs, mode)) > 1e-9 * abs(flow):
        raise NotApplicable(
            "the flow of ones is not linear: without any input it is not 0, for forward adds a constant somewhere"
        )


def _unfed(straight: nn.Module, outputs: Outputs, mode: "_Straight") -> float:
    """Return the flow with zeros for ones, or 0 where the network is not fed numbers by a call of its own."""
    fed: list[Tensor] = []

    def starve(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        fed.extend(leaf for leaf in tree_leaves((given, named)) if isinstance(leaf, Tensor) and leaf.is_floating_point())
        return tree_map(lambda leaf: leaf * 0 if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf, (given, named))

    hook = straight.register_forward_pre_hook(starve, with_kwargs=True)
    try:
        with torch.no_grad(), mode.again():
            flow = float(_total(outputs(straight)))
    finally:
        hook.remove()
    return flow if fed else 0.0


class _Straight(TorchFunctionMode):
    """Passes over what is not linear, and multiplies by scales. ``keeping``: maximum pools choose as they did the first time."""

    def __init__(self, scales: Mapping[int, Tensor], keeping: bool = False) -> None:
        super().__init__()
        self._scales, self._keeping = scales, keeping
        self._chosen: list[Tensor] = []
        self._call = 0

    def again(self) -> "_Straight":
        """Go through the network once more."""
        self._call = 0
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "").strip("_")
        if name in _PASSED:
            return args[0] if args else kwargs["input"]
        if name in ("mul", "rmul", "imul"):
            args = tuple(self._scales.get(id(factor), factor) for factor in args)
        if self._keeping and func in _POOLS:
            maps: Tensor = args[0]
            if self._call == len(self._chosen):
                self._chosen.append(_POOLS[func](*args, **{**kwargs, "return_indices": True})[1])
            places = self._chosen[self._call]
            self._call += 1
            dims = int(func.__name__[-2])
            return maps.flatten(-dims).gather(-1, places.flatten(-dims)).view_as(places)
        return func(*args, **kwargs)


def _straightened(
    module: nn.Module, names: Sequence[str], stand_in: Callable[[Tensor], Tensor]
) -> tuple[nn.Module, dict[int, Tensor]]:
    """Return a copy in float64 and evaluation mode, and the absolute values of its parameters that are not named.

    The named weights are replaced, all others are zero: what is added vanishes. Where one multiplies, a scale of a layer, its
    absolute value is put in its place.
    """
    straight = copied(module).double().eval()
    kept, scales = set(names), {}
    with torch.no_grad():
        for name, parameter in straight.named_parameters():
            if name not in kept:
                scales[id(parameter)] = parameter.detach().abs()
            parameter.copy_(stand_in(parameter) if name in kept else torch.zeros_like(parameter))
    return straight, scales


def _slopes(
    straight: nn.Module, names: Sequence[str], outputs: Outputs, mode: TorchFunctionMode
) -> tuple[float, dict[str, Tensor]]:
    weights = [straight.get_parameter(name) for name in names]
    with mode:
        flow = _total(outputs(straight))
    return float(flow.detach()), dict(zip(names, torch.autograd.grad(flow, weights, materialize_grads=True), strict=True))


def _total(outputs: Sequence[Tensor]) -> Tensor:
    return torch.stack([output.sum() for output in outputs]).sum()
