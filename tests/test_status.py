"""``rlprune status``: of a run that is there, one that was killed, one that is complete, and of an older folder."""

import json
import os
import socket
import subprocess
import sys
from datetime import time as clock

import pytest
from jobs import wait_until

import rlprune
from rlprune.__main__ import main
from rlprune.bench.ahead import Ahead, Known
from rlprune.bench.matrix import cells
from rlprune.bench.status import PLAN, RUNNING, Board, plan, read
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import Epoch, Finished, Started
from rlprune.store import Store

RUN = ["run", "cartpole", "--profile", "smoke", "--pruners", "Dense", "--jobs", "1", "--set", "recipe.evaluation_games=1"]
ABOUT = {
    "title": "CartPole",
    "profile": "smoke",
    "command": "rlprune run cartpole",
    "executor": "local",
    "options": {},
    "jobs": "jobs",
}


@pytest.fixture
def every():
    return cells(load_suite("cartpole", "smoke", ["solo=9"], {"pruners": "Dense,SNIP", "seeds": "2"}), "cpu")


@pytest.fixture
def out(tmp_path, every):
    plan(tmp_path, every, ABOUT, workers=2)
    return tmp_path


def known(every):
    found = Known()
    ahead = Ahead(every, 2, found)
    for cell in every:
        found.add(ahead._due[cell.id], 10.0)
    return found


def test_what_runs_is_told_with_its_worker_and_epoch(out, every):
    board = Board(out, Ahead(every, 2, known(every)))
    board(Started(every[0], "process 7 on node1", 1))
    assert wait_until(lambda: list(out.glob(f"{RUNNING}/*.json")))
    board(Epoch(every[0], 3, 4, {}))
    board(Started(every[1], "process 8 on node2", 2))
    board(Finished(every[1], None))
    (file,) = out.glob(f"{RUNNING}/*.json")
    assert wait_until(lambda: "3, 4]" in file.read_text())
    found = read(out, {every[1].id: ("failed", "the loss is nan")}, Known)
    assert (found.state, found.title) == ("running", "CartPole, profile smoke")
    assert (found.counts["failed"], found.counts["running"], found.counts["missing"]) == (1, 1, 2)
    (one,) = found.runs
    assert (one.name, one.where, one.trained, one.of) == ("cartpole-v1 Dense seed 0", "process 7 on node1", 3, 4)
    assert found.left == 20
    assert found.failed == [("cartpole-v1 SNIP 0.9 seed 0", "the loss is nan")]
    board.close()
    assert not (out / RUNNING).exists()


def test_a_run_runs_before_its_first_worker_does(out, every):
    board = Board(out, Ahead(every, 2, known(every)))
    found = read(out, {}, Known)
    assert (found.state, found.counts["missing"], found.left) == ("running", 4, 20)
    board.close()
    assert read(out, {}, Known).state == "stopped"


def test_a_run_that_was_killed_is_stopped_and_its_time_is_that_of_stored_cells(out, every):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    mine = {"process": int(ended.stdout), "host": socket.gethostname(), "begun": "then", "at": "then", "left": 99.0}
    (out / RUNNING).mkdir()
    file = out / RUNNING / "killed.json"
    file.write_text(json.dumps({**mine, "cells": {every[1].id: ["process 7", "then", 2, 4]}}))
    found = read(out, {every[0].id: ("done", ""), "ffff": ("done", "")}, lambda: known(every))
    assert (found.state, found.outlived, found.runs) == ("stopped", 0, [])
    assert found.left == 20, "three cells of ten seconds each, two at once"
    assert (found.counts["done"], found.counts["missing"], found.counts["others"]) == (1, 3, 1)
    Board(out, Ahead(every, 2, Known())).close()
    assert not (out / RUNNING).exists(), "the next run removes what that one left"


def test_what_another_command_began_and_nobody_ended_is_told(out, every, capsys):
    (out / "checkpoints").mkdir()
    for name in (f"{every[0].id}.pt", "ffff.pt", "ffff.before.pt", "eeee.pt", "eeee.safetensors"):
        (out / "checkpoints" / name).touch()
    found = read(out, {"eeee": ("done", "")}, Known)
    assert (found.counts["others"], found.counts["begun"]) == (1, 1)
    with Store(out / "results.sqlite"):
        assert main(["status", str(out)]) == 0
    assert "; 2 begun by another command and not ended: it would go on with them" in capsys.readouterr().out


def test_runs_of_other_machines_are_there_until_they_say_that_they_ended(out, every):
    (out / RUNNING).mkdir()
    for number, host in enumerate(("node1", "node2")):
        theirs = {"process": 7, "host": host, "begun": "then", "at": "now", "left": 5.0 + number}
        (out / RUNNING / f"{host}.json").write_text(json.dumps({**theirs, "cells": {every[number].id: [host, "then", 2, 4]}}))
    found = read(out, {}, Known)
    assert (found.state, found.left, len(found.runs)) == ("running", 5.0, 2)
    assert found.by == [f"process 7 on node{number}, begun then, last heard of now" for number in (1, 2)]
    board = Board(out, Ahead(every, 2, Known()))
    board.close()
    for file in out.glob(f"{RUNNING}/*.json"):
        file.unlink()
    assert read(out, {}, Known).state == "stopped"


def test_a_sweep_is_told_complete_and_reads_only(tmp_path, capsys):
    assert main([*RUN, "--set", "recipe.budget=160", "--set", "recipe.epochs=2", "--out", str(tmp_path)]) == 0
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    capsys.readouterr()
    assert main(["status", str(tmp_path)]) == 0
    first, counts = capsys.readouterr().out.splitlines()
    assert first.startswith(f"CartPole, profile smoke, in {tmp_path}: complete, by process {os.getpid()} on ")
    assert counts == "1 done, 0 missing"
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before
    (tmp_path / PLAN).unlink()
    assert main(["status", str(tmp_path)]) == 0
    first, counts = capsys.readouterr().out.splitlines()
    assert "it has no plan, being merged, of an older rlprune or not begun" in first
    assert counts == "1 done"


def busy(folder):
    return [file for file in folder.glob(f"{RUNNING}/*.json") if '"cells": {"' in file.read_text(encoding="utf-8")]


def test_it_works_while_a_run_writes(tmp_path, capsys):
    words = [*RUN, "--set", "recipe.budget=4000000", "--set", "recipe.epochs=1000", "--out", str(tmp_path)]
    path = os.pathsep.join([os.path.dirname(os.path.dirname(rlprune.__file__)), *sys.path])
    run = subprocess.Popen(
        [sys.executable, "-m", "rlprune", *words], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(6):  # a machine may be busy
            wait_until(lambda: busy(tmp_path) or run.poll() is not None)
        assert main(["status", str(tmp_path)]) == 0
        told = capsys.readouterr().out
        assert f": running, by process {run.pid} on " in told
        assert "0 done, 1 running, 0 missing" in told
        assert "cartpole-v1 Dense seed 0" in told
    finally:
        run.terminate()
        run.wait(60)
    assert main(["status", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert ": stopped, by process" in told
    assert "go on with:\n  rlprune run cartpole" in told
    with Store(tmp_path / "results.sqlite", create=False) as store:
        assert store.outcomes() == {}


def test_another_process_of_the_same_number_is_not_the_run(out, every):
    """In a container that was killed and started again every process had its number again: killed runs were running."""
    with Store(out / "results.sqlite"):
        pass
    board = Board(out, Ahead(every, 2, Known()))
    board.close()
    (out / RUNNING).mkdir(exist_ok=True)
    mine = {"process": os.getpid(), "host": socket.gethostname(), "begun": "then", "at": "now", "left": 5.0, "cells": {}}
    for born, state in ((board._mine["born"], "running"), ("", "running"), ("another boot 77", "stopped")):
        (out / RUNNING / "mine.json").write_text(json.dumps({**mine, "born": born}))
        assert read(out, {}, Known).state == (state if sys.platform == "linux" else "running")


def test_cells_of_which_the_same_is_told_are_one_line(out, every, capsys):
    """A fleet of forty was forty lines."""
    with Store(out / "results.sqlite"):
        pass
    (out / RUNNING).mkdir()
    mine = {"process": os.getpid(), "host": socket.gethostname(), "begun": "then", "at": "now", "left": 5.0}
    cells = {cell.id: ["process 7", "then", epoch, 4] for cell, epoch in zip(every, (2, 2, 1, 2), strict=True)}
    (out / RUNNING / "mine.json").write_text(json.dumps({**mine, "cells": cells}))
    assert main(["status", str(out)]) == 0
    told = capsys.readouterr().out.splitlines()
    lines = [" ".join(line.split()) for line in told[told.index("running:") + 1 :]]
    names = read(out, {}, Known).runs
    assert lines == [
        f"{names[0].name} and 2 more epoch 2 of 4 since then process 7",
        f"{names[2].name} epoch 1 of 4 since then process 7",
    ]


def test_options_of_an_executor_are_kept_whatever_they_are(out, every):
    plan(out, every, {**ABOUT, "executor": "slurm", "options": {"time": clock(4, 30), "cluster": "local"}}, workers=2)
    assert json.loads((out / PLAN).read_text())["options"] == {"time": "04:30:00", "cluster": "local"}
    assert read(out, {}, Known).state == "stopped"


def test_a_folder_without_results_is_told_so(tmp_path, capsys):
    assert main(["status", str(tmp_path / "nowhere")]) == 2
    assert "has no results.sqlite" in capsys.readouterr().err


@pytest.mark.parametrize(
    "odd", ['{"host": "HOST"}', "[]", '{"host": "HOST", "process": "x", "begun": 1, "at": 1, "left": 1, "cells": {}}']
)
def test_files_that_say_less_than_they_have_to_are_as_none(out, every, odd, capsys):
    """They were taken for damage of results.sqlite, and would have stopped a run."""
    with Store(out / "results.sqlite"):
        pass
    (out / RUNNING).mkdir()
    (out / RUNNING / "a.json").write_text(odd.replace("HOST", socket.gethostname()))
    assert main(["status", str(out)]) == 0
    assert "stopped" in capsys.readouterr().out
    told = json.loads((out / PLAN).read_text())
    for less in ({"cells": [[1, 2]]}, {"kinds": []}):
        (out / PLAN).write_text(json.dumps({**told, **less}))
        assert main(["status", str(out)]) == 0
        assert "it has no plan" in capsys.readouterr().out
    Board(out, Ahead(every, 2, known(every))).close()
    assert not (out / RUNNING / "a.json").exists()
