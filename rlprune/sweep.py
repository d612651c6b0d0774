"""Many cells: skip the finished, spread the rest over workers, store each as it ends, go on after a failure."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

from rlprune import provenance
from rlprune.executors import Begun, Executor, Failed, Returned, Tell, Told, local, worker
from rlprune.executors.worker import Job, Record
from rlprune.plan import trained_epochs
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


FLEET = 64
"""Most cells of a fleet: beyond it an epoch gets longer and a cell not cheaper."""

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
    work: Callable[[Job, Tell], Sequence[Record]] = worker.run,
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
        work: what a worker does with its cells.
        execute: how cells are spread over workers.
    """
    finished, rows, interrupted = store.finished(), [], False
    todo = list({cell.id: cell for cell in cells if cell.id not in finished}.values())
    work_list = [Job(group, tuple(_checkpoint(out, cell) for cell in group), suite.country) for group in fleets(todo, jobs)]
    began: dict[str, str] = {}
    try:
        with closing(execute(work, work_list, jobs)) as events:
            for event in events:
                job = event.job
                match event:
                    case Begun():
                        for cell in job.cells:
                            began.setdefault(cell.id, provenance.now())
                            listen(Started(cell))
                        continue
                    case Told(values=values):
                        member = job.cells[int(values.get("member", 0))]
                        listen(Epoch(member, int(values["trained"]), int(values["of"]), values))
                        continue
                    case Returned(result=result):
                        records, crashed = result, False
                    case Failed(error=error, crashed=crashed):
                        now, versions, machine = provenance.now(), provenance.versions(), provenance.machine()
                        records = [Record(began[cell.id], now, versions, machine, "failed", error) for cell in job.cells]
                for cell, record, checkpoint in zip(job.cells, records, job.checkpoints, strict=True):
                    row = _row(identity(cell, suite), record, suite.price_per_hour)
                    store.save(row)
                    rows.append(row)
                    if not crashed:
                        checkpoint.unlink(missing_ok=True)
                    listen(Finished(cell, row))
    except KeyboardInterrupt:
        interrupted = True
    named = {status: [row for row in rows if row.status == status] for status in ("done", "failed", "skipped")}
    return Outcome(len(named["done"]), named["failed"], named["skipped"], interrupted)


def fleets(cells: Sequence[Cell], workers: int) -> list[tuple[Cell, ...]]:
    """Return cells in the groups that train together: one by one, or fleets of cells whose plans are equally long.

    Fleets are as large as ``FLEET`` allows, but no fewer than there are workers to share them.
    """
    groups: dict[object, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[(_kind(cell.config), epochs_of(cell)) if cell.fleet else cell.id].append(cell)
    jobs = []
    for group in groups.values():
        rounds = -(-len(group) // (FLEET * workers))
        size = -(-len(group) // (rounds * workers))
        jobs += [tuple(group[start : start + size]) for start in range(0, len(group), size)]
    return jobs


def epochs_of(cell: Cell) -> int:
    """Return how many epochs a cell trains at most, rewound ones included."""
    return _epochs(cell.pruner, json.dumps(dict(cell.settings), sort_keys=True), cell.recipe["epochs"], cell.sparsity)


@cache
def _epochs(name: str, settings: str, epochs: int, sparsity: float) -> int:
    pruner = pruners().load(name)
    return trained_epochs(pruner.steps(pruner.settings(json.loads(settings))), epochs, sparsity)


def identity(cell: Cell, suite: Suite) -> Identity:
    """Return what is known of a cell before it runs."""
    task, pruner = tasks().load(cell.task), pruners().load(cell.pruner)
    labels = {
        "suite_title": f"{suite.title} ({suite.name})",
        "task_title": task.title,
        "metric": task.metric.name,
        "metric_title": task.metric.title,
        "better": task.metric.better,
        "curve": task.curve.name,
        "curve_title": task.curve.title,
        "unit": task.unit,
        "device": cell.device,
    }
    if cell.folder:
        labels["folder"] = cell.folder
    if cell.data:
        labels["data"] = cell.data
    labels |= {f"also_{other.name}": other.title for other in task.also}
    labels |= {f"better_{other.name}": other.better for other in task.also}
    return Identity(
        id=cell.id,
        suite=suite.name,
        profile=suite.profile,
        task=cell.task,
        pruner=cell.method,
        cut=pruner.cut,
        sparsity=cell.sparsity,
        seed=cell.seed,
        config=cell.config,
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
    for one, wall in store.measured("worker_seconds"):
        if one.id not in partial:
            seconds[_kind(one.config)][one.pruner].append(wall)
    if any(_kind(cell.config) not in seconds for cell in missing):
        return None
    total = 0.0
    for cell in missing:
        alike = seconds[_kind(cell.config)]
        total += fmean(alike[cell.method] if cell.method in alike else [wall for walls in alike.values() for wall in walls])
    return total


def _kind(config: Mapping[str, object]) -> str:
    """Name what cells of about the same length have in common, but for their pruners."""
    return json.dumps([config["task"], config["recipe"], config["device"], config["fleet"]], sort_keys=True)


def _row(known: Identity, record: Record, price_per_hour: float | None) -> Row:
    values = dict(record.values)
    if price_per_hour is not None and "wall_seconds" in values:
        values["price_usd"] = price_per_hour * values["wall_seconds"] / 3600
    return Row(**{**vars(known), **vars(record), "values": values})


def _checkpoint(out: Path, cell: Cell) -> Path:
    return out / "checkpoints" / f"{cell.id}.pt"
