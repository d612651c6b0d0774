"""Many cells: skip the finished, spread the rest over workers, store each as it ends, go on after a failure."""

import json
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from rlprune.bench import worker
from rlprune.bench.contents import Suite
from rlprune.bench.matrix import Cell, branched, code
from rlprune.bench.worker import Assignment, Record
from rlprune.costs import measures, provenance
from rlprune.costs.judged import Judged
from rlprune.executors import Begun, Event, Execute, Failed, Returned, Tell, Told
from rlprune.files import Held, removed, settled
from rlprune.pruning.plan import trained_epochs
from rlprune.pruning.pruner import pruners
from rlprune.rows import Identity, Row
from rlprune.store import Store, StoreError
from rlprune.task import Task, tasks


@dataclass(frozen=True)
class Started:
    """A worker took a cell; again if its first worker crashed.

    Args:
        cell: which.
        where: the worker, as people are told of it.
        job: a number that all cells have which this worker took with it.
    """

    cell: Cell
    where: str = field(default="", compare=False)
    job: int = field(default=0, compare=False)


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
    left: Iterable[Assignment] = (),
    work: Callable[[Assignment, Tell], Sequence[Record]] = worker.run,
    held: Held | None = None,
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
        left: what an earlier run gave out and did not take in, and workers may still have: of it, what has a cell of these.
        work: what a worker does with its cells.
        held: the folder, where other processes may run cells of it; what they have in hand is left to them.

    Raises:
        BlockingIOError: another process has taken the folder.
        StoreError: nothing more can be written; what is trained is kept.
    """
    claims = _Claims(held, store)  # first, so that what others end meanwhile is finished, or has changed
    planned = {cell.id: cell for cell in cells}
    store.judge(by := judged(planned.values()))
    finished = store.finished(by)
    given = [job for job in left if any(cell.id in planned for cell in job.cells) and _ours(job, out)]
    elsewhere = {cell.id for job in given for cell in job.cells}
    todo = [cell for name, cell in planned.items() if name not in finished]
    fresh = [cell for cell in todo if cell.id not in elsewhere]
    prepare(out, finished if held is None or held.alone else None, elsewhere)
    if held is not None:
        held.share()
    memory = _memory(store) if any(cell.device == "cuda" for cell in fresh) else {}
    ledger = _Ledger(store, suite, out, claims, {cell.id for cell in todo}, listen)
    interrupted = False

    def assigned(group: Sequence[Cell]) -> Assignment:
        files = tuple(_checkpoint(out, cell) for cell in group)
        return Assignment(tuple(group), files, suite.country, memory.get(kind(group[0])))

    stale, groups = given, in_turn(fleets(fresh, jobs))
    try:
        while given or groups:
            ran, again, busy = False, list[Assignment](), list[Assignment]()
            offered = claims.taken(chain(given, map(assigned, groups)), busy)
            with closing(execute(work, offered, jobs, preload(todo))) as events:
                for event in events:
                    ran, job = True, event.job
                    match event:
                        case Returned(result=result) if job in stale and any(map(_stopped, result)):
                            again.append(job)  # what stopped it under an earlier run may be mended
                        case Failed() if job.cells[1:]:  # nobody knows whose trouble it is
                            again += [_part(job, {cell.id}) for cell in job.cells]
                        case _:
                            ledger.note(event)
            given, groups, stale = [*again, *(busy if ran else [])], [], []  # who is busy may have been killed
    except KeyboardInterrupt:
        interrupted = True
    finally:  # workers may have been killed
        with suppress(OSError):
            _clear(out, ledger.began.__contains__)
    return ledger.outcome(interrupted=interrupted)


@dataclass
class _Ledger:
    """What becomes of cells: told, and stored as each ends. Of what is done nothing is kept: there may be a hundred thousand.

    Args:
        wanted: ids of the cells that were asked for and not finished; others are stored, and nobody is told of them.
        began: when the cells began that did, by their ids.
    """

    store: Store
    suite: Suite
    out: Path
    claims: "_Claims"
    wanted: Container[str]
    listen: Callable[[News], None]
    began: dict[str, str] = field(default_factory=dict)
    _jobs: int = 0
    _done: int = 0
    _others: list[Row] = field(default_factory=list)

    def note(self, event: Event[Assignment, Sequence[Record]]) -> None:
        """Take note of what happened to a job.

        Raises:
            StoreError: nothing more can be written.
        """
        job = event.job
        match event:
            case Begun(where=where):
                self._jobs += 1
                for cell in job.cells:
                    self.began.setdefault(cell.id, provenance.now())
                    self._tell(Started(cell, where, self._jobs))
            case Told(values=values):
                self._tell(_news(job, values))
            case Returned(result=result):
                for cell, record in sorted(zip(job.cells, result, strict=True), key=lambda ended: _stopped(ended[1])):
                    self._end(cell, record)
            case Failed(error=error, crashed=crashed):
                (cell,) = job.cells
                if not crashed:
                    removed(_checkpoint(self.out, cell))
                here = provenance.now(), provenance.versions(), provenance.machine()
                self._end(cell, Record(self.began[cell.id], *here, "failed", error))

    def outcome(self, *, interrupted: bool) -> Outcome:
        named = {status: [row for row in self._others if row.status == status] for status in ("failed", "skipped")}
        return Outcome(self._done, named["failed"], named["skipped"], interrupted)

    def _end(self, cell: Cell, record: Record) -> None:
        if _stopped(record):
            self.store.check()  # or it is the folder that is gone
            raise StoreError(record.error or "")
        row = _row(identity(cell, self.suite), record, self.suite)
        self.store.save(row)
        if row.status != "failed":
            removed(_checkpoint(self.out, cell))
        self.claims.free(cell.id)
        if cell.id in self.wanted:
            self._done += row.status == "done"
            self._others.extend([row] * (row.status != "done"))
        self._tell(Finished(cell, row))

    def _tell(self, news: News) -> None:
        if news.cell.id in self.wanted:
            self.listen(news)


class _Claims:
    """Which cells are this process's to run, where others may run cells of the same folder."""

    def __init__(self, held: Held | None, store: Store) -> None:
        self._held, self._store, self._before = held, store, store.ends()

    def taken(self, jobs: Iterable[Assignment], busy: list[Assignment]) -> Iterator[Assignment]:
        """Yield jobs as workers have room for them, without the cells that others have run, and those that are ``busy``."""
        for job in jobs:
            every = {cell.id for cell in job.cells}
            mine = {own for own in every if self._held is None or self._held.take(own)}
            ended = self._store.ends(list(mine))
            run = {own for own in mine if ended.get(own) == self._before.get(own)}
            for own in mine - run:
                self.free(own)
            if every - mine:
                busy.append(_part(job, every - mine))
            if run:
                yield _part(job, run)

    def free(self, cell: str) -> None:
        if self._held is not None:
            self._held.free(cell)


def _part(job: Assignment, names: Container[str]) -> Assignment:
    """Return a job's cells of these names as a job; all of them are the job itself."""
    pairs = [(cell, file) for cell, file in zip(job.cells, job.checkpoints, strict=True) if cell.id in names]
    if len(pairs) == len(job.cells):
        return job
    return replace(job, cells=tuple(cell for cell, _ in pairs), checkpoints=tuple(file for _, file in pairs))


def _news(job: Assignment, values: Mapping[str, float | str]) -> Epoch | Said:
    """Return what a worker reported of its job."""
    cell = job.cells[int(values.get("member", 0))]
    if "said" in values:
        return Said(cell, str(values["said"]))
    numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
    return Epoch(cell, int(numbers["trained"]), int(numbers["of"]), numbers)


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


def prepare(out: Path, finished: Container[str] | None, elsewhere: Container[str] = ()) -> None:
    """Make the folder of checkpoints, and remove what a run that was killed had not finished writing or removing there.

    Args:
        finished: ids of finished cells; None if other processes write there, and nothing is removed.
        elsewhere: ids of cells that workers of the killed run may still train.
    """
    folder = out / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    settled(out)
    if finished is not None:
        for file in folder.glob("*.pt"):
            if file.name.partition(".")[0] in finished:
                file.unlink(missing_ok=True)
        _clear(out, lambda cell: cell not in elsewhere)


def _clear(out: Path, which: Callable[[str], bool]) -> None:
    """Remove what was not written to its end, of cells with such ids."""
    for file in (out / "checkpoints").glob("*.new"):
        if which(file.name.partition(".")[0]):
            file.unlink(missing_ok=True)


def fleets(cells: Sequence[Cell], workers: int) -> list[tuple[Cell, ...]]:
    """Return cells in the groups that train together: one by one, or fleets of cells whose plans are equally long.

    Fleets are as large as ``FLEET`` allows, but no fewer than there are workers to share them.
    """
    groups: dict[object, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.id if cell.alone else (kind(cell), epochs_of(cell))].append(cell)
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


def changed_code(cells: Sequence[Cell], store: Store) -> dict[str, int]:
    """Return of pruners and tasks that are not rlprune's own how many finished cells had other code than they have now.

    Those that were skipped are finished, too.
    """
    known = {pair: code(cell) for pair, cell in {(cell.pruner, cell.task): cell for cell in cells}.items()}
    codes = {cell.id: own for cell in cells if (own := known[cell.pruner, cell.task])}
    found = Counter[str]()
    for row in store.rows() if codes else ():
        for what, now in codes.get(row.id, {}).items() if row.status != "failed" else ():
            found[row.pruner if what == "pruner" else row.task] += row.versions.get(what, now) != now
    return {name: count for name, count in found.items() if count}


def costless(cells: Sequence[Cell], store: Store) -> int:
    """Return how many finished cells are to have a worker to themselves and trained in company: their costs were not measured."""
    lone = {cell.id for cell in cells if cell.alone and cell.fleet}
    ended = {name for name, (status, _) in store.outcomes().items() if status == "done" and name in lone}
    costs = store.measures("wall_seconds", "resumed", "batch_seconds") if ended else []
    return len(ended - {one.id for one, values in costs if measures.alone(one.config, values)})


def judged(cells: Collection[Cell]) -> dict[str, Judged]:
    """Return what cells are judged by, by their ids, as their tasks have it now; asked once for all that hold one recipe."""
    found: dict[str, Judged] = {}
    known: dict[tuple[str, int], Judged] = {}
    for cell in cells:
        key = cell.task, id(cell.recipe)
        found[cell.id] = known[key] = known.get(key) or _judged(cell)
    return found


def _judged(cell: Cell) -> Judged:
    task = tasks().load(cell.task)
    own = task.settings(cell.recipe).about == task.recipe.about  # or it is another task under this one's name
    return Judged(task.metric, task.recipe.curve, task.recipe.unit, task.also, task.anchors if own else {}, task.chance)


def identity(cell: Cell, suite: Suite) -> Identity:
    """Return what is known of a cell before it runs."""
    task, pruner = tasks().load(cell.task), pruners().load(cell.pruner)
    recipe = task.settings(cell.recipe)
    labels = {
        "suite_title": f"{suite.title} ({suite.name})",
        "task_title": _titled(task, recipe.about)
        + (", from scratch" if task.recipe.starts_from and not recipe.starts_from else ""),
        "device": cell.device,
    }
    if suite.file:
        labels["suite_file"] = suite.file
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
        judged=_judged(cell),
    )


def _titled(task: Task, about: str) -> str:
    """Return what figures call a task whose recipe may play something else, or the same with another time limit."""
    known = task.recipe.about
    if about == known:
        return task.title
    if known and known in task.title:  # beside the name of an algorithm, say
        return task.title.replace(known, about)
    limit = about.removeprefix(known)
    return f"{task.title}{limit}" if limit != about and limit.startswith(" (") else about


def _memory(store: Store) -> dict[str, float]:
    """Return the most bytes of a GPU that finished cells of a kind have held; fleets are not measured."""
    found: dict[str, float] = {}
    for one, most in store.measured("memory_peak_bytes"):
        alike = kind_of(one.config, alone=True)
        found[alike] = max(most, found.get(alike, 0.0))
    return found


def kind_of(config: Mapping[str, object], *, alone: bool) -> str:
    """Name what cells of about the same length have in common, but for their pruners."""
    alike = json.dumps([alone, *(config.get(key) for key in ("task", "recipe", "device", "fleet"))], sort_keys=True)
    return sha256(alike.encode()).hexdigest()[:16]


def kind(cell: Cell) -> str:
    """Return ``kind_of`` a cell; cells of one suite share their recipes, which are looked at once."""
    recipe, found = _KINDS.get(key := (cell.task, id(cell.recipe), cell.device, cell.fleet, cell.alone), (None, ""))
    if recipe is None:
        _, found = _KINDS[key] = (cell.recipe, kind_of(vars(cell), alone=cell.alone))
    return found


_KINDS: dict[tuple[str, int, str, bool, bool], tuple[Mapping[str, object], str]] = {}
"""With each kind the recipe, so that no other one is at its place."""


def in_turn(jobs: Iterable[tuple[Cell, ...]]) -> list[tuple[Cell, ...]]:
    """Return jobs in the order in which they run: first one of each kind, so that it is known early how long they take."""
    listed = list(jobs)
    kinds = [kind(job[0]) for job in listed]
    first = [kinds.index(each) for each in dict.fromkeys(kinds)]
    return [listed[place] for place in (*first, *sorted({*range(len(listed))} - {*first}))]


def _row(known: Identity, record: Record, suite: Suite) -> Row:
    values, machine, price = dict(record.values), dict(record.machine), suite.price_per_hour
    if "co2_grams" in values:
        machine["country"] = suite.country
    if price is not None and "wall_seconds" in values:
        values["price_usd"] = price * values["wall_seconds"] / 3600
        machine["price_per_hour"] = f"{price:g}"
    return Row(**{**vars(known), **vars(record), "values": values, "machine": machine})


def _stopped(record: Record) -> bool:
    return record.status == "stopped"


def _ours(job: Assignment, out: Path) -> bool:
    """Return whether what a folder says was given out keeps its states in that folder."""
    return all(file is None or file.resolve().parent == (out / "checkpoints").resolve() for file in job.checkpoints)


def _checkpoint(out: Path, cell: Cell) -> Path:
    return out / "checkpoints" / f"{cell.id}.pt"
