"""Learning curves as files while cells train: ``--log csv``, ``--log tensorboard``. A curve a cell, and in it each epoch once."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from rlprune import files, safely
from rlprune.bench.matrix import Cell
from rlprune.bench.sweep import Epoch, Finished, News
from rlprune.store import Store, together

LOG = "log"
"""The folder of a run that they are in."""

Values: TypeAlias = Mapping[str, float]

_OTHERS = {"of", "member"}
"""Of what a worker tells of an epoch, what is no measure of it."""


class Sink(Protocol):
    """Where curves go. ``place`` is a cell's, without an ending."""

    def epoch(self, place: Path, trained: int, values: Values) -> None:
        """Write an epoch, the ``trained``-th; what is there of it and of later ones goes: the cell has begun anew."""

    def whole(self, place: Path, epochs: Sequence[Values]) -> None:
        """Let these be all of a curve, and nothing more to come."""

    def close(self) -> None:
        """Let go of all files."""


class Csv:
    """``PLACE.csv``: a line an epoch, a column a measure; what was not measured is empty."""

    def __init__(self) -> None:
        self._lines: dict[Path, dict[int, dict[str, object]]] = {}

    def epoch(self, place: Path, trained: int, values: Values) -> None:
        if place not in self._lines:  # of a run that was stopped
            self._lines[place] = {int(float(line["trained"])): dict(line) for line in _read(_csv(place))}
        before = {number: line for number, line in self._lines[place].items() if number < trained}
        self._lines[place] = {**before, trained: dict(values)}
        self._write(place, list(self._lines[place].values()))

    def whole(self, place: Path, epochs: Sequence[Values]) -> None:
        self._lines.pop(place, None)
        self._write(place, epochs)

    def close(self) -> None:
        self._lines.clear()

    def _write(self, place: Path, lines: Sequence[Mapping[str, object]]) -> None:
        names = sorted({name for line in lines for name in line}, key=lambda name: (name != "trained", name))
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, names, lineterminator="\n")
        table.writeheader()
        table.writerows(lines)
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write(_csv(place), text.getvalue())


def _csv(place: Path) -> Path:
    return place.with_name(f"{place.name}.csv")


def _read(file: Path) -> Iterable[Mapping[str, Any]]:
    with suppress(OSError, ValueError):
        return [line for line in csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))) if line.get("trained")]
    return []


class Tensorboard:
    """Folder ``PLACE``, which TensorBoard shows as one run, its steps being epochs."""

    def __init__(self) -> None:
        self._writers: dict[Path, tuple[Any, list[int]]] = {}

    def epoch(self, place: Path, trained: int, values: Values) -> None:
        writer, told = self._writers.get(place, (None, []))
        if writer is None or (told and trained <= told[-1]):
            if writer is not None:
                writer.close()
            writer, told = self._begun(place, trained), [] if trained == 1 and not _events(place) else [0]
            self._writers[place] = writer, told
        _add(writer, trained, values)
        writer.flush()
        told.append(trained)

    def whole(self, place: Path, epochs: Sequence[Values]) -> None:
        writer, told = self._writers.pop(place, (None, []))
        if writer is not None:
            writer.close()
        if told and told == [int(epoch["trained"]) for epoch in epochs]:
            return
        for file in _events(place):
            file.unlink()
        writer = self._begun(place, 0)
        for epoch in epochs:
            _add(writer, int(epoch["trained"]), epoch)
        writer.close()

    def close(self) -> None:
        while self._writers:
            self._writers.popitem()[1][0].close()

    @staticmethod
    def _begun(place: Path, first: int) -> Any:
        """Return a writer; what was written for this epoch and later ones is not shown any more."""
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(place), purge_step=first)


def _add(writer: Any, step: int, values: Values) -> None:
    for name, value in values.items():
        writer.add_scalar(name, value, step)


def _events(place: Path) -> list[Path]:
    return list(place.glob("events.out.tfevents.*"))


SINKS: dict[str, Callable[[], Sink]] = {"csv": Csv, "tensorboard": Tensorboard}


def lacks(kind: str) -> str:
    """Return what a kind of file needs that is not installed, or an empty string."""
    missing = kind == "tensorboard" and find_spec("tensorboard") is None
    return "needs tensorboard: python3 -m pip install 'rlprune[tensorboard]'" if missing else ""


class Log:
    """Hears the news of a sweep and writes curves into a folder.

    What is finished is listed there in a file for each kind: a cell that is done and not in it, its run having been killed just
    then or had no log, is written from what is stored.

    Args:
        out: folder of a run.
        kinds: of files; none writes nothing.
    """

    def __init__(self, out: Path, kinds: Sequence[str]) -> None:
        self._folder = out / LOG
        self._sinks = {kind: SINKS[kind]() for kind in dict.fromkeys(kinds)}

    def catch_up(self, cells: Sequence[Cell], store: Store) -> None:
        """Write the curves of finished cells that are not there."""
        for kind, sink in self._sinks.items():
            complete = self._complete(kind)
            left = {cell.id: cell for cell in cells if cell.id not in complete}
            for some in together(list(left)):
                for row in store.rows(some):
                    if row.status == "done":
                        sink.whole(self._place(left[row.id]), row.epochs)
                        self._note(kind, row.id)

    def __call__(self, news: News) -> None:
        for kind, sink in self._sinks.items():
            match news:
                case Epoch(cell, trained, _, values):
                    measures = {name: value for name, value in values.items() if name not in _OTHERS}
                    sink.epoch(self._place(cell), trained, measures)
                case Finished(cell, row) if row.status == "done":
                    sink.whole(self._place(cell), row.epochs)
                    self._note(kind, cell.id)

    def close(self) -> None:
        for sink in self._sinks.values():
            sink.close()

    def _place(self, cell: Cell) -> Path:
        about = (cell.task, cell.method, f"{cell.sparsity:g}", f"seed-{cell.seed}-{cell.id[:8]}")
        return self._folder.joinpath(*map(safely.name, about))

    def _complete(self, kind: str) -> set[str]:
        with suppress(OSError, ValueError):
            return set((self._folder / f"{kind}.done").read_text(encoding="utf-8").split())
        return set()

    def _note(self, kind: str, cell: str) -> None:
        with (self._folder / f"{kind}.done").open("a", encoding="utf-8") as opened:
            opened.write(f"{cell}\n")
