"""Kill -9 of whatever runs, at moments that a seed gives: nothing finished is lost, nothing is left over, rows are the same.

Twenty of them: ``python -m pytest tests/test_kills.py -m slow``.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from jobs import wait_until

from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import epochs_of
from rlprune.store import Store, StoreError

SUITE = """
title = "Killed"
tasks = ["cartpole-v1", "vgg-small-shapes", "prose-psmm-small"]
pruners = ["SNIP", "CroP-S", "EarlyCroP-S"]
sparsities = [0.9]
seeds = 2
solo = 1
task.cartpole-v1 = { budget = 6_400, epochs = 8, widths = [32, 32], scoring_steps = 160, evaluation_games = 2 }
task.vgg-small-shapes = { budget = 4, train_images = 128, batch_size = 32, scoring_batches = 1 }
task.prose-psmm-small = { budget = 4, train_tokens = 4_000, hidden = 16, scoring_batches = 1 }
[profiles.quick]
[profiles.smoke]
tasks = ["cartpole-v1"]
pruners = ["SNIP"]
"""

RUN = """
import os, sys
from rlprune import run
from rlprune.bench import progress

class Noted(progress.Lines):
    def __call__(self, news):
        super().__call__(news)
        if isinstance(news, progress.Epoch):
            os.write(notes, f"{news.cell.id} {news.trained}\\n".encode())

notes = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
progress.Lines = Noted
sys.exit(run.main(sys.argv[2:]))
"""
"""A run that notes each epoch it hears of."""

MARK = "RLPRUNE_TEST_OF_KILLS"


class Sweep:
    """A run of the suite in a session of its own, started as often as it takes."""

    def __init__(self, place, profile, mark):
        self.out, self.notes, self.temporary = place / "out", place / "notes", place / "tmp"
        self.temporary.mkdir(parents=True)
        (place / "killed.toml").write_text(SUITE)
        words = [place / "killed.toml", "--profile", profile, "--jobs", "2", "--device", "cpu", "--out", self.out]
        self._command = [sys.executable, "-c", RUN, self.notes, *words]
        own = {MARK: mark, "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"}
        self._environment = {**os.environ, **own, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._marked = f"{MARK}={mark}\0".encode()

    def start(self):
        return subprocess.Popen(
            self._command,
            env=self._environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self):
        """Return the command lines of all processes of this run that are alive, orphans too, by their ids."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if self._marked in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_text()
        return found

    def victims(self, run):
        """Return who could be killed: what workers fork from and workers, by their ids."""
        kinds = {"forkserver": [], "worker": []}
        for pid, command in self.processes().items():
            with suppress(OSError):
                parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                if "multiprocessing.forkserver" in command:
                    kinds["forkserver" if parent == run.pid else "worker"].append(pid)
        return kinds

    def epochs(self):
        """Return the epochs that were heard of, in order, by the cell."""
        heard = {}
        for line in self.notes.read_text().splitlines() if self.notes.exists() else []:
            cell, trained = line.split()
            heard.setdefault(cell, []).append(int(trained))
        return heard

    def finished(self):
        with suppress(FileNotFoundError, StoreError), Store(self.out / "results.sqlite", create=False) as store:
            return store.finished()
        return set()

    def rows(self):
        """Return what does not depend on the clock of every row, by the cell."""
        timed = ("seconds", "joules", "co2", "memory_peak", "resumed")

        def lasting(values):
            return {name: value for name, value in values.items() if not any(word in name for word in timed)}

        return {
            row.id: (row.status, row.config, row.layers, lasting(row.values), list(map(lasting, row.epochs)))
            for row in self.stored()
        }

    def stored(self):
        with Store(self.out / "results.sqlite", create=False) as store:
            return store.rows()

    def networks(self):
        return {file.name: file.read_bytes() for file in (self.out / "checkpoints").iterdir()}


def kill(sweep, run, kind):
    """Kill somebody; say whether the run is over."""
    if kind in ("worker", "forkserver"):
        while run.poll() is None and not sweep.victims(run)[kind]:
            time.sleep(0.02)
        with suppress(ProcessLookupError, IndexError):
            os.kill(sweep.victims(run)[kind][-1], signal.SIGKILL)
    else:
        with suppress(ProcessLookupError):
            (os.killpg if kind == "group" else os.kill)(run.pid, signal.SIGKILL)
        run.wait()
    return run.poll() is not None


def killed(place, profile, kinds, seed):
    """Run the suite undisturbed, and beside it with a kill of each kind; compare them, and return what happened in a line."""
    chance = random.Random(seed)
    whole, sweep = (Sweep(place / name, profile, f"{os.getpid()}-{name}") for name in ("whole", "killed"))
    undisturbed, run = whole.start(), sweep.start()
    of = sum(map(epochs_of, cells(load_suite(str(place / "whole/killed.toml"), profile), "cpu")))
    moments = sorted(chance.uniform(0, of - 1) for _ in kinds)
    waits = [chance.uniform(0, 0.3) for _ in kinds]
    finished, orphaned, starts = set(), 0.0, 1
    for moment, wait, kind in zip(moments, waits, kinds, strict=True):
        while sum(map(max, sweep.epochs().values())) < moment and run.poll() is None:
            time.sleep(0.005)
        time.sleep(wait)
        if kill(sweep, run, kind):
            run.communicate()
            began = time.monotonic()
            assert wait_until(lambda: not sweep.processes()), f"orphans after a kill of {kind}: {sweep.processes()}"
            orphaned = max(orphaned, time.monotonic() - began)
            finished, before = sweep.finished(), finished
            assert before <= finished, f"a kill of {kind} lost finished cells"
            run, starts = sweep.start(), starts + 1
    for _ in range(5):  # a cell whose worker was killed twice has failed, and goes on in the next run
        printed = run.communicate()[0]
        assert "Traceback" not in printed
        if run.returncode == 0:
            break
        run, starts = sweep.start(), starts + 1
    assert run.returncode == 0, printed
    printed = undisturbed.communicate()[0]
    assert undisturbed.returncode == 0, printed
    repeated = [epochs for epochs in sweep.epochs().values() if any(one >= other for one, other in pairwise(epochs))]
    assert not repeated, "an epoch that was saved was trained again"
    assert sweep.rows() == whole.rows()
    assert sweep.networks() == whole.networks()
    files = [sorted(str(file.relative_to(one.out)) for file in one.out.rglob("*")) for one in (whole, sweep)]
    assert files[0] == files[1]
    assert not [*sweep.processes(), *whole.processes()]
    assert not [*sweep.temporary.iterdir(), *whole.temporary.iterdir()], "left behind"
    resumed = sum(row.values.get("resumed", 0) for row in sweep.stored())
    after = ", ".join(f"{moment:.0f} {kind}" for moment, kind in zip(moments, kinds, strict=True))
    of_what = f"seed {seed}, {len(whole.rows())} cells of {of} epochs, kills after epoch {after}"
    return (
        f"{of_what}: {starts} starts, {resumed:.0f} cells went on from a checkpoint, no saved epoch was trained again, "
        f"all rows and networks are the same, no process outlived its run by more than {orphaned:.2f} s"
    )


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for as Linux shows them")
@pytest.mark.parametrize(
    ("profile", "kills", "seed"), [("smoke", 1, 1), pytest.param("quick", 5, 2, marks=pytest.mark.slow)], ids=["few", "twenty"]
)
def test_kills_lose_nothing_and_leave_nothing(profile, kills, seed, tmp_path, capsys):
    kinds = kills * ["worker", "forkserver", "parent", "group"]
    random.Random(seed).shuffle(kinds)
    line = killed(tmp_path, profile, kinds, seed)
    with capsys.disabled():
        sys.stdout.write(f"\n{line}\n")
