"""Sweeps in shards, and their runs joined: the rows of the sweep in one piece, whatever the order; a disagreement is told."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from itertools import permutations

import pytest
from rows import FAILED, SKIPPED, row, rows

from rlprune.__main__ import main
from rlprune.bench.matrix import Shard, cells
from rlprune.bench.status import plan
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import fleets, sweep
from rlprune.executors import Begun, Returned
from rlprune.merge import Conflict, merge, planned
from rlprune.store import Store

SUITE = load_suite("cartpole", "smoke", options={"pruners": "Dense,SNIP,CroP-S,Random-U", "sparsities": ".8,.9", "seeds": "30"})


# -- shards --------------------------------------------------------------------------------------------------------


def test_shards_are_a_partition_that_nothing_but_an_id_decides():
    planned = cells(SUITE, "cpu")
    shards = [{cell.id for cell in planned[::-1] if cell in Shard(number, 8)} for number in range(1, 9)]
    assert set().union(*shards) == {cell.id for cell in planned}
    assert sum(map(len, shards)) == len(planned) == 210
    assert all(15 <= len(shard) <= 40 for shard in shards)  # 26 each, and five standard deviations of 4.8 more or fewer
    assert Shard.read(" 2/8 ") == Shard(2, 8)


def test_a_shard_is_the_same_in_every_process():
    script = (
        "from rlprune.bench.matrix import *; from rlprune.bench.suite import load_suite; s = load_suite('cartpole', 'smoke'); "
    )
    script += "print(*sorted(c.id for c in cells(s, 'cpu') if c in Shard(1, 2)))"
    path = os.pathsep.join(sys.path)
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert found.pop().split()


@pytest.mark.parametrize("text", ["0/8", "9/8", "2", "2/", "/8", "a/b", "2/8/1", "-1/8", "1/0", "1/999999", ""])
def test_what_names_no_shard_is_refused(text, capsys):
    with pytest.raises(ValueError, match="must be N/M"):
        Shard.read(text)
    assert main(["run", "cartpole", "--dry-run", f"--shard={text}"]) == 2
    assert "--shard: got" in capsys.readouterr().err


def test_a_dry_run_shows_its_shard_and_has_a_folder_of_its_own(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = []
    for number in (1, 2):
        assert main(["run", "cartpole", "--profile", "smoke", "--seeds", "4", "--dry-run", "--shard", f"{number}/2"]) == 0
        told = capsys.readouterr().out
        assert f"profile smoke, shard {number} of 2, device cpu, results in results/cartpole-{number}-of-2\n" in told
        sizes.append(int(told.partition(" cells, 0 done")[0].split()[-1]))
    assert sum(sizes) == 16
    assert not list(tmp_path.iterdir())


# -- the law ---------------------------------------------------------------------------------------------------------


def here(work, jobs, workers, preload):
    """Run jobs in this process."""
    for job in jobs:
        yield Begun(job)
        yield Returned(job, work(job, lambda values: None))


def swept(planned, suite, out):
    with Store(out / "results.sqlite") as store:
        ended = sweep(planned, store, suite=suite, jobs=1, out=out, execute=here, listen=lambda news: None)
    assert (ended.done, ended.failed) == (len(planned), [])
    return out


def of_the_machine(name):
    return name.endswith(("_seconds", "_joules", "_bytes", "_grams"))


def numbers(folder):
    """What a cell is and has learned, its times left out."""
    with Store(folder / "results.sqlite", create=False) as store:
        found = store.rows()
    return {
        one.id: (
            one.pruner,
            one.sparsity,
            one.seed,
            one.status,
            one.config,
            {name: value for name, value in one.values.items() if not of_the_machine(name)},
            list(one.epochs),
            one.layers,
            (folder / "checkpoints" / f"{one.id}.safetensors").read_bytes(),
        )
        for one in found
    }


def test_three_shards_joined_have_the_rows_of_the_sweep_in_one_piece(tmp_path):
    sizes = ["budget=160", "epochs=2", "widths=[8]", "environments=4", "scoring_steps=40", "evaluation_games=1"]
    options = {"pruners": "Dense,SNIP,CroP-S", "sparsities": ".5", "seeds": "4"}
    suite = load_suite("cartpole", "smoke", [f"recipe.{size}" for size in sizes], options)
    every = cells(suite, "cpu")
    parts = [[cell for cell in every if cell in Shard(number, 3)] for number in (1, 2, 3)]
    assert all(parts)
    assert {len(fleet) for part in parts for fleet in fleets(part, 1)} == {1, 3, 5}  # of the whole: 1 and 9
    whole = swept(every, suite, tmp_path / "whole")
    folders = [swept(part, suite, tmp_path / f"{number}") for number, part in enumerate(parts)]
    assert main(["merge", *map(str, folders), "--to", str(tmp_path / "joined")]) == 0
    assert numbers(tmp_path / "joined") == numbers(whole)


def test_a_report_over_some_shards_says_which_are_not_there(tmp_path, capsys):
    suite = load_suite("cartpole", "smoke")
    about = {"title": suite.title, "profile": "smoke", "command": "rlprune run cartpole"}
    folders = [stored(tmp_path / str(number), SOME[number - 1 : number], files=False) for number in (1, 2, 3)]
    for number, folder in enumerate(folders, 1):
        plan(folder, cells(suite, "cpu")[:1], {**about, "shard": [number, 3]}, workers=1)
    for some, told in (
        (folders[1:2], "CartPole, profile smoke: shard 2 of 3; "),
        (folders[::2], "CartPole, profile smoke: shards 1 and 3 of 3; "),
        (folders, None),
    ):
        assert main(["report", *map(str, some), "--out", str(tmp_path / "out")]) == 0
        page, printed = (tmp_path / "out" / "report.html").read_text(), capsys.readouterr().err
        assert told is None or (told in page and told in printed)
        assert ("cells of the others are not here" in page) == (told is not None)
    assert main(["merge", *map(str, folders[1:]), "--to", str(folders[0])]) == 0
    assert main(["report", str(folders[0])]) == 0
    assert "cells of the others" not in (folders[0] / "report.html").read_text(), "it is all of them now"


def test_all_runs_that_are_not_there_are_told_at_once(tmp_path, capsys):
    there = stored(tmp_path / "a", SOME[:1])
    assert main(["merge", str(there), str(tmp_path / "b"), str(tmp_path / "c"), "--to", str(tmp_path / "to")]) == 2
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == [str(tmp_path / name) for name in "bc"]


# -- runs joined -----------------------------------------------------------------------------------------------------


def named(one):
    """The row under an id as cells have it."""
    return replace(one, id=sha256(one.id.encode()).hexdigest()[:16], epochs=list(one.epochs))


SOME = [named(one) for one in rows(2, pruners=("Dense", "SNIP"), sparsities=(0.9,))]


def stored(folder, some, files=True):
    with Store(folder / "results.sqlite") as store:
        store.save(*some)
    (folder / "checkpoints").mkdir(exist_ok=True)
    for one in some if files else ():
        for ending in ("safetensors", "npz"):
            (folder / "checkpoints" / f"{one.id}.{ending}").write_text(f"{ending} of {one.id}")
    return folder


def found(folder):
    with Store(folder / "results.sqlite", create=False) as store:
        return sorted(store.rows(), key=lambda one: one.id), {
            file.name: file.read_text() for file in folder.glob("checkpoints/*")
        }


def joined(folders, to):
    return merge(planned(folders, to, pytest.fail), to)


def test_commands_that_are_told_can_be_typed_where_folders_have_blanks(tmp_path, capsys):
    """As they stood, a shell took one folder for several."""
    run = stored(tmp_path / "my run", [row()], files=False)
    told = []
    for words in (
        ["pack", str(run), str(tmp_path / "my rows.xz")],
        ["merge", str(run), "--to", str(tmp_path / "my copy")],
        ["status", str(run)],
    ):
        assert main(words) == 0
        told.append(capsys.readouterr().out)
    assert main(["run", str(run)]) == 2
    told.append(capsys.readouterr().err)
    for said, what in zip(told, ("rows.xz", "copy", "run", "run"), strict=True):
        assert f"'{tmp_path}/my {what}'" in said


def test_merging_depends_on_no_order_and_again_changes_nothing(tmp_path):
    later = replace(
        SOME[1], ended="2027-01-01T00:00:00+00:00", machine={"cpu": "another"}, values={**SOME[1].values, "wall_seconds": 1.0}
    )
    parts = [stored(tmp_path / "a", SOME[:2]), stored(tmp_path / "b", [later, SOME[2]]), stored(tmp_path / "c", SOME[3:])]
    for number, order in enumerate(permutations(parts)):
        to = tmp_path / f"to{number}"
        assert joined(order, to).cells == 4
        assert found(to)[0] == sorted(SOME, key=lambda one: one.id)
        assert len(found(to)[1]) == 8
        before = (to / "results.sqlite").read_bytes()
        again = joined(order, to)
        assert (again.cells, again.shared, again.files) == (4, 4, 0)
        assert (to / "results.sqlite").read_bytes() == before
    one_by_one = tmp_path / "one"
    for part in parts[::-1]:
        joined([part], one_by_one)
    assert found(one_by_one) == found(tmp_path / "to0")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"values": {**SOME[1].values, "return_greedy": 7.0}}, f"return_greedy is {SOME[1].values['return_greedy']!r} in "),
        (
            {"values": {name: value for name, value in SOME[1].values.items() if name != "macs"}},
            "macs is 33410.0 in .* and absent in",
        ),
        ({"config": {**SOME[1].config, "seed": 9}}, "config is other in"),
        ({"status": "skipped", "error": "x"}, "status is 'done' in .* and 'skipped' in"),
        ({"epochs": SOME[1].epochs[:-1]}, "epochs is other in"),
        ({"layers": {"a": {"kept": 1.0, "dense": 2.0}}}, "layers is other in"),
    ],
)
def test_a_cell_that_two_runs_finished_otherwise_is_told_and_nothing_written(change, told, tmp_path, capsys):
    first, second = stored(tmp_path / "a", SOME[:2]), stored(tmp_path / "b", [replace(SOME[1], **change)])
    with pytest.raises(Conflict, match=rf"cartpole-v1 Dense 0 seed 1 \({SOME[1].id}\): {told}"):
        planned([first, second], tmp_path / "to", pytest.fail)
    assert main(["merge", str(first), str(second), "--to", str(tmp_path / "to")]) == 2
    assert SOME[1].id in capsys.readouterr().err
    assert not (tmp_path / "to").exists()
    untouched = found(first)
    assert main(["merge", str(second), "--to", str(first)]) == 2
    assert found(first) == untouched


def test_a_failure_gives_way_to_what_is_finished_and_a_state_comes_along(tmp_path):
    failed = replace(named(FAILED), id=SOME[0].id)
    alone = replace(named(FAILED), id="f" * 16)
    first, second = stored(tmp_path / "a", [failed, alone], files=False), stored(tmp_path / "b", [*SOME, named(SKIPPED)])
    for name in (SOME[0].id, alone.id, "e" * 16):
        (first / "checkpoints" / f"{name}.pt").write_text("a state")
    (first / "checkpoints" / f"{alone.id}.pt.77.new").touch()
    joined([first, second], tmp_path / "to")
    kept, files = found(tmp_path / "to")
    assert {one.id: one.status for one in kept} == {
        **{one.id: "done" for one in SOME},
        alone.id: "failed",
        named(SKIPPED).id: "skipped",
    }
    assert {name for name in files if ".pt" in name} == {f"{alone.id}.pt", f"{'e' * 16}.pt"}


def test_a_cell_with_a_gap_in_its_clock_gives_way(tmp_path):
    gap = replace(SOME[0], ended="2000-01-01", values={**SOME[0].values, "resumed": 1.0})
    joined([stored(tmp_path / "a", [gap]), stored(tmp_path / "b", SOME[:1])], tmp_path / "to")
    assert found(tmp_path / "to")[0] == SOME[:1]


def test_a_file_in_the_place_of_a_folder_is_told_by_its_option(tmp_path, capsys):
    stored(tmp_path / "one", [row("SNIP", 0.9, 0)])
    (tmp_path / "file").touch()
    assert main(["merge", str(tmp_path / "one"), "--to", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith(f"--to: {tmp_path / 'file'}: cannot be written to")


def test_a_newer_schema_is_refused(tmp_path, capsys):
    schema = 7
    folders = [stored(tmp_path / "a", SOME[:2]), stored(tmp_path / "b", SOME[2:])]
    with closing(sqlite3.connect(folders[1] / "results.sqlite")) as connection, connection:
        connection.execute(f"PRAGMA user_version = {schema}")
    assert main(["merge", *map(str, folders), "--to", str(tmp_path / "to")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"results.sqlite has results of schema {schema}" in line
    assert not (tmp_path / "to").exists()


def test_another_suite_is_refused(tmp_path, capsys):
    folders = [stored(tmp_path / "a", SOME[:2]), stored(tmp_path / "b", [replace(one, suite="rl") for one in SOME[2:]])]
    assert main(["merge", *map(str, folders), "--to", str(tmp_path / "to")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"only runs of one suite are joined: {folders[0]} is of cartpole, {folders[1]} is of rl")
    assert not (tmp_path / "to").exists()


def test_what_is_joined_is_told(tmp_path, capsys):
    folders = [stored(tmp_path / "a", SOME[:2]), stored(tmp_path / "b", SOME[1:])]
    assert main(["merge", *map(str, folders), "--to", str(tmp_path / "to")]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'to'}: 4 cells, 1 of them finished in several runs with the same values; 8 files copied. "
        f"Their report: rlprune report {tmp_path / 'to'}\n"
    )
    assert row("Dense", seed=1).values == found(tmp_path / "to")[0][sorted(SOME, key=lambda one: one.id).index(SOME[1])].values
