"""The seam between how a task learns and what is measured and pruned: a trainer knows no pruner."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from rlprune.pruning.follower import Subject
from rlprune.pruning.masked import Masks
from rlprune.pruning.plan import TrainEpoch
from rlprune.reason import line
from rlprune.task import Recipe, seed_sequence, tasks

Seeds: TypeAlias = Callable[[str], np.random.SeedSequence]
"""A use's name ("network", "environments", ...) to its seed."""


class Trainer(Subject, Protocol):
    """A network in training on a task.

    Every trainer is made as ``Trainer(recipe, seeds, device)``.
    """

    @property
    def samples(self) -> int:
        """Training samples or environment steps so far, scoring not included."""

    @property
    def steps(self) -> int:
        """Steps of an epoch between which training can be stopped and gone on with."""

    @staticmethod
    def train_together(trainers: Sequence[Any], epochs: Sequence[TrainEpoch]) -> Sequence[Mapping[str, float]]:
        """Train several trainers of this kind and of one recipe for one epoch each; return the measures of each."""

    @staticmethod
    def evaluate_together(trainers: Sequence[Any]) -> Sequence[Mapping[str, float]]:
        """Return what ``evaluate`` does for each of several trainers of this kind and of one recipe."""

    def sample_macs(self, masks: Masks | None = None) -> float:
        """Return the multiply-accumulates that training on one sample takes now, zeros counted as the processor does.

        Args:
            masks: leave out the weights that these remove.
        """

    def train_epoch(self, epoch: TrainEpoch) -> Mapping[str, float]:
        """Train one epoch, the schedule's remaining share going from ``epoch.start`` to ``epoch.end``; return its measures.

        Of an epoch that falls into parts, what comes before the last one need not be measured.
        """

    def evaluate(self) -> Mapping[str, float]:
        """Return the task's measures of the network as it is, by their names."""

    def forget(self) -> None:
        """Let what is measured over several epochs begin anew: the network is another one now."""

    def normalise_anew(self) -> None:
        """Take the statistics of normalisation layers anew from training data, for the weights as they are."""

    def forward(self) -> object:
        """Run the network once on one sample, as somebody who uses it would."""

    def training_step(self) -> Callable[[], object]:
        """Return a function that runs one forward, backward and optimizer step on a copy of the network."""

    def deployed(self) -> tuple[nn.Module, torch.Tensor]:
        """Return the network as its users run it, one tensor in and one out, and an example of one input."""

    def save(self, file: Path) -> None:
        """Write the network for the library its users know.

        Raises:
            ValueError: there is none for this kind of task.
        """

    def illustration(self) -> Mapping[str, np.ndarray[Any, np.dtype[Any]]] | None:
        """Return arrays that the report draws (see ``rlprune.report.pictures``), or None."""

    def state(self) -> dict[str, Any]:
        """Return the whole state of training (weights, optimizer, generators, environments) as tensors and plain values.

        Taken where an epoch has ended.
        """

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; the network must have the saved sizes already."""

    def close(self) -> None:
        """Let go of environments and workers."""


class Apart:
    """Trainers that have nothing to gain from company: what several are asked for together, each does by itself."""

    def forget(self) -> None:
        """Do nothing: every epoch is measured by itself."""

    @staticmethod
    def train_together(trainers: Sequence[Any], epochs: Sequence[TrainEpoch]) -> list[Mapping[str, float]]:
        return [trainer.train_epoch(epoch) for trainer, epoch in zip(trainers, epochs, strict=True)]

    @staticmethod
    def evaluate_together(trainers: Sequence[Any]) -> list[Mapping[str, float]]:
        return [trainer.evaluate() for trainer in trainers]


def make(
    task: str,
    recipe: Mapping[str, Any],
    seed: int,
    device: str,
    *,
    fleet: bool = False,
    folder: str = "",
    outline: Mapping[str, Any] | None = None,
) -> Trainer:
    """Return the trainer of a task, its network and environments or data as the seed has them.

    With an ``outline`` it has the network alone, and needs no data.
    """
    settings = tasks().load(task).settings(recipe)
    where: dict[str, Any] = {"outline": outline} if outline else {"folder": Path(folder)} if settings.reads else {}
    kind = _kind(settings, settings.fleet if fleet else settings.trainer)
    trainer: Trainer = kind(settings, partial(seed_sequence, task, seed), device, **where)
    return trainer


def _kind(recipe: Recipe, place: str) -> Any:
    """Return the class of a trainer.

    Raises:
        ImportError: there is none of this name, or its module cannot be imported.
        TypeError: it is none that trains here.
    """
    what = f"{place}, the trainer of {type(recipe).__name__},"
    try:
        kind = resolve_name(place)
    except (ImportError, AttributeError) as error:
        raise ImportError(f"{what} cannot be imported: {line(error)}") from error
    if not hasattr(kind, "train_together"):
        raise TypeError(f"{what} is no trainer: it derives from OnPolicyTrainer, OffPolicyTrainer or another of rlprune.training")
    return kind


@dataclass
class Generators:
    """The global generators of torch, numpy and Python, owned: what runs inside ``owned()`` draws from these alone.

    Libraries that sample from global generators then depend on their cell's seed only, and disturb nobody else. A GPU's generator
    is owned from the first time that it is there.
    """

    torch: Tensor
    numpy: dict[str, Any] = field(repr=False)
    python: tuple[Any, ...] = field(repr=False)
    seed: int
    cuda: Tensor | None = None

    @classmethod
    def seeded(cls, seed: np.random.SeedSequence) -> "Generators":
        first, second, third = (int(word) for word in seed.generate_state(3, np.uint32))
        state = np.random.RandomState(second).get_state(legacy=False)
        return cls(torch.Generator().manual_seed(first).get_state(), dict(state), random.Random(third).getstate(), first)

    @contextmanager
    def owned(self) -> Iterator[None]:
        outside_torch, outside_numpy, outside_python = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()
        torch.set_rng_state(self.torch)
        np.random.set_state(self.numpy)
        random.setstate(self.python)
        on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        if on_gpu:
            outside_cuda = torch.cuda.get_rng_state()
            fresh = torch.Generator("cuda").manual_seed(self.seed).get_state()
            torch.cuda.set_rng_state(fresh if self.cuda is None else self.cuda)
        try:
            yield
        finally:
            self.torch, self.numpy = torch.get_rng_state(), dict(np.random.get_state(legacy=False))
            self.python = random.getstate()
            torch.set_rng_state(outside_torch)
            np.random.set_state(outside_numpy)
            random.setstate(outside_python)
            if on_gpu:
                self.cuda = torch.cuda.get_rng_state()
                torch.cuda.set_rng_state(outside_cuda)

    def state(self) -> dict[str, Any]:
        """Return their states as tensors and plain values."""
        keys = torch.from_numpy(self.numpy["state"]["key"].astype(np.int64))
        inner = {**self.numpy, "state": {"key": keys, "pos": self.numpy["state"]["pos"]}}
        return {"torch": self.torch, "numpy": inner, "python": self.python, "seed": self.seed, "cuda": self.cuda}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.torch, self.seed, self.cuda = state["torch"], state["seed"], state["cuda"]
        version, words, gauss = state["python"]
        self.python = (version, tuple(words), gauss)
        inner = state["numpy"]["state"]
        self.numpy = {**state["numpy"], "state": {"key": inner["key"].numpy().astype(np.uint32), "pos": inner["pos"]}}
