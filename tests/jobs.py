"""Functions for workers to run in tests, importable by name so that another process finds them; and what tests ask of them."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlprune.bench.worker import Assignment, Record, _peak_resident
from rlprune.executors import Event, Failed, Returned, Tell


def square(number: int, tell: Tell) -> int:
    tell({"trained": 1.0})
    tell({"trained": 2.0})
    return number * number


def invert(number: int, tell: Tell) -> float:
    return 1 / number


def unpicklable(number: int, tell: Tell) -> object:
    return lambda: number


def _signalled_once(marker: Path, process: int, number: int) -> str:
    if not marker.exists():
        marker.touch()
        os.kill(process, number)
        time.sleep(600)
    return "back"


def killed_once(marker: Path, tell: Tell) -> str:
    return _signalled_once(marker, os.getpid(), signal.SIGKILL)


def forkserver_killed_once(marker: Path, tell: Tell) -> str:
    return _signalled_once(marker, os.getppid(), signal.SIGKILL)


def preempted_once(marker: Path, tell: Tell) -> str:
    return _signalled_once(marker, os.getpid(), signal.SIGUSR2)


def slow_square(number: int, tell: Tell) -> tuple[int, int]:
    tell({"trained": 1.0, "member": 0.0})
    time.sleep(2)
    return number * number, os.getpid()


def killed_always(number: int, tell: Tell) -> None:
    os.write(1, b"loading 40 GB")
    os.kill(os.getpid(), signal.SIGKILL)


def killed_always_but(marker: Path, tell: Tell) -> str:
    if not marker.exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return "back"


def leaving(number: int, tell: Tell) -> None:
    os._exit(3)


def chatty(number: int, tell: Tell) -> int:
    sys.stdout.write("to standard output")
    os.write(2, b"to standard error")
    return number


def who(number: int, tell: Tell) -> int:
    return os.getpid()


def imported(module: str, tell: Tell) -> bool:
    """Say whether a module was there when this worker started."""
    return module in sys.modules


def endless(pid_file: Path, tell: Tell) -> None:
    pid_file.write_text(str(os.getpid()))
    tell({})
    time.sleep(600)


@dataclass(frozen=True)
class Diary:
    """A job that keeps files."""

    folder: Path
    name: str

    @property
    def stems(self) -> Sequence[str]:
        return [self.name]

    def moved(self, folder: Path) -> "Diary":
        return Diary(folder, self.name)


def written(diary: Diary, tell: Tell) -> tuple[str, str]:
    """Write a page a day; killed on the second, and done on the third."""
    pages, whole = diary.folder / f"{diary.name}.pages", diary.folder / f"{diary.name}.book"
    for day in ("first", "second", "third"):
        before = pages.read_text() if pages.exists() else ""
        if day not in before:
            pages.write_text(f"{before}{day} ")
            tell({"pages": 1.0})
            if day == "second":
                os.kill(os.getpid(), signal.SIGKILL)
    whole.write_text(pages.read_text())
    pages.unlink()
    return whole.read_text(), str(diary.folder)


@dataclass(frozen=True)
class OnGpu:
    """A job that shares a GPU with another, and knows when it is there."""

    mine: Path
    others: Path
    device: str = "cuda"
    memory: float | None = None


def meet(job: OnGpu, tell: Tell) -> str:
    job.mine.touch()
    deadline = time.monotonic() + 120  # workers take their time to start
    while not job.others.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def peak(megabytes: int, tell: Tell) -> int:
    before = _peak_resident()
    held = b"x" * (megabytes * 1_000_000)
    return _peak_resident() - before + 0 * len(held)


def cell(job: Assignment, tell: Tell) -> list[Record]:
    """Stand for a job of cells: what it does depends on their seeds."""
    return [record for member in range(len(job.cells)) for record in _cell(job, member, tell)]


def _cell(job: Assignment, member: int, tell: Tell) -> list[Record]:
    only, checkpoint = job.cells[member], job.checkpoints[member]
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.touch()
    tell({"trained": 1.0, "of": 2.0, "return_train": 10.0, **({"member": float(member)} if member else {})})
    match only.seed:
        case 96:
            tell({"said": "starts over", "member": float(member)})
        case 95:
            return [Record("begin", "end", {}, {}, "stopped", "cell.pt cannot be written")]
        case 97:
            raise ValueError("the loss is nan")
        case 98:
            return [Record("begin", "end", {}, {}, "skipped", "needs batchnorm")]
        case 99:
            checkpoint.with_name(f"{checkpoint.name}.{os.getpid()}.new").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    values = {"wall_seconds": 1800.0, "worker_seconds": 1800.0, "return_greedy": 500.0}
    return [Record("begin", "end", {"torch": "2"}, {"cpu": "some"}, values=values)]


# -- what tests ask ------------------------------------------------------------------------------------------------


def ends(events: Iterable[Event]) -> dict[object, Event]:
    """Return how each job ended, by job."""
    return {event.job: event for event in events if isinstance(event, Returned | Failed)}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(true: Callable[[], object]) -> object:
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()
