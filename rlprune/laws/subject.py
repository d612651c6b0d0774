"""A tiny network in training, for laws and tests of what needs something to prune."""

import copy
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from rlprune.pruning.groups import Anatomy, Group, Member, chain
from rlprune.pruning.masked import Masked
from rlprune.pruning.probe import Scoring, evaluating

Sizes = Mapping[str, tuple[int, ...]]


def generators() -> dict[str, object]:
    """Return where the global random generators stand, which are nobody's to draw from."""
    numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": (numpy["state"]["key"].tobytes(), numpy["state"]["pos"], numpy["has_gauss"], numpy["gauss"]),
        "Python": random.getstate(),
    }


def seeds(use: str, number: int = 0) -> np.random.SeedSequence:
    """Return the seed of one use of randomness."""
    return np.random.SeedSequence(int(hashlib.sha256(f"{number}/{use}".encode()).hexdigest()[:15], 16))


class Tiny:
    """Actor and critic of two hidden layers in float64, fitted to fixed random targets; ``normed`` adds batch normalisation."""

    SIZES: ClassVar[Sizes] = {"actor": (3, 16, 12, 2), "critic": (3, 16, 12, 1)}

    def __init__(
        self,
        seed: int = 0,
        activation: Callable[[], nn.Module] = nn.Tanh,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.RMSprop,
        widths: Sizes | None = None,
        normed: bool = False,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        sizes = widths or self.SIZES
        self.module = nn.ModuleDict({name: self._net(size, activation, normed=normed) for name, size in sizes.items()}).double()
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2)
        self.inputs = torch.randn(20, 3, generator=generator, dtype=torch.float64)
        self.targets = {name: torch.randn(20, size[-1], generator=generator, dtype=torch.float64) for name, size in sizes.items()}
        self.optimizer = optimizer(self.module.parameters(), lr=1e-2)
        self.optimizers = [self.optimizer]
        self.masked = Masked(self.module, self.optimizers)
        chains = {name: [f"{name}.{index}" for index in (0, 2, 4)] for name in sizes}
        self.anatomy = Anatomy(
            weights={name: [f"{layer}.weight" for layer in layers] for name, layers in chains.items()},
            groups={name: [self._scaled(group) for group in chain(self.module, layers)] for name, layers in chains.items()},
            heads=[f"{name}.4.weight" for name in sizes],
        )
        self.resizes = 0

    def _scaled(self, group: Group) -> Group:
        network, index = group.name.split(".")
        between = f"{network}.{int(index) + 1}.0"
        if f"{between}.weight" not in dict(self.module.named_parameters()):
            return group
        tensors = ("weight", "bias", "running_mean", "running_var")
        return replace(group, members=(*group.members, *(Member(f"{between}.{tensor}", 0) for tensor in tensors)))

    @staticmethod
    def _net(size: Sequence[int], activation: Callable[[], nn.Module], *, normed: bool) -> nn.Sequential:
        def between(width: int) -> nn.Module:
            return nn.Sequential(nn.BatchNorm1d(width), activation()) if normed else activation()

        layers = [
            nn.Linear(size[0], size[1]),
            between(size[1]),
            nn.Linear(size[1], size[2]),
            between(size[2]),
            nn.Linear(size[2], size[3]),
        ]
        return nn.Sequential(*layers)

    def loss(self, module: nn.Module, temperature: float = 1.0, rows: slice = slice(None)) -> Tensor:
        """Return the summed mean squared errors of its networks."""
        networks = dict(module.named_children())
        errors = [
            (networks[name](self.inputs[rows]) / temperature - self.targets[name][rows]).square().mean() for name in networks
        ]
        return torch.stack(errors).sum()

    def scoring(self, round: int) -> Scoring:
        halves = [partial(self.loss, rows=slice(0, 10)), partial(self.loss, rows=slice(10, 20))]
        return Scoring(lambda: halves, samples=20, outputs=outputs)

    def learned(self, round: int) -> Scoring:
        return Scoring(lambda: [partial(self.loss, rows=slice(10, 20))], samples=10, outputs=outputs)

    def resized(self) -> None:
        self.resizes += 1

    def redrawn(self) -> Mapping[str, Tensor]:
        weights = {name: self.module.get_parameter(name) for name in self.anatomy.all_weights()}
        return {name: torch.randn(weight.shape, dtype=torch.float64) / 2 for name, weight in weights.items()}

    def train_epoch(self, steps: int = 3) -> None:
        """Take some steps of its optimizer, gradients clipped."""
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.loss(self.module).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.module.parameters(), 0.5)
            self.optimizer.step()

    def predict(self, module: nn.Module | None = None) -> Tensor:
        """Return what the networks, or those of another module of this kind, make of the inputs."""
        module = self.module if module is None else module
        with torch.no_grad(), evaluating(module):
            return torch.cat([network(self.inputs) for network in module.children()], dim=1)


def outputs(module: nn.Module) -> list[Tensor]:
    """Return what each network makes of ones."""
    first = next(module.parameters())
    return [network(torch.ones(1, first.shape[1], dtype=first.dtype)) for network in module.children()]


def silenced(module: nn.Module, groups: Sequence[Group], kept: Mapping[str, Tensor]) -> nn.Module:
    """Return a dense copy in which all that makes or scales a removed channel is zero; what a cut network has to compute.

    Args:
        module: before the cut.
        groups: with the sizes that the module has.
        kept: a boolean vector a group, True where a channel stays.

    Raises:
        ValueError: what makes channels has blocks, which only what reads them has.
    """
    masked = copy.deepcopy(module)
    with torch.no_grad():
        for group in groups:
            for member in group.members:
                if member.produces or (member.dim == 0 and "running" not in member.tensor):
                    if member.blocks != 1:
                        raise ValueError("what reads has blocks, not what makes")
                    gone = [
                        member.offset + (outer * group.size + channel) * member.inner + inner
                        for channel in range(group.size)
                        if not kept[group.name][channel]
                        for outer in range(member.outer)
                        for inner in range(member.inner)
                    ]
                    masked.get_parameter(member.tensor).index_fill_(member.dim, torch.tensor(gone, dtype=torch.int64), 0.0)
    return masked


def bits(module: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> list[bytes]:
    """Return everything a module and its optimizer hold, as bytes."""
    parts = [tensor.detach().cpu().numpy().tobytes() for tensor in module.state_dict().values()]
    parts += [b"none" if p.grad is None else p.grad.numpy().tobytes() for p in module.parameters()]
    if optimizer is not None:
        for state in optimizer.state.values():
            parts += [
                value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode() for value in state.values()
            ]
    return parts
