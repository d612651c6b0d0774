"""A tiny network in training, for tests of what needs something to prune."""

import copy
import hashlib
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from rlprune.pruning.groups import Anatomy, Member, chain
from rlprune.pruning.masked import Masked
from rlprune.pruning.probe import Scoring, evaluating
from rlprune.training.recipes import A2CRecipe

SMALL_AGENT = A2CRecipe(
    environment="CartPole-v1",
    budget=960,
    epochs=3,
    environments=4,
    widths=(20, 20),
    scoring_steps=40,
    evaluation_games=3,
    reward_scale=0.1,
)
"""Alone or in a fleet, three epochs of a few updates."""


def seeds(use, number=0):
    return np.random.SeedSequence(int(hashlib.sha256(f"{number}/{use}".encode()).hexdigest()[:15], 16))


class Tiny:
    """Actor and critic of two hidden layers in float64, fitted to fixed random targets; ``normed`` adds batch normalisation."""

    SIZES = {"actor": (3, 16, 12, 2), "critic": (3, 16, 12, 1)}

    def __init__(self, seed=0, activation=nn.Tanh, optimizer=torch.optim.RMSprop, widths=None, normed=False):
        generator = torch.Generator().manual_seed(seed)
        sizes = widths or self.SIZES
        self.module = nn.ModuleDict({name: self._net(size, activation, normed) for name, size in sizes.items()}).double()
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

    def _scaled(self, group):
        network, index = group.name.split(".")
        between = f"{network}.{int(index) + 1}.0"
        if f"{between}.weight" not in dict(self.module.named_parameters()):
            return group
        tensors = ("weight", "bias", "running_mean", "running_var")
        return replace(group, members=(*group.members, *(Member(f"{between}.{tensor}", 0) for tensor in tensors)))

    @staticmethod
    def _net(size, activation, normed):
        def between(width):
            return nn.Sequential(nn.BatchNorm1d(width), activation()) if normed else activation()

        layers = [
            nn.Linear(size[0], size[1]),
            between(size[1]),
            nn.Linear(size[1], size[2]),
            between(size[2]),
            nn.Linear(size[2], size[3]),
        ]
        return nn.Sequential(*layers)

    def loss(self, module, temperature=1.0, rows=slice(None)):
        errors = [(module[name](self.inputs[rows]) / temperature - self.targets[name][rows]).square().mean() for name in module]
        return torch.stack(errors).sum()

    def scoring(self, round):
        halves = [partial(self.loss, rows=slice(0, 10)), partial(self.loss, rows=slice(10, 20))]
        return Scoring(lambda: halves, samples=20, outputs=outputs)

    def learned(self, round):
        return Scoring(lambda: [partial(self.loss, rows=slice(10, 20))], samples=10, outputs=outputs)

    def resized(self):
        self.resizes += 1

    def redrawn(self):
        weights = {name: self.module.get_parameter(name) for name in self.anatomy.all_weights()}
        return {name: torch.randn(weight.shape, dtype=torch.float64) / 2 for name, weight in weights.items()}

    def train_epoch(self, steps=3):
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.loss(self.module).backward()
            nn.utils.clip_grad_norm_(self.module.parameters(), 0.5)
            self.optimizer.step()

    def predict(self, module=None):
        """What the networks, or those of another module of this kind, make of the inputs."""
        module = self.module if module is None else module
        with torch.no_grad(), evaluating(module):
            return torch.cat([module[name](self.inputs) for name in module], dim=1)


def outputs(module):
    first = next(module.parameters())
    return [module[name](torch.ones(1, first.shape[1], dtype=first.dtype)) for name in module]


def silenced(module, groups, kept):
    """A dense copy in which all that makes or scales a removed channel is zero; what a cut network has to compute.

    Args:
        groups: with the sizes that the module has.
        kept: a boolean vector a group, True where a channel stays.
    """
    masked = copy.deepcopy(module)
    with torch.no_grad():
        for group in groups:
            for member in group.members:
                if member.produces or (member.dim == 0 and "running" not in member.tensor):
                    assert member.blocks == 1, "what reads has blocks, not what makes"
                    gone = [
                        member.offset + (outer * group.size + channel) * member.inner + inner
                        for channel in range(group.size)
                        if not kept[group.name][channel]
                        for outer in range(member.outer)
                        for inner in range(member.inner)
                    ]
                    masked.get_parameter(member.tensor).index_fill_(member.dim, torch.tensor(gone, dtype=torch.int64), 0.0)
    return masked


def bits(module, optimizer=None):
    """Everything a module and its optimizer hold, as bytes."""
    parts = [tensor.detach().cpu().numpy().tobytes() for tensor in module.state_dict().values()]
    parts += [b"none" if p.grad is None else p.grad.numpy().tobytes() for p in module.parameters()]
    if optimizer is not None:
        for state in optimizer.state.values():
            parts += [
                value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode() for value in state.values()
            ]
    return parts


def finish_together(*pairs):
    """Train trainers with their followers side by side to the ends of their plans."""
    pairs = list(pairs)
    while pairs:
        epochs = [pruning.next_epoch() for _, pruning in pairs]
        pairs = [pair for pair, epoch in zip(pairs, epochs, strict=True) if epoch is not None]
        if pairs:
            trainers = [trainer for trainer, _ in pairs]
            type(trainers[0]).train_together(trainers, [epoch for epoch in epochs if epoch is not None])
        for _, pruning in pairs:
            pruning.epoch_done()
