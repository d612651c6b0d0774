"""What is done beside a report ends as if it were done in it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rlprune.report.beside import Beside, Failed


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever threads other tests have left, say one that watches bars, does nothing that a fork would miss."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


def noted(file: Path, do: Callable[[], object] = lambda: None) -> Callable[[], None]:
    """Return a function that notes in a file which process it runs in."""

    def note() -> None:
        do()
        file.write_text(str(os.getpid()))

    return note


@pytest.mark.usefixtures("alone")
def test_more_than_fit_beside_each_other_are_all_done_each_in_a_process_of_its_own(tmp_path: Path) -> None:
    beside = Beside(2)
    ends = [beside.begin(noted(tmp_path / str(number))) for number in range(5)]
    for end in reversed(ends):  # in whatever order they are asked for
        end()
        end()
    processes = {int((tmp_path / str(number)).read_text()) for number in range(5)}
    assert len(processes - {os.getpid()}) == 5


@pytest.mark.usefixtures("alone")
def test_what_goes_wrong_is_told_by_what_failed_and_by_nothing_else(tmp_path: Path) -> None:
    def wrong() -> None:
        raise ValueError("no such colour")

    def full() -> None:
        raise FileExistsError(17, "in the way", "figures/a.png")

    class OddError(OSError):
        def __init__(self) -> None:
            super().__init__("odd")

    def odd() -> None:
        raise OddError

    here = os.getpid()

    def killed() -> None:
        assert os.getpid() != here
        os.kill(os.getpid(), signal.SIGKILL)

    beside = Beside(2)
    good, *bad = [beside.begin(do) for do in (noted(tmp_path / "good"), wrong, full, odd, killed)]
    good()
    told = [(Failed, "^ValueError: no such colour$"), (FileExistsError, "in the way.*figures/a.png"), (OSError, "^odd$")]
    for end, (kind, words) in zip(bad, [*told, (Failed, "^its process was killed$")], strict=True):
        with pytest.raises(kind, match=words):
            end()


@pytest.mark.parametrize("threads", [0, 1])
def test_with_one_core_or_other_threads_nothing_is_forked(tmp_path: Path, threads: int) -> None:
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    if threads:
        other.start()
    end = Beside(2 if threads else 1).begin(noted(tmp_path / "here"))
    over.set()
    end()
    assert (tmp_path / "here").read_text() == str(os.getpid())


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("what", ["a daemon", "no more processes"])
def test_what_may_not_be_forked_or_cannot_be_is_done_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    if what == "a daemon":
        monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    Beside(2).begin(noted(tmp_path / "here"))()
    assert (tmp_path / "here").read_text() == str(os.getpid())


def test_an_error_here_is_told_when_its_end_is_awaited(tmp_path: Path) -> None:
    def wrong() -> None:
        raise ValueError("no such colour")

    end = Beside(1).begin(wrong)
    with pytest.raises(Failed, match="no such colour"):
        end()
