"""Workers on this machine: one process a job, so that a crash costs one job and memory peaks belong to it alone."""

import faulthandler
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, Generic

from rlprune import files
from rlprune.executors import Begun, Event, Executor, Failed, Job, Result, Returned, Tell, Told
from rlprune.reason import told

ATTEMPTS = 2
PRELOAD = "RLPRUNE_PRELOAD"
"""The variable that names to ``preload.py`` what to import, a comma between modules; workers do not inherit it."""
_LONGEST = 50
"""Bytes of the folder for temporary files that leave room for our names, and those multiprocessing gives."""
_UNKNOWN = 255
"""Exit code of a worker when what it was forked from, which would know it, is gone."""
_GRACE = 5.0
"""Seconds a worker gets to end by itself, and again after SIGTERM."""


def execute(
    work: Callable[[Job, Tell], Result], jobs: Iterable[Job], workers: int, preload: Sequence[str] = ()
) -> Generator[Event[Job, Result], None, None]:
    """Run jobs on this machine; see ``Execute``.

    A worker that crashes or is killed is replaced once. Workers die with this process, however it ends. What they fork
    from imports ``preload`` when this process first uses one; its forks would lack threads that a module starts.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(["rlprune.executors.preload"])
    _ensure_forkserver(preload)
    attempts = ((job, 1) for job in jobs)
    again: deque[tuple[Job, int]] = deque()
    running: list[_Worker[Job]] = []
    _folder().mkdir(exist_ok=True)  # somebody cleans the folder of temporary files
    with tempfile.TemporaryDirectory(dir=_folder(), ignore_cleanup_errors=True) as logs:
        try:
            while True:
                while len(running) < workers and (attempt := again.popleft() if again else next(attempts, None)):
                    running.append(_start(work, *attempt, Path(logs), preload))
                    yield Begun(attempt[0], files.process(running[-1].process.pid))
                if not running:
                    return
                for worker in _ready(running):
                    match worker.message():
                        case ("told", values):
                            yield Told(worker.job, values)
                            continue
                        case ("returned", result):
                            event: Event[Job, Result] | None = Returned(worker.job, result)
                        case ("raised", error):
                            event = Failed(worker.job, error, crashed=False)
                        case _ if worker.attempt < ATTEMPTS:
                            event = None
                            again.append((worker.job, worker.attempt + 1))
                        case _:
                            event = Failed(worker.job, worker.last_words(), crashed=True)
                    running.remove(worker)
                    _end([worker], after=_GRACE)
                    if event is not None:
                        yield event
        finally:
            _end(running, after=0)


def workers(device: str) -> int:
    """Return the cores that this process may use; one on a GPU, which cells do not share well."""
    if device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sees(device: str, *, sure: bool) -> bool:
    """Say whether torch sees a device here. Where Linux has no GPU's file it need not be asked: importing it takes seconds."""
    if device == "cpu":
        return True
    if sys.platform == "linux" and not any(Path(file).exists() for file in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")):
        return False
    if not sure:
        return True
    import torch

    return torch.cuda.is_available()


LOCAL = Executor("local", execute, workers, sees)


def _ensure_forkserver(preload: Sequence[str]) -> None:
    """Start what workers fork from, if it does not run, with its socket in this process's own folder."""
    usual, tempfile.tempdir = tempfile.tempdir, str(_folder())
    os.environ[PRELOAD] = ",".join(preload)
    try:
        forkserver.ensure_running()
    finally:
        tempfile.tempdir = usual
        del os.environ[PRELOAD]


@cache
def _folder() -> Path:
    """Return a folder of this process for sockets and what workers print; if it is killed, the next one removes it."""
    own = files.temporary(files.roomy(_LONGEST), "rlprune-run-")
    Finalize(None, shutil.rmtree, (own, True), exitpriority=-200)  # after what multiprocessing removes of it
    return own


@dataclass(frozen=True, eq=False)
class _Worker(Generic[Job]):
    job: Job
    attempt: int
    process: BaseProcess
    pipe: Connection
    log: Path

    def message(self) -> tuple[str, Any] | None:
        """Return what it sent next, or None if it ended without a result."""
        try:
            return self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, OSError):
            return None

    def last_words(self) -> str:
        """Say how it ended, with the end of what it printed."""
        self.process.join(_GRACE)
        code = self.process.exitcode
        how = "its pipe closed" if code is None else _signal(-code) if code < 0 else f"exit code {code}"
        hint = " (the kernel does this when memory runs out)" if code == -signal.SIGKILL else ""
        printed = self.log.read_text(errors="replace").splitlines()[-30:] if self.log.exists() else []
        return "\n".join([f"the worker ended with {how}{hint}, {self.attempt} times", *printed])


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"


def _start(work: Callable[[Job, Tell], Result], job: Job, attempt: int, logs: Path, preload: Sequence[str]) -> _Worker[Job]:
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    logs.mkdir(parents=True, exist_ok=True)  # somebody cleans here, too
    log = logs / str(time.monotonic_ns())
    for tries_left in reversed(range(20)):
        # Not daemonic: a job may have processes of its own, say to load data.
        process = context.Process(target=_serve, args=(work, job, theirs, log))
        try:
            _ensure_forkserver(preload)
            process.start()
            break
        except (ConnectionError, EOFError) as error:  # what starts it was killed a moment ago
            if not tries_left:
                raise OSError(f"no worker can be started: {error or 'what starts them ends at once'}") from error
            time.sleep(0.1)
    theirs.close()
    return _Worker(job, attempt, process, ours, log)


def _ready(running: Sequence[_Worker[Job]]) -> list[_Worker[Job]]:
    """Wait, and return the workers that sent something or ended.

    A pipe alone would not do: processes that a dead worker started may hold its other end open.
    """
    ready = wait([handle for worker in running for handle in (worker.pipe, worker.process.sentinel)])
    return [worker for worker in running if worker.pipe in ready or worker.process.sentinel in ready]


def _end(workers: Sequence[_Worker[Job]], after: float) -> None:
    """Wait for workers to end, ask those that do not with SIGTERM, then end them with SIGKILL."""
    for seconds, end in ((after, BaseProcess.terminate), (_GRACE, BaseProcess.kill)):
        deadline = time.monotonic() + seconds
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
        for worker in workers:
            if worker.process.is_alive():
                end(worker.process)
    for worker in workers:
        worker.process.join()
        if worker.process.exitcode == _UNKNOWN and worker.process.pid is not None:
            with suppress(ProcessLookupError):  # it may work on, for nobody
                os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.close()
        worker.pipe.close()
        worker.log.unlink(missing_ok=True)


def _serve(work: Callable[[Job, Tell], Result], job: Job, pipe: Connection, log: Path) -> None:
    """Run one job; this is all that a worker does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT)
    except FileNotFoundError:  # interrupted while this worker started: nobody waits for it
        return
    except OSError:  # its disk is full
        file = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    faulthandler.enable()
    try:
        pipe.send(("returned", work(job, lambda values: pipe.send(("told", dict(values))))))
    except Exception as error:
        pipe.send(("raised", told(error)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
