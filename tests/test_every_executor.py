"""Laws that hold for every registered executor."""

import os
import threading
from contextlib import closing
from importlib.util import find_spec

import jobs
import pytest
from jobs import alive, ends

from rlprune.executors import Begun, Failed, Returned, Told, executors


def test_there_are_executors():
    assert "local" in executors().names()


STANDING_IN = {"slurm": {"cluster": "local"}}
"""Options with which an executor runs on this machine alone."""


@pytest.fixture(params=executors().names())
def executor(request, tmp_path):
    try:
        found = executors().load(request.param)
    except ImportError as error:
        pytest.skip(str(error))
    if found.extra and find_spec(found.extra[0]) is None:
        pytest.skip(f"executor {found.name} needs rlprune[{found.extra[1]}]")
    if found.name == "ray":
        request.getfixturevalue("cluster")  # to begin one for every law would take minutes
    made = found.under(STANDING_IN.get(found.name, {}), tmp_path / "jobs")
    yield made
    assert not (tmp_path / "jobs").exists(), "it leaves nothing behind"


@pytest.fixture
def execute(executor):
    return executor.execute


def test_it_has_workers_and_they_see_a_processor(executor):
    assert executor.sees("cpu", sure=False)
    assert executor.sees("cpu", sure=True)
    assert 1 <= executor.workers("cpu") <= executor.most
    assert executor.sees("cuda", sure=False) or not executor.sees("cuda", sure=True), "only no is final"


def test_every_job_ends_once_and_tells_in_order_before_it_ends(execute):
    events = list(execute(jobs.square, range(4), 2))
    assert {event.job: event.result for event in events if isinstance(event, Returned)} == {0: 0, 1: 1, 2: 4, 3: 9}
    told = {"trained": 1.0}, {"trained": 2.0}
    for job in range(4):
        assert [event for event in events if event.job == job] == [
            Begun(job),
            *(Told(job, t) for t in told),
            Returned(job, job**2),
        ]


def test_no_jobs_are_no_events(execute):
    assert list(execute(jobs.square, [], 2)) == []


def test_no_more_workers_than_asked_for(execute):
    running, most = 0, 0
    for event in execute(jobs.square, range(5), 2):
        running += isinstance(event, Begun) - isinstance(event, Returned)
        most = max(most, running)
    assert 1 <= most <= 2


def test_jobs_are_taken_as_workers_have_room_in_the_thread_that_asks(execute):
    def offered():
        for job in range(3):
            taken.append(threading.get_ident())
            yield job

    taken, ended = [], 0
    for event in execute(jobs.square, offered(), 1):
        ended += isinstance(event, Returned)
        assert len(taken) <= ended + 1
    assert taken == [threading.get_ident()] * 3


def test_each_job_has_a_process_of_its_own(execute):
    pids = [end.result for end in ends(execute(jobs.who, range(4), 2)).values()]
    assert len({*pids, os.getpid()}) == 5


def test_an_exception_fails_its_job_with_the_traceback_and_no_other(execute):
    found = ends(execute(jobs.invert, [0, 2], 1))
    assert found[2] == Returned(2, 0.5)
    assert not found[0].crashed
    assert "return 1 / number" in found[0].error
    assert found[0].error.endswith("ZeroDivisionError: division by zero\n")


def test_a_result_that_cannot_be_sent_fails_its_job(execute):
    (end,) = ends(execute(jobs.unpicklable, [1], 1)).values()
    assert isinstance(end, Failed)
    assert "pickle" in end.error or "local object" in end.error, "as Python 3.13 says it"


def test_a_job_whose_worker_was_killed_runs_again(execute, tmp_path):
    marker = tmp_path / "killed"
    events = list(execute(jobs.killed_once, [marker], 1))
    assert events == [Begun(marker), Begun(marker), Returned(marker, "back")]


def test_files_of_a_job_are_where_it_is_and_at_home_in_the_end(execute, tmp_path):
    diary = jobs.Diary(tmp_path / "kept", "mine")
    diary.folder.mkdir()
    (diary.folder / "mine.pages").write_text("first ")
    (diary.folder / "yours.pages").write_text("of somebody else")
    events = list(execute(jobs.written, [diary], 1))
    assert [type(event) for event in events] == [Begun, Told, Begun, Told, Returned]
    assert events[-1].result[0] == "first second third "
    kept = {file.name: file.read_text() for file in diary.folder.iterdir()}
    assert kept == {"mine.book": "first second third ", "yours.pages": "of somebody else"}


def test_a_job_whose_worker_always_dies_fails_and_no_other(execute, tmp_path):
    marker = tmp_path / "killed"
    marker.touch()
    found = ends(execute(jobs.killed_always_but, [marker, tmp_path / "never"], 1))
    assert found[marker] == Returned(marker, "back")
    assert found[tmp_path / "never"].crashed


def test_closing_the_events_ends_the_workers(execute, tmp_path):
    with closing(execute(jobs.endless, [tmp_path / "pid"], 1)) as events:
        assert isinstance(next(events), Begun)
        assert isinstance(next(events), Told)
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
    assert not alive(pid)


def test_a_module_that_cannot_be_imported_beforehand_stops_nobody(execute):
    assert ends(execute(jobs.square, [3], 1, ["no_such_module", "jobs"])) == {3: Returned(3, 9)}
