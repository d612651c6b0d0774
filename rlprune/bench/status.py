"""Where a sweep stands, from what it leaves on disk: read while it runs, after it was stopped or killed, from any machine.

``plan.json`` is written when a run begins; a file of ``running``, one a process, every few seconds at most while its cells run,
and removed when it ends.
"""

import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlprune.bench.ahead import Ahead, Due, Known, due, makespan
from rlprune.bench.matrix import Cell
from rlprune.bench.sweep import Epoch, Finished, News, Started, fleets
from rlprune.executors import Left, executors
from rlprune.files import now, write

PLAN, RUNNING = "plan.json", "running"
_OF_A_PLAN = ("title", "profile", "command", "process", "host", "begun", "workers", "kinds", "cells")
_OF_A_PROCESS = ("process", "host", "begun", "at", "left", "cells")
SELDOM = 2.0
"""Seconds between two writings of what runs."""
_FORMAT = 1


# -- a run that tells --------------------------------------------------------------------------------------------------


def plan(out: Path, cells: Sequence[Cell], about: Mapping[str, object], *, workers: int) -> None:
    """Write what a run is about to do: who it is, and its cells, each with what its length depends on and the job it is in."""
    place = {cell.id: number for number, job in enumerate(fleets(cells, workers)) for cell in job}
    kinds: dict[tuple[str, str, str, int], int] = {}
    lines = []
    for cell in {cell.id: cell for cell in cells}.values():
        one = due(cell)
        kind = kinds.setdefault((cell.task, one.method, one.kind, one.epochs), len(kinds))
        lines.append([cell.id, kind, cell.sparsity, cell.seed, place[cell.id]])
    own = {"format": _FORMAT, "process": os.getpid(), "host": socket.gethostname(), "begun": now(), "workers": workers}
    write(out / PLAN, json.dumps({**about, **own, "kinds": list(kinds), "cells": lines}, separators=(",", ":"), default=str))


def parted(runs: Iterable[Path]) -> list[str]:
    """Return a line for each suite's sweep of which these runs are shards and not all."""
    found: dict[tuple[str, str, int], set[int]] = {}
    for run in runs:
        told = _read(run / PLAN)
        if shard := told.get("shard"):
            number, of = shard
            found.setdefault((told["title"], told["profile"], of), set()).add(number)
    return [
        f"{title}, profile {profile}: {'shard' if len(some) == 1 else 'shards'} {' and '.join(map(str, sorted(some)))} of {of}; "
        f"cells of the others are not here. rlprune merge joins shards"
        for (title, profile, of), some in found.items()
        if len(some) < of
    ]


def joined(out: Path) -> None:
    """Take note that others were merged into a run, which may hold more than its shard now."""
    if (told := _read(out / PLAN)).get("shard"):
        write(out / PLAN, json.dumps({**told, "shard": None}, separators=(",", ":")))


class Board:
    """Writes what runs, every few seconds at most, from the news of a sweep; a full disk is somebody else's to tell of."""

    def __init__(self, out: Path, ahead: Ahead) -> None:
        self._file, self._ahead = out / RUNNING / f"{socket.gethostname()}-{os.getpid()}.json", ahead
        self._mine = {"process": os.getpid(), "born": _born(os.getpid()), "host": socket.gethostname(), "begun": now()}
        self._file.parent.mkdir(exist_ok=True)
        for file in self._file.parent.glob("*.json*"):  # of runs that were killed here
            if not _alive(_read(file, _OF_A_PROCESS)):
                file.unlink(missing_ok=True)
        self._cells: dict[str, list[object]] = {}
        self._left = ahead.left()
        self._changing, self._soon = threading.Lock(), threading.Timer(0, self._write)
        self._write()  # workers take long to start

    def __call__(self, news: News) -> None:
        """Take note of news."""
        with self._changing:
            match news:
                case Started(cell, where):
                    self._cells[cell.id] = [where, now(), 0, self._ahead.epochs(cell.id)]
                case Epoch(cell, trained, of) if cell.id in self._cells:
                    self._cells[cell.id][2:] = [trained, of]
                case Finished(cell):
                    self._cells.pop(cell.id, None)
            self._left = self._ahead.left()
        if not self._soon.is_alive():
            self._soon = threading.Timer(SELDOM if self._file.exists() else 0, self._write)
            self._soon.daemon = True
            self._soon.start()

    def _write(self) -> None:
        with self._changing, suppress(OSError):
            self._file.parent.mkdir(exist_ok=True)  # another process of this run may have ended just now
            write(self._file, json.dumps({**self._mine, "at": now(), "left": self._left, "cells": self._cells}))

    def close(self) -> None:
        """Say that nothing runs any more."""
        self._soon.cancel()
        if self._soon.is_alive():
            self._soon.join()
        with suppress(OSError):
            self._file.unlink(missing_ok=True)
            self._file.parent.rmdir()  # unless another process runs cells


# -- who reads it ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runs:
    """A cell that runs, or did when its run was killed.

    Args:
        name: as people call it.
        where: its worker.
        since: when that took it.
        trained: epochs trained.
        of: of at most so many.
    """

    name: str
    where: str
    since: str
    trained: int
    of: int


@dataclass(frozen=True)
class Status:
    """Where a sweep stands.

    Args:
        title: of its suite, with the profile; empty where a run left no plan, as older versions did.
        state: ``running``, ``stopped`` or ``complete``.
        by: the processes that run it and when they last wrote what runs; of a sweep that does not run, who ran it last.
        counts: cells by ``done``, ``failed``, ``skipped``, ``running``, ``missing``, and beyond its plan ``others`` that
            ended and those ``begun`` that did not.
        runs: what runs; of a run that was killed, what did.
        left: seconds left, None if unknown.
        failed: name and reason of every cell that failed.
        outlived: jobs that an executor still has of a run that is gone.
        command: what goes on with it.
    """

    title: str
    state: str
    by: Sequence[str]
    counts: Mapping[str, int]
    runs: Sequence[Runs]
    left: float | None
    failed: Sequence[tuple[str, str]]
    outlived: int = 0
    command: str = ""


@dataclass
class _Plan:
    """What a run said of itself."""

    told: Mapping[str, Any]
    names: dict[str, str] = field(default_factory=dict)
    dues: dict[str, Due] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)


def read(out: Path, ends: Mapping[str, tuple[str, str]], paces: Callable[[], Known]) -> Status:
    """Return where the sweep of a folder stands; nothing is written.

    Args:
        out: the folder of a run.
        ends: status and reason of every cell that is stored, by id.
        paces: how long stored cells took; asked for a sweep that does not run.
    """
    found = _planned(out)
    if found is None:
        stored = Counter(status for status, _ in ends.values())
        failed = [(cell, why) for cell, (status, why) in ends.items() if status == "failed"]
        return Status("", "stopped", [], stored, [], None, failed)
    told = found.told
    running = [one for file in sorted(out.glob(f"{RUNNING}/*.json")) if _alive(one := _read(file, _OF_A_PROCESS))]
    missing = [cell for cell in found.names if ends.get(cell, ("missing",))[0] not in ("done", "skipped")]
    cells = {cell: values for one in running for cell, values in one["cells"].items() if cell in missing}
    runs = [Runs(found.names[cell], *values) for cell, values in cells.items()]
    left = min((one["left"] for one in running if one["left"] is not None), default=None)
    outlived: list[Left[Any]] = []
    if not running:
        outlived = _outlived(out, told)
        theirs = {cell.id: (left, number) for left in outlived for number, cell in enumerate(left.job.cells)}
        runs = [_of(found, cell, *theirs[cell]) for cell in missing if cell in theirs and theirs[cell][0].where]
        cells = {cell: [] for cell in theirs if cell in missing}
        left = _left(found, missing, paces())
    state = "running" if running else "complete" if not missing else "stopped"
    counts = Counter(ends[cell][0] for cell in found.names if cell in ends and cell not in cells)
    counts |= {
        "running": len(runs),
        "missing": sum(cell not in cells and cell not in ends for cell in missing),
        "others": sum(cell not in found.names for cell in ends),
        "begun": sum(cell not in found.names and cell not in ends for cell in _begun(out)),
    }
    counts["waiting"] = len(cells) - len(runs)
    failed = [(found.names[cell], ends[cell][1]) for cell in missing if cell in ends and cell not in cells]
    by = [f"{_who(one)}, last heard of {one['at']}" for one in running] or [_who(told)]
    return Status(
        f"{told['title']}, profile {told['profile']}",
        state,
        by,
        counts,
        runs,
        0.0 if not missing else left,
        failed,
        len(outlived),
        told["command"],
    )


def _begun(out: Path) -> set[str]:
    """Return the cells that have a checkpoint to go on from."""
    return {file.name.partition(".")[0] for file in (out / "checkpoints").glob("*.pt")}


def _planned(out: Path) -> _Plan | None:
    """Return what a run said of itself; nothing where that is of another version, or no plan."""
    told = _read(out / PLAN, _OF_A_PLAN)
    if told.get("format") != _FORMAT:
        return None
    found = _Plan(told)
    try:
        for cell, kind, sparsity, seed, job in told["cells"]:
            task, method, alike, epochs = told["kinds"][kind]
            found.names[cell] = f"{task} {method} {f'{sparsity:g} ' if sparsity else ''}seed {seed}"
            found.dues[cell], found.jobs[cell] = Due(alike, method, epochs), job
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    return found


def _read(file: Path, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a file says; nothing where it cannot be read, or says less than it has to."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.keys() >= set(names) else {}


def _alive(one: Mapping[str, Any]) -> bool:
    """Say whether a process runs: on this machine by its number and birth, on another one as long as it has not said it ended."""
    if one.get("host") != socket.gethostname():
        return bool(one)
    try:
        os.kill(int(one["process"]), 0)
    except (ProcessLookupError, OverflowError, TypeError, ValueError):  # nobody has such a number
        return False
    except PermissionError:  # somebody else's
        pass
    then, here = one.get("born"), _born(one["process"])
    return not (then and here) or then == here


def _born(process: int) -> str:
    """Return what tells a process from a later one of its number, as in a container begun again; Linux alone says it."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        ticks = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        return f"{boot} {ticks}"
    return ""


def _who(one: Mapping[str, Any]) -> str:
    return f"process {one['process']} on {one['host']}, begun {one['begun']}"


def _outlived(out: Path, told: Mapping[str, Any]) -> "list[Left[Any]]":
    """Return the jobs that an executor still has of a run that is gone."""
    try:
        executor = executors().load(told["executor"]).under(told["options"], out / told["jobs"])
        return [left for left in executor.left() if hasattr(left.job, "cells")]
    except Exception:  # it may be somebody else's, or not of this machine
        return []


def _of(found: _Plan, cell: str, left: "Left[Any]", member: int) -> Runs:
    """Return what a job reported of a cell, the one of this number in it."""
    told = [one for one in left.told if "trained" in one and int(one.get("member", 0)) == member]
    trained = int(told[-1]["trained"]) if told else 0
    return Runs(found.names[cell], left.where, left.since, trained, found.dues[cell].epochs)


def _left(found: _Plan, missing: Sequence[str], paces: Known) -> float | None:
    """Return the seconds that the cells of a stopped sweep will take."""
    jobs: dict[int, float] = {}
    for cell in missing:
        seconds = paces.seconds(found.dues[cell])
        if seconds is None:
            return None
        jobs[found.jobs[cell]] = jobs.get(found.jobs[cell], 0.0) + seconds
    return makespan(jobs.values(), [0.0] * int(found.told["workers"]))
