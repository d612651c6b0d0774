import os
import signal
import subprocess
import sys
from pathlib import Path

import jobs
import pytest
from jobs import alive, ends, wait_until

from rlprune.executors import Begun, Returned, local
from rlprune.task import tasks


def test_no_more_workers_than_asked_for_and_no_fewer():
    running, most = 0, 0
    for event in local.execute(jobs.square, range(5), 2):
        running += isinstance(event, Begun) - isinstance(event, Returned)
        most = max(most, running)
    assert most == 2


def test_a_job_whose_forkserver_was_killed_runs_again(tmp_path):
    marker = tmp_path / "killed"
    assert ends(local.execute(jobs.forkserver_killed_once, [marker], 1)) == {marker: Returned(marker, "back")}


def test_a_job_that_is_always_killed_fails_with_the_signal_and_what_it_printed():
    events = list(local.execute(jobs.killed_always, [1], 1))
    assert events[:2] == [Begun(1), Begun(1)]
    assert events[2].crashed
    assert "SIGKILL" in events[2].error
    assert "2 times" in events[2].error
    assert "loading 40 GB" in events[2].error


def test_a_job_that_leaves_without_a_result_fails_with_its_exit_code():
    assert "exit code 3" in ends(local.execute(jobs.leaving, [1], 1))[1].error


def test_workers_print_nothing(capfd):
    assert ends(local.execute(jobs.chatty, [1], 1)) == {1: Returned(1, 1)}
    assert capfd.readouterr() == ("", "")


def test_the_peak_of_a_worker_is_its_own():
    found = ends(local.execute(jobs.peak, [100, 20], 1))
    assert 95e6 < found[100].result < 115e6
    assert 15e6 < found[20].result < 35e6


def test_workers_die_with_the_process_that_started_them(tmp_path):
    script = "import jobs, sys; from pathlib import Path; from rlprune.executors import local\n"
    script += "list(local.execute(jobs.endless, [Path(sys.argv[1])], 1))"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    parent = subprocess.Popen([sys.executable, "-c", script, tmp_path / "pid"], env={**os.environ, "PYTHONPATH": path})
    assert wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    pid = int((tmp_path / "pid").read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_until(lambda: not alive(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_as_ctrl_c_does_and_leaves_nothing_in_a_long_tmpdir(number, tmp_path):
    long = tmp_path / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True)
    script = "import jobs, sys; from pathlib import Path; from rlprune.executors import local\n"
    script += f"import signal; signal.signal({int(number)}, signal.SIG_DFL)  # as under nohup it is not\n"
    script += "from rlprune.bench.sweep import *\n"
    script += "with ending_like_ctrl_c():\n  try: list(local.execute(jobs.endless, [Path(sys.argv[1])], 1))\n"
    script += "  except KeyboardInterrupt: sys.exit(130)"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    given = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(long)}
    run = subprocess.Popen([sys.executable, "-c", script, tmp_path / "pid"], env=given)
    assert wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    pid = int((tmp_path / "pid").read_text())
    run.send_signal(number)
    assert run.wait(20) == 130
    assert wait_until(lambda: not alive(pid))
    assert not list(long.iterdir())


# -- what workers fork from ------------------------------------------------------------------------------------------


def python(program, modules=""):
    """Run a few lines of Python in a process of their own; return what they print."""
    given = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]), local.PRELOAD: modules}
    given.pop("TORCHINDUCTOR_CACHE_DIR", None)
    return subprocess.run([sys.executable, "-c", program], env=given, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_what_workers_fork_from_runs_one_thread_whoever_trains():
    recipes = {type(recipe): recipe for recipe in (tasks().load(name).recipe for name in tasks().names())}
    places = {place for recipe in recipes.values() for place in (recipe.trainer, recipe.fleet) if place}
    modules = ["rlprune.bench.ready", *sorted({place.partition(":")[0] for place in places})]
    program = "import rlprune.executors.preload, os, sys\n"
    program += f"print([name for name in {modules} if name not in sys.modules], len(os.listdir('/proc/self/task')))"
    assert python(program, ",".join(modules)) == "[] 1\n"


def test_what_workers_fork_from_hears_no_ctrl_c_and_leaves_workers_their_own_variables():
    program = "import rlprune.executors.preload, os, signal\n"
    program += "print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, os.environ.get('TORCHINDUCTOR_CACHE_DIR'), "
    program += f"{local.PRELOAD!r} in os.environ)"
    assert python(program, "no_such_module,jobs") == "True None False\n"


def test_workers_have_what_was_imported_beforehand():
    program = "import jobs, sys\nfrom rlprune.executors import local\n"
    program += "print([end.result for end in jobs.ends(local.execute(jobs.imported, ['wave', 'aifc'], 1, ['wave'])).values()])"
    assert python(program) == "[True, False]\n"


def test_a_gpu_is_for_one_worker_and_cores_for_one_each():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert (local.workers("cpu"), local.workers("cuda")) == (cores, 1)
