"""Workers of a Ray cluster, one task a job: a cluster of its own on this machine, or one that ``executor.address`` names."""

import asyncio
import os
import pickle
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Generic, TypeAlias

from pydantic import AfterValidator, Field

from rlprune import __version__, executors
from rlprune.executors import Begun, Demands, Event, Executor, Failed, Job, Keeps, Result, Returned, Tell, Told, local, travel
from rlprune.files import process, roomy, temporary
from rlprune.reason import line, told

if (_found := find_spec("ray")) is None or _found.origin is None:  # a folder of that name is no library
    raise ImportError("Ray is missing: python3 -m pip install 'rlprune[ray]'")

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns of what it will do one day

ATTEMPTS = 2
LOSSES = 10
"""Nodes that may be lost under a job: none is the job's fault, but somewhere there is an end."""
OWN = "local"
"""Ray's address for a cluster that begins and ends with this process."""
_SHARING = 8
"""Jobs that may share a GPU where their memory says how many do."""
_ROOM = 1e9
"""Bytes of a GPU that CUDA itself takes for a process, and some."""
_GRACE = 10.0
"""Seconds in which workers that are told to end have ended."""
_LONGEST = 22
"""Bytes of a folder in which Ray's sockets have names that a system accepts."""

Letter: TypeAlias = tuple[int, int, str, Any]
"""Number of a job, of its attempt, what it is about, and that."""


def _shared(value: str) -> str:
    """Return a folder that other machines can be told."""
    if value and not value.startswith("/"):
        raise ValueError("must be a whole path, say /shared/states, or empty")
    return value


class Options(executors.Options):
    """Where a cluster is, and what a job gets there.

    Args:
        address: of a cluster that runs: ``HOST:PORT``, or ``auto`` on one of its machines. Empty is that of RAY_ADDRESS, or
            else a cluster of its own on this machine.
        state: a folder that all machines see: what running jobs save is there, and does not travel to this machine.
        gpu: share of a GPU that a job gets; 0 is by the memory that finished jobs of its kind have held.
    """

    address: str = ""
    state: Annotated[str, AfterValidator(_shared)] = ""
    gpu: float = Field(default=1.0, ge=0, le=1)


_PLAIN = Options()


def execute(
    work: Callable[[Job, Tell], Result],
    jobs: Iterable[Job],
    workers: int,
    preload: Sequence[str] = (),
    options: Options = _PLAIN,
) -> Generator[Event[Job, Result], None, None]:
    """Run jobs on a cluster; see ``Execute``.

    A worker that crashes or is killed is replaced once, one whose machine is lost more often. Workers end with this process,
    however it ends. Each imports ``preload`` anew.
    """
    fresh = (_Task(number, job) for number, job in enumerate(jobs))
    again: deque[_Task[Job]] = deque()
    running: dict[Any, _Task[Job]] = {}
    with ExitStack() as begun:
        cluster: _Cluster | None = None
        while True:
            while len(running) < workers and (task := again.popleft() if again else next(fresh, None)):
                if cluster is None:
                    cluster = begun.enter_context(_cluster(options, workers))
                    begun.callback(cluster.cancel, running)
                running[cluster.submit(work, task, preload)] = task
            if cluster is None or not running:
                return
            letters, ended = cluster.wait(running)
            for number, attempt, about, what in letters:
                for task in running.values():
                    if (task.number, task.attempt) == (number, attempt):
                        yield from _heard(task, about, what)
            for ref in ended:
                task = running.pop(ref)
                event = cluster.end(ref, task)
                if not task.begun:
                    yield Begun(task.job)
                if event is not None:
                    yield event
                else:
                    task.attempt, task.begun = task.attempt + 1, False
                    again.append(task)


def workers(device: str, options: Options = _PLAIN) -> int:
    """Return the processors, or how many jobs the GPUs have room for."""
    if device == "cpu":
        return local.workers("cpu") if _own(options) else max(1, int(_amount("CPU", options)))
    if _own(options):
        import torch

        processors, gpus = float(local.workers("cpu")), float(torch.cuda.device_count())
    else:
        processors, gpus = _amount("CPU", options), _amount("GPU", options)
    return max(1, int(gpus / options.gpu if options.gpu else min(processors, gpus * _SHARING)))


def sees(device: str, *, sure: bool, options: Options = _PLAIN) -> bool:
    """Say whether a machine of the cluster has a device."""
    if _own(options):
        return local.sees(device, sure=sure)
    return device == "cpu" or not sure or _amount("GPU", options) > 0


def made(folder: Path, options: Options) -> Executor:
    """Return the executor under options; it writes nothing into ``folder``."""
    return replace(
        RAY,
        execute=partial(execute, options=options),
        workers=partial(workers, options=options),
        sees=partial(sees, options=options),
    )


RAY = Executor("ray", execute, workers, sees, options=Options, made=made)


# -- the cluster ---------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Task(Generic[Job]):
    """A job on its way; ``begun`` says whether its worker of this attempt has said so."""

    number: int
    job: Job
    attempt: int = 1
    lost: int = 0
    begun: bool = False


@dataclass(frozen=True)
class _Sent(Generic[Job, Result]):
    """What a worker gets.

    Args:
        work: what to do with the job.
        task: the job.
        preload: modules to import first.
        environ: variables of the environment that it is to have.
        files: what the job's files hold.
        folder: for its files; empty is one that goes with the worker.
        travels: whether they are to be brought home.
        version: of rlprune here.
    """

    work: Callable[[Job, Tell], Result]
    task: _Task[Job]
    preload: Sequence[str]
    environ: Mapping[str, str]
    files: Mapping[str, bytes]
    folder: str
    travels: bool
    version: str


class _Mailbox:
    """Where workers post what this process takes. It waits beside it, without a processor."""

    def __init__(self) -> None:
        self._letters: list[Letter] = []
        self._there = asyncio.Event()

    async def post(self, letter: Letter) -> None:
        number, _, about, what = letter
        if about == "file":  # the latest is enough
            self._letters = [one for one in self._letters if (one[0], one[2]) != (number, about) or one[3][0] != what[0]]
        self._letters.append(letter)
        self._there.set()

    async def take(self) -> list[Letter]:
        """Return what was posted, waiting for it, or for a knock."""
        await self._there.wait()
        self._there.clear()
        letters, self._letters = self._letters, []
        return letters

    async def knock(self) -> None:
        self._there.set()


class _Cluster:
    """What this process asks of Ray.

    Args:
        options: what was said to the executor.
        own: whether the cluster is this machine alone, so that all see its disk.
    """

    def __init__(self, options: Options, own: bool) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._options, self._own, self._gpu = options, own, 0.0
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._box = ray.remote(_Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        self._mail = self._box.take.remote()
        # Ray's own retries know nothing of attempts; where memory runs out they would never end
        self._serve = ray.remote(max_retries=0, max_calls=1, num_cpus=1)(_serve)

    def submit(self, work: Callable[[Job, Tell], Result], task: _Task[Job], preload: Sequence[str]) -> Any:
        """Hand a job to Ray; return what stands for its end."""
        job, folder, travels, files = task.job, "", False, dict[str, bytes]()
        if isinstance(job, Keeps):
            home = str(job.folder.resolve())
            folder = home if self._own else self._options.state
            travels = folder != home
            files = travel.packed(job) if travels else {}
        environ = {name: value for name, value in os.environ.items() if name.startswith("RLPRUNE_")}
        sent = _Sent(work, task, preload, environ, files, folder, travels, __version__)
        return self._serve.options(num_gpus=self._share(task.job)).remote(sent, self._box)

    def wait(self, running: Collection[Any]) -> tuple[list[Letter], list[Any]]:
        """Wait, and return what workers posted, and which jobs ended after they had posted that."""
        import ray

        ready, _ = ray.wait([self._mail, *running])
        ended = [ref for ref in ready if ref in running]
        try:
            if ended:
                ray.get(self._box.knock.remote())
            letters = ray.get(self._mail)
        except ray.exceptions.RayError as error:
            raise OSError(f"the cluster is gone: {line(error)}") from error
        self._mail = self._box.take.remote()
        return letters, ended

    def end(self, ref: Any, task: _Task[Job]) -> Event[Job, Any] | None:
        """Return how a job ended; None if its worker did, and another is to take it."""
        import ray

        try:
            how, what = ray.get(ref)
        except ray.exceptions.RayTaskError as error:  # it was not even understood
            how, what = "raised", told(error)
        except ray.exceptions.RayError as error:
            task.lost += isinstance(error, ray.exceptions.NodeDiedError)
            if task.lost < LOSSES and task.attempt - task.lost < ATTEMPTS:
                return None
            why = f"the worker ended without a result, {task.attempt} times: {line(error)}"
            return Failed(task.job, f"{why}\n{error}", crashed=True)
        match how:
            case "returned":
                return Returned(task.job, what)
            case "stranger":
                raise OSError(f"a machine of the cluster has rlprune {what}, this one {__version__}: install the same")
        return Failed(task.job, what, crashed=False)

    def cancel(self, running: Collection[Any]) -> None:
        """End the workers, and the mailbox."""
        import ray

        for ref in running:
            ray.cancel(ref, force=True)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=_GRACE, fetch_local=False)
        ray.kill(self._box)

    def _share(self, job: object) -> float:
        """Return the share of a GPU that a job gets."""
        if not isinstance(job, Demands) or job.device != "cuda":
            return 0.0
        if self._options.gpu or job.memory is None:
            return self._options.gpu or 1.0
        if not self._gpu:
            import ray

            self._gpu = ray.get(ray.remote(num_cpus=0, num_gpus=0.01, max_calls=1)(_gpu_bytes).remote())
        return share(job.memory, self._gpu)


def share(held: float, memory: float) -> float:
    """Return the hundredths of a GPU that a job gets, as many as hold twice what was measured, and what CUDA takes.

    What was measured is a step of a final network: dense ones, and scoring, take more.
    """
    return min(1.0, max(1 / _SHARING, ceil(100 * (2 * held + _ROOM) / memory) / 100))


def _gpu_bytes() -> float:
    import torch

    return float(torch.cuda.get_device_properties(0).total_memory)


def _heard(task: _Task[Job], about: str, what: Any) -> Iterator[Event[Job, Any]]:
    """Take a letter of a job's worker; yield what it says."""
    match about:
        case "begun":
            task.begun = True
            yield Begun(task.job, what)
        case "told":
            yield Told(task.job, what)
        case "file" if isinstance(task.job, Keeps):
            travel.bring(task.job, *what)


def _address(options: Options) -> str:
    return options.address or os.environ.get("RAY_ADDRESS") or OWN


def _own(options: Options) -> bool:
    """Say whether the cluster begins and ends with this process."""
    return _address(options) == OWN and not _joined()


def _joined() -> bool:
    ray = sys.modules.get("ray")  # it takes a second to import
    return ray is not None and bool(ray.is_initialized())


def _amount(resource: str, options: Options) -> float:
    """Return how much of something a cluster has in all."""
    import ray

    _join(options)
    return float(ray.cluster_resources().get(resource, 0))


@contextmanager
def _cluster(options: Options, workers: int) -> Iterator[_Cluster]:
    """Begin a cluster, or join one, if this process is in none; it stays in one that it has joined."""
    import ray

    if not _own(options):
        _join(options)
        yield _Cluster(options, own=False)
        return
    folder = temporary(roomy(_LONGEST), "rlp-ray-")
    try:
        _init(address=OWN, num_cpus=workers, include_dashboard=False, _temp_dir=str(folder))
        yield _Cluster(options, own=True)
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _join(options: Options) -> None:
    """Join a cluster.

    Raises:
        OSError: nothing answers at its address: Ray itself finds out in four minutes.
    """
    if _joined():
        return
    address = _address(options)
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), _GRACE).close()
        except OSError as error:
            raise OSError(f"no cluster is at {address}: {error.strerror or error}") from None
    _init(address=address)


def _init(**given: Any) -> None:
    """Begin with Ray, which says nothing, and takes no signal from whoever has it."""
    import ray

    main = threading.current_thread() is threading.main_thread()
    kept = signal.getsignal(signal.SIGTERM)
    ray.init(log_to_driver=False, logging_level="ERROR", **given)
    if main:
        signal.signal(signal.SIGTERM, kept)


# -- a worker ------------------------------------------------------------------------------------------------------


def _serve(sent: _Sent[Job, Any], box: Any) -> tuple[str, Any]:
    """Run one job; this is all that a worker does."""
    import ray

    task = sent.task

    def post(about: str, what: object) -> None:
        ray.get(box.post.remote((task.number, task.attempt, about, what)))  # or a crash might lose it

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sent.version != __version__:
        return "stranger", __version__
    os.environ |= sent.environ
    post("begun", process())
    executors.preloaded(sent.preload)
    try:
        with _at_home(sent, post) as (job, bring):

            def tell(values: Mapping[str, float | str]) -> None:
                bring()
                post("told", dict(values))

            result = sent.work(job, tell)
        pickle.dumps(result)  # Ray would send more
    except Exception as error:
        return "raised", told(error)
    return "returned", result


@contextmanager
def _at_home(sent: _Sent[Job, Any], post: Callable[[str, object], None]) -> Iterator[tuple[Job, Callable[[], None]]]:
    """Let a job find its files here; what it leaves goes home. Yields the job, and what brings home what it has left so far."""
    job = sent.task.job
    if not isinstance(job, Keeps) or not sent.travels:
        yield job.moved(Path(sent.folder)) if isinstance(job, Keeps) else job, lambda: None
        return
    folder = Path(sent.folder) if sent.folder else temporary(Path(tempfile.gettempdir()), "rlprune-job-")
    folder.mkdir(parents=True, exist_ok=True)
    away = job.moved(folder)
    travel.unpack(away, sent.files)
    changes = travel.Changes(away, sent.files)

    def bring() -> None:
        for change in changes:
            post("file", change)

    try:
        yield away, lambda: None if sent.folder else bring()
    finally:
        bring()
        travel.remove(away)
        if not sent.folder:
            shutil.rmtree(folder, ignore_errors=True)
