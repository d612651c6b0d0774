"""Workers of a Slurm cluster: submitit's arrays, one job a task, and a folder that they share with who waits for them.

Slurm's state comes late and its accounting may be off, so that what a job did is read from files, each job's in a folder of
its own: ``job`` (what it is, and what is done to it), ``sent`` (its number in the queue), ``begun``, ``told`` (a line each time)
and ``result``. The queue is only asked whether a job without a result is still there.
"""

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import time as clock
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Protocol

from pydantic import BeforeValidator, Field

from rlprune.executors import Begun, Event, Executor, Failed, Job, Left, Options, Result, Returned, Tell, Told, plain, preloaded
from rlprune.executors.local import sees as here
from rlprune.files import now, process, write
from rlprune.reason import told

ATTEMPTS = 2
WORKERS = 16
"""Jobs at once unless ``--jobs`` says otherwise: nobody knows what a cluster has to give."""
_FOREVER = 7 * 24 * 60
"""Minutes that a job of submitit's local mode may take, which ends it after two otherwise."""


def _minutes(value: object) -> object:
    """Return a time in minutes, as sbatch has it: minutes, ``[hours:]minutes:seconds`` or ``days-hours[:minutes[:seconds]]``."""
    text = value.isoformat() if isinstance(value, clock) else str(value)
    if found := re.fullmatch(r"(\d+)-(\d+)(?::(\d+))?(?::(\d+))?", text):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    elif found := re.fullmatch(r"(?:(\d+):)?(\d+):(\d+)", text):
        days, (hours, minutes, seconds) = 0, (int(part or 0) for part in found.groups())
    elif re.fullmatch(r"\d+", text):
        return int(text)
    else:
        raise ValueError("must be minutes, or as sbatch writes a time: 04:00:00, 2-00:00:00")
    return (days * 24 + hours) * 60 + minutes + -(-seconds // 60)


def _size(value: object) -> object:
    """Return a size as sbatch has it."""
    if not re.fullmatch(r"\d+[KMGT]?B?", str(value)):
        raise ValueError("must be a size as sbatch writes it: 500M, 8G")
    return str(value)


class SlurmOptions(Options):
    """What sbatch is told.

    Args:
        partition, account, qos, constraint: sbatch's own; empty is the cluster's default.
        time: of one job. One that runs out of it is queued again and goes on from its checkpoints.
        memory: of one job, say ``8G``.
        cpus: of one job; a cell trains on one.
        gpus: of one job.
        name: of the jobs in the queue.
        setup: a line of shell to run before the worker starts, or several, say ``module load python``.
        sbatch: further options of sbatch, ``sbatch.exclude=node7``; true is one without a value.
        requeues: how often a job may run out of its time.
        array: most jobs of one array; a cluster's MaxArraySize is 1001 unless somebody changed it.
        grace: seconds after which a job counts as lost that is not in the queue and has no result.
        cluster: ``local`` runs the same on this machine without Slurm, to try it out.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    time: Annotated[int, BeforeValidator(_minutes), Field(ge=1, le=365 * 24 * 60)] = 240
    memory: Annotated[str, BeforeValidator(_size)] = "4G"
    cpus: int = Field(default=1, ge=1, le=1024)
    gpus: int = Field(default=0, ge=0, le=16)
    name: str = "rlprune"
    setup: Annotated[tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = ()
    sbatch: dict[str, bool | int | str] = Field(default={})
    requeues: int = Field(default=100, ge=0, le=10_000)
    array: int = Field(default=1000, ge=1, le=100_000)
    grace: int = Field(default=60, ge=0, le=86_400)
    cluster: Literal["slurm", "local"] = "slurm"


# -- the side of a worker ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What a worker does: one job, whose folder this is. Queued again, it does the same, and ``work`` knows how to go on."""

    folder: Path
    preload: tuple[str, ...]

    def __call__(self) -> None:
        if (self.folder / "result").exists() or not (self.folder / "job").exists():
            return  # done by one that was queued before it, or nobody waits for it any more
        begun = {"where": _here(), "at": now()}
        _append(self.folder / "begun", begun)
        preloaded(self.preload)
        try:
            with (self.folder / "job").open("rb") as opened:  # written when it was sent
                job, work = (pickle.load(opened) for _ in range(2))  # noqa: S301 (this run's own)
            outcome = pickle.dumps(("returned", work(job, lambda values: _append(self.folder / "told", dict(values)))))
        except Exception as error:
            outcome = pickle.dumps(("raised", told(error)))
        write(self.folder / "result", outcome)

    def checkpoint(self) -> Any:
        """Return what submitit queues again when the job is preempted or runs out of its time."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _here() -> str:
    array, own = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_JOB_ID")
    number = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if array else own
    return f"{f'Slurm job {number}, ' if number else ''}{process()}"


def _append(file: Path, values: Mapping[str, float | str]) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(values) + "\n")


# -- the queue -----------------------------------------------------------------------------------------------------


class Queue(Protocol):
    """What is asked of a scheduler."""

    def room(self, at_once: int, out: int) -> int:
        """Return how many jobs to send now, so many being out."""

    def send(self, tasks: Sequence[Task], at_once: int) -> list[str]:
        """Queue tasks, and return their numbers."""

    def gone(self, numbers: Sequence[str]) -> set[str]:
        """Return which of these jobs will not run any more."""

    def end(self, numbers: Sequence[str]) -> None:
        """Let jobs end that are still there."""

    def wait(self, numbers: Sequence[str]) -> None:
        """Wait for workers that end, where that takes no time."""

    def printed(self, number: str) -> str:
        """Return what a job printed."""


@dataclass
class Slurm:
    """A cluster's own."""

    folder: Path
    options: SlurmOptions
    _asked: float = 0
    _gone: set[str] = field(default_factory=set)

    def room(self, at_once: int, out: int) -> int:
        return 0 if out else self.options.array  # one array after the other, or more would run at once

    def send(self, tasks: Sequence[Task], at_once: int) -> list[str]:
        return [job.job_id for job in self.executor(at_once).submit_array(tasks)]

    def executor(self, at_once: int) -> Any:
        """Return submitit's, told all options."""
        from submitit import SlurmExecutor

        options = self.options
        executor = SlurmExecutor(self.folder, max_num_timeout=options.requeues)
        named = {name: getattr(options, name) or None for name in ("partition", "account", "qos", "constraint")}
        further = {"requeue": True, **options.sbatch}
        executor.update_parameters(
            **{name: value for name, value in named.items() if value},
            time=options.time,
            mem=options.memory,
            cpus_per_task=options.cpus,
            **({"gpus_per_node": options.gpus} if options.gpus else {}),
            job_name=options.name,
            array_parallelism=at_once,
            **({"setup": list(options.setup)} if options.setup else {}),
            additional_parameters={name: value for name, value in further.items() if value is not False},
        )
        return executor

    def gone(self, numbers: Sequence[str]) -> set[str]:
        if time.monotonic() - self._asked < self.options.grace / 2:
            return self._gone
        self._asked = time.monotonic()
        words = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(_arrays(numbers))}"]
        asked = subprocess.run(words, capture_output=True, text=True, check=False)
        if not asked.returncode or "Invalid job id" in asked.stderr:  # or it does not answer, and nobody knows
            self._gone = set(numbers) - set(asked.stdout.split())
        return self._gone

    def end(self, numbers: Sequence[str]) -> None:
        if numbers:
            subprocess.run(["scancel", *_arrays(numbers)], capture_output=True, check=False)

    def wait(self, numbers: Sequence[str]) -> None:
        """Do not: a job leaves a cluster in its own time."""

    def printed(self, number: str) -> str:
        return _printed(self.folder, number)


def _arrays(numbers: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(number.partition("_")[0] for number in numbers))


def _printed(folder: Path, number: str) -> str:
    logs = (folder / f"{number}_0_log.{end}" for end in ("out", "err"))
    return "\n".join(log.read_text(errors="replace") for log in logs if log.exists())


@dataclass
class Local:
    """Submitit's local mode: this machine stands in for a cluster."""

    folder: Path
    options: SlurmOptions
    _jobs: dict[str, Any] = field(default_factory=dict)

    def room(self, at_once: int, out: int) -> int:
        return max(0, at_once - out)  # it starts all that it is sent

    def send(self, tasks: Sequence[Task], at_once: int) -> list[str]:
        from submitit import LocalExecutor

        executor = LocalExecutor(self.folder, max_num_timeout=self.options.requeues)
        executor.update_parameters(timeout_min=_FOREVER, gpus_per_node=self.options.gpus)
        sent = {job.job_id: job for job in executor.submit_array(tasks)}
        self._jobs |= sent
        return list(sent)

    def gone(self, numbers: Sequence[str]) -> set[str]:
        return {number for number in numbers if self._ended(number)}

    def _ended(self, number: str) -> bool:
        if number in self._jobs:
            return bool(self._jobs[number].done())
        try:  # an earlier run's
            os.kill(int(number), 0)
        except ProcessLookupError:
            return True
        return False

    def end(self, numbers: Sequence[str]) -> None:
        for number in numbers:
            if not self._ended(number):
                os.kill(int(number), signal.SIGINT)
        self.wait(numbers)

    def wait(self, numbers: Sequence[str]) -> None:
        """Wait for jobs that end."""
        deadline = time.monotonic() + 30
        while not all(map(self._ended, numbers)) and time.monotonic() < deadline:
            time.sleep(0.02)

    def printed(self, number: str) -> str:
        return _printed(self.folder, number)


# -- the side of who waits -----------------------------------------------------------------------------------------


@dataclass
class _Sent(Generic[Job]):
    """A job in the queue or with a worker, and how much of its files was read."""

    job: Job
    folder: Path
    number: str = ""
    attempt: int = 1
    begun: int = 0
    told: int = 0
    missing: float | None = None

    def lost(self, gone: bool, grace: float) -> bool:
        """Say whether a job without a result has been gone from the queue for so many seconds."""
        self.missing = (self.missing or time.monotonic()) if gone else None
        return self.missing is not None and time.monotonic() - self.missing >= grace

    def news(self) -> Iterator[Event[Job, Any]]:
        """Yield what is new; ``Returned`` or ``Failed`` comes last."""
        result = self.folder / "result"
        ended = plain.load(result.read_bytes()) if result.exists() else None
        begun, self.begun = _lines(self.folder / "begun", self.begun)
        for values in begun:
            yield Begun(self.job, str(values["where"]))
        reports, self.told = _lines(self.folder / "told", self.told)
        for values in reports:
            yield Told(self.job, values)
        match ended:
            case ("returned", returned):
                yield Returned(self.job, returned)
            case ("raised", error):
                yield Failed(self.job, str(error), crashed=False)


def _lines(file: Path, start: int) -> tuple[list[dict[str, Any]], int]:
    """Return the whole lines of a file from a byte on, and the byte after them."""
    try:
        with file.open("rb") as opened:
            opened.seek(start)
            whole = opened.read().rpartition(b"\n")[0]
    except FileNotFoundError:
        return [], start
    return [json.loads(line) for line in whole.splitlines()], start + (len(whole) + 1 if whole else 0)


@dataclass(frozen=True)
class Cluster:
    """The executor with its options, in a folder of a run."""

    folder: Path
    options: SlurmOptions

    def execute(
        self, work: Callable[[Job, Tell], Result], jobs: Iterable[Job], workers: int, preload: Sequence[str] = ()
    ) -> Generator[Event[Job, Result], None, None]:
        """Run jobs on the cluster; see ``Execute``.

        A job that is gone from the queue without a result is sent once more, with the next array. Jobs outlive this process if
        it is killed: those that it gets again it does not send, but waits for.
        """
        queue, grace = self.queue(), self.options.grace if self.options.cluster == "slurm" else 0
        fresh = self._entered(work, jobs)
        again: deque[_Sent[Job]] = deque()
        out: list[_Sent[Job]] = []
        try:
            while True:
                room = queue.room(workers, len(out))
                taken = [again.popleft() for _ in range(min(room, len(again)))]
                taken += islice(fresh, room - len(taken))
                out += taken
                unsent = [sent for sent in taken if not sent.number]
                self._send(queue, work, unsent, max(1, workers - len(taken) + len(unsent)), preload)
                if not out:
                    return
                gone = queue.gone([sent.number for sent in out])  # before looking for results: they come first
                for sent in tuple(out):
                    ended = False
                    for event in sent.news():
                        if isinstance(event, Returned | Failed):
                            ended = True
                            queue.wait([sent.number])
                            out.remove(sent)
                        yield event
                    if not ended and sent.lost(sent.number in gone, grace):
                        out.remove(sent)
                        if sent.attempt == ATTEMPTS:
                            if not sent.begun:  # somebody took it out of the queue
                                yield Begun(sent.job)
                            yield Failed(sent.job, _last_words(sent, queue), crashed=True)
                            ended = True
                        else:
                            sent.number, sent.attempt, sent.missing = "", sent.attempt + 1, None
                            again.append(sent)
                    if ended:
                        shutil.rmtree(sent.folder, ignore_errors=True)
                time.sleep(_PAUSE[self.options.cluster])
        finally:
            queue.end([sent.number for sent in out])
            for sent in (*out, *again):
                shutil.rmtree(sent.folder, ignore_errors=True)
            if not any(self.folder.glob("*-*")):  # of another run that has joined this one, whether sent or not
                shutil.rmtree(self.folder, ignore_errors=True)

    def queue(self) -> "Queue":
        """Return the scheduler; what submitit writes goes beside the folders of jobs."""
        logs = self.folder.absolute() / "submitit"
        return Slurm(logs, self.options) if self.options.cluster == "slurm" else Local(logs, self.options)

    def _entered(self, work: Callable[[Job, Tell], Any], jobs: Iterable[Job]) -> Iterator[_Sent[Job]]:
        """Yield jobs with their folders, made unless an earlier call has left them."""
        seen: Counter[str] = Counter()
        for job in jobs:
            key = sha256(repr((work.__module__, work.__qualname__, job)).encode()).hexdigest()[:24]
            seen[key] += 1
            sent = _Sent(job, self.folder.absolute() / f"{key}-{seen[key]}")
            try:
                sent.number = (sent.folder / "sent").read_text()
            except FileNotFoundError:
                shutil.rmtree(sent.folder, ignore_errors=True)
                sent.folder.mkdir(parents=True)
            yield sent

    def _send(
        self, queue: "Queue", work: Callable[[Job, Tell], Any], sent: Sequence[_Sent[Job]], at_once: int, preload: Sequence[str]
    ) -> None:
        if not sent:
            return
        for one in sent:  # whatever somebody else, to whom the folder belonged, may have left there
            write(one.folder / "job", pickle.dumps(one.job) + pickle.dumps(work))
        with _inherited():
            numbers = queue.send([Task(one.folder, tuple(preload)) for one in sent], at_once)
        for one, number in zip(sent, numbers, strict=True):
            one.number = number
            write(one.folder / "sent", number)

    def left(self) -> list[Left[Any]]:
        """Return the jobs that an earlier call left; what cannot be read is of no use to anybody."""
        found = []
        for folder in sorted(self.folder.glob("*-*")):
            with suppress(Exception):  # of another version, or not yet written
                (folder / "sent").stat()
                job = plain.load((folder / "job").read_bytes())
                begun, _ = _lines(folder / "begun", 0)
                told, _ = _lines(folder / "told", 0)
                where, since = (str(begun[-1][key]) for key in ("where", "at")) if begun else ("", "")
                found.append(Left(job, where, since, told))
        return found


_PAUSE = {"slurm": 1.0, "local": 0.05}
"""Seconds between looks at the files of jobs."""


def _last_words(sent: _Sent[Job], queue: "Queue") -> str:
    printed = queue.printed(sent.number).splitlines()[-30:]
    return "\n".join([f"job {sent.number} ended without a result, as the one before it ({sent.attempt} times)", *printed])


@contextmanager
def _inherited() -> Iterator[None]:
    """Let what is started meanwhile import what this process can, and compute with one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    lent = {**threads, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}
    usual = {name: os.environ.get(name) for name in lent}
    os.environ |= lent
    try:
        yield
    finally:
        for name, value in usual.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _made(folder: Path, options: SlurmOptions) -> Executor:
    if options.cluster == "slurm" and shutil.which("sbatch") is None:
        raise OSError("no sbatch is here: run it where jobs are submitted, or try it out with --set executor.cluster=local")
    cluster = Cluster(folder, options)

    def sees(device: str, *, sure: bool) -> bool:
        there = options.cluster == "slurm" or here(device, sure=sure)
        return device == "cpu" or (options.gpus > 0 and there)

    return replace(SLURM, execute=cluster.execute, left=cluster.left, sees=sees, made=None)


def _nowhere(*_: object, **__: object) -> Generator[Any, None, None]:
    raise OSError("slurm needs the folder of a run")


SLURM = Executor(
    "slurm",
    _nowhere,
    workers=lambda device: WORKERS,
    sees=lambda device, *, sure: device == "cpu",
    extra=("submitit", "slurm"),
    options=SlurmOptions,
    made=_made,
)
