"""Many cells: skip the finished, spread the rest over workers, store each as it ends, go on after a failure."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

from rlprune import provenance
from rlprune.executors import Begun, Executor, Failed, Returned, Tell, Told, local, worker
from rlprune.executors.worker import Job, Record
from rlprune.pruner import pruners
from rlprune.store import Identity, Row, Store
from rlprune.suite import Cell, Suite
from rlprune.task import tasks


@dataclass(frozen=True)
class Started:
    """A worker took a cell; again if its first worker crashed."""

    cell: Cell


@dataclass(frozen=True)
class Epoch:
    """A cell trained ``trained`` epochs ``of`` at most so many; ``values`` are the measures of the last one."""

    cell: Cell
    trained: int
    of: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Finished:
    """A cell is done, failed or skipped, and stored."""

    cell: Cell
    row: Row


Event: TypeAlias = Started | Epoch | Finished


@dataclass(frozen=True)
class Outcome:
    """What one call of ``sweep`` did: cells newly done, those that failed or were skipped, and whether Ctrl-C ended it."""

    done: int
    failed: list[Row]
    skipped: list[Row]
    interrupted: bool


def sweep(
    cells: Iterable[Cell],
    store: Store,
    *,
    suite: Suite,
    jobs: int,
    out: Path,
    listen: Callable[[Event], None],
    work: Callable[[Job, Tell], Record] = worker.run,
    execute: Executor = local.execute,
) -> Outcome:
    """Run what is missing; failed cells run again.

    Args:
        cells: what to run, in this order.
        store: where each row goes the moment its cell ends; only this process writes to it.
        suite: the suite that the cells are of.
        jobs: how many workers run at once.
        out: folder of the run; states of unfinished cells are in its ``checkpoints``.
        listen: called with every event.
        work: what a worker does with a cell.
        execute: how cells are spread over workers.
    """
    finished, rows, interrupted = store.finished(), [], False
    todo = {cell.id: Job(cell, _checkpoint(out, cell), suite.country) for cell in cells if cell.id not in finished}
    began: dict[str, str] = {}
    try:
        with closing(execute(work, todo.values(), jobs)) as events:
            for event in events:
                cell = event.job.cell
                match event:
                    case Begun():
                        began.setdefault(cell.id, provenance.now())
                        listen(Started(cell))
                        continue
                    case Told(values=values):
                        listen(Epoch(cell, int(values["trained"]), int(values["of"]), values))
                        continue
                    case Returned(result=record):
                        row = _row(identity(cell, suite), "skipped" if record.error else "done", record, suite.price_per_hour)
                    case Failed(error=error):
                        failure = Record(
                            began[cell.id], provenance.now(), provenance.versions(), provenance.machine(), error=error
                        )
                        row = _row(identity(cell, suite), "failed", failure, None)
                store.save(row)
                rows.append(row)
                if not (isinstance(event, Failed) and event.crashed):
                    event.job.checkpoint.unlink(missing_ok=True)
                listen(Finished(cell, row))
    except KeyboardInterrupt:
        interrupted = True
    named = {status: [row for row in rows if row.status == status] for status in ("done", "failed", "skipped")}
    return Outcome(len(named["done"]), named["failed"], named["skipped"], interrupted)


def identity(cell: Cell, suite: Suite) -> Identity:
    """Return what is known of a cell before it runs."""
    task, pruner = tasks().load(cell.task), pruners().load(cell.pruner)
    labels = {
        "task_title": task.title,
        "metric": task.metric.name,
        "metric_title": task.metric.title,
        "better": task.metric.better,
        "unit": task.unit,
        "device": cell.device,
    }
    return Identity(
        id=cell.id,
        suite=suite.name,
        profile=suite.profile,
        task=cell.task,
        pruner=cell.pruner,
        cut=pruner.cut,
        sparsity=cell.sparsity,
        seed=cell.seed,
        config=asdict(cell),
        labels=labels | {f"anchor_{name}": str(value) for name, value in task.anchors.items()},
    )


def estimate(cells: Sequence[Cell], store: Store) -> float | None:
    """Return the seconds that one worker needs for the cells not yet finished.

    Each counts as the mean of its pruner's finished cells, or else of all, of the same task, recipe and device. None while
    there is nothing to go by.
    """
    finished = store.finished()
    missing = [cell for cell in cells if cell.id not in finished]
    partial = {one.id for one, _ in store.measured("resumed")}
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one, wall in store.measured("wall_seconds"):
        if one.id not in partial:
            seconds[_kind(one.config)][one.pruner].append(wall)
    if any(_kind(asdict(cell)) not in seconds for cell in missing):
        return None
    total = 0.0
    for cell in missing:
        alike = seconds[_kind(asdict(cell))]
        total += fmean(alike[cell.pruner] if cell.pruner in alike else [wall for walls in alike.values() for wall in walls])
    return total


def _kind(config: Mapping[str, object]) -> str:
    """Name what cells of about the same length have in common, but for their pruners."""
    return json.dumps([config["task"], config["recipe"], config["device"]], sort_keys=True)


def _row(known: Identity, status: str, record: Record, price_per_hour: float | None) -> Row:
    values = dict(record.values)
    if price_per_hour is not None and "wall_seconds" in values:
        values["price_usd"] = price_per_hour * values["wall_seconds"] / 3600
    return Row(**{**vars(known), **vars(record), "values": values}, status=status)


def _checkpoint(out: Path, cell: Cell) -> Path:
    return out / "checkpoints" / f"{cell.id}.pt"
