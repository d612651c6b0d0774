"""One cell: follow the plan, measure, return what was measured. Asks for nobody's name."""

import importlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from rlprune import cost
from rlprune.plan import trained_epochs
from rlprune.pruner import pruners
from rlprune.pruning import PlanFollower
from rlprune.suite import Cell, seed_sequence
from rlprune.task import tasks
from rlprune.training.trainer import Trainer


class NotApplicable(Exception):  # noqa: N818 (a reason to skip, not an error)
    """This pruner cannot work on this task; the message says why."""


@dataclass(frozen=True)
class Measured:
    """What one cell yields: scalar measures, one mapping an epoch, one mapping a layer."""

    values: Mapping[str, float]
    epochs: list[dict[str, float]]
    layers: Mapping[str, Mapping[str, float]]


def run_cell(
    cell: Cell, *, checkpoint: Path | None = None, tell: Callable[[Mapping[str, float]], None] = lambda row: None
) -> Measured:
    """Train and prune one cell and measure it.

    Args:
        cell: what to run.
        checkpoint: file to save to after every epoch and to go on from if it exists.
        tell: called with the measures of every epoch.

    Raises:
        NotApplicable: the pruner needs what the task's network does not have.
    """
    task, pruner = tasks().load(cell.task), pruners().load(cell.pruner)
    settings, seeds = pruner.settings(cell.settings), partial(seed_sequence, cell.task, cell.seed)
    trainer = make_trainer(cell.task, cell.recipe, cell.seed, cell.device)
    epochs = task.settings(cell.recipe).epochs
    try:
        pruning = PlanFollower(trainer, pruner, settings, cell.sparsity, epochs, task.scope, seeds)
        rows: list[dict[str, float]] = []
        training = Training()
        if checkpoint is not None and checkpoint.exists():
            rows, training = _resume(checkpoint, trainer, pruning)
        total = trained_epochs(pruning.plan, epochs, cell.sparsity)
        while (epoch := pruning.next_epoch()) is not None:
            sample_macs, before, began = trainer.sample_macs(), trainer.samples, time.perf_counter()
            measures = trainer.train_epoch(epoch)
            training.seconds += time.perf_counter() - began
            training.macs += sample_macs * (trainer.samples - before)
            training.samples += trainer.samples - before
            position = pruning.progress.epoch + 1
            pruning.epoch_done()
            rows.append(_row(position, pruning, training, measures))
            tell({**rows[-1], "of": float(total)})
            if checkpoint is not None:
                _save(checkpoint, trainer, pruning, rows, training)
        if checkpoint is not None:
            _keep(checkpoint.with_suffix(".safetensors"), cell, trainer)
        values = {**trainer.evaluate(), **pruning.reached(), **training.values(), **_costs(trainer, pruning)}
        return Measured(values | {"trained_epochs": float(len(rows))}, rows, pruning.layers())
    finally:
        trainer.close()


def make_trainer(task: str, recipe: Mapping[str, Any], seed: int, device: str) -> Trainer:
    """Return the trainer of a task, its network and environments as the seed has them."""
    declared = tasks().load(task)
    module, _, name = declared.trainer.partition(":")
    trainer: Trainer = getattr(importlib.import_module(module), name)(
        declared.settings(recipe), partial(seed_sequence, task, seed), device
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
    """Measure the final network."""
    device = next(trainer.module.parameters()).device
    step = trainer.training_step()
    return {
        "batch_seconds": cost.median_seconds(step, device=device),
        "latency_seconds": cost.median_seconds(trainer.forward, device=device),
        "macs": float(cost.macs(trainer.forward, trainer.module)),
        "memory_static_bytes": float(cost.static_memory(trainer.module)),
        **cost.peak_memory(step, device=device),
        "scoring_seconds": pruning.scoring_seconds,
        "scoring_samples": float(pruning.scoring_samples),
        **cost.sizes(trainer.module, pruning.masked.masks),
    }


def _save(file: Path, trainer: Trainer, pruning: PlanFollower, rows: list[dict[str, float]], training: Training) -> None:
    """Write a checkpoint beside the old one and put it in its place at once, so that a kill leaves one of the two whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    torch.save({"trainer": trainer.state(), "pruning": pruning.state(), "rows": rows, "training": vars(training)}, fresh)
    os.replace(fresh, file)


def _keep(file: Path, cell: Cell, trainer: Trainer) -> None:
    """Write the final network, pruned weights as zeros and removed channels left out, with the cell it came from."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in trainer.module.state_dict().items()}
    save_file(tensors, file, metadata={"cell": cell.id, "task": cell.task, "pruner": cell.pruner, "seed": str(cell.seed)})


def _resume(file: Path, trainer: Trainer, pruning: PlanFollower) -> tuple[list[dict[str, float]], Training]:
    saved: dict[str, Any] = torch.load(file, weights_only=True)
    pruning.load_state(saved["pruning"])
    trainer.load_state(saved["trainer"])
    return saved["rows"], Training(**{**saved["training"], "resumed": True})
