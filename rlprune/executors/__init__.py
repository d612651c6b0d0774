"""Executors run a function on jobs, each in a process of its own, and report what happens. They know nothing of cells."""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

Tell: TypeAlias = Callable[[Mapping[str, float | str]], None]
"""How a running job reports progress: numbers, and what is to be said."""


@dataclass(frozen=True)
class Begun(Generic[Job]):
    """A worker took a job; again after its first worker crashed."""

    job: Job


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


class Executor(Protocol):
    """Yields events as they come; every job ends in one ``Returned`` or ``Failed``.

    Closing the generator ends the workers that still run.

    Args:
        work: a function that can be imported by name; it gets a job and a function to report progress with.
        jobs: what to run it on; they and the results must pickle.
        workers: how many run at once.
    """

    def __call__(
        self, work: Callable[[Job, Tell], Result], jobs: Iterable[Job], workers: int
    ) -> Generator[Event[Job, Result], None, None]: ...
