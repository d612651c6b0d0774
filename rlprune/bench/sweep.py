"""Many cells: skip the finished, spread the rest over workers, store each as it ends, go on after a failure."""

import json
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

from rlprune.bench import worker
from rlprune.bench.suite import Cell, Suite, branched
from rlprune.bench.worker import Assignment, Record
from rlprune.costs import provenance
from rlprune.costs.judged import Judged
from rlprune.executors import Begun, Execute, Failed, Returned, Tell, Told
from rlprune.pruning.plan import trained_epochs
from rlprune.pruning.pruner import pruners
from rlprune.store import Identity, Row, Store
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
class Said:
    """Something about a cell that its owner should know."""

    cell: Cell
    text: str


@dataclass(frozen=True)
class Finished:
    """A cell is done, failed or skipped, and stored."""

    cell: Cell
    row: Row


FLEET = 64
"""Most cells of a fleet: beyond it an epoch gets longer and a cell not cheaper."""

News: TypeAlias = Started | Epoch | Said | Finished


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
    execute: Execute,
    listen: Callable[[News], None],
    work: Callable[[Assignment, Tell], Sequence[Record]] = worker.run,
) -> Outcome:
    """Run what is missing; failed cells run again.

    Args:
        cells: what to run, in this order.
        store: where each row goes the moment its cell ends; only this process writes to it.
        suite: the suite that the cells are of.
        jobs: how many workers run at once.
        out: folder of the run; states of unfinished cells are in its ``checkpoints``.
        execute: an executor's, which spreads cells over workers.
        listen: called with all news.
        work: what a worker does with its cells.
    """
    finished = store.finished()
    todo = list({cell.id: cell for cell in cells if cell.id not in finished}.values())
    jobs_left = [
        Assignment(group, tuple(_checkpoint(out, cell) for cell in group), suite.country) for group in fleets(todo, jobs)
    ]
    prepare(out)
    done, others = 0, list[Row]()  # nothing is kept of what is done: there may be a hundred thousand
    interrupted = False
    began: dict[str, str] = {}

    def end(cell: Cell, record: Record) -> None:
        nonlocal done
        row = _row(identity(cell, suite), record, suite.price_per_hour)
        store.save(row)
        if record.status != "failed":
            _checkpoint(out, cell).unlink(missing_ok=True)
        began.pop(cell.id, None)
        done += row.status == "done"
        others.extend([row] * (row.status != "done"))
        listen(Finished(cell, row))

    try:
        while jobs_left:
            alone: list[Assignment] = []
            with closing(execute(work, jobs_left, jobs, preload(todo))) as events:
                for event in events:
                    job = event.job
                    match event:
                        case Begun():
                            for cell in job.cells:
                                began.setdefault(cell.id, provenance.now())
                                listen(Started(cell))
                        case Told(values={"said": str(said), **rest}):
                            listen(Said(job.cells[int(rest.get("member", 0))], said))
                        case Told(values=values):
                            numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
                            member = job.cells[int(numbers.get("member", 0))]
                            listen(Epoch(member, int(numbers["trained"]), int(numbers["of"]), numbers))
                        case Returned(result=result):
                            for cell, record in zip(job.cells, result, strict=True):
                                end(cell, record)
                        case Failed() if job.cells[1:]:  # nobody knows whose trouble it is
                            alone += [replace(job, cells=(cell,), checkpoints=(_checkpoint(out, cell),)) for cell in job.cells]
                        case Failed(error=error, crashed=crashed):
                            (cell,) = job.cells
                            if not crashed:
                                _checkpoint(out, cell).unlink(missing_ok=True)
                            where = provenance.now(), provenance.versions(), provenance.machine()
                            end(cell, Record(began[cell.id], *where, "failed", error))
            jobs_left = alone
    except KeyboardInterrupt:
        interrupted = True
    named = {status: [row for row in others if row.status == status] for status in ("failed", "skipped")}
    return Outcome(done, named["failed"], named["skipped"], interrupted)


@contextmanager
def ending_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a run as Ctrl-C does, so that it leaves nothing behind; those that are ignored stay so."""
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        numbers = []

    def stop(number: int, frame: object) -> None:
        for each in numbers:  # once is enough
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def prepare(out: Path) -> None:
    """Make the folder of checkpoints, and remove what a run that was killed had not finished writing there."""
    folder = out / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.new"):
        file.unlink(missing_ok=True)


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


def preload(cells: Iterable[Cell]) -> list[str]:
    """Return the modules that workers need for these cells: what all cells need, and who trains them."""
    return ["rlprune.bench.ready", *worker.trainers(cells)]


def epochs_of(cell: Cell) -> int:
    """Return how many epochs a cell trains at most, rewound ones included."""
    settings = json.dumps(dict(cell.settings), sort_keys=True)
    return _epochs(cell.pruner, settings, cell.recipe["epochs"], cell.sparsity, cell.branch)


@cache
def _epochs(name: str, settings: str, epochs: int, sparsity: float, branch: int | None) -> int:
    pruner = pruners().load(name)
    chosen = pruner.settings(json.loads(settings))
    return trained_epochs(branched(pruner, chosen, branch).steps(chosen), epochs, sparsity)


def identity(cell: Cell, suite: Suite) -> Identity:
    """Return what is known of a cell before it runs."""
    task, pruner = tasks().load(cell.task), pruners().load(cell.pruner)
    about = task.settings(cell.recipe).about
    own = about == task.recipe.about  # or it is another task under this one's name
    labels = {
        "suite_title": f"{suite.title} ({suite.name})",
        "task_title": task.title if own else about,
        "device": cell.device,
    }
    if cell.folder:
        labels["folder"] = cell.folder
    if cell.data:
        labels["data"] = cell.data
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
        labels=labels,
        judged=Judged(task.metric, task.recipe.curve, task.recipe.unit, task.also, task.anchors if own else {}),
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
    return json.dumps([config.get(key) for key in ("task", "recipe", "device", "fleet")], sort_keys=True)


def _row(known: Identity, record: Record, price_per_hour: float | None) -> Row:
    values = dict(record.values)
    if price_per_hour is not None and "wall_seconds" in values:
        values["price_usd"] = price_per_hour * values["wall_seconds"] / 3600
    return Row(**{**vars(known), **vars(record), "values": values})


def _checkpoint(out: Path, cell: Cell) -> Path:
    return out / "checkpoints" / f"{cell.id}.pt"
