"""Executors run a function on jobs, each in a process of its own, and report what happens. They know nothing of cells.

An executor is a file of this folder with an entry, ``LOCAL = Executor("local", ...)``, or another package's, registered
under the entry-point group ``rlprune.executors``; ``--executor`` names it, and the laws of ``tests/test_every_executor.py``
hold for it.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict

from rlprune.registry import Registry

Job = TypeVar("Job")
Result = TypeVar("Result")

Tell: TypeAlias = Callable[[Mapping[str, float | str]], None]
"""How a running job reports progress: numbers, and what is to be said."""


@runtime_checkable
class Keeps(Protocol):
    """A job that goes on from files and leaves some: those of ``folder`` whose names begin with one of ``stems`` and a dot.

    An executor whose workers do not see this machine's disk takes them where the job runs, and brings home what becomes of
    them: as they were at the latest report of progress if a worker is lost, and all before ``Returned``.
    """

    @property
    def folder(self) -> Path: ...

    @property
    def stems(self) -> Sequence[str]: ...

    def moved(self, folder: Path) -> Self:
        """Return the same job with its files in another folder."""


@runtime_checkable
class Demands(Protocol):
    """A job that says what it needs; one that says nothing needs a processor.

    ``device`` is its kind, ``cpu`` or ``cuda``; ``memory`` the bytes of a GPU that jobs of its kind have held, None if unknown.
    """

    @property
    def device(self) -> str: ...

    @property
    def memory(self) -> float | None: ...


@dataclass(frozen=True)
class Begun(Generic[Job]):
    """A worker took a job; again after its first worker crashed, or was preempted.

    ``where`` says which one to people: its process and host, or a scheduler's job.
    """

    job: Job
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Told(Generic[Job]):
    """A job reported progress."""

    job: Job
    values: Mapping[str, float | str]


@dataclass(frozen=True)
class Returned(Generic[Job, Result]):
    """A job is done."""

    job: Job
    result: Result


@dataclass(frozen=True)
class Failed(Generic[Job]):
    """A job raised an exception, or its worker ended twice without a result (``crashed``).

    The first line of ``error`` says why.
    """

    job: Job
    error: str
    crashed: bool


Event: TypeAlias = Begun[Job] | Told[Job] | Returned[Job, Result] | Failed[Job]


class Execute(Protocol):
    """Yields events as they come; every job ends in one ``Returned`` or ``Failed``.

    Closing the generator ends the workers that still run.

    Args:
        work: a function that can be imported by name; it gets a job and a function to report progress with.
        jobs: what to run it on; they and the results must pickle. They are taken as workers have room, in the thread that
            asks for events: until then another process may take them. A queue has as much room as may wait in it.
        workers: how many run at once.
        preload: names of modules that take long to import and that ``work`` needs: a worker may have them when it starts.
            One that cannot be imported is passed over; whoever needs it meets the error again, and can report it.
    """

    def __call__(
        self, work: Callable[[Job, Tell], Result], jobs: Iterable[Job], workers: int, preload: Sequence[str] = ()
    ) -> Generator[Event[Job, Result], None, None]: ...


def preloaded(modules: Iterable[str]) -> None:
    """Import modules beforehand, as ``preload`` has it."""
    for module in modules:
        with suppress(Exception, SystemExit):  # whoever needs it meets it again, and can report it
            import_module(module)


class Sees(Protocol):
    """Whether workers see a device, ``cpu`` or ``cuda``.

    Args:
        device: its kind.
        sure: whether to find out, which may take seconds; otherwise it is answered at once, and only no is final.
    """

    def __call__(self, device: str, *, sure: bool) -> bool: ...


class Options(BaseModel):
    """What ``--set executor.KEY=VALUE`` may tell an executor: nothing, unless it has a class of this kind of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)


@dataclass(frozen=True)
class Left(Generic[Job]):
    """A job that outlived the process that gave it out: given out again as it is, its result is taken in.

    Args:
        job: equal to the one that was given out.
        where: as in ``Begun``; empty while it waits for a worker.
        since: when that worker took it, ISO 8601, UTC; empty while it waits.
        told: what it reported so far.
    """

    job: Job
    where: str
    since: str
    told: Sequence[Mapping[str, float | str]]


@dataclass(frozen=True)
class Executor:
    """Where jobs run, and what there is to run them with.

    Args:
        name: how ``--executor`` names it.
        execute: runs jobs.
        workers: how many run at once unless somebody says otherwise, of those that see a device.
        sees: which devices workers see.
        most: workers that may be asked for.
        extra: a package beyond the dependencies and the extra that installs it, where it needs one.
        options: what it may be told.
        made: returns the executor as it is with such options, what it has to write going to a folder of a run, made when needed
            and removed when nothing is left in it; without it the executor has no options and writes nothing.
        left: jobs of an earlier call there whose results nobody took.
    """

    name: str
    execute: Execute
    workers: Callable[[str], int]
    sees: Sees
    most: int = 1024
    extra: tuple[str, str] | None = None
    options: type[Options] = Options
    made: Callable[[Path, Any], "Executor"] | None = None
    left: Callable[[], Sequence[Left[Any]]] = tuple

    def under(self, values: Mapping[str, Any], folder: Path) -> "Executor":
        """Return the executor as it is under these options, for a run that has this folder for it.

        Raises:
            pydantic.ValidationError: an unknown option, or a value out of range.
            OSError: it cannot be used here.
        """
        chosen = self.options.model_validate(values)
        return self if self.made is None else self.made(folder, chosen)


def executors() -> Registry[Executor]:
    """Return the registry of executors: the files of ``rlprune/executors`` and the entry points ``rlprune.executors``."""
    return _EXECUTORS


_EXECUTORS = Registry("rlprune.executors", Executor)
