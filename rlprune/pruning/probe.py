"""What a pruner's formula may ask of a network: weights, gradients, Hessian-gradient products, noise.

Probing leaves the network as it was, to the bit: weights are borrowed without their gradients, normalisation runs
on its stored statistics, dropout is off, and the batches and noise come fixed by the cell's seed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _NormBase

from rlprune.pruning import flow
from rlprune.pruning.groups import Anatomy, Group, Member
from rlprune.reason import NotApplicable
from rlprune.words import several

Loss: TypeAlias = Callable[[nn.Module, float], Tensor]
"""A module and a temperature that divides its logits, to the mean loss of one batch (a scalar with a graph)."""


@dataclass(frozen=True)
class Scoring:
    """The data one pruning round is scored on, collected only if the formula asks for it.

    Args:
        collect: makes the loss on each of a few batches that the cell's seed fixes.
        samples: training samples or environment steps that collecting costs.
        outputs: runs the module on an input of ones in the module's own precision, and returns all its outputs.
        trial: a cheap loss through the whole module, to try a formula on before anything is trained; left out, the squares of
            the outputs.
        tempered: whether the losses divide logits by their temperature.
        pieces: losses one after the other that are of one batch, in equal parts of it.
    """

    collect: Callable[[], Sequence[Loss]]
    samples: int
    outputs: Callable[[nn.Module], Sequence[Tensor]]
    trial: Loss | None = None
    tempered: bool = True
    pieces: int = 1

    def rehearsal(self) -> "Scoring":
        """Return scoring on the trial alone, which costs no samples."""

        def squares(module: nn.Module, temperature: float = 1.0) -> Tensor:
            return torch.stack([output.square().mean() for output in self.outputs(module)]).sum() / temperature

        return replace(self, collect=lambda: [self.trial or squares], samples=0, pieces=1)


@dataclass(frozen=True)
class Probe:
    """One look at a network, for one round of scoring.

    Args:
        module: the live network; pruned weights in it are zero.
        anatomy: what of it may be pruned.
        scoring: batches and outputs.
        generator: noise for pruners that draw lots; on the CPU, so that every device draws the same.
        masks: True where a weight is kept; a name left out is all kept.
        groups: channel groups in their present sizes.
        tried: whether the formula has been tried on this network, so that its flow need not be checked again.
    """

    module: nn.Module
    anatomy: Anatomy
    scoring: Scoring
    generator: torch.Generator
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    groups: Sequence[Group] = ()
    tried: bool = False

    @cached_property
    def parameters(self) -> dict[str, Tensor]:
        """All trainable parameters by name, detached; copies are none."""
        own = (pair for pair in self.module.named_parameters() if pair[0] not in self.anatomy.copies)
        return {name: parameter.detach() for name, parameter in own if parameter.requires_grad}

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The prunable weights by name, detached."""
        return {name: self.parameters[name] for name in self.anatomy.all_weights()}

    @cached_property
    def batches(self) -> Sequence[Loss]:
        """The loss on each scoring batch."""
        return self.scoring.collect()

    @property
    def samples(self) -> int:
        """Training samples or environment steps spent so far."""
        return self.scoring.samples if "batches" in vars(self) else 0

    def gradient(self, temperature: float = 1.0) -> dict[str, Tensor]:
        """Return ``g = ∇L`` for all trainable parameters, L the mean loss over the scoring batches."""
        total = self._summed(self.batches, temperature)
        for mean in total.values():
            mean.div_(len(self.batches))
        return total

    def _summed(self, batches: Sequence[Loss], temperature: float) -> dict[str, Tensor]:
        total = {name: torch.zeros_like(parameter) for name, parameter in self.parameters.items()}
        for parameters, loss in self._losses(temperature, batches):
            for name, parameter in parameters.items():
                parameter.grad = total[name]  # each layer's gradient is added here as it comes, and is never held beside it
            loss.backward(inputs=list(parameters.values()))  # type: ignore[no-untyped-call]
        return total

    def _curved(self, temperature: float) -> tuple[dict[str, Tensor], Iterator["_Curved"]]:
        """Return the gradient, and for each batch the way back through its own one along ``m ⊙ g``.

        The last batch is the first: the graph of its gradient is kept, which saves one pass forward and one backward.
        """
        *others, last = self.batches
        gradient = self._summed(others, temperature)
        ((borrowed, loss),) = self._losses(temperature, [last])
        slopes = _slopes(loss, borrowed)
        for total, slope in zip(gradient.values(), slopes.values(), strict=True):
            if slope is not None:
                total.add_(slope.detach())
            total.div_(len(self.batches))
        direction = {name: gradient[name] * self.masks[name] if name in self.masks else gradient[name] for name in self.weights}
        kept: list[_Curved] = [(borrowed, *_edges(slopes, direction))]
        slopes.clear()  # as much as the network; its graph stays

        def each() -> Iterator[_Curved]:
            yield kept.pop()
            for parameters, loss in self._losses(temperature, others):
                yield parameters, *_edges(_slopes(loss, {name: parameters[name] for name in direction}), direction)

        return gradient, each()

    def hessian_gradient(self, temperature: float = 1.0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return ``(H(m ⊙ g), g)`` for all trainable parameters; g enters the product over the prunable weights only.

        The gradient is accumulated first; then ``∇⟨m ⊙ g, ∇L_b⟩`` is added up batch by batch, so that one double-backward
        graph of one batch lives at a time.

        Source: Pearlmutter, 1994; Rachwan et al., 2022, eq. 4.
        """
        with twice_derivable(self.module):
            gradient, curved = self._curved(temperature)
            total = {name: torch.zeros_like(parameter) for name, parameter in self.parameters.items()}
            for parameters, slopes, along in curved:
                if slopes:
                    products = torch.autograd.grad(slopes, list(parameters.values()), along, materialize_grads=True)
                    for mean, product in zip(total.values(), products, strict=True):
                        mean.add_(product, alpha=1 / len(self.batches))
            return total, gradient

    def channel_hessian_gradient(self, term: Callable[[str, Tensor, Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        """Return ``Σ term(name, θ, H(m ⊙ g), g)`` over each channel, for all tensors that make it.

        The same as ``by_channel`` of ``hessian_gradient``, but each product is summed up and let go as soon as its layer
        is through, so that the whole product is never held.

        Args:
            term: linear in ``H(m ⊙ g)`` but for a constant; gets one batch's product at a time, zeros where a loss has none.
        """
        with twice_derivable(self.module):
            return self._channel_hessian_gradient(term)

    def _channel_hessian_gradient(self, term: Callable[[str, Tensor, Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        gradient, curved = self._curved(1.0)
        sums = self._no_sums()
        makers = {member.tensor for group in self.groups for member in group.members if member.produces}
        met: set[str] = set()

        def let_go(parameter: Tensor, name: str) -> None:
            product = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            part = term(name, parameter.detach(), product, gradient[name])
            self._add(sums, name, part / len(self.batches))
            parameter.grad = None
            met.add(name)

        for parameters, slopes, along in curved:
            made = [parameter for name, parameter in parameters.items() if name in makers]
            for name, parameter in parameters.items():
                if name in makers:
                    parameter.register_post_accumulate_grad_hook(partial(let_go, name=name))  # type: ignore[no-untyped-call]
            met.clear()
            if slopes:
                torch.autograd.backward(slopes, along, inputs=made)
            for name, parameter in parameters.items():
                if name in makers - met:
                    let_go(parameter, name)
        return sums

    def flow_gradient(self) -> dict[str, Tensor]:
        """Return ``∂R/∂θ`` in float64.

        ``R`` is the summed output of the network of ``|θ|`` without biases, activations and normalisations, for an input of
        ones.

        Source: Tanaka et al., 2020, eq. 3.

        Raises:
            NotApplicable: a network, not pruned yet, whose R is not linear in every layer or leaves one out; or numbers beyond
                float64.
        """
        if not self.tried and all(bool(mask.all()) for mask in self.masks.values()):
            flow.check(self.module, list(self.weights), self.scoring.outputs)
        return flow.gradient(self.module, list(self.weights), self.scoring.outputs)

    def scales(self) -> dict[str, Tensor]:
        """Return ``Σ|γ|`` a channel, over every batch normalisation that scales it."""
        return {
            group.name: torch.stack([_across(self.parameters[gate.gamma].abs(), gate.place, group.size) for gate in gates]).sum(0)
            for group, gates in self._gates()
        }

    def gate_slopes(self) -> dict[str, Tensor]:
        """Return ``Σ_b |c · ∂L_b/∂c|`` a channel, c a gate of 1 behind its batch normalisation: ``c ∂L/∂c = γ g_γ + β g_β``."""
        every = self._gates()
        names = list(dict.fromkeys(name for _, gates in every for gate in gates for name in (gate.gamma, gate.beta)))
        sums, pieces = self._no_sums(), self.scoring.pieces
        for batch in (self.batches[start : start + pieces] for start in range(0, len(self.batches), pieces)):
            along = {name: torch.zeros_like(self.parameters[name]) for name in names}
            for parameters, loss in self._losses(1.0, batch):
                slopes = torch.autograd.grad(loss, [parameters[name] for name in names], materialize_grads=True)
                for name, slope in zip(names, slopes, strict=True):
                    along[name] += self.parameters[name] * slope / len(batch)
            for group, gates in every:
                parts = [_across(along[gate.gamma] + along[gate.beta], gate.place, group.size) for gate in gates]
                sums[group.name] += torch.stack(parts).sum(0).abs()
        return sums

    def _gates(self) -> list[tuple[Group, list["_Gate"]]]:
        """Return every group with the batch normalisations that scale its channels.

        Raises:
            NotApplicable: a group has none with a scale and a shift that are trained.
        """
        found: list[tuple[Group, list[_Gate]]] = []
        bare: list[str] = []
        for group in self.groups:
            gates = []
            for place in sorted(group.members, key=lambda member: (member.tensor, member.offset)):
                owner, _, own = place.tensor.rpartition(".")
                layer = self.module.get_submodule(owner)
                pair = f"{owner}.weight", f"{owner}.bias"
                if own == "weight" and isinstance(layer, nn.modules.batchnorm._BatchNorm) and set(pair) <= self.parameters.keys():
                    gates.append(_Gate(*pair, place))
            if gates:
                found.append((group, gates))
            else:
                bare.append(group.name)
        if bare:
            raise NotApplicable(f"no batch normalisation that is trained scales the channels of {several(bare)}")
        return found

    @cached_property
    def _homes(self) -> dict[str, str]:
        """Every attribute that holds a parameter, once though its layer stands in several places, and the parameter's name."""
        first = {id(parameter): name for name, parameter in self.module.named_parameters()}
        return {
            f"{path}.{own}".removeprefix("."): first[id(parameter)]
            for path, layer in self.module.named_modules()
            for own, parameter in layer.named_parameters(recurse=False, remove_duplicate=False)
        }

    def noise(self) -> dict[str, Tensor]:
        """Return uniform noise in [0, 1) shaped like the prunable weights."""
        return {name: self._uniform(weight.shape) for name, weight in self.weights.items()}

    def channel_noise(self) -> dict[str, Tensor]:
        """Return uniform noise in [0, 1), one number a channel."""
        return {group.name: self._uniform(torch.Size([group.size])) for group in self.groups}

    def by_channel(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Sum per-parameter terms over each channel, for all tensors that make it.

        With ``terms = θ ⊙ g`` this is ``∂L/∂c``, c a gate of 1 on each channel of every group.

        Args:
            terms: parameter name to a tensor of its shape; parameters left out count as zero.
        """
        sums = self._no_sums()
        for name, term in terms.items():
            self._add(sums, name, term)
        return sums

    def _no_sums(self) -> dict[str, Tensor]:
        device = next(iter(self.parameters.values())).device
        return {group.name: torch.zeros(group.size, device=device) for group in self.groups}

    def _add(self, sums: dict[str, Tensor], name: str, term: Tensor) -> None:
        """Add one tensor's terms to the channels that it makes."""
        for group in self.groups:
            for member in group.members:
                if member.produces and member.tensor == name:
                    rows = term.movedim(member.dim, 0)
                    rows = rows.flatten(1).sum(1) if rows.dim() > 1 else rows
                    sums[group.name] = sums[group.name] + _across(rows, member, group.size)

    def _uniform(self, shape: torch.Size) -> Tensor:
        device = next(iter(self.parameters.values())).device
        return torch.rand(shape, generator=self.generator).to(device)

    def _losses(self, temperature: float, batches: Sequence[Loss] | None = None) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        with evaluating(self.module):
            for loss in self.batches if batches is None else batches:
                borrowed = {name: parameter.detach().requires_grad_() for name, parameter in self.parameters.items()}
                named = {f"module.{place}": borrowed[name] for place, name in self._homes.items() if name in borrowed}
                value = functional_call(_Bound(self.module, loss), named, (temperature,), tie_weights=False)
                if not isinstance(value, Tensor) or value.numel() != 1:
                    got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
                    raise ValueError(f"a loss is one number with a graph, say cross_entropy(net(inputs), labels); got {got}")
                if not value.requires_grad:
                    raise ValueError("the loss does not depend on the network's parameters: it has no gradient to score by")
                yield borrowed, value


@dataclass(frozen=True)
class _Gate:
    """The scale and shift of one batch normalisation, and where in them a group's channels lie."""

    gamma: str
    beta: str
    place: Member


def _across(rows: Tensor, member: Member, size: int) -> Tensor:
    """Sum over the positions that each of ``size`` channels owns."""
    span = rows[member.offset : member.offset + member.span(size)]
    return span.view(member.outer, size, member.inner).sum((0, 2))


_Curved: TypeAlias = tuple[dict[str, Tensor], list[GradientEdge], list[Tensor]]
"""A batch's parameters, its gradient as edges of a graph that they made, and a direction beside these."""


def _slopes(loss: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    """Return the gradient with its graph, None where the loss does not depend on a parameter."""
    slopes = torch.autograd.grad(loss, list(parameters.values()), create_graph=True, allow_unused=True)
    return dict(zip(parameters, slopes, strict=True))


def _edges(slopes: Mapping[str, Tensor | None], direction: Mapping[str, Tensor]) -> tuple[list[GradientEdge], list[Tensor]]:
    """Return ``∇L`` along the direction's weights as edges of its graph, and the direction beside them.

    Edges, not tensors: the values of ``∇L`` are not needed to go through its graph again, and are as much as the network.

    Raises:
        NotApplicable: a function that can be differentiated once only. Autograd itself would leave out what goes through it.
    """
    pairs = [(slopes[name], v) for name, v in direction.items()]
    met: set[object] = set()
    waiting = [slope.grad_fn for slope, _ in pairs if slope is not None]
    while waiting:
        if (node := waiting.pop()) is not None and node not in met:
            met.add(node)
            waiting.extend(before for before, _ in node.next_functions)
            if node.name() == "torch::autograd::Error":
                raise NotApplicable("a function in this network, or in its loss, can be differentiated once only")
    reached = [(slope, v) for slope, v in pairs if slope is not None and slope.requires_grad]
    return [get_gradient_edge(slope) for slope, _ in reached], [v for _, v in reached]


@contextmanager
def twice_derivable(module: nn.Module) -> Iterator[None]:
    """Compute what has a second derivative: attention as its formula, and recurrences outside cuDNN."""
    recurrent = any(isinstance(layer, nn.RNNBase) for layer in module.modules())
    outside = torch.backends.cudnn.flags(enabled=False, allow_tf32=False) if recurrent else nullcontext()
    with sdpa_kernel(SDPBackend.MATH), outside:
        yield


@contextmanager
def in_full(module: nn.Module) -> Iterator[None]:
    """Compute in the network's own precision, on the way back, too: no TF32 in convolutions, and no autocast."""
    kind = next(module.parameters()).device.type
    with _no_tf32(), torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
        yield


def _no_tf32() -> AbstractContextManager[object]:
    """Return a context in which convolutions and recurrences do without TF32, unless its newer name, fp32_precision, was set.

    Products of matrices are as torch has them, without TF32, or as somebody has set them.
    """
    cudnn: Any = torch.backends.cudnn
    try:
        now = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32")}
    except RuntimeError:  # of convolutions or recurrences alone
        return nullcontext()
    newer = getattr(torch.backends, "fp32_precision", "none") != "none"
    return nullcontext() if newer else cudnn.flags(**now | {"allow_tf32": False})


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put every part of a module in evaluation mode and give each its own mode back."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def normalising_by_batch(module: nn.Module) -> Iterator[None]:
    """Be as in ``evaluating``, but normalise by the batch, as training does; statistics that are kept for later stay."""
    layers = [part for part in module.modules() if isinstance(part, _NormBase)]
    kept = [(buffer, buffer.clone()) for layer in layers for buffer in layer.buffers(recurse=False)]
    with evaluating(module):
        for layer in layers:
            layer.training = True
        try:
            yield
        finally:
            for buffer, was in kept:
                buffer.copy_(was)


class _Bound(nn.Module):
    """A loss with its network inside, so that ``functional_call`` can lend it other parameters."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.module = module
        self._loss = loss

    def forward(self, temperature: float) -> Tensor:
        return self._loss(self.module, temperature)
