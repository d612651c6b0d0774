"""Prune a network in your own PyTorch training loop.

pruner = rlprune.Pruning(net, "EarlyCroP-S", sparsity=0.9, epochs=30, loss=lambda net: loss_of(net, batch), optimizer=optimizer)
while not pruner.done:
    ...train one epoch...
    pruner.epoch_end()
"""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlprune.groups import Anatomy, Group, chain
from rlprune.probe import Loss, Scoring
from rlprune.pruner import CHANNELS, Scope, pruners
from rlprune.pruning import PlanFollower

_WEIGHED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)


class Pruning:
    """A pruner on somebody's own network, advanced by ``epoch_end`` once an epoch.

    Weights of linear, convolution and embedding layers are pruned, first and last layers included. Channels are cut
    out of an ``nn.Sequential`` of linear layers and activations, or out of the groups that are given.

    Args:
        net: the network; the optimizer may be trained already.
        pruner: a name from ``rlprune list pruners``.
        sparsity: share of the weights to remove, in (0, 1).
        epochs: epochs of the whole training.
        loss: the network to its mean loss on one fixed batch, a scalar; or several such functions. One that takes
            ``temperature`` is given the number to divide its logits by; for others it is 1.
        optimizer: its state follows every mask and cut. None: there is no state to follow.
        samples: training samples that evaluating ``loss`` costs, to be counted.
        groups: channel groups, for networks other than plain sequences of linear layers.
        scope: what is ranked against what.
        seed: draws lots for pruners that need noise.
        **settings: settings of the pruner, say ``rounds=7``.

    Raises:
        KeyError: no pruner of this name.
        ValueError: a sparsity out of range, or channels to cut and no groups to be found.
    """

    def __init__(
        self,
        net: nn.Module,
        pruner: str,
        sparsity: float,
        *,
        epochs: int,
        loss: Callable[[nn.Module], Tensor] | Sequence[Callable[[nn.Module], Tensor]],
        optimizer: torch.optim.Optimizer | None = None,
        samples: int = 0,
        groups: Sequence[Group] | None = None,
        scope: Scope = "global",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        method = pruners().load(pruner)
        if not 0 < sparsity < 1:
            raise ValueError(f"sparsity is the share of weights to remove, between 0 and 1; got {sparsity}")
        if groups is None:
            groups = _sequence(net) if method.cut == CHANNELS else []
        if method.cut == CHANNELS and not groups:
            raise ValueError(
                f"{method.name} cuts channels; for a {type(net).__name__} say which belong together: groups=[Group(...)]"
            )
        losses = loss if isinstance(loss, Sequence) else [loss]
        if settings.get("temperature", 1.0) != 1.0 and not all(map(_is_tempered, losses)):
            raise ValueError(
                "temperature divides logits, which your loss does by itself: let it take one, loss(net, temperature)"
            )
        subject = _Network(net, optimizer, groups, losses, samples)

        def seeds(use: str) -> np.random.SeedSequence:
            return np.random.SeedSequence(int.from_bytes(hashlib.sha256(f"{seed}/{use}".encode()).digest()[:16], "big"))

        self.follower = PlanFollower(subject, method, method.settings(settings), sparsity, epochs, scope, seeds)
        self._epoch = self.follower.next_epoch()

    @property
    def done(self) -> bool:
        """Whether the plan is finished; plans that rewind take more epochs than ``epochs``."""
        return self._epoch is None

    @property
    def remaining(self) -> float:
        """The share of the learning-rate schedule that remains as this epoch starts: 1 at first, held while a plan waits."""
        return self._epoch.start if self._epoch is not None else 0.0

    def epoch_end(self) -> None:
        """Take note of an epoch's end; scores, prunes, shrinks and rewinds when the plan says so.

        Raises:
            RuntimeError: the plan is finished already.
        """
        if self.done:
            raise RuntimeError(f"the plan ended after {self.follower.progress.trained} epochs: stop when pruning.done")
        self.follower.epoch_done()
        self._epoch = self.follower.next_epoch()

    def reached(self) -> dict[str, float]:
        """Return the sparsity reached so far, of weights and nodes, and the number of empty layers."""
        return self.follower.reached()


class _Network:
    """Somebody's network as a subject of pruning."""

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        groups: Sequence[Group],
        losses: Sequence[Callable[[nn.Module], Tensor]],
        samples: int,
    ) -> None:
        weights = [f"{name}.weight".removeprefix(".") for name, layer in net.named_modules() if isinstance(layer, _WEIGHED)]
        if not weights:
            raise ValueError(f"a {type(net).__name__} without linear, convolution or embedding layers has nothing to prune")
        self.module, self.optimizer = net, optimizer
        self.anatomy = Anatomy({"network": weights}, {"network": groups})
        self._losses, self._samples = losses, samples

    def scoring(self, round: int) -> Scoring:
        losses = [_with_temperature(loss) for loss in self._losses]
        tempered = all(map(_is_tempered, self._losses))
        return Scoring(lambda: losses, self._samples, self._outputs, trial=losses[0], tempered=tempered)

    def resized(self) -> None:
        """Nothing else knows this network's sizes."""

    def _outputs(self, net: nn.Module) -> list[Tensor]:
        first = net.get_parameter(self.anatomy.all_weights()[0])
        if first.dim() != 2:
            raise ValueError("SynFlow needs an input of ones, whose shape only linear networks tell")
        return [net(torch.ones(1, first.shape[1], dtype=first.dtype, device=first.device))]


def _is_tempered(loss: Callable[..., Tensor]) -> bool:
    return "temperature" in inspect.signature(loss).parameters


def _with_temperature(loss: Callable[..., Tensor]) -> Loss:
    """Return a loss that passes its temperature on to one that has any."""
    if _is_tempered(loss):
        return lambda net, temperature: loss(net, temperature=temperature)
    return lambda net, temperature: loss(net)


def _sequence(net: nn.Module) -> list[Group]:
    """Return the groups of a sequence of linear layers and parameter-free ones, or none for anything else."""
    if not isinstance(net, nn.Sequential):
        return []
    layers = [name for name, layer in net.named_children() if isinstance(layer, nn.Linear)]
    plain = all(isinstance(layer, nn.Linear) or not list(layer.parameters()) for layer in net.children())
    return chain(net, layers) if plain else []
