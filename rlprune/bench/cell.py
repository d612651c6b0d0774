"""One cell, or a fleet of them: follow the plans, measure, return what was measured. Asks for nobody's name."""

import io
import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from rlprune import reason
from rlprune.bench import checkpoint
from rlprune.bench.matrix import Cell, branched, code
from rlprune.costs import cost
from rlprune.costs.measures import SOLO
from rlprune.executors import Tell
from rlprune.files import before, removed, settled, written
from rlprune.pruning.follower import Missed, PlanFollower, lacking
from rlprune.pruning.plan import TrainEpoch, trained_epochs
from rlprune.pruning.pruner import pruners
from rlprune.reason import NotApplicable
from rlprune.task import seed_sequence, tasks
from rlprune.training import connectivity
from rlprune.training.trainer import Trainer, make
from rlprune.words import nearest

Yield = TypeVar("Yield")
SURROUNDINGS = (OSError, MemoryError, torch.OutOfMemoryError)
"""Failures that a cell has no part in."""
ALIKE = 0.9
"""Share of the weights that must be left by one round of pruning for the network to be taken for the one that it was."""


@dataclass(frozen=True)
class Measured:
    """What one cell yields: scalar measures, one mapping an epoch, one mapping a layer."""

    values: Mapping[str, float]
    epochs: list[dict[str, float]]
    layers: Mapping[str, Mapping[str, float]]


def run_cell(cell: Cell, *, checkpoint: Path | None = None, tell: Tell = lambda row: None) -> Measured:
    """Train and prune one cell and measure it; see ``run_cells``.

    Raises:
        NotApplicable: the pruner needs what the task's network does not have.
    """
    (result,) = run_cells([cell], [checkpoint], tell)
    if isinstance(result, Exception):
        raise result
    return result


def run_cells(
    cells: Sequence[Cell],
    checkpoints: Sequence[Path | None],
    tell: Tell = lambda row: None,
    evaluated: Callable[[], None] = lambda: None,
) -> list[Measured | Exception]:
    """Train and prune cells side by side, epoch by epoch, each by its own plan; return what each yielded, or what stopped it.

    A cell that stops while it trains loses its checkpoint; one that stops for want of disk or memory, or when all is
    trained, can go on from it.

    Args:
        cells: of one task and recipe; more than one only for a fleet.
        checkpoints: for each, the file to save to after every epoch and to go on from if it exists.
        tell: called with the measures of every epoch, and with what is ``said`` of a cell; ``member`` is its number.
        evaluated: called when all are trained and evaluated: what follows only looks at final networks.
    """
    company = _Company(cells, checkpoints, tell)
    while company.trainees:
        company.go_on(evaluated)
    return [company.results[member] for member in range(len(cells))]


class _Company:
    """Cells side by side: one that fails leaves, and the others go on."""

    def __init__(self, cells: Sequence[Cell], checkpoints: Sequence[Path | None], tell: Tell) -> None:
        self.results: dict[int, Measured | Exception] = {}
        self.trainees: dict[int, Trainee] = {}
        self._checkpoints, self._tell = checkpoints, tell
        begins = self.each(range(len(cells)), lambda member: begun(cells[member], checkpoints[member]), resumable=True)
        for member, (trainee, said) in begins.items():
            self.trainees[member] = trainee
            if said:
                tell({"said": said, "member": float(member)})

    def go_on(self, evaluated: Callable[[], None]) -> None:
        """Train all members for an epoch; measure those that are trained and let them go."""
        trainees = self.trainees
        due = self.each(trainees, self._next_epoch)
        trained = [member for member, epoch in due.items() if epoch is None]
        qualities = self.together(trained, lambda some: _evaluated([trainees[member] for member in some]), resumable=True)
        if len(trained) == len(due):
            evaluated()
        measured = self.each(qualities, lambda member: trainees[member].measure(qualities[member]), resumable=True)
        for member, result in measured.items():
            self.leave(member, result)
        epochs = {member: epoch for member, epoch in due.items() if epoch is not None}
        while epochs:  # those whose plans stop inside it come again, until all have done with the epoch
            epochs = self._train(epochs)

    def _train(self, epochs: Mapping[int, TrainEpoch]) -> dict[int, TrainEpoch]:
        """Train members together, each what it is to; return what is due of those that are inside an epoch."""
        trainees, began = self.trainees, time.perf_counter()
        measures = self.together(
            list(epochs), lambda some: _trained([trainees[member] for member in some], [epochs[member] for member in some])
        )
        seconds = time.perf_counter() - began
        self.each(measures, lambda member: trainees[member].trained(seconds))
        ended = [member for member in measures if member in trainees and epochs[member].ends]
        rows = self.each(ended, lambda member: trainees[member].note(measures[member]))
        for member, row in rows.items():
            self._tell({**row, "of": float(trainees[member].total), "member": float(member)})
        inside = [member for member in measures if member in trainees and not epochs[member].ends]
        due = self.each(inside, self._next_part)
        return {member: epoch for member, epoch in due.items() if epoch is not None}

    def _next_part(self, member: int) -> TrainEpoch | None:
        self.trainees[member].pruning.epoch_done()
        return self._next_epoch(member)

    def _next_epoch(self, member: int) -> TrainEpoch | None:
        """Do what a member's plan has due; a sparsity that it cannot reach is said."""
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            epoch = self.trainees[member].next_epoch()
        for warning in heard:
            if issubclass(warning.category, Missed):
                self._tell({"said": str(warning.message), "member": float(member)})
            else:
                warnings.warn(warning.message, stacklevel=2)
        return epoch

    def each(self, members: Iterable[int], act: Callable[[int], Yield], *, resumable: bool = False) -> dict[int, Yield]:
        """Do something with each member by itself; return what came of it for those that did not fail.

        Args:
            resumable: whether one that fails can go on from its checkpoint.
        """
        yields = {}
        for member in list(members):
            try:
                yields[member] = act(member)
            except Exception as error:  # whatever it is, it is this member's
                own = not (resumable or isinstance(error, SURROUNDINGS))
                if own and (file := self._checkpoints[member]) is not None:
                    with suppress(OSError):
                        removed(file)
                self.leave(member, (own and self._diverged(member)) or error)
        return yields

    def _diverged(self, member: int) -> FloatingPointError | None:
        """Return that a member's weights are finite numbers no more, whatever was first to stumble over them."""
        with suppress(Exception):  # what is left of it may be past asking
            return self.trainees[member].diverged()
        return None

    def together(
        self, members: Sequence[int], act: Callable[[Sequence[int]], Sequence[Yield]], *, resumable: bool = False
    ) -> dict[int, Yield]:
        """Do something with all members at once; if that fails, with each alone from where it stood."""
        stood = self.each(members if members[1:] else (), lambda member: _copied(self.trainees[member].trainer.state()))
        members = [member for member in members if member in self.trainees]

        def alone(member: int) -> Yield:
            self.trainees[member].trainer.load_state(stood[member])
            (yielded,) = act([member])
            return yielded

        if not stood:
            return self.each(members, lambda member: act([member])[0], resumable=resumable)
        try:
            return dict(zip(members, act(members), strict=True))
        except Exception:  # nobody knows whose it is
            return self.each(members, alone, resumable=resumable)

    def leave(self, member: int, result: Measured | Exception) -> None:
        """Let a member go with what it yielded or what stopped it."""
        self.results[member] = result
        if (trainee := self.trainees.pop(member, None)) is not None:
            with suppress(Exception):
                trainee.trainer.close()


def _copied(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a state, tensors and plain values, with copies of its tensors."""
    return tree_map_only(Tensor, Tensor.clone, state)  # type: ignore[no-any-return]


@contextmanager
def _tiny_is_zero() -> Iterator[None]:
    """Take numbers below 1.2e-38 for zero; not while networks are scored, where they would be ties.

    Networks that lost most weights are full of them, and so are averages of gradients that are no more; processors are slow then.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_tiny_is_zero()
def _evaluated(trainees: "Sequence[Trainee]") -> Sequence[Mapping[str, float]]:
    trainers = [trainee.trainer for trainee in trainees]
    return type(trainers[0]).evaluate_together(trainers)


@_tiny_is_zero()
def _trained(trainees: "Sequence[Trainee]", epochs: Sequence[TrainEpoch]) -> Sequence[Mapping[str, float]]:
    trainers = [trainee.trainer for trainee in trainees]
    return type(trainers[0]).train_together(trainers, epochs)


def begun(cell: Cell, file: Path | None) -> "tuple[Trainee, str]":
    """Return a cell at the state in its file, or in the one before, or new, and what is to be said of a useless one."""
    if file is None:
        return Trainee(cell, file), ""
    useless: list[str] = []
    for one in (file, before(file)):
        try:
            saved = checkpoint.load(one, cell.id)
        except FileNotFoundError:
            continue
        except ValueError as error:
            useless.append(str(error))
            continue
        if changed := [getattr(cell, what) for what, own in code(cell).items() if saved.get("code", {}).get(what, own) != own]:
            useless.append(f"it was trained by other code of {' and '.join(changed)}")
            continue
        trainee = Trainee(cell, file)
        try:
            trainee.resume(saved)
        except Exception as error:  # written by other code, it may fail in any way
            trainee.trainer.close()
            useless.append(f"it does not fit ({reason.line(error)})")
            continue
        if not useless:
            return trainee, ""
        with suppress(OSError):
            one.replace(file)
        said = f"goes on after epoch {len(saved['rows'])}, from the checkpoint before: {file.name} is of no use: {useless[0]}"
        return trainee, said
    return Trainee(cell, file), f"starts over, its checkpoint is of no use: {useless[0]}" if useless else ""


class Trainee:
    """One cell on its way: its trainer, its plan, and what was noted so far."""

    def __init__(self, cell: Cell, file: Path | None) -> None:
        task, pruner = tasks().load(cell.task), pruners().load(cell.pruner)
        epochs, seeds = task.settings(cell.recipe).epochs, partial(seed_sequence, cell.task, cell.seed)
        self.trainer = make(cell.task, cell.recipe, cell.seed, cell.device, fleet=cell.fleet, folder=cell.folder)
        if missing := lacking(pruner, self.trainer.module):
            raise NotApplicable(f"{pruner.name} needs {', '.join(missing)}, which the network of {cell.task} does not have")
        settings = pruner.settings(cell.settings)
        pruner, parts = branched(pruner, settings, cell.branch), self.trainer.steps
        self.pruning = PlanFollower(self.trainer, pruner, settings, cell.sparsity, epochs, task.scope, seeds, parts)
        self.total = trained_epochs(self.pruning.plan, epochs, cell.sparsity)
        self._cell, self._checkpoint, self._code = cell, file, code(cell)
        self._rows: list[dict[str, float]] = []
        self._training, self._samples = Training(), 0
        self._budget, self._first = epochs, None if cell.branch is None else dict[str, Tensor]()

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.pruning.load_state(saved["pruning"])
        self.trainer.load_state(saved["trainer"])
        self._rows, self._training = list(saved["rows"]), Training(**{**saved["training"], "resumed": True})
        self._samples = self.trainer.samples
        self._first = saved["first"]

    def next_epoch(self) -> TrainEpoch | None:
        """Do what the plan has due; where that leaves another network, what is measured by its past games begins anew."""
        pruning, then, left = self.pruning, self.pruning.progress, self._kept()
        epoch = pruning.next_epoch()
        rewound, cut = pruning.progress.epoch < then.epoch, pruning.progress.rounds != then.rounds
        if rewound or (cut and self._kept() < ALIKE * left):
            self.trainer.forget()
        return epoch

    def _kept(self) -> float:
        """Return how many prunable weights are left."""
        return sum(layer["kept"] for layer in self.pruning.layers().values())

    def diverged(self) -> FloatingPointError | None:
        """Return that a weight is no finite number any more, so that nothing can come of training on."""
        if spoilt := [name for name, weights in self.trainer.module.named_parameters() if not _finite(weights)]:
            position, more = self.pruning.progress.epoch + 1, f" and {len(spoilt) - 1} more" if spoilt[1:] else ""
            return FloatingPointError(f"after epoch {position} of training, weights are NaN or infinite: {spoilt[0]}{more}")
        return None

    def trained(self, seconds: float) -> None:
        """Take note of what an epoch, or a part of one, has cost, each sample at what the network as it is takes.

        Raises:
            FloatingPointError: it has diverged.
        """
        if error := self.diverged():
            raise error
        training, trainer, fresh = self._training, self.trainer, self.trainer.samples - self._samples
        training.seconds += seconds
        training.macs += trainer.sample_macs() * fresh
        training.macs_nonzero += trainer.sample_macs(trainer.masked.masks) * fresh
        training.samples += fresh
        self._samples = trainer.samples

    def note(self, measures: Mapping[str, float]) -> dict[str, float]:
        """Take note of an epoch that was trained, and save; return its row."""
        position = self.pruning.progress.epoch + 1
        self.pruning.epoch_done()
        if self._first == {} and position == self._budget:
            self._first = connectivity.weights(self.trainer.module)
        self._rows.append(_row(position, self.pruning, self._training, measures))
        if self._checkpoint is not None:
            state = {"trainer": self.trainer.state(), "pruning": self.pruning.state()}
            noted = {"rows": self._rows, "training": vars(self._training), "first": self._first, "code": self._code}
            checkpoint.save(self._checkpoint, self._cell.id, {**state, **noted})
        return self._rows[-1]

    def measure(self, quality: Mapping[str, float]) -> Measured:
        """Measure the finished cell. What depends on having the worker to itself is left out where it had not.

        Args:
            quality: what the trainer's evaluation found.
        """
        if self._checkpoint is not None:
            _save_network(self._checkpoint.with_suffix(".safetensors"), self._cell, self.trainer)
        values = {
            **quality,
            **self.pruning.reached(),
            **self._training.values(),
            **_costs(self.trainer, self.pruning),
        }
        values["trained_epochs"] = float(len(self._rows))
        if self._first is not None:
            values |= connectivity.measured(self.trainer, self._first, tasks().load(self._cell.task).metric)
        if self._cell.alone:
            values |= _timings(self.trainer, limit=min(5.0, self._training.seconds))
        else:
            allocated = {"memory_static_bytes"} if self._cell.device.startswith("cuda") else set[str]()  # by all of the fleet
            values = {name: value for name, value in values.items() if name not in SOLO | allocated}
        if (judged := tasks().load(self._cell.task).metric.name) not in values:
            raise ValueError(
                f"{self._cell.task} is judged by '{judged}', which its training does not measure{nearest(judged, quality)}; "
                f"it measures {', '.join(sorted(quality))}"
            )
        return Measured(values, self._rows, self.pruning.layers())


@dataclass
class Training:
    """What training has cost so far."""

    seconds: float = 0.0
    macs: float = 0.0
    macs_nonzero: float = 0.0
    samples: int = 0
    resumed: bool = False

    def values(self) -> dict[str, float]:
        """Return the measures by their names; a resumed cell is marked, its clock has a gap."""
        values = {
            "training_seconds": self.seconds,
            "training_macs": self.macs,
            "training_macs_nonzero": self.macs_nonzero,
            "training_samples": float(self.samples),
        }
        return values | ({"resumed": 1.0} if self.resumed else {})


def _finite(weights: Tensor) -> bool:
    return not weights.numel() or bool(torch.linalg.vector_norm(weights.detach(), float("inf")).isfinite())


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
        "macs_nonzero": float(cost.macs(trainer.forward, trainer.module, trainer.masked.masks)),
        "memory_static_bytes": float(cost.static_memory(trainer.module)),
        "scoring_seconds": pruning.scoring_seconds,
        "scoring_samples": float(pruning.scoring_samples),
        **cost.sizes(trainer.module, trainer.masked.masks, trainer.masked.copies),
    }


@_tiny_is_zero()
def _timings(trainer: Trainer, limit: float) -> dict[str, float]:
    """Time the final network; where a time does not settle, for about ``limit`` seconds."""
    device = next(trainer.module.parameters()).device
    step = trainer.training_step()
    return {
        "batch_seconds": cost.settled_seconds(step, device=device, limit=limit),
        "latency_seconds": cost.settled_seconds(trainer.forward, device=device, limit=limit),
        **cost.peak_memory(step, device=device),
    }


def kept_zeros(tensors: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Return the places, in order and counted through, of weights that are kept and zero."""
    found = {name: (mask.cpu() & (tensors[name] == 0)).flatten().nonzero().flatten().tolist() for name, mask in masks.items()}
    return {name: places for name, places in found.items() if places}


def _save_network(file: Path, cell: Cell, trainer: Trainer) -> None:
    """Write the final network, pruned weights as zeros and removed channels left out, with the cell it came from.

    Beside it goes ``.npz`` with what the report draws of it, if anything.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in trainer.module.state_dict().items()}
    about = {"cell": cell.id, "task": cell.task, "pruner": cell.pruner, "seed": str(cell.seed)}
    if outline := getattr(trainer, "outline", lambda: None)():  # what made the network from data, for those who lack the data
        about["outline"] = json.dumps(outline, sort_keys=True)
    if trainer.masked.masks:  # of a weight that is kept and zero, having grown a moment ago, nothing else tells
        about["zeros"] = json.dumps(kept_zeros(tensors, trainer.masked.masks), sort_keys=True)
    checkpoint.save_network(file, tensors, about)
    if pictures := trainer.illustration():
        with io.BytesIO() as packed:
            np.savez_compressed(packed, allow_pickle=False, **dict(pictures))
            content = packed.getvalue()
        drawn = file.with_suffix(".npz")
        checkpoint.plainly(drawn, lambda: written(drawn, lambda fresh: fresh.write_bytes(content)))
    settled(file.parent)  # a row will say that they are there
