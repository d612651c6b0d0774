"""What ``rlprune list NAME`` says of settings, and what the command line says of words that are wrong."""

from dataclasses import fields

import pytest

from rlprune.__main__ import main
from rlprune.bench import worker
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.files import roomy
from rlprune.pruning.plan import LazyRegime
from rlprune.pruning.pruner import pruners
from rlprune.task import tasks


def _told(capsys, *words):
    assert main(["list", *words]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_settings_of_a_pruner_have_their_range_and_their_meaning(capsys):
    told = _told(capsys, "pruners", "EarlyCroP-S")
    assert "rounds: at least 1 and at most 1,000" in told
    for field in fields(LazyRegime):
        assert f" {field.name}: " in told
    assert "share: more than 0 and less than 1" in _told(capsys, "pruners", "LTR")


def test_every_setting_of_a_pruner_is_listed(capsys):
    for name in pruners().names():
        told = _told(capsys, "pruners", name)
        for setting in type(pruners().load(name).settings()).model_fields:
            assert f"{setting} = " in told or f"{setting}," in told or f"{setting}:" in told or name == "Dense"


def test_every_number_of_a_task_is_explained_once(capsys):
    told = _told(capsys, "tasks", "cartpole-v1")
    recipe = tasks().load("cartpole-v1").recipe
    for field in type(recipe).model_fields:
        assert told.count(f" {field}: ") == 1
    assert "budget: environment steps" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run cartpole --dryrun", "no option is named '--dryrun'; did you mean '--dry-run'?"),
        ("run cartpole --sparsities .95 .98", "'.98' belongs to nothing: a list is one word, with commas"),
        ("run cartpole vision", "error: 'vision' belongs to nothing"),
        ("run cartpole smoke 2", "error: 'smoke' and '2' belong to nothing: a list is one word"),
        ("run cartpole --sede 3", "error: no option is named '--sede'; did you mean '--seeds'?\n"),
        ("run cartpole --sede=3 4", "did you mean '--seeds'?; '4' belongs to nothing"),
        ("run cartpole -x", "error: no option is named '-x'\n"),
        ("run cartpole -5", "'-5' belongs to nothing"),
        ("runn cartpole", "did you mean 'run'?"),
        ("cartpole", "did you mean 'run cartpole'?"),
        ("list pruner", "did you mean 'pruners'?"),
        ("export out SNIP 95% --to a.zip", "got '95%'; must be a share, say 0.95"),
    ],
)
def test_a_word_that_is_wrong_is_told_with_the_nearest(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_mistake_in_a_pruners_setting_is_told_once_where_variants_have_it_too(capsys):
    assert main(["run", "cartpole", "--set", "pruner.EarlyCroP-S.round=3"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("--set pruner.EarlyCroP-S.round=3: ")
    assert "did you mean 'rounds'?" in line


def test_a_fleet_on_a_processor_wants_its_code_ready_and_says_who_multiplies():
    recipe = tasks().load("cartpole-v1").recipe
    assert "rlprune.training.compiled.ready" in recipe.modules(fleet=True, device="cpu")
    assert list(recipe.machine(fleet=True, device="cpu")) == ["products"]
    for fleet, device in ((False, "cpu"), (True, "cuda")):
        assert "rlprune.training.compiled.ready" not in recipe.modules(fleet=fleet, device=device)
        assert recipe.machine(fleet=fleet, device=device) == {}


def test_who_trains_cells_alone_and_in_fleets_is_imported_beforehand():
    some = cells(load_suite("cartpole", "quick"), "cpu")
    expected = {"rlprune.training.a2c", "rlprune.training.fleet", "rlprune.training.compiled.ready"}
    assert set(worker.trainers(some)) - expected == set()
    assert "rlprune.training.compiled.ready" in worker.trainers(some)


def test_a_folder_for_sockets_is_the_usual_one_where_its_path_is_short_enough(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert roomy(len(str(tmp_path))) == tmp_path
    assert len(str(roomy(10))) <= 10 < len(str(tmp_path))
