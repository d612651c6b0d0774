"""A run as it goes: bars on a terminal, elsewhere one line a finished cell."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeAlias

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from rlprune.bench.ahead import Ahead
from rlprune.bench.matrix import Cell
from rlprune.bench.sweep import Epoch, Finished, News, Said, Started, epochs_of
from rlprune.costs.measures import CATALOGUE
from rlprune.reason import reason
from rlprune.rows import Row
from rlprune.safely import plain

KNOWN = {measure.name for measure in CATALOGUE}
"""Values of an epoch that do not say how well training goes."""

Raised: TypeAlias = "type[BaseException] | None"


def named(cell: Cell | Row) -> str:
    """Return a cell as people call it."""
    pruner = cell.method if isinstance(cell, Cell) else cell.pruner
    return f"{cell.task} {pruner} {f'{cell.sparsity:g} ' if cell.sparsity else ''}seed {cell.seed}"


def ending(row: Row) -> str:
    """Return how a cell ended: its metric and seconds, or the reason."""
    if row.status != "done":
        return f"{row.status}: {reason(row.error)}"
    metric = row.judged.metric.name
    told = {metric: row.values.get(metric), "seconds": row.values.get("wall_seconds")}
    return ", ".join(f"{name} {value:.4g}" for name, value in told.items() if value is not None)


def to_go(ahead: Ahead) -> str:
    """Return the time left, to be added to a line; nothing where none is or nobody knows."""
    seconds = ahead.left()
    return f"; about {duration(seconds)} left" if seconds else ""


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Lines(AbstractContextManager["Lines"]):
    """Progress where nobody watches.

    Args:
        left: cells to run.
        of: cells in all.
        ahead: says how much time is left.
    """

    def __init__(self, left: Sequence[Cell], of: int, ahead: Ahead) -> None:
        self._done, self._of, self._ahead = of - len(left), of, ahead

    def __exit__(self, kind: Raised, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the lines where they are."""

    def __call__(self, news: News) -> None:
        if isinstance(news, Said):
            print(plain(f"{named(news.cell)}: {news.text}"), flush=True)  # noqa: T201 (the command line)
        if isinstance(news, Finished):
            self._done += 1
            line = f"[{self._done}/{self._of}] {named(news.cell)}: {ending(news.row)}{to_go(self._ahead)}"
            print(plain(line), flush=True)  # noqa: T201 (the command line)


class Bars(AbstractContextManager["Bars"]):
    """One bar for all cells, counted in epochs, with the time left, and one for every running cell.

    Args:
        left: cells to run.
        of: cells in all.
        ahead: says how much time is left.
    """

    def __init__(self, left: Sequence[Cell], of: int, ahead: Ahead) -> None:
        self._ahead = ahead
        self._progress = Progress(  # where a terminal is narrow, names and bars give way, and the time left does not
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=2, no_wrap=True, overflow="ellipsis")),
            BarColumn(None, table_column=Column(ratio=1)),
            TextColumn("{task.completed:.0f}/{task.total:.0f} epochs"),
            TextColumn("{task.fields[told]}", markup=False),
            expand=True,
        )
        self._done, self._of = of - len(left), of
        self._all = self._progress.add_task(
            "all cells", total=sum(map(epochs_of, {cell.id: cell for cell in left}.values())), told=self._count()
        )
        self._running: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, kind: Raised, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def __call__(self, news: News) -> None:
        bar = self._running.get(news.cell.id)
        match news:
            case Started(cell) if bar is None:
                self._running[cell.id] = self._progress.add_task(named(cell), total=epochs_of(cell), told="")
            case Epoch(_, trained, of, values) if bar is not None:
                told = " ".join(f"{name} {value:.4g}" for name, value in values.items() if name not in KNOWN)
                self._go_on(bar, trained)
                self._progress.update(bar, total=of, told=told)
            case Said(cell, text):
                self._progress.console.print(f"{named(cell)}: {text}", markup=False, highlight=False)
            case Finished(cell, row):
                if bar is not None:
                    self._go_on(bar, epochs_of(cell))
                    self._progress.remove_task(self._running.pop(cell.id))
                self._done += 1
                self._progress.update(self._all, told=self._count())
                if row.status != "done":
                    self._progress.console.print(plain(f"{named(cell)}: {ending(row)}"), markup=False, highlight=False)

    def _go_on(self, bar: TaskID, trained: int) -> None:
        """Move a cell's bar to ``trained`` epochs, and the bar of all cells as far."""
        before = self._progress.tasks[self._progress.task_ids.index(bar)].completed
        self._progress.update(bar, completed=trained)
        self._progress.advance(self._all, trained - before)
        self._progress.update(self._all, told=self._count())

    def _count(self) -> str:
        return f"{self._done} of {self._of} done{to_go(self._ahead)}"
