"""Sweeps on a real Ray cluster of several machines, all of them on this one: what they train is what a local run trains."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jobs
import pytest
from jobs import alive, ends, wait_until

from rlprune import __version__
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import Epoch, Started, sweep
from rlprune.executors import executors
from rlprune.store import Store

pytest.importorskip("ray", reason="Ray is missing: python3 -m pip install 'rlprune[ray]'", exc_type=ImportError)

import psutil

from rlprune.executors.ray import share

TINY = ["recipe.budget=320", "recipe.epochs=4", "recipe.evaluation_games=2", "recipe.widths=[8, 8]"]
LONG = ["recipe.budget=16000", "recipe.epochs=40", "recipe.evaluation_games=2", "recipe.widths=[8, 8]"]
TIMED = ("seconds", "joules", "co2", "memory_peak", "price", "resumed")


class Run:
    """Cells swept into a folder, and what was heard of them."""

    def __init__(self, out, overrides, pruners="Dense,SNIP", seeds="3"):
        self.out, self.heard = out, []
        self.suite = load_suite("cartpole", "smoke", overrides, {"pruners": pruners, "seeds": seeds})

    def on(self, executor, act=lambda event: None, **options):
        def listen(event):
            self.heard.append(event)
            act(event)

        execute = executors().load(executor).under(options, self.out).execute
        with Store(self.out / "results.sqlite") as store:
            return sweep(cells(self.suite, "cpu"), store, suite=self.suite, jobs=2, out=self.out, execute=execute, listen=listen)

    def rows(self):
        """Return what does not depend on the clock of every row, by the cell."""
        with Store(self.out / "results.sqlite", create=False) as store:
            return {
                row.id: (row.status, row.error, row.layers, row.epochs, {k: v for k, v in row.values.items() if not lasts(k)})
                for row in store.rows()
            }

    def networks(self):
        return {file.name: file.read_bytes() for file in (self.out / "checkpoints").iterdir()}


def lasts(name):
    return any(word in name for word in TIMED)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Solo cells and a fleet or two, run on this machine."""
    run = Run(tmp_path_factory.mktemp("alone"), TINY)
    assert run.on("local").done == 6
    return run


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A cell of a few seconds, run on this machine."""
    run = Run(tmp_path_factory.mktemp("long"), LONG, "SNIP", "1")
    assert run.on("local").done == 1
    return run


def servants():
    """Return the processes that run a job."""
    return [one for one in psutil.Process().children(recursive=True) if one.name().startswith("ray::_serve")]


def lodgings():
    return set(Path(tempfile.gettempdir()).glob("rlprune-job-*"))


def test_jobs_share_a_gpu(cluster, tmp_path):
    some = executors().load("ray").under({"gpu": 0.5}, tmp_path)
    assert some.sees("cuda", sure=True)
    assert some.workers("cuda") == 2
    pair = [jobs.OnGpu(tmp_path / "one", tmp_path / "two"), jobs.OnGpu(tmp_path / "two", tmp_path / "one")]
    assert [end.result for end in ends(some.execute(jobs.meet, pair, 2)).values()] == ["0", "0"]


def test_rows_and_networks_are_a_local_runs_solo_and_in_fleets(cluster, alone, tmp_path):
    before = lodgings()
    run = Run(tmp_path, TINY)
    assert run.on("ray").done == 6
    assert run.rows() == alone.rows()
    assert run.networks() == alone.networks()
    assert len(run.networks()) == 6
    assert lodgings() <= before


@pytest.mark.parametrize(("begun", "finished"), [("local", "ray"), ("ray", "local")])
def test_a_sweep_begun_in_one_place_is_finished_in_another(begun, finished, cluster, long, tmp_path):
    def stop(event):
        if isinstance(event, Epoch) and event.trained == 5:
            raise KeyboardInterrupt

    run = Run(tmp_path, LONG, "SNIP", "1")
    assert run.on(begun, stop).interrupted
    assert run.on(finished).done == 1
    told = [event.trained for event in run.heard if isinstance(event, Epoch)]
    assert told[:5] == [1, 2, 3, 4, 5]
    assert told[5] > 5, "it goes on from its checkpoint"
    assert run.rows() == long.rows()
    assert run.networks() == long.networks()


@pytest.mark.parametrize("state", ["", "state", "out/checkpoints"])
def test_a_worker_killed_in_mid_run_repeats_at_most_an_epoch(state, cluster, long, tmp_path):
    def kill(event):
        if isinstance(event, Epoch) and event.trained == 5:
            (worker,) = servants()
            worker.kill()

    run = Run(tmp_path / "out", LONG, "SNIP", "1")
    assert run.on("ray", kill, state=str(tmp_path / state) if state else "").done == 1
    assert sum(isinstance(event, Started) for event in run.heard) == 2
    told = [event.trained for event in run.heard if isinstance(event, Epoch)]
    assert len(set(told)) == 40
    assert len(told) <= 41
    assert run.rows() == long.rows()
    assert run.networks() == long.networks()
    assert state != "state" or list((tmp_path / state).iterdir()) == []


def test_a_machine_that_is_lost_repeats_at_most_an_epoch(cluster, long, tmp_path):
    def lose(event):
        if isinstance(event, Epoch) and event.trained == 5 and not lost:
            (worker,) = servants()
            (node,) = [node for node in cluster.list_all_nodes() if raylet(node) == worker.ppid()]
            lost.append(node)
            cluster.remove_node(node, allow_graceful=False)

    def raylet(node):
        return node.all_processes["raylet"][0].process.pid

    lost = []
    run = Run(tmp_path, LONG, "SNIP", "1")
    try:
        assert run.on("ray", lose).done == 1
    finally:
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000, include_dashboard=False)
    assert sum(isinstance(event, Started) for event in run.heard) == 2
    told = [event.trained for event in run.heard if isinstance(event, Epoch)]
    assert len(told) - len(set(told)) <= 1
    assert len(set(told)) >= 39  # what was saved as the machine went may be home without its news
    assert run.rows() == long.rows()


def test_jobs_on_a_gpu_get_the_share_that_was_measured_or_said():
    assert share(1e9, 80e9) == 0.125
    assert share(20e9, 80e9) == 0.52
    assert share(50e9, 80e9) == 1.0


def test_a_machine_with_another_version_is_refused(cluster, monkeypatch):
    monkeypatch.setattr("rlprune.executors.ray.__version__", "0.0.1")
    with pytest.raises(OSError, match=rf"a machine of the cluster has rlprune {__version__}, this one 0.0.1: install the same"):
        list(executors().load("ray").execute(jobs.square, [1], 1))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("gpu=2", "--set executor.gpu=2: gpu: got 2; must be at most 1"),
        ("state=here", '--set executor.state=here: state: got "here"; must be a whole path, say /shared/states, or empty'),
        ("address=127.0.0.1:1", "--executor: ray cannot be used: OSError: no cluster is at 127.0.0.1:1: Connection refused"),
        ("adress=auto", "--set executor.adress=auto: adress: no such key; did you mean 'address'?"),
    ],
)
def test_what_cannot_be_an_option_is_refused(words, told):
    command = [sys.executable, "-m", "rlprune.run", "cartpole", "--dry-run", "--executor", "ray", "--set", f"executor.{words}"]
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert line.startswith(told)


# -- a cluster of its own ----------------------------------------------------------------------------------------------


def started(out, *words):
    """Start a run of the command line, and return it when a first worker trains, with all processes below it."""
    command = [sys.executable, "-m", "rlprune.run", "cartpole", "--profile", "smoke", "--pruners", "Dense", "--seeds", "1"]
    given = [
        *(word for override in LONG for word in ("--set", override)),
        "--set",
        "recipe.budget=1000000",
        "--set",
        "recipe.epochs=2500",
    ]
    command += [*given, "--executor", "ray", "--jobs", "1", "--out", out, *words]
    with (out.parent / "told").open("w") as told:
        run = subprocess.Popen(command, stdout=told, stderr=told, start_new_session=True)
    within = time.monotonic() + 120
    while not list(out.glob("checkpoints/*")) and run.poll() is None and time.monotonic() < within:
        time.sleep(0.2)
    below = psutil.Process(run.pid).children(recursive=True)
    return run, below


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_all_of_a_cluster_of_ones_own(number, tmp_path):
    before = set(Path(tempfile.gettempdir()).glob("rlp-ray-*"))
    run, below = started(tmp_path / "out")
    assert any(one.name().startswith("ray::_serve") for one in below)
    os.killpg(run.pid, number) if number == signal.SIGINT else run.send_signal(number)
    assert run.wait(60) == 130
    assert "Go on with:" in (tmp_path / "told").read_text()
    assert wait_until(lambda: not any(alive(one.pid) for one in below))
    assert not set(Path(tempfile.gettempdir()).glob("rlp-ray-*")) - before


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_no_workers(tmp_path):
    run, below = started(tmp_path / "out")
    workers = [one for one in below if one.name().startswith("ray::_serve")]
    assert workers
    run.kill()
    run.wait()
    assert wait_until(lambda: not any(alive(one.pid) for one in workers))
