"""Supervised learning behind the trainer's seam: batches, a loss, Adam on one cycle of rates; a kind of task adds the rest."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from rlprune.costs import cost
from rlprune.pruning import start
from rlprune.pruning.groups import Anatomy
from rlprune.pruning.masked import Masked, Masks
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.probe import Loss, Scoring, evaluating
from rlprune.training.recipes import SupervisedRecipe
from rlprune.training.trainer import Apart, Generators, Seeds

Batch: TypeAlias = tuple[Tensor, ...]
"""Tensors whose first dimension counts samples."""

_REGISTER = 8
"""Numbers of single precision in a register of AVX2."""

R = TypeVar("R", bound=SupervisedRecipe)


class SupervisedTrainer(Apart, ABC, Generic[R]):
    """A network trained on batches for epochs, an epoch one pass over the training data.

    Order and augmentation of a pass depend on the seed and on the number of the pass alone, so a resumed run meets the same
    batches. On a GPU the forward pass runs in bfloat16 and the network in ``channels_last``; scores are always float32.
    """

    tempered = True
    """Whether the loss divides logits by a temperature."""

    def __init__(
        self, recipe: R, seeds: Seeds, device: str, folder: Path | None = None, outline: Mapping[str, Any] | None = None
    ) -> None:
        self.recipe = recipe
        self.seeds = seeds
        self.device = torch.device(device)
        self._outline = outline
        if outline is None:
            self.prepare(folder)
        else:  # for its network alone: there are no data
            self.recall(outline)
        with Generators.seeded(seeds("network")).owned():
            module, self._anatomy = self.network()
        self.module = module
        self._whole = sum(weights.numel() for weights in module.parameters())
        self.optimizers: tuple[torch.optim.Optimizer, ...] = ()
        if not recipe.score_on_cpu:
            self.resized()
        self.optimizer: torch.optim.Optimizer = self._adam(self.module)
        self.optimizers = (self.optimizer,)
        self.masked = Masked(self.module, self.optimizers)
        self._generators = Generators.seeded(seeds("dropout"))
        self._passes = 0
        self._samples = 0
        self._pass: Iterator[Batch] = iter(())
        self._total = torch.zeros(())

    # -- what a kind of task says --------------------------------------------------------------------------------

    @abstractmethod
    def prepare(self, folder: Path | None) -> None:
        """Read the data, before the network is made."""

    def sizes(self) -> Mapping[str, int] | None:
        """Return what the network's shape takes from the data, for ``recall``; None where that needs the data themselves."""
        return None

    def recall(self, outline: Mapping[str, Any]) -> None:
        """Take from what ``sizes`` returned once what ``network`` needs, in the place of ``prepare``."""
        raise NotImplementedError

    @abstractmethod
    def network(self) -> tuple[nn.Module, Anatomy]:
        """Make the network, drawing its weights from the global generator of torch."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Batches of an epoch."""

    @abstractmethod
    def batches(self, use: str, *, augmented: bool) -> Iterator[Batch]:
        """Yield the batches of one pass over the training data, shuffled by the seed of this use."""

    @abstractmethod
    def loss(self, module: nn.Module, batch: Batch, temperature: float = 1.0) -> Tensor:
        """Return the mean loss of a batch, its logits divided by ``temperature`` where it has any."""

    @abstractmethod
    def measures(self) -> dict[str, float]:
        """Return the task's measures on the test data; called in evaluation mode, without gradients."""

    @abstractmethod
    def example(self) -> Tensor:
        """Return one input as a user has it, [1, ...]."""

    def illustration(self) -> Mapping[str, np.ndarray[Any, np.dtype[Any]]] | None:
        """Return arrays that the report draws, what the network makes of some test data; None where it draws nothing."""
        return None

    def outputs(self, module: nn.Module) -> Sequence[Tensor]:
        """Run a module on an input of ones in the module's own precision; ids, which have none, stay what they are."""
        weight, example = next(module.parameters()), self.example()
        if not example.is_floating_point():
            return [module(example.to(weight.device))]
        return [module(torch.ones_like(example, dtype=weight.dtype, device=weight.device))]

    # -- what gets pruned ----------------------------------------------------------------------------------------

    @property
    def anatomy(self) -> Anatomy:
        return self._anatomy

    def resized(self) -> None:
        """Layers carry their own sizes; what was left on the CPU goes to the device, and all to the layout that is fastest there.

        On a CPU that is ``channels_last`` for a network that was cut, and for no other: it trains in 10 to 25 % less time. One
        for which oneDNN would write beyond its memory there stays, or becomes, contiguous.
        """
        self.module.to(self.device)
        on_gpu = self.device.type == "cuda"
        if on_gpu or sum(weights.numel() for weights in self.module.parameters()) < self._whole:
            layout = torch.channels_last if on_gpu or not _spoilt(self.module) else torch.contiguous_format
            self.module.to(memory_format=layout)
            for state in (state for optimizer in self.optimizers for state in optimizer.state.values()):
                for key, average in state.items():  # fused steps go through memory, whatever the layouts
                    if isinstance(average, Tensor) and average.ndim == 4:
                        state[key] = average.contiguous(memory_format=layout)

    def redrawn(self) -> Mapping[str, Tensor]:
        return start.drawn_anew(copy.deepcopy(self.module), self._anatomy.all_weights())

    def scoring(self, round: int) -> Scoring:
        """Take ``scoring_batches`` batches of the training data, not augmented, in pieces of ``scoring_micro_batch``."""
        return self._scoring(round, self.recipe.scoring_batches)

    def learned(self, round: int) -> Scoring:
        """Take one batch: those that it learned from are not kept."""
        return self._scoring(round, 1)

    def _scoring(self, round: int, count: int) -> Scoring:
        size = self.recipe.scoring_micro_batch or self.recipe.micro_batch

        def collect() -> list[Loss]:
            taken = zip(range(count), self.batches(f"scoring/{round}", augmented=False), strict=False)
            return [partial(self._scored, piece) for _, batch in taken for piece in pieces(batch, size)]

        samples, parts = min(count, self.steps) * self.recipe.batch_size, self.recipe.batch_size // size if size else 1
        return Scoring(collect, samples, self.outputs, tempered=self.tempered, pieces=parts)

    def _scored(self, batch: Batch, module: nn.Module, temperature: float = 1.0) -> Tensor:
        place = next(module.parameters()).device
        return self.loss(module, tuple(tensor.to(place) for tensor in batch), temperature)

    # -- training ------------------------------------------------------------------------------------------------

    @property
    def samples(self) -> int:
        return self._samples

    def train_epoch(self, epoch: TrainEpoch) -> Mapping[str, float]:
        self.resized()
        if epoch.begins:
            self._pass = self.batches(f"pass/{self._passes}", augmented=True)
            self._total = torch.zeros((), device=self.device)
        self.module.train()
        with self._generators.owned():
            for step, batch in zip(epoch.span(self.steps), self._pass, strict=False):
                _set_rate(self.optimizer, self.recipe, epoch.remaining(step / self.steps), held=epoch.start == epoch.end)
                self._total += self._step(self.module, self.optimizer, batch)
                self._samples += len(batch[0])
        if not epoch.ends:
            return {}
        if next(self._pass, None) is not None:  # at its end it lets go of who reads ahead
            raise RuntimeError(f"a pass over the data has more than the {self.steps} batches of an epoch")
        self._passes += 1
        return {"loss_train": float(self._total) / self.steps}

    def _step(self, module: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
        """Take one optimizer step; return the batch's loss, detached."""
        optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for piece in pieces(batch, self.recipe.micro_batch):
            with torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext():
                loss = self.loss(module, piece) * (len(piece[0]) / len(batch[0]))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        nn.utils.clip_grad_norm_(module.parameters(), self.recipe.clip)
        optimizer.step()
        return total

    def evaluate(self) -> Mapping[str, float]:
        with evaluating(self.module), torch.no_grad():
            return self.measures()

    def normalise_anew(self) -> None:
        """Average the statistics of each batch of one augmented pass, with everything else as in evaluation."""
        kind = nn.modules.batchnorm._BatchNorm
        layers = [layer for layer in self.module.modules() if isinstance(layer, kind) and layer.track_running_stats]
        momenta = [layer.momentum for layer in layers]
        with evaluating(self.module), torch.no_grad():
            for layer in layers:
                layer.reset_running_stats()
                layer.train().momentum = None
            for batch in self.batches("statistics", augmented=True) if layers else ():
                for piece in pieces(batch, self.recipe.micro_batch):
                    self.loss(self.module, piece)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

    # -- costs ---------------------------------------------------------------------------------------------------

    def sample_macs(self, masks: Masks | None = None) -> float:
        """One forward pass, and two of the same size backward."""
        return 3.0 * cost.macs(self.forward, self.module, masks)

    def forward(self) -> object:
        with evaluating(self.module), torch.no_grad():
            return self.module(self.example())

    def training_step(self) -> Callable[[], object]:
        module = copy.deepcopy(self.module).train()
        optimizer, batch = self._adam(module), next(self.batches("timing", augmented=False))

        def step() -> None:
            with Generators.seeded(self.seeds("timing")).owned():
                self._step(module, optimizer, batch)

        return step

    def deployed(self) -> tuple[nn.Module, Tensor]:
        example = self.example() if self._outline is None else _blank(self._outline["example"], self._outline["pieces"])
        return copy.deepcopy(self.module).eval(), example

    def outline(self) -> dict[str, Any] | None:
        """Return what makes the network again without the data, as JSON has it; None where nothing but the data does."""
        if (sizes := self.sizes()) is None:
            return None
        example = self.example()
        pieces = None if example.is_floating_point() else sizes["words"]
        return {**sizes, "example": list(example.shape), "pieces": pieces}

    def save(self, file: Path) -> None:
        raise ValueError("a zip is for Stable-Baselines3 agents; write .safetensors or .onnx")

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": self._generators.state(),
            "passes": self._passes,
            "samples": self._samples,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._generators.load_state(state["generators"])
        self._passes, self._samples = state["passes"], state["samples"]

    def close(self) -> None:
        """There is nothing to let go of."""

    def _adam(self, module: nn.Module) -> torch.optim.Adam:
        recipe, fused = self.recipe, self.device.type == "cpu"  # one pass over memory, a quarter of the time
        return torch.optim.Adam(module.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=fused)


def _spoilt(module: nn.Module) -> bool:
    """Return whether oneDNN would write beyond its memory where this network is ``channels_last``.

    The gradient of what a 1x1 convolution with strides reads does so on processors without AVX-512 where that has fewer channels
    than a register (oneDNN 3.13.3 of torch 2.15.0): shortcuts of a ResNet that is pruned far.
    """
    layers = (layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    return any(max(it.stride) > 1 and max(it.kernel_size) == 1 and it.in_channels // it.groups < _REGISTER for it in layers)


def _blank(shape: Sequence[int], words: int | None) -> Tensor:
    """Return an input of this shape; of so many words, the last one everywhere."""
    return torch.zeros(*shape) if words is None else torch.full(tuple(shape), words - 1)


def _set_rate(optimizer: torch.optim.Optimizer, recipe: SupervisedRecipe, remaining: float, *, held: bool) -> None:
    share, momentum = (1.0, 0.9) if held or recipe.schedule == "constant" else one_cycle(remaining)
    for group in optimizer.param_groups:
        group["lr"] = share * recipe.learning_rate
        group["betas"] = (momentum, group["betas"][1])


def pieces(batch: Batch, size: int | None) -> list[Batch]:
    """Split a batch so that no more than ``size`` samples are held with their activations at once; None leaves it whole."""
    return list(zip(*(torch.split(tensor, size or len(tensor)) for tensor in batch), strict=True))


def one_cycle(remaining: float) -> tuple[float, float]:
    """Return the share of the peak learning rate, and Adam's first beta, when this share of the schedule remains.

    Cosines: from 1/25 up to 1 over the first 30 % while beta falls from .95 to .85, then down to 4e-6 and back.

    Source: Smith & Topin, 2018, with the numbers of ``torch.optim.lr_scheduler.OneCycleLR``.
    """
    done, warm = 1 - remaining, 0.3
    if done < warm:
        return _between(1 / 25, 1.0, done / warm), _between(0.95, 0.85, done / warm)
    return _between(1.0, 1 / 25 / 1e4, (done - warm) / (1 - warm)), _between(0.85, 0.95, (done - warm) / (1 - warm))


def _between(start: float, stop: float, share: float) -> float:
    return stop + (start - stop) * (1 + math.cos(math.pi * share)) / 2
