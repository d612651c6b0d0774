"""Results as people read them: as tables, one cell at a time with the command that runs it again, packed into a file."""

import json
import lzma
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import schema2
from rows import FAILED, SKIPPED, row, rows
from test_merge import numbers, swept

import rlprune
from rlprune import packed
from rlprune.__main__ import main
from rlprune.again import command
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import identity
from rlprune.costs import provenance
from rlprune.report.comparable import gathered
from rlprune.report.sound import sound
from rlprune.rows import Row
from rlprune.run import add_arguments, checked, only
from rlprune.show import _elsewhere, found, shown_as
from rlprune.store import Store

SOME = [*rows(2, pruners=("Dense", "SNIP", "CroP-S"), sparsities=(0.9,)), FAILED, SKIPPED]
TINY = ["recipe.budget=160", "recipe.epochs=2", "recipe.evaluation_games=1"]


def stored(folder, some=SOME):
    with Store(folder / "results.sqlite") as store:
        store.save(*some)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of three tiny cells: one that Stable-Baselines3 trained and two of a fleet."""
    out = tmp_path_factory.mktemp("reading") / "run"
    for engine, seeds in (("sb3", "0-0"), ("fleet", "1,2")):
        suite = load_suite("cartpole", "smoke", TINY, {"pruners": "SNIP", "sparsities": ".8", "seeds": seeds, "engine": engine})
        swept(cells(suite, "cpu"), suite, out)
    return out


# -- tables --------------------------------------------------------------------------------------------------------


def test_a_line_a_cell_holds_what_the_store_holds(tmp_path):
    found = rlprune.load_results(stored(tmp_path)).set_index("id")
    assert len(found) == len(SOME) == 8
    for one in SOME:
        line = found.loc[one.id]
        assert (line.task, line.suite, line.pruner, line.sparsity, line.seed) == (
            *(one.task, one.suite, one.pruner),
            *(one.sparsity, one.seed),
        )
        assert (line["versions.commit"], line["machine.cpu"], line["config.settings.floor"]) == ("5d3890a", "AMD EPYC 7763", 1)
        assert (line["labels.device"], line["judged.metric.name"]) == ("cpu", "return_greedy")
        assert {name: line[name] for name in one.values} == one.values
    assert np.isnan(found.loc[FAILED.id, "return_greedy"])
    assert np.isnan(found.loc["Dense-0.0-0", "scoring_seconds"]), "what was not measured is no zero"
    assert found.loc[FAILED.id, "error"] == "ValueError: the loss is <nan> after epoch 3"


def test_columns_have_kinds_to_compute_with(tmp_path):
    found = rlprune.load_results(stored(tmp_path))
    assert {str(found[name].dtype) for name in ("return_greedy", "scoring_seconds", "sparsity", "config.recipe.budget")} <= {
        *("float64", "int64")
    }
    assert {str(found[name].dtype) for name in ("task", "pruner", "status", "versions.torch", "machine.cpu")} == {"category"}
    assert found.seed.dtype.kind == "i"
    assert (found.ended - found.started).max() == pd.Timedelta(minutes=2)


def test_long_tables_are_keyed_by_cell(tmp_path):
    stored(tmp_path)
    epochs, layers = rlprune.load_results(tmp_path, epochs=True), rlprune.load_results(str(tmp_path), layers=True)
    assert len(epochs) == sum(len(one.epochs) for one in SOME)
    assert len(layers) == sum(len(one.layers) for one in SOME)
    snip = row("SNIP", 0.9, 1)
    mine = epochs[epochs.id == snip.id].drop(columns="id")
    assert mine.to_dict("records") == [dict(epoch) for epoch in snip.epochs]
    kept = layers[layers.id == snip.id].set_index("layer")
    assert list(kept.index) == list(snip.layers), "in the network's order"
    assert kept[["kept", "dense"]].to_dict("index") == snip.layers
    assert epochs.join(rlprune.load_results(tmp_path).set_index("id")[["pruner"]], on="id").pruner.notna().all()


def test_the_example_of_the_documentation_is_right(tmp_path, monkeypatch, capsys):
    stored(tmp_path / "results" / "cartpole")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    found: dict[str, pd.DataFrame] = {}
    exec(text.partition("```python\n")[2].partition("```")[0], found)
    assert (len(found["done"]), len(found["curves"])) == (6, sum(len(one.epochs) for one in SOME))
    assert "SNIP" in capsys.readouterr().out


def test_what_several_runs_have_counts_once(tmp_path):
    one, other = stored(tmp_path / "a"), stored(tmp_path / "b", SOME[:3])
    found = rlprune.load_results(one, other)
    assert len(found) == len(SOME)
    assert set(found["labels.run"]) == {str(one)}
    other = stored(tmp_path / "c", [replace(SOME[0], values={**SOME[0].values, "return_greedy": 1.0})])
    with pytest.warns(UserWarning, match="1 cell is there more than once"):
        assert len(rlprune.load_results(one, other)) == len(SOME) + 1
    with pytest.warns(UserWarning, match="1 cell is there more than once"):
        assert set(rlprune.load_results(one, other, layers=True)["labels.run"]) == {str(one), str(other)}


def test_what_two_runs_disagree_on_is_told(tmp_path):
    """One cell that ended otherwise in a second run, and all cells were there twice, without a word: four seeds of two."""
    other = [replace(one, values={**one.values, "return_greedy": 1.0}) if one is SOME[1] else one for one in SOME]
    first, second = stored(tmp_path / "a"), stored(tmp_path / "b", other)
    with pytest.warns(
        UserWarning, match=r"6 cells are there more than once: not all ended alike .*; labels\.run tells them apart"
    ):
        found = rlprune.load_results(first, second)
    assert len(found[found.status == "done"]) == 12


def test_a_cell_that_two_suites_share_is_no_disagreement(tmp_path):
    """It was told that not all had ended alike; warnings are errors here."""
    first, second = stored(tmp_path / "a"), stored(tmp_path / "b", [replace(one, suite="other") for one in SOME])
    assert len(rlprune.load_results(first, second)) == 2 * len(SOME)


def test_rows_of_one_run_are_looked_at_once(tmp_path):
    one, other = stored(tmp_path / "a"), stored(tmp_path / "b", SOME[:3])
    alone, together = gathered([one]), gathered([one, other])
    assert sound(alone) is alone
    assert sound(together) is not together, "names of folders may hold anything"
    assert sound(together) == together


def test_what_is_no_run_is_refused_and_an_empty_one_is_an_empty_table(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere: has no results\.sqlite"):
        rlprune.load_results(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"gone\.sqlite\.xz: there is no such file, nor folder"):
        rlprune.load_results(tmp_path / "gone.sqlite.xz")
    with pytest.raises(ValueError, match="name a folder"):
        rlprune.load_results()
    with pytest.raises(ValueError, match="one table at a time"):
        rlprune.load_results(tmp_path, epochs=True, layers=True)
    stored(tmp_path, [])
    assert (len(rlprune.load_results(tmp_path)), len(rlprune.load_results(tmp_path, layers=True))) == (0, 0)
    assert list(rlprune.load_results(tmp_path).columns[:2]) == ["id", "suite"]
    assert list(rlprune.load_results(tmp_path, epochs=True).columns) == ["id"]


def test_importing_rlprune_imports_neither_pandas_nor_torch():
    program = "import sys, rlprune; assert not {'pandas', 'torch', 'numpy'} & set(sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT)
    assert ended.returncode == 0


ROOT = Path(rlprune.__file__).parents[1]


# -- one cell ------------------------------------------------------------------------------------------------------


def test_the_printed_command_gives_the_same_numbers_in_company_or_alone(run, tmp_path, capsys):
    before = numbers(run)
    fleets = {one.id: one.config["fleet"] for one in gathered([run])}
    assert sorted(fleets.values()) == [False, True, True]
    for name in [next(cell for cell in fleets if fleets[cell] is fleet) for fleet in (False, True)]:
        assert main(["show", str(run), name[:8]]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  rlprune run")]
        words = shlex.split(line)[2:]
        request = checked(parsed(words))
        planned = only(cells(request.suite, request.device), words[words.index("--only") + 1])
        again = numbers(swept(planned, request.suite, tmp_path / name))
        assert again == {name: before[name]}


def parsed(words):
    from rlprune.run import Parser

    parser = Parser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_a_cell_is_shown_with_all_that_is_known_of_it(run, capsys):
    assert main(["show", str(run), "snip", ".8", "1"]) == 0
    told = capsys.readouterr().out
    (one,) = (one for one in gathered([run]) if one.seed == 1)
    assert told.startswith("cartpole-v1 SNIP 0.8 seed 1: done\n")
    for part in (
        *(one.id, "profile smoke", "budget 160 (default 500000)", "all by default", "in a fleet, on cpu", one.started),
        *(one.versions["torch"], one.machine["cpu"], "mlp_extractor.policy_net.0.weight", "return (greedy games)"),
        *(repr(one.values["return_greedy"]), "1 to 2", f"checkpoints/{one.id}.safetensors"),
    ):
        assert part in told
    assert main(["show", str(run), one.id, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {measure["name"]: measure["value"] for measure in document["measures"]} == one.values
    assert (document["config"], document["layers"], document["epochs"]) == (one.config, one.layers, list(one.epochs))
    assert document["changed"]["recipe.epochs"] == {"is": 2, "default": 30}
    assert shlex.split(document["again"])[-4:] == ["--only", one.id, "--out", f"results/{one.id}"]


def test_cells_of_one_name_are_told_apart_by_what_it_takes_and_no_more(tmp_path, capsys):
    recipes = [
        {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1},
        {"a": 2, "b": 2, "c": 2, "d": 2, "e": 1},
        {"a": 2, "b": 2, "c": 2, "d": 2, "e": 3},
    ]
    stored(
        tmp_path, [replace(SOME[0], id=f"{n}" * 16, config={**SOME[0].config, "recipe": one}) for n, one in enumerate(recipes)]
    )
    assert main(["show", str(tmp_path), SOME[0].pruner, str(SOME[0].sparsity), str(SOME[0].seed)]) == 2
    told = capsys.readouterr().err
    for n, one in enumerate(recipes):
        assert f"{f'{n}' * 16} (recipe.a {one['a']}, recipe.e {one['e']})" in told


def test_a_failed_cell_is_shown_with_its_traceback_and_other_versions_are_told(tmp_path, capsys):
    stored(tmp_path)
    assert main(["show", str(tmp_path), "imp", "0.98", "0"]) == 0
    told = capsys.readouterr().out
    assert "why       ValueError: the loss is <nan> after epoch 3\n" in told
    assert 'File "cell.py", line 12, in train' in told
    assert "no command trains it again here" in told
    assert "numbers may be others here: " in told
    assert "commit 5d3890a then" in told or "torch 2.15.0 then" in told


def test_a_cell_that_is_damaged_is_told_to_be(tmp_path, capsys):
    """It was "list index out of range"."""
    stored(tmp_path)
    with closing(sqlite3.connect(tmp_path / "results.sqlite")) as file, file:
        file.execute("UPDATE cells SET machine = 'x' WHERE id = ?", [SOME[0].id])
    assert main(["show", str(tmp_path), SOME[0].id]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"{tmp_path}: {SOME[0].id} is damaged, and cannot be shown"


def test_another_processor_is_told_before_other_versions():
    here = provenance.machine()["cpu"]
    elsewhere = replace(SOME[0], machine={"cpu": "Other", "cores": "8"}, versions={"torch": "0.1"})
    assert list(_elsewhere(elsewhere))[:2] == [("cpu", here), ("torch", provenance.versions()["torch"])]
    assert not list(_elsewhere(replace(SOME[0], machine={"cpu": here, "cores": "99"}, versions=provenance.versions())))


def test_whether_a_cell_had_company_is_told(tmp_path):
    one = SOME[0]
    fleet, unmeasured = (
        {**one.config, "fleet": True},
        {name: value for name, value in one.values.items() if name != "wall_seconds"},
    )
    assert "  alone, on " in shown_as(one, tmp_path, json=False)
    assert "  in a fleet of one, on " in shown_as(replace(one, config=fleet), tmp_path, json=False)
    assert "  in a fleet, on " in shown_as(replace(one, config=fleet, values=unmeasured), tmp_path, json=False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ffff"], 'none of its 8 cells is "ffff"'),
        (["snap", ".9", "0"], "did you mean 'SNIP'?"),
        (["SNIP", ".9"], "name a cell by its id, or by PRUNER SPARSITY SEED [TASK]"),
        (["SNIP", "x", "0"], "name a cell by its id, or by PRUNER SPARSITY SEED [TASK]"),
        (["SNIP-0.9"], "is 2 cells: SNIP-0.9-0 (seed 0); SNIP-0.9-1 (seed 1)"),
        (
            ["SNIP", ".9", "0", "acrobot-v1"],
            'is "SNIP .9 0 acrobot-v1"; of SNIP there are: tasks cartpole-v1; sparsities 0.9; seeds 0, 1',
        ),
        (
            ["snip", ".5", "0"],
            'none of its 8 cells is "snip .5 0"; of SNIP there are: tasks cartpole-v1; sparsities 0.9; seeds 0, 1',
        ),
        (
            ["snip", "90", "0"],
            'is "snip 90 0"; of SNIP there are: tasks cartpole-v1; sparsities 0.9; seeds 0, 1; did you mean 0.9?',
        ),
        (["zzzzz", ".5", "0"], 'is "zzzzz .5 0"; its pruners: CroP-S, Dense, '),
    ],
)
def test_what_is_no_cell_or_several_is_told_in_a_line(tmp_path, capsys, words, told):
    stored(tmp_path)
    assert main(["show", str(tmp_path), *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_a_pruners_name_alone_is_told_to_be_no_id(tmp_path):
    told = r'is "snip", an id; name a cell of a pruner by PRUNER SPARSITY SEED; of SNIP there are: tasks cartpole-v1; '
    with Store(tmp_path / "results.sqlite") as store:
        store.save(replace(row("SNIP", 0.9, 0), id="0123456789abcdef"))
        with pytest.raises(LookupError, match=told):
            found(store, ["snip"])


OWN = """
title = "Mine"
tasks = ["cartpole-v1"]
pruners = ["Dense", "SNIP, floor {floor}"]
sparsities = [0.5]
seeds = 1
branches = [1]
recipe = { epochs = 4 }
variant."SNIP, floor {floor}" = { of = "SNIP", floor = [2, 8] }
"""


@pytest.mark.parametrize("keeps", [True, False])
def test_a_command_is_found_for_every_cell_whatever_it_was_set_to(tmp_path, monkeypatch, keeps):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(OWN)
    sets = ["recipe.budget=2_000", "task.cartpole-v1.entropy=0.5", "pruning.start='rescaled'", "recipe.widths=[4, 4]", "solo=2"]
    suite = load_suite("mine.toml", overrides=sets, options={"seeds": "1,2", "sparsities": ".5,.25"})
    found = cells(suite, "cpu")
    assert len(found) == 12
    if not keeps:
        Path("mine.toml").unlink()
    for cell in found:
        words = command(identity(cell, suite), "out")
        request = checked(parsed(words[2:]))
        assert words[2] == "mine.toml" or not keeps
        assert [one.id for one in only(cells(request.suite, request.device), cell.id)] == [cell.id]


def test_the_command_of_a_cell_whose_costs_were_measured_measures_them_again():
    suite = load_suite("rl_full", "smoke")
    one = identity(cells(suite, "cpu")[0], suite)
    for values, told in (({"return_greedy": 500.0, "wall_seconds": 3.0}, True), ({"return_greedy": 500.0}, False), ({}, False)):
        done = Row(**{**vars(SOME[0]), **vars(one), "status": "done", "values": values})
        words = command(done, "out")
        assert ("solo=1" in words) is told
        request = checked(parsed(words[2:]))
        assert [cell.alone for cell in only(cells(request.suite, request.device), one.id)] == [told]


def test_a_command_names_the_data_that_need_not_be_here():
    suite = load_suite("resnet18_cifar10", "smoke", options={"seeds": "1"}, folder=Path("data"))
    suite = suite.model_copy(update={"fingerprints": dict.fromkeys(suite.tasks, "f" * 16)})
    cell = cells(suite, "cpu")[0]
    assert "data" in cell.config
    words = command(identity(cell, suite), "out")
    assert words[words.index("--data") + 1] == "data"


def test_a_cell_that_nothing_here_trains_is_told_so(tmp_path):
    suite = load_suite("cartpole", "smoke")
    one = identity(cells(suite, "cpu")[0], suite)
    changed = replace(one, id="0" * 16)
    with pytest.raises(ValueError, match="does not list it"):
        command(changed, "out")
    with pytest.raises(ValueError, match="no pruner is named 'Gone'"):
        command(replace(one, id="0" * 16, pruner="Gone", config={**one.config, "pruner": "Gone"}), "out")


# -- some cells ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "numbers"), [("3", (0, 1, 2)), ("2,5-7", (2, 5, 6, 7)), ("2-2", (2,)), ("4,", (4,)), (" 1 - 2 , 0", (1, 2, 0))]
)
def test_seeds_are_a_number_of_them_or_those_that_are_named(text, numbers):
    suite = load_suite("cartpole", "smoke", options={"seeds": text, "pruners": "Dense"})
    assert (tuple(suite.numbers), suite.seeds) == (numbers, len(numbers))
    assert [cell.seed for cell in cells(suite, "cpu")] == list(numbers)
    assert [cell.alone for cell in cells(suite, "cpu")] == [seed < suite.solo for seed in numbers]


def test_a_named_seed_is_the_cell_that_it_is_among_others():
    every, some = (load_suite("cartpole", "smoke", options={"seeds": text}) for text in ("6", "3,5-5"))
    assert {cell.id for cell in cells(some, "cpu")} == {cell.id for cell in cells(every, "cpu") if cell.seed in (3, 5)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("5-3", 'got "5-3"; must be the number of a seed, 0 to 9999, or a first and a last, say 5-9'),
        ("1,x", 'got "x"; must be the number of a seed'),
        ("1-2-3", 'got "1-2-3"; must be'),
        ("1,0-2", "1 is there twice"),
        (",", "names no seed"),
        ("12345,1", 'got "12345"; must be'),
        ("-3", "seeds: got -3; must be at least 1"),
    ],
)
def test_what_names_no_seeds_is_refused(text, told, capsys):
    assert main(["run", "cartpole", "--dry-run", f"--seeds={text}"]) == 2
    assert told.removeprefix("seeds: ") in capsys.readouterr().err


def test_only_the_cells_that_are_named_are_planned(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, *_, last = cells(load_suite("cartpole", "smoke"), "cpu")
    line = ["run", "cartpole", "--profile", "smoke", "--dry-run", "--only"]
    assert main([*line, f"{first.id[:9]}, {last.id.upper()}"]) == 0
    assert "2 cells, 0 done" in capsys.readouterr().out
    assert main([*line, "xyz,"]) == 2
    assert "--only: got 'xyz'; begins the id of none of these" in capsys.readouterr().err
    planned = cells(load_suite("cartpole", "smoke", options={"seeds": "20"}), "cpu")
    digits = max((cell.id[0] for cell in planned), key=[cell.id[0] for cell in planned].count)
    assert main([*line[:4], "--seeds", "20", *line[4:], digits]) == 2
    assert f"--only: '{digits}' begins the ids of" in capsys.readouterr().err
    assert main([*line, ""]) == 2


# -- one file ------------------------------------------------------------------------------------------------------


def test_a_packed_run_is_read_wherever_a_run_is(tmp_path, capsys):
    folder, file = stored(tmp_path / "run"), tmp_path / "run.sqlite.xz"
    assert main(["pack", str(folder), str(file)]) == 0
    assert "8 cells in" in capsys.readouterr().out
    assert gathered([file]) == gathered([folder])
    assert [list(one.layers) for one in gathered([file])] == [list(one.layers) for one in gathered([folder])]
    pd.testing.assert_frame_equal(rlprune.load_results(file), rlprune.load_results(folder))
    for line in (["show", str(file), "SNIP", ".9", "1"], ["status", str(file)]):
        assert main(line) == 0
    assert main(["merge", str(file), "--to", str(tmp_path / "merged")]) == 0
    assert gathered([tmp_path / "merged"]) == gathered([folder])
    capsys.readouterr()
    assert main(["export", str(file), "SNIP", ".9", "--to", str(tmp_path / "net.safetensors")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_packed_run_is_reported(tmp_path, monkeypatch):
    with Store(stored(tmp_path / "run", SOME[:1]) / "results.sqlite", create=False) as store:
        store.pack(tmp_path / "run.xz")
    monkeypatch.chdir(tmp_path)
    assert main(["report", "run.xz"]) == 0
    assert "Dense" in (tmp_path / "results" / "joint" / "report.html").read_text()


def test_the_same_rows_are_the_same_bytes_and_fewer(tmp_path):
    some = rows(10, pruners=("Dense", "SNIP"), sparsities=(0.9,))
    one, other = stored(tmp_path / "a", some), stored(tmp_path / "b", some[::-1])
    sizes = []
    for folder in (one, other):
        with Store(folder / "results.sqlite", create=False) as store:
            assert store.pack(tmp_path / f"{folder.name}.xz") == 20
        sizes.append(len(lzma.compress((folder / "results.sqlite").read_bytes(), preset=9)))
    with Store(tmp_path / "a.xz", create=False) as store:
        store.pack(tmp_path / "again.xz")
    packed_ = [(tmp_path / f"{name}.xz").read_bytes() for name in ("a", "b", "again")]
    assert packed_[0] == packed_[1] == packed_[2]
    lines = schema2.write(tmp_path / "lines.sqlite", some).read_bytes()  # of which packing alone saved a quarter
    assert len(packed_[0]) < min(min(sizes), 0.35 * len(lzma.compress(lines, preset=9)))


def test_a_run_goes_on_from_a_packed_one(run, tmp_path):
    assert main(["pack", str(run), str(tmp_path / "packed")]) == 0
    assert main(["merge", str(tmp_path / "packed"), "--to", str(tmp_path / "new")]) == 0
    suite = load_suite("cartpole", "smoke", TINY, {"pruners": "SNIP", "sparsities": ".8", "seeds": "4"})
    with Store(tmp_path / "new" / "results.sqlite", create=False) as store:
        left = [cell for cell in cells(suite, "cpu") if cell.id not in store.finished()]
    assert [cell.seed for cell in left] == [0, 3], "the first one was trained by another engine"
    loose = tmp_path / "loose"
    loose.mkdir()
    packed.unpack(tmp_path / "packed", loose / "results.sqlite")  # as `xz -dc` has it
    rows_before = gathered([run])
    with Store(loose / "results.sqlite") as store:
        store.save(replace(rows_before[0], epochs=rows_before[0].epochs[:1]))
        assert [len(one.epochs) for one in store.rows()] == [1, 2, 2], "what was stored of a cell is gone, without an index, too"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda content: content[:-20], "is damaged: its end is missing"),
        (lambda content: content[:200] + b"x" + content[201:], "is damaged, or not packed by rlprune"),
        (lambda content: content + b"x", "is damaged: something follows its end"),
        (lambda content: lzma.compress(b"no SQLite" * 99), "is not a file of results"),
        (lambda content: lzma.compress(bytes(packed.ROOM + 1)), "is no packed run: it would come to more than"),
        (lambda content: b"PK\3\4" + content, "is not a file of results"),
    ],
)
def test_what_is_no_packed_run_is_one_line(tmp_path, capsys, monkeypatch, spoil, told):
    monkeypatch.setattr(packed, "ROOM", 2**20)
    file = tmp_path / "run.xz"
    with Store(stored(tmp_path, SOME[:1]) / "results.sqlite", create=False) as store:
        store.pack(file)
    file.write_bytes(spoil(file.read_bytes()))
    for line in (["show", str(file), "SNIP"], ["report", str(file)], ["merge", str(file), "--to", str(tmp_path / "to")]):
        assert main(line) == 2
        said = capsys.readouterr().err
        assert told in said
        assert said.count("\n") == 1
    with pytest.raises(ValueError, match=told.partition(":")[0]):
        rlprune.load_results(file)


def test_where_nothing_can_be_packed_is_one_line(tmp_path, capsys):
    stored(tmp_path / "run")
    for line in (["pack", str(tmp_path), str(tmp_path / "x")], ["pack", str(tmp_path / "run"), str(tmp_path)]):
        assert main(line) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_packing_takes_no_other_file_away(tmp_path, capsys):
    folder, thesis = stored(tmp_path / "run"), tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    assert main(["pack", str(folder), str(thesis)]) == 2
    assert "is a file of something else, which would be lost: name another" in capsys.readouterr().err
    assert thesis.read_text() == "years of work"


def test_an_empty_file_is_no_packed_run(tmp_path, capsys):
    (tmp_path / "empty.xz").touch()
    assert main(["show", str(tmp_path / "empty.xz"), "abc"]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'empty.xz'}: is empty\n"


def test_cells_alone_are_not_run_afresh(tmp_path, capsys):
    assert main(["run", "cartpole", "--profile", "smoke", "--out", str(tmp_path), "--only", "abc", "--fresh"]) == 2
    assert "--only: --fresh would remove the results of all cells" in capsys.readouterr().err
