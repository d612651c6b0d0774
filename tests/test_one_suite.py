"""Rows of several suites shown as the cells of one: ``--suite`` of ``rlprune report`` and of scripts in plots/."""

import pytest
from rows import JUDGED, LABELS
from scripted import scripted

from rlprune.__main__ import main
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import identity
from rlprune.report.curves import comparisons
from rlprune.rows import Row
from rlprune.store import Store

RETURNS = {"Dense": 250.0, "SNIP rescaled": 50.0, "CroP-S by layer rescaled": 40.0, "SynFlow": 60.0, "SNIP": 50.0}


def run(folder, name, pruners, seeds=2):
    """Return a folder in which cells of a suite on LunarLander have ended."""
    suite = load_suite(name, "paper", [f"seeds={seeds}"], {"pruners": pruners, "sparsities": ".95", "tasks": "lunarlander-v3"})
    with Store(folder / "results.sqlite") as store:
        for cell in cells(suite, "cpu"):
            known = {
                **vars(identity(cell, suite)),
                "labels": {**LABELS, "suite_title": f"{suite.title} ({name})"},
                "judged": JUDGED,
            }
            values = {
                "return_greedy": RETURNS[cell.method],
                "return_sampled": RETURNS[cell.method],
                "sparsity_weights": cell.sparsity,
            }
            ended = {"status": "done", "error": None, "started": "", "ended": "", "versions": {}, "machine": {}}
            store.save(Row(**known, **ended, values=values, epochs=(), layers={}))
    return folder


@pytest.fixture
def two(tmp_path):
    first = run(tmp_path / "a", "start_lunarlander", "Dense,SNIP rescaled,CroP-S by layer rescaled")
    return [first, run(tmp_path / "b", "rl_full", "Dense,SynFlow")]


def test_what_two_suites_share_is_one_table_by_the_names_of_one(two):
    alone = scripted("by_sparsity.py", *two).stdout
    assert alone.count("| pruner |") == 2
    together = scripted("by_sparsity.py", *two, "--suite", "rl_full", "--profile", "paper").stdout
    assert together.count("| pruner |") == 1
    assert [line.split("|")[1].strip() for line in together.splitlines() if line.startswith("|")][2:] == [
        "Dense",
        "SNIP",
        "SynFlow",
    ]
    assert "by layer" not in together, "which that suite does not have"


def test_a_report_of_them_has_one_dense_network(two, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("rlprune.report.page.write_report", lambda rows, *_, **__: shown.append(comparisons(rows)))
    command = ["report", *map(str, two), "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert main([*command, "--suite", "rl_full", "--profile", "paper"]) == 0
    apart, (together,) = shown
    assert [one.suite for one in apart] == ["rl_full", "start_lunarlander"]
    assert together.suite == "rl_full"
    assert together.pruners == ["Dense", "SNIP", "SynFlow"]
    assert len(together.rows) == 6


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--suite", "cartpole"], "no cell is one of cartpole's, profile quick"),
        (["--suite", "rl_ful"], "rl_full"),
        (["--suite", "rl_full", "--profile", "papr"], "papr"),
        (["--profile", "paper"], "of which suite? --suite NAME"),
    ],
)
def test_a_suite_that_has_no_cells_here_is_told(two, words, told, capsys):
    assert main(["report", str(two[0]), *words]) == 2
    assert told in capsys.readouterr().err


def test_scripts_tell_a_suite_that_is_not_there(two):
    assert "rl_full" in scripted("overview.py", *two, "--suite", "rl_ful", check=False).stderr
    assert "no cell has finished" in scripted("by_sparsity.py", *two, "--suite", "cartpole", check=False).stderr
