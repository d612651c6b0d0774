"""What a run says and leaves when training is over; nothing that goes wrong then loses what was trained."""

import pytest
from rows import row

from rlprune.__main__ import main
from rlprune.store import Store

ONE = ["run", "cartpole", "--profile", "smoke", "--pruners", "Dense", "--set", "recipe.budget=160", "--set", "recipe.epochs=2"]
ONE += ["--set", "recipe.evaluation_games=1", "--jobs", "1"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a run of one cell, which also holds a cell of another recipe."""
    out = tmp_path_factory.mktemp("run") / "out"
    assert main([*ONE, "--out", str(out)]) == 0
    with Store(out / "results.sqlite") as store:
        store.save(row("SNIP", 0.9, 3))
    return out


def test_the_terminal_says_what_the_page_opens_with_and_what_else_the_folder_holds(done, capsys):
    assert main([*ONE, "--out", str(done)]) == 0
    out = capsys.readouterr().out
    assert "fewer than ten seeds" in out
    assert "no pruner that removes anything has finished" in out
    assert f"1 more cells in {done} are of other settings: rlprune report {done} shows all" in out


def test_a_row_knows_its_suites_title_and_an_unknown_price_is_empty(done):
    with Store(done / "results.sqlite", create=False) as store:
        mine = next(one for one in store.rows() if one.pruner == "Dense")
    assert mine.labels["suite_title"] == "CartPole"
    assert "price_usd" not in mine.values
    assert "Suite: CartPole (cartpole), profile smoke." in (done / "report.html").read_text()


def test_a_report_that_cannot_be_written_is_one_line_and_no_failure_of_the_run(done, capsys):
    for file in (done / "figures").iterdir():
        file.unlink()
    (done / "figures").rmdir()
    (done / "figures").write_text("in the way")
    assert main([*ONE, "--out", str(done)]) == 0
    told = capsys.readouterr().err
    assert told.startswith("No report: ")
    assert f"rlprune report {done}" in told
    assert told.count("\n") == 1
