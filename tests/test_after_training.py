"""What a run says and leaves when training is over."""

import pytest

from rlprune.__main__ import main
from rlprune.store import Store

ONE = ["run", "cartpole", "--profile", "smoke", "--pruners", "Dense", "--set", "recipe.budget=160", "--set", "recipe.epochs=2"]
ONE += ["--set", "recipe.evaluation_games=1", "--jobs", "1"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a run of one cell."""
    out = tmp_path_factory.mktemp("run") / "out"
    assert main([*ONE, "--out", str(out)]) == 0
    return out


def test_the_terminal_says_what_the_page_opens_with(done, capsys):
    assert main([*ONE, "--out", str(done)]) == 0
    out = capsys.readouterr().out
    assert "fewer than ten seeds" in out
    assert "no pruner that removes anything has finished" in out


def test_a_row_knows_its_suites_title_and_an_unknown_price_is_empty(done):
    with Store(done / "results.sqlite", create=False) as store:
        (mine,) = store.rows()
    assert mine.labels["suite_title"] == "CartPole (cartpole)"
    assert "price_usd" not in mine.values
    assert "Suite: CartPole (cartpole), profile smoke." in (done / "report.html").read_text()
