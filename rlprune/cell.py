"""One cell, or a fleet of them: follow the plans, measure, return what was measured. Asks for nobody's name."""

import importlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from rlprune import cost
from rlprune.plan import TrainEpoch, trained_epochs
from rlprune.pruner import NotApplicable, pruners
from rlprune.pruning import PlanFollower, lacking
from rlprune.suite import Cell, seed_sequence
from rlprune.task import tasks
from rlprune.training.trainer import Trainer


@dataclass(frozen=True)
class Measured:
    """What one cell yields: scalar measures, one mapping an epoch, one mapping a layer."""

    values: Mapping[str, float]
    epochs: list[dict[str, float]]
    layers: Mapping[str, Mapping[str, float]]


def run_cell(
    cell: Cell, *, checkpoint: Path | None = None, tell: Callable[[Mapping[str, float]], None] = lambda row: None
) -> Measured:
    """Train and prune one cell and measure it; see ``run_cells``.

    Raises:
        NotApplicable: the pruner needs what the task's network does not have.
    """
    (result,) = run_cells([cell], [checkpoint], tell)
    if isinstance(result, Exception):
        raise result
    return result


def run_cells(
    cells: Sequence[Cell], checkpoints: Sequence[Path | None], tell: Callable[[Mapping[str, float]], None] = lambda row: None
) -> list[Measured | Exception]:
    """Train and prune cells side by side, epoch by epoch, each by its own plan; return what each yielded, or what stopped it.

    Args:
        cells: of one task and recipe; more than one only for a fleet.
        checkpoints: for each, the file to save to after every epoch and to go on from if it exists.
        tell: called with the measures of every epoch; ``member`` is the number of the cell.
    """
    results: dict[int, Measured | Exception] = {}
    runs: dict[int, Run] = {}
    for member, (cell, checkpoint) in enumerate(zip(cells, checkpoints, strict=True)):
        try:
            runs[member] = Run(cell, checkpoint)
        except Exception as error:  # one cell's failure is its own, whatever it is
            results[member] = error
    while runs:
        epochs: dict[int, TrainEpoch] = {}
        finished: dict[int, Run] = {}
        for member, run in list(runs.items()):
            try:
                epoch = run.pruning.next_epoch()
            except Exception as error:
                results[member] = error
                runs.pop(member).trainer.close()
                continue
            if epoch is None:
                finished[member] = runs.pop(member)
            else:
                epochs[member] = epoch
        if finished:
            trainers = [run.trainer for run in finished.values()]
            qualities = type(trainers[0]).evaluate_together(trainers)
            for (member, run), quality in zip(finished.items(), qualities, strict=True):
                results[member] = run.measure(quality)
                run.trainer.close()
        if runs:
            trainers, began = [run.trainer for run in runs.values()], time.perf_counter()
            measures = type(trainers[0]).train_together(trainers, list(epochs.values()))
            seconds = time.perf_counter() - began
            for (member, run), measured in zip(runs.items(), measures, strict=True):
                tell({**run.note(measured, seconds), "of": float(run.total), "member": float(member)})
    return [results[member] for member in range(len(cells))]


class Run:
    """One cell on its way: its trainer, its plan, and what was noted so far."""

    def __init__(self, cell: Cell, checkpoint: Path | None) -> None:
        task, pruner = tasks().load(cell.task), pruners().load(cell.pruner)
        epochs, seeds = task.settings(cell.recipe).epochs, partial(seed_sequence, cell.task, cell.seed)
        self.trainer = make_trainer(cell.task, cell.recipe, cell.seed, cell.device, fleet=cell.fleet, folder=cell.folder)
        if missing := lacking(pruner, self.trainer.module):
            raise NotApplicable(f"{pruner.name} needs {', '.join(missing)}, which the network of {cell.task} does not have")
        settings = pruner.settings(cell.settings)
        self.pruning = PlanFollower(self.trainer, pruner, settings, cell.sparsity, epochs, task.scope, seeds)
        self.total = trained_epochs(self.pruning.plan, epochs, cell.sparsity)
        self._cell, self._checkpoint = cell, checkpoint
        self._rows: list[dict[str, float]] = []
        self._training, self._samples = Training(), 0
        if checkpoint is not None and checkpoint.exists():
            self._rows, self._training = _resume(checkpoint, self.trainer, self.pruning)
            self._samples = self.trainer.samples

    def note(self, measures: Mapping[str, float], seconds: float) -> dict[str, float]:
        """Take note of an epoch that was trained, and save; return its row."""
        training, fresh = self._training, self.trainer.samples - self._samples
        training.seconds += seconds
        training.macs += self.trainer.sample_macs() * fresh
        training.samples += fresh
        self._samples = self.trainer.samples
        position = self.pruning.progress.epoch + 1
        self.pruning.epoch_done()
        self._rows.append(_row(position, self.pruning, training, measures))
        if self._checkpoint is not None:
            _save(self._checkpoint, self.trainer, self.pruning, self._rows, training)
        return self._rows[-1]

    def measure(self, quality: Mapping[str, float]) -> Measured:
        """Measure the finished cell. What depends on having the worker to itself is left out for a member of a fleet.

        Args:
            quality: what the trainer's evaluation found.
        """
        if self._checkpoint is not None:
            _keep(self._checkpoint.with_suffix(".safetensors"), self._cell, self.trainer)
        values = {
            **quality,
            **self.pruning.reached(),
            **self._training.values(),
            **_costs(self.trainer, self.pruning),
        }
        values["trained_epochs"] = float(len(self._rows))
        if self._cell.fleet:
            values = {name: value for name, value in values.items() if name not in SOLO}
        else:
            values |= _timings(self.trainer)
        return Measured(values, self._rows, self.pruning.layers())


SOLO = {"training_seconds", "scoring_seconds"}
"""Measures that mean nothing for a cell that shared its worker."""


def make_trainer(
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
    declared = tasks().load(task)
    module, _, name = (declared.fleet if fleet else declared.trainer).partition(":")
    settings = declared.settings(recipe)
    where: dict[str, Any] = {"outline": outline} if outline else {"folder": Path(folder)} if settings.reads else {}
    trainer: Trainer = getattr(importlib.import_module(module), name)(
        settings, partial(seed_sequence, task, seed), device, **where
    )
    return trainer


@dataclass
class Training:
    """What training has cost so far."""

    seconds: float = 0.0
    macs: float = 0.0
    samples: int = 0
    resumed: bool = False

    def values(self) -> dict[str, float]:
        """Return the measures by their names; a resumed cell is marked, its clock has a gap."""
        values = {"training_seconds": self.seconds, "training_macs": self.macs, "training_samples": float(self.samples)}
        return values | ({"resumed": 1.0} if self.resumed else {})


def _row(position: int, pruning: PlanFollower, training: Training, measures: Mapping[str, float]) -> dict[str, float]:
    row = {"trained": float(pruning.progress.trained), "epoch": float(position), "samples": float(training.samples), **measures}
    row["sparsity"] = pruning.reached()["sparsity_weights"]
    if pruning.travelled is not None:
        row["distance"] = pruning.travelled
    if pruning.trigger_value is not None:
        row["trigger"] = pruning.trigger_value
    return row


def _costs(trainer: Trainer, pruning: PlanFollower) -> dict[str, float]:
    """Measure the final network and what was spent on finding it."""
    return {
        "macs": float(cost.macs(trainer.forward, trainer.module)),
        "memory_static_bytes": float(cost.static_memory(trainer.module)),
        "scoring_seconds": pruning.scoring_seconds,
        "scoring_samples": float(pruning.scoring_samples),
        **cost.sizes(trainer.module, pruning.masked.masks),
    }


def _timings(trainer: Trainer) -> dict[str, float]:
    """Time the final network."""
    device = next(trainer.module.parameters()).device
    step = trainer.training_step()
    return {
        "batch_seconds": cost.median_seconds(step, device=device),
        "latency_seconds": cost.median_seconds(trainer.forward, device=device),
        **cost.peak_memory(step, device=device),
    }


def _save(file: Path, trainer: Trainer, pruning: PlanFollower, rows: list[dict[str, float]], training: Training) -> None:
    """Write a checkpoint beside the old one and put it in its place at once, so that a kill leaves one of the two whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    torch.save({"trainer": trainer.state(), "pruning": pruning.state(), "rows": rows, "training": vars(training)}, fresh)
    os.replace(fresh, file)


def _keep(file: Path, cell: Cell, trainer: Trainer) -> None:
    """Write the final network, pruned weights as zeros and removed channels left out, with the cell it came from.

    Beside it goes ``.npz`` with what the report draws of it, if anything.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in trainer.module.state_dict().items()}
    about = {"cell": cell.id, "task": cell.task, "pruner": cell.pruner, "seed": str(cell.seed)}
    if outline := getattr(trainer, "outline", lambda: None)():  # what made the network from data, for those who lack the data
        about["outline"] = json.dumps(outline, sort_keys=True)
    save_file(tensors, file, metadata=about)
    if pictures := trainer.illustration():
        np.savez_compressed(file.with_suffix(".npz"), allow_pickle=False, **dict(pictures))


def _resume(file: Path, trainer: Trainer, pruning: PlanFollower) -> tuple[list[dict[str, float]], Training]:
    saved: dict[str, Any] = torch.load(file, weights_only=True)
    pruning.load_state(saved["pruning"])
    trainer.load_state(saved["trainer"])
    return saved["rows"], Training(**{**saved["training"], "resumed": True})
