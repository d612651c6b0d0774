"""What a worker does with one cell: run it, and measure it from outside."""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlprune import provenance
from rlprune.energy import Energy
from rlprune.executors import Tell
from rlprune.suite import Cell


@dataclass(frozen=True)
class Job:
    """A cell to run.

    Args:
        cell: what to run.
        checkpoint: where its state is saved every epoch, and taken up from.
        country: whose energy mix counts for CO2.
    """

    cell: Cell
    checkpoint: Path
    country: str | None


@dataclass(frozen=True)
class Record:
    """What a worker found; the fields are those of ``Row``. ``error`` is the reason if the cell was skipped."""

    started: str
    ended: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    error: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, float]] = field(default_factory=list)
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def run(job: Job, tell: Tell) -> Record:
    """Run a cell in this process, which runs nothing else.

    Seconds and joules go from the first line of the cell to its last; starting the process and importing is not the cell's.
    ``memory_peak_bytes`` on a CPU is the most the process held resident, less what it held before.
    """
    import torch

    from rlprune.cell import NotApplicable, run_cell

    torch.set_num_threads(1)
    _touch_torch()
    started, device = provenance.now(), job.cell.device
    with Energy(job.country, device) as energy:
        resident, wall, cpu = _peak_resident(), time.perf_counter(), time.process_time()
        try:
            measured = run_cell(job.cell, checkpoint=job.checkpoint, tell=tell)
        except NotApplicable as reason:
            return Record(started, provenance.now(), provenance.versions(), provenance.machine(), error=str(reason))
        values = {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    machine = {**provenance.machine(), "energy_method": energy.method, "memory_method": "process peak"}
    if device.startswith("cuda"):
        machine |= {"gpu": torch.cuda.get_device_name(device), "memory_method": "CUDA allocator"}
    else:
        values["memory_peak_bytes"] = float(_peak_resident() - resident)
    return Record(
        started,
        provenance.now(),
        provenance.versions(),
        machine,
        values={**measured.values, **values, **energy.values},
        epochs=measured.epochs,
        layers=measured.layers,
    )


def _touch_torch() -> None:
    """Take one training step: the pages of torch's own libraries that it brings in are not the cell's memory."""
    import torch

    weight = torch.ones(2, 2, requires_grad=True)
    torch.tanh(weight @ weight).sum().backward()  # type: ignore[no-untyped-call]
    torch.optim.RMSprop([weight]).step()


def _peak_resident() -> int:
    """Return the most bytes that this process has held resident. A fork starts anew from what it holds."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
