"""Work that is done beside what goes on here: in forked processes, as many at a time as there are cores.

What a fork does finds everything where it is, rows above all, and nothing has to be sent there. Where forks are not safe (other
threads run, or the system is not Linux), not possible or gain nothing (one core) the same is done here and now.
"""

import gc
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection, wait

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


class Failed(Exception):  # noqa: N818 (it reads as it is)
    """What was done beside failed; the message names the error's type and says what it said."""


class Beside:
    """Does things beside each other that leave their results in files.

    Args:
        most: processes at a time.
    """

    def __init__(self, most: int = CORES) -> None:
        self._most = most
        self._waiting: deque[_Task] = deque()
        self._running: dict[Connection, _Task] = {}

    def begin(self, do: Callable[[], object]) -> Callable[[], None]:
        """Begin something when there is a free core for it; return what waits for its end.

        Raises, from what is returned:
            OSError: as it was raised.
            Failed: it raised something else, or its process was killed.
        """
        task = _Task(do)
        if self._most < 2 or threading.active_count() > 1 or multiprocessing.current_process().daemon:
            task.end(_done(do))
        else:
            self._waiting.append(task)
            self.go_on()
        return lambda: self._end(task)

    def go_on(self, patience: float | None = 0.0) -> None:
        """See what has ended, and begin what waits for it; to be called every now and then."""
        for source in wait(list(self._running), patience):
            assert isinstance(source, Connection)
            self._running.pop(source).end(_received(source))
        while self._waiting and len(self._running) < self._most:
            task = self._waiting.popleft()
            try:
                self._running[_forked(task.do)] = task
            except OSError:  # no more processes are allowed, or no more memory
                task.end(_done(task.do))

    def _end(self, task: "_Task") -> None:
        while not task.ended:
            self.go_on(patience=None)
        if isinstance(task.told, OSError):
            raise task.told
        if task.told is not None:
            raise Failed(task.told)


class _Task:
    """Something to do, and what went wrong with it."""

    def __init__(self, do: Callable[[], object]) -> None:
        self.do, self.ended = do, False
        self.told: OSError | str | None = None

    def end(self, told: OSError | str | None) -> None:
        self.told, self.ended = told, True


def _forked(do: Callable[[], object]) -> Connection:
    """Do something in a fork; return where it says how it ended."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    with theirs, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that a library for matrices keeps, which survive
        context.Process(target=_fork, args=(do, theirs), daemon=True).start()
    return ours


def _fork(do: Callable[[], object], to: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that it belongs to ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()  # would touch, and so copy, all that both processes share
    to.send(_done(do))


def _done(do: Callable[[], object]) -> OSError | str | None:
    """Do something; return what went wrong."""
    try:
        do()
    except OSError as error:
        return OSError(error.errno, error.strerror, error.filename) if error.errno else OSError(str(error))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _received(source: Connection) -> OSError | str | None:
    with source:
        try:
            return source.recv()  # type: ignore[no-any-return]
        except EOFError:
            return "its process was killed"
