"""What a worker does with its cells: run them, and measure from outside."""

import ctypes
import resource
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from rlprune.bench.matrix import Cell, code
from rlprune.costs import provenance
from rlprune.costs.energy import Energy
from rlprune.executors import Tell, preloaded
from rlprune.reason import told
from rlprune.task import tasks

_MMAP_THRESHOLD = -3  # its number in glibc's malloc.h


@dataclass(frozen=True)
class Assignment:
    """Cells for one worker: one alone, or a fleet.

    Args:
        cells: what to run.
        checkpoints: for each, where its state is saved every epoch, and taken up from; None where nothing is kept of it.
        country: whose energy mix counts for CO2.
        memory: bytes of a GPU that cells of their kind have held; None if unknown.
    """

    cells: tuple[Cell, ...]
    checkpoints: tuple[Path | None, ...]
    country: str | None
    memory: float | None = None

    @property
    def device(self) -> str:
        return self.cells[0].device

    @property
    def folder(self) -> Path:
        return next((file.parent for file in self.checkpoints if file is not None), Path())

    @property
    def stems(self) -> Sequence[str]:
        return [file.stem for file in self.checkpoints if file is not None]

    def moved(self, folder: Path) -> Self:
        return replace(self, checkpoints=tuple(None if file is None else folder / file.name for file in self.checkpoints))


@dataclass(frozen=True)
class Record:
    """What a worker found of a cell; the fields are those of ``Row``.

    A further status is ``stopped``: a cell that can go on once what ``error`` says is mended, and not before, nor can others.
    """

    started: str
    ended: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    status: str = "done"
    error: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, float]] = field(default_factory=list)
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def trainers(cells: Iterable[Cell]) -> list[str]:
    """Return the modules of who trains these cells, alone or in fleets."""
    kinds = {(cell.task, cell.fleet, cell.device) for cell in cells}
    return sorted(
        {name for task, fleet, device in kinds for name in tasks().load(task).recipe.modules(fleet=fleet, device=device)}
    )


def _give_back_large_blocks() -> None:
    """Let glibc return what is freed in blocks of 16 MB and more to the system, not keep it among smaller ones.

    Scoring a network of 826 M weights peaks at 11.5 GB so, and at 12 GB without. Another libc keeps its own way.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 16 * 2**20)


def run(assigned: Assignment, tell: Tell) -> list[Record]:
    """Run cells in this process, which runs nothing else; return a record of each.

    Seconds and joules go from the first line of this until the final network is evaluated; starting the process, importing, and
    timing that network are not its own.
    ``memory_peak_bytes`` on a CPU is the most the process held resident, less what it held before. All of them are for
    cells that ran alone and in one go: a fleet's share and the time before a crash are nobody's to tell.
    """
    import torch
    from threadpoolctl import threadpool_limits

    from rlprune.bench.cell import run_cells

    preloaded(trainers(assigned.cells))  # where nobody did it beforehand
    torch.set_num_threads(1)
    threadpool_limits(1)  # NumPy's and SciPy's threads are not torch's
    _give_back_large_blocks()
    _touch_torch()
    started, device = provenance.now(), assigned.cells[0].device
    spent: dict[str, float] = {}
    with ExitStack() as metered:
        energy = metered.enter_context(Energy(assigned.country, device))
        resident, wall, cpu = _peak_resident(), time.perf_counter(), time.process_time()

        def stop() -> None:
            spent.update(wall_seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu)
            metered.close()

        results = run_cells(assigned.cells, assigned.checkpoints, tell, stop)
        seconds = time.perf_counter() - wall
    first = assigned.cells[0]
    own = tasks().load(first.task).recipe.machine(fleet=first.fleet, device=device)
    machine = {**provenance.machine(), "energy_method": energy.method, "memory_method": "process peak", **own}
    if device.startswith("cuda"):
        machine |= {"gpu": torch.cuda.get_device_name(device), "memory_method": "CUDA allocator"}
    else:
        spent["memory_peak_bytes"] = float(_peak_resident() - resident)
    records = []
    for cell, result in zip(assigned.cells, results, strict=True):
        record = Record(started, provenance.now(), provenance.versions() | code(cell), machine)
        if isinstance(result, Exception):
            status, why = _stopped(result)
            records.append(replace(record, status=status, error=why))
            continue
        values = {**result.values, "worker_seconds": seconds / len(results)}
        if cell.alone and "resumed" not in values:
            values |= {**spent, **energy.values}
        records.append(replace(record, values=values, epochs=result.epochs, layers=result.layers))
    return records


def _stopped(error: Exception) -> tuple[str, str]:
    """Return the status of a cell that ended by an exception, and why."""
    from rlprune.bench.checkpoint import Unwritable
    from rlprune.reason import NotApplicable

    if isinstance(error, NotApplicable):
        return "skipped", str(error)
    if isinstance(error, Unwritable):
        return "stopped", str(error)
    return "failed", told(error)


def _touch_torch() -> None:
    """Take one training step: the pages of torch's own libraries that it brings in are not the cell's memory."""
    import torch

    weight = torch.ones(2, 2, requires_grad=True)
    torch.tanh(weight @ weight).sum().backward()  # type: ignore[no-untyped-call]
    torch.optim.RMSprop([weight]).step()


def _peak_resident() -> int:
    """Return the most bytes that this process has held resident. A fork starts anew from what it holds."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
