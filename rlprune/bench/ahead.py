"""What is ahead of a sweep: the time, energy and money that its cells will take, by those that have run, here or before."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING

from rlprune.bench import worker
from rlprune.bench.matrix import Cell
from rlprune.bench.sweep import Epoch, Finished, News, Started, epochs_of, fleets, in_turn, kind, kind_of, preload
from rlprune.bench.worker import Assignment
from rlprune.costs import energy, measures
from rlprune.executors import Execute, Failed, Returned, Told
from rlprune.task import tasks

if TYPE_CHECKING:
    from rlprune.store import Store

EPOCHS = 2
"""Of a cell that is calibrated with."""


@dataclass(frozen=True)
class Due:
    """What a cell's length depends on.

    Args:
        kind: what it has in common with cells of about its length, but for their pruners.
        method: its pruner, or a variant of it.
        epochs: how many it trains at most.
    """

    kind: str
    method: str
    epochs: int


@dataclass
class Pace:
    """Seconds that cells took of a worker, and their epochs; ``once`` is what each takes beside its epochs, if it is known."""

    seconds: float = 0.0
    epochs: float = 0.0
    once: float = 0.0

    def add(self, seconds: float, epochs: float) -> None:
        self.seconds, self.epochs = self.seconds + seconds, self.epochs + epochs

    def of(self, epochs: int) -> float:
        return self.once + epochs * self.seconds / self.epochs


@dataclass
class Known:
    """How long cells take, by kind and pruner: of this pruner, or else of any of that kind."""

    paces: dict[tuple[str, str], Pace] = field(default_factory=dict)

    def add(self, due: Due, seconds: float) -> None:
        for key in ((due.kind, due.method), (due.kind, "")):
            self.paces.setdefault(key, Pace()).add(seconds, due.epochs)

    def seconds(self, due: Due) -> float | None:
        """Return how long a cell takes its worker, its share where that trains several at once; None if nothing is known."""
        pace = self.paces.get((due.kind, due.method)) or self.paces.get((due.kind, ""))
        return pace.of(due.epochs) if pace else None


def due(cell: Cell) -> Due:
    """Return what the length of a cell depends on."""
    return Due(kind(cell), cell.method, epochs_of(cell))


def makespan(jobs: Iterable[float], busy: Sequence[float]) -> float:
    """Return when the last of some jobs ends, each begun in its turn by the first of some workers that is free.

    Args:
        jobs: seconds of each.
        busy: for each worker, when it is free.
    """
    free = list(busy)
    heapify(free)
    for seconds in jobs:
        heapreplace(free, free[0] + seconds)
    return max(free)


# -- before a sweep ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Costs:
    """What cells will take of their workers; None is unknown.

    ``joules`` are the processor's and the GPU's, at the watts of finished cells that had their worker to themselves.
    """

    seconds: float | None
    wall: float | None
    joules: float | None
    price: float | None


def known(store: "Store") -> tuple[Known, dict[str, float]]:
    """Return how long cells took that are stored, and the watts of tasks on their devices."""
    found, watts = Known(), dict[str, Pace]()
    for one, values in store.measures("worker_seconds", "resumed", "wall_seconds", "energy_cpu_joules", "energy_gpu_joules"):
        if "resumed" in values or "worker_seconds" not in values:
            continue
        try:
            epochs = epochs_of(_cell(one.config))
        except (KeyError, TypeError, ValueError, ImportError):  # of a pruner that is not here any more
            continue
        alike = kind_of(one.config, alone=measures.alone(one.config, values))
        if epochs:
            found.add(Due(alike, one.pruner, epochs), values["worker_seconds"])
        if (joules := energy.joules(values, str(one.config.get("device", "cpu")))) is not None and values.get("wall_seconds"):
            watts.setdefault(_place(one.config), Pace()).add(joules, values["wall_seconds"])
    return found, {place: pace.of(1) for place, pace in watts.items()}


def costs(cells: Sequence[Cell], workers: int, paces: Known, watts: Mapping[str, float], price_per_hour: float | None) -> Costs:
    """Return what cells will cost, so many workers being busy at once."""
    each = {cell.id: paces.seconds(due(cell)) for cell in cells}
    if None in each.values():
        return Costs(None, None, None, None)
    seconds = {cell: length for cell, length in each.items() if length is not None}
    total = sum(seconds.values())
    wall = makespan((sum(seconds[cell.id] for cell in job) for job in in_turn(fleets(cells, workers))), [0.0] * workers)
    places = {_place(vars(cell)) for cell in cells}
    joules = sum(seconds[cell.id] * watts[_place(vars(cell))] for cell in cells) if places <= watts.keys() else None
    return Costs(total, wall, joules, None if price_per_hour is None else price_per_hour * total / 3600)


def calibrate(
    cells: Sequence[Cell], workers: int, paces: Known, watts: dict[str, float], execute: Execute, country: str
) -> Iterator[str]:
    """Learn from one short job a kind of which nothing is known; yield a line about each.

    A cell trains ``EPOCHS`` epochs, as long as its own, and is measured at the end as any; what it takes beside its epochs counts
    once. Nothing is stored.
    """
    jobs: dict[str, tuple[Cell, ...]] = {}
    for job in fleets([cell for cell in cells if paces.seconds(due(cell)) is None], workers):
        jobs[kind(job[0])] = min(jobs.get(kind(job[0]), job), job, key=lambda group: epochs_of(group[0]))
    short = {Assignment(tuple(map(_short, job)), (None,) * len(job), country): job for job in jobs.values()}
    told: dict[Assignment, list[float]] = {job: [] for job in short}
    for event in execute(worker.run, list(short), workers, preload(cells)):
        job = short[event.job]
        about = f"{job[0].task}, {'alone' if job[0].alone else f'{len(job)} in a fleet'}"
        match event:
            case Told(values=values) if "trained" in values and not values.get("member"):
                told[event.job].append(time.monotonic())
            case Returned(result=records) if bad := next((one for one in records if one.status == "failed"), None):
                yield f"{about}: {(bad.error or '').partition(chr(10))[0]}"
            case Returned(result=records):
                total = sum(one.values.get("worker_seconds", 0.0) for one in records) / len(job)
                epochs, times = epochs_of(event.job.cells[0]), told[event.job]
                epoch = min((times[-1] - times[0]) / (len(times) - 1) / len(job), total / epochs) if times[1:] else total / epochs
                paces.paces[kind(job[0]), ""] = Pace(epoch, 1, total - epoch * epochs)
                first, device = records[0].values, job[0].device
                if (joules := energy.joules(first, device)) is not None and first.get("wall_seconds"):
                    watts.setdefault(_place(vars(job[0])), joules / first["wall_seconds"])
                yield f"{about}: {epoch:.3g} s an epoch, {total - epoch * epochs:.3g} s beside them"
            case Failed(error=error):
                yield f"{about}: {error.partition(chr(10))[0]}"


def _short(cell: Cell) -> Cell:
    recipe = tasks().load(cell.task).settings(cell.recipe)
    budget = max(EPOCHS, round(recipe.budget * EPOCHS / recipe.epochs))
    fewer = {"budget": budget} | ({} if "epochs" in recipe.derived else {"epochs": EPOCHS})
    return replace(cell, recipe=recipe.replaced(fewer).model_dump(mode="json"), branch=None)


def _cell(config: Mapping[str, object]) -> Cell:
    """Return a cell of which a configuration was stored."""
    return Cell(**config)  # type: ignore[arg-type]


def _place(config: Mapping[str, object]) -> str:
    """Name what decides over watts."""
    return json.dumps([config.get("task"), config.get("device")])


# -- while it runs -------------------------------------------------------------------------------------------------


@dataclass
class _Job:
    """Cells that a worker has at once.

    Args:
        began: when it took them.
        trained: of each the epochs that it had trained before, and has by now.
        told: of each when the first of these ended here, and the last.
        ended: those that ended.
    """

    began: float
    trained: dict[str, tuple[int, int]] = field(default_factory=dict)
    told: dict[str, tuple[float, float]] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def share(self, now: float) -> float:
        return (now - self.began) / len(self.trained)

    def own(self, cell: str) -> int:
        before, by_now = self.trained[cell]
        return by_now - before


class Ahead:
    """The time left of a sweep as it goes, from its news.

    Args:
        left: the cells to run.
        workers: how many jobs run at once.
        paces: how long cells took before; those that end here are added.
        clock: seconds.
    """

    def __init__(self, left: Sequence[Cell], workers: int, paces: Known, clock: Callable[[], float] = time.monotonic) -> None:
        self._due = {cell.id: due(cell) for cell in left}
        self._waiting = {job[0].id: [cell.id for cell in job] for job in in_turn(fleets(left, workers))}
        self._running: dict[int, _Job] = {}
        self._of: dict[str, _Job] = {}
        self._workers, self._paces, self._clock = workers, paces, clock
        self._ends: dict[str, Pace] = {}
        self._told: tuple[float, float | None] = (-1.0, None)

    def __call__(self, news: News) -> None:
        """Take note of news."""
        cell, now = news.cell.id, self._clock()
        match news:
            case Started(job=number):
                if cell in self._of:  # its first worker crashed
                    self._of.pop(cell).trained.pop(cell)
                self._waiting.pop(cell, None)
                self._of[cell] = self._running.setdefault(number, _Job(now))
                self._of[cell].trained[cell] = (-1, -1)
            case Epoch(trained=trained) if cell in self._of:
                before, _ = self._of[cell].trained[cell]
                self._of[cell].trained[cell] = (trained - 1 if before < 0 else before, trained)
                self._of[cell].told[cell] = (self._of[cell].told.get(cell, (now, now))[0], now)
            case Finished(row=row) if cell in self._of:
                job = self._of.pop(cell)
                job.ended.add(cell)
                if row.status == "done" and job.own(cell):
                    took = Due(self._due[cell].kind, self._due[cell].method, job.own(cell))
                    self._paces.add(took, job.share(now))
                    self._ends.setdefault(took.kind, Pace()).add((now - job.told[cell][1]) / len(job.trained), 1)
        self._running = {number: job for number, job in self._running.items() if job.ended != job.trained.keys()}

    def epochs(self, cell: str) -> int:
        return self._due[cell].epochs

    def left(self) -> float | None:
        """Return the seconds left; None while nothing is known of any cell."""
        now = self._clock()
        if now - self._told[0] > 1 or self._told[0] < 0:
            self._told = (now, self._left(now))
        return self._told[1]

    def _left(self, now: float) -> float | None:
        running = Known()  # of kinds of which no cell has ended
        for job in self._running.values():
            for cell in job.trained.keys() - job.ended:
                if job.own(cell):
                    running.add(replace(self._due[cell], epochs=job.own(cell)), job.share(now))
        paces = [*self._paces.paces.values(), *running.paces.values()]
        if not paces:
            return None
        any_other = sum(pace.of(1) for pace in paces) / len(paces)

        def seconds(cell: str) -> float:
            one = self._due[cell]
            taken = self._paces.seconds(one)
            taken = running.seconds(one) if taken is None else taken
            return one.epochs * any_other if taken is None else taken

        def rest(job: _Job, cell: str) -> float:
            epochs, own, share = self._due[cell].epochs, job.own(cell), job.share(now)
            before, by_now = job.trained[cell]
            others = max(0.0, seconds(cell) * (1 - max(before, 0) / epochs) - share)
            if own < 2:
                return others
            # by its own epochs, without how it began, and how those of its kind ended; the more, the further it is
            first, last = job.told[cell]
            end = self._ends.get(self._due[cell].kind, Pace(0, 1)).of(1)
            mine = max(0.0, ((last - first) / (own - 1) * (epochs - by_now) - now + last) / len(job.trained) + end)
            weight = own / epochs if self._paces.seconds(self._due[cell]) is not None else 1.0
            return weight * mine + (1 - weight) * others

        busy = [sum(rest(job, cell) for cell in job.trained.keys() - job.ended) for job in self._running.values()]
        waiting = (sum(map(seconds, job)) for job in self._waiting.values())
        return makespan(waiting, [*busy, *[0.0] * (self._workers - len(busy))] or [0.0])
