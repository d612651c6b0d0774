import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import jobs
import pytest

from rlprune.bench import worker
from rlprune.bench.suite import Cell, Suite, load_suite, make_cell
from rlprune.bench.sweep import Epoch, Finished, Said, Started, estimate, identity, sweep
from rlprune.executors import Begun, Failed, Returned, Told, local
from rlprune.store import Gone, Store
from rlprune.task import tasks

execute = partial(local.execute, preload=("rlprune.bench.worker",))


def ends(events):
    """Return how each job ended, by job."""
    return {event.job: event for event in events if isinstance(event, Returned | Failed)}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(true):
    deadline = time.monotonic() + 20
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


SUITE = Suite(
    name="cartpole",
    profile="quick",
    title="CartPole",
    tasks=("cartpole-v1",),
    pruners=("Dense", "SNIP"),
    sparsities=(0.9,),
    seeds=3,
    price_per_hour=2.0,
)


# -- workers on this machine -------------------------------------------------------------------------------------


def test_every_job_ends_once_and_tells_before_it_ends():
    events = list(execute(jobs.square, range(4), 2))
    assert {event.job: event.result for event in events if isinstance(event, Returned)} == {0: 0, 1: 1, 2: 4, 3: 9}
    told = {"trained": 1.0}, {"trained": 2.0}
    for job in range(4):
        assert [event for event in events if event.job == job] == [
            Begun(job),
            *(Told(job, t) for t in told),
            Returned(job, job**2),
        ]


def test_no_more_workers_than_asked_for():
    running, most = 0, 0
    for event in execute(jobs.square, range(5), 2):
        running += isinstance(event, Begun) - isinstance(event, Returned)
        most = max(most, running)
    assert most == 2


def test_each_job_has_a_process_of_its_own():
    pids = [end.result for end in ends(execute(jobs.who, range(4), 2)).values()]
    assert len({*pids, os.getpid()}) == 5


def test_an_exception_fails_its_job_with_the_traceback_and_no_other():
    found = ends(execute(jobs.invert, [0, 2], 1))
    assert found[2] == Returned(2, 0.5)
    assert not found[0].crashed
    assert "return 1 / number" in found[0].error
    assert found[0].error.endswith("ZeroDivisionError: division by zero\n")


def test_a_result_that_cannot_be_sent_fails_its_job():
    assert "pickle" in ends(execute(jobs.unpicklable, [1], 1))[1].error


def test_a_job_whose_worker_was_killed_runs_again(tmp_path):
    marker = tmp_path / "killed"
    events = list(execute(jobs.killed_once, [marker], 1))
    assert events == [Begun(marker), Begun(marker), Returned(marker, "back")]


def test_a_job_whose_forkserver_was_killed_runs_again(tmp_path):
    marker = tmp_path / "killed"
    assert ends(execute(jobs.forkserver_killed_once, [marker], 1)) == {marker: Returned(marker, "back")}


def test_a_job_that_is_always_killed_fails_with_the_signal_and_what_it_printed():
    events = list(execute(jobs.killed_always, [1], 1))
    assert events[:2] == [Begun(1), Begun(1)]
    assert events[2].crashed
    assert "SIGKILL" in events[2].error
    assert "2 times" in events[2].error
    assert "loading 40 GB" in events[2].error


def test_a_job_that_leaves_without_a_result_fails_with_its_exit_code():
    assert "exit code 3" in ends(execute(jobs.leaving, [1], 1))[1].error


def test_workers_print_nothing(capfd):
    assert ends(execute(jobs.chatty, [1], 1)) == {1: Returned(1, 1)}
    assert capfd.readouterr() == ("", "")


def test_the_peak_of_a_worker_is_its_own():
    found = ends(execute(jobs.peak, [100, 20], 1))
    assert 95e6 < found[100].result < 115e6
    assert 15e6 < found[20].result < 35e6


def test_closing_the_events_ends_the_workers(tmp_path):
    with closing(execute(jobs.endless, [tmp_path / "pid"], 1)) as events:
        assert isinstance(next(events), Begun)
        assert isinstance(next(events), Told)
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
    assert not alive(pid)


def test_workers_die_with_the_process_that_started_them(tmp_path):
    script = "import jobs, sys; from pathlib import Path; from rlprune.executors import local\n"
    script += "list(local.execute(jobs.endless, [Path(sys.argv[1])], 1, preload=()))"
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
    script += "from rlprune.bench.sweep import *\n"
    script += "with ending_like_ctrl_c():\n  try: list(local.execute(jobs.endless, [Path(sys.argv[1])], 1, preload=()))\n"
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


def test_a_worker_measures_a_cell_from_outside(tmp_path):
    recipe = {"budget": 320, "epochs": 2, "widths": (8,), "environments": 4, "scoring_steps": 40, "evaluation_games": 2}
    tiny = make_cell(SUITE.model_copy(update={"recipe": recipe}), "cartpole-v1", "SNIP", 0.5, 0, "cpu")
    told = []
    (record,) = worker.run(worker.Job((tiny,), (tmp_path / "cell.pt",), "FRA"), told.append)
    assert record.error is None
    assert [(values["trained"], values["of"]) for values in told] == [(1, 2), (2, 2)]
    assert len(record.epochs) == 2
    assert record.layers
    assert 0 < record.values["training_seconds"] < record.values["wall_seconds"]
    assert {"cpu_seconds", "memory_peak_bytes", "energy_cpu_joules", "co2_grams", "return_greedy", "disk_file_mb"} <= set(
        record.values
    )
    assert record.machine["memory_method"] == "process peak"
    assert "not measured" not in record.machine["energy_method"]
    assert {"rlprune", "torch", "python"} <= set(record.versions)
    assert record.started <= record.ended


# -- sweeps ------------------------------------------------------------------------------------------------------

TELLING, FAILING, SKIPPING, CRASHING = 96, 97, 98, 99


def cell(seed, pruner="SNIP", recipe=None, fleet=False, variant=""):
    recipe = recipe or {"budget": 100, "widths": [8], "epochs": 2}
    return Cell("cartpole-v1", pruner, 0.9, seed, recipe, {}, "cpu", fleet, variant=variant)


class Run:
    """A folder to sweep into, and what was heard of it."""

    def __init__(self, out):
        self.out, self.heard = out, []

    def __call__(self, *seeds, listen=None, jobs_at_once=1, cells=None):
        with Store(self.out / "results.sqlite") as store:
            return sweep(
                cells or [cell(seed) for seed in seeds],
                store,
                suite=SUITE,
                jobs=jobs_at_once,
                out=self.out,
                listen=listen or self.heard.append,
                work=jobs.cell,
                execute=execute,
            )

    def rows(self):
        with Store(self.out / "results.sqlite", create=False) as store:
            return {row.seed: row for row in store.rows()}

    def checkpoints(self):
        return {file.stem for file in (self.out / "checkpoints").iterdir()}


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "out")


def test_a_sweep_stores_a_row_a_cell_and_tells_its_events(run):
    outcome = run(0, 1, jobs_at_once=2)
    assert (outcome.done, outcome.failed, outcome.skipped, outcome.interrupted) == (2, [], [], False)
    row = run.rows()[1]
    assert (row.status, row.suite, row.profile, row.pruner, row.cut, row.sparsity) == (
        "done",
        "cartpole",
        "quick",
        "SNIP",
        "weights",
        0.9,
    )
    assert row.config["recipe"] == {"budget": 100, "widths": [8], "epochs": 2}
    assert row.labels["task_title"] == "CartPole-v1"
    assert row.judged.metric.name == "return_greedy"
    heard = [event for event in run.heard if event.cell.seed == 1]
    told = {"trained": 1.0, "of": 2.0, "return_train": 10.0}
    assert heard == [Started(cell(1)), Epoch(cell(1), 1, 2, told), Finished(cell(1), row)]


@pytest.mark.parametrize(
    ("task", "override", "title"),
    [
        ("cartpole-v1", "environment=Pendulum-v1", "Pendulum-v1"),
        ("cartpole-v0", "environment=Pendulum-v1", "Pendulum-v1 (200 steps)"),
        ("cartpole-v1", "max_episode_steps=50", "CartPole-v1 (50 steps)"),
        ("resnet-small-shapes", "data=cifar100", "resnet-small, cifar100"),
        ("rooms-fcrn-small", "data=nyu", "fcrn-small, nyu"),
        ("prose-psmm-small", "data=ptb", "PSMM, ptb"),
        ("pairs-bert-small", "data=rte", "BERT, rte"),
    ],
)
def test_a_recipe_that_plays_or_reads_something_else_has_not_its_tasks_title_and_anchors(task, override, title):
    suite = load_suite("cartpole", overrides=[f'tasks=["{task}"]', f"recipe.{override}", "recipe.budget=2"])
    known = identity(make_cell(suite, task, "SNIP", 0.9, 0, "cpu"), suite)
    assert known.labels["task_title"] == title
    assert known.judged.anchors == {}


@pytest.mark.parametrize("task", tasks().names())
def test_other_numbers_of_its_recipe_leave_a_task_what_it_is(task):
    suite = load_suite("cartpole", overrides=[f'tasks=["{task}"]', "recipe.budget=2"])
    known = identity(make_cell(suite, task, "SNIP", 0.9, 0, "cpu"), suite)
    assert known.labels["task_title"] == tasks().load(task).title
    assert known.judged.anchors == tasks().load(task).anchors


def test_money_is_the_price_an_hour_times_wall_hours(run):
    run(0)
    assert run.rows()[0].values["price_usd"] == 2.0 * 0.5


def test_a_second_run_repeats_nothing_but_failures(run):
    first = run(0, FAILING, SKIPPING)
    assert (first.done, len(first.failed), len(first.skipped)) == (1, 1, 1)
    run.heard.clear()
    second = run(0, FAILING, SKIPPING, 1)
    assert [event.cell.seed for event in run.heard if isinstance(event, Started)] == [FAILING, 1]
    assert second.done == 1
    assert len(run.rows()) == 4


def test_a_failure_keeps_its_traceback_and_stops_nobody(run):
    outcome = run(FAILING, 0)
    assert outcome.done == 1
    (failed,) = outcome.failed
    assert "ValueError: the loss is nan" in failed.error
    assert failed.values == {}
    assert failed.versions["rlprune"]
    assert failed.machine["cores"]
    assert run.rows()[FAILING].error == failed.error


def test_a_cell_that_does_not_apply_is_skipped_with_the_reason(run):
    (skipped,) = run(SKIPPING).skipped
    assert (skipped.status, skipped.error) == ("skipped", "needs batchnorm")


def test_only_a_crashed_cell_keeps_its_checkpoint(run):
    run(0, FAILING, SKIPPING, CRASHING)
    assert run.checkpoints() == {cell(CRASHING).id}
    assert "SIGKILL" in run.rows()[CRASHING].error


def test_ctrl_c_keeps_what_is_finished_and_a_second_run_goes_on(run):
    def listen(event):
        if isinstance(event, Started) and event.cell.seed == 1:
            signal.raise_signal(signal.SIGINT)

    outcome = run(0, 1, 2, listen=listen)
    assert outcome.interrupted
    assert outcome.done == 1
    assert set(run.rows()) == {0}
    assert run(0, 1, 2).done == 2


def test_what_fails_a_whole_fleet_fails_only_its_own_cell(run):
    outcome = run(cells=[cell(seed, fleet=True) for seed in (0, 1, CRASHING, 2, FAILING)])
    assert (outcome.done, sorted(row.seed for row in outcome.failed)) == (3, [FAILING, CRASHING])
    assert {seed: row.status for seed, row in run.rows().items() if row.status == "done"} == dict.fromkeys((0, 1, 2), "done")


def test_what_a_worker_says_of_a_cell_is_heard(run):
    run(TELLING)
    assert [event for event in run.heard if isinstance(event, Said)] == [Said(cell(TELLING), "starts over")]


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
def test_a_folder_that_goes_in_mid_run_stops_it(how, run):
    def listen(event):
        if isinstance(event, Started) and event.cell.seed == 1:
            aside = run.out.with_name("aside")
            run.out.rename(aside)
            if how == "removed":
                shutil.rmtree(aside)
            if how == "replaced":
                shutil.copytree(aside, run.out)

    with pytest.raises(Gone, match=r"results.sqlite was removed, renamed or replaced while a run was writing to it"):
        run(0, 1, 2, listen=listen)


def test_unfinished_files_of_a_killed_run_go(run):
    (run.out / "checkpoints").mkdir(parents=True)
    (run.out / "checkpoints" / "0123456789abcdef.pt.77.new").touch()
    run(0)
    assert run.checkpoints() == set()


def test_a_cell_listed_twice_runs_once(run):
    assert run(0, 0).done == 1


def test_time_left_is_the_mean_of_the_pruners_cells_or_of_all_alike(run):
    with Store(run.out / "results.sqlite") as store:
        assert estimate([cell(0)], store) is None
        assert estimate([], store) == 0
    run(0)
    with Store(run.out / "results.sqlite") as store:
        assert estimate([cell(0), cell(1), cell(2)], store) == 3600
        assert estimate([cell(1, pruner="Dense")], store) == 1800
        assert estimate([cell(1, recipe={"budget": 200})], store) is None


def test_starting_a_sweep_imports_no_torch():
    script = "import sys, rlprune.bench.sweep; sys.exit('torch' in sys.modules)"
    path = os.pathsep.join(sys.path)
    assert subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, check=False).returncode == 0
