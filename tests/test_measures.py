"""The catalogue of measures: it has all that cells record, says what a fleet cannot, and is what the documentation says."""

from dataclasses import replace
from pathlib import Path

import pytest

from rlprune.bench import worker
from rlprune.bench.matrix import cell_maker
from rlprune.bench.suite import load_suite
from rlprune.costs.judged import Judged, document, read
from rlprune.costs.measures import CATALOGUE, COLUMNS, SOLO, Measure, alone, described
from rlprune.task import tasks
from rlprune.training.trainer import make

NAMES = {measure.name for measure in CATALOGUE}
TINY = ["recipe.budget=320", "recipe.epochs=2", "recipe.widths=[8]", "recipe.environments=4", "recipe.scoring_steps=40"]
SUITE = load_suite("cartpole", "smoke", [*TINY, "recipe.evaluation_games=2", "price_per_hour=1"])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """What a worker records of the same cell alone and in a fleet, without what their trainers measure quality by."""
    records = []
    for solo in (1, 0):
        cell = cell_maker(SUITE.model_copy(update={"solo": solo}), "cpu")("cartpole-v1", "EarlyCroP-S", 0.5, 0)
        assert cell.fleet
        assert cell.alone == bool(solo)
        file = tmp_path_factory.mktemp("cell") / "cell.pt"
        (record,) = worker.run(worker.Assignment((cell,), (file,), "FRA"), lambda values: None)
        assert record.error is None
        trainer = make(cell.task, cell.recipe, cell.seed, cell.device, fleet=cell.fleet)
        task = tasks().load(cell.task)
        quality = {one.name for one in (task.metric, *task.also, task.recipe.curve)}
        assert trainer.evaluate().keys() <= quality | NAMES
        records.append([set(record.values) - quality, {name for epoch in record.epochs for name in epoch} - quality])
    return records


def test_everything_that_a_cell_records_is_in_the_catalogue(recorded):
    (values, epochs), _ = recorded
    assert values | epochs <= NAMES
    assert len(values) > 20
    assert len(epochs) > 4


def test_a_fleet_has_all_that_a_cell_alone_has_but_for_what_is_solo(recorded):
    (solo, epochs), (together, of_fleet) = recorded
    assert together == solo - SOLO
    assert of_fleet == epochs
    assert {"wall_seconds", "training_seconds", "batch_seconds"} <= solo & SOLO


def test_a_fleet_of_one_that_was_resumed_was_no_less_alone(recorded):
    (solo, _), (together, _) = recorded
    since = dict.fromkeys(solo - {"wall_seconds", "cpu_seconds", "memory_peak_bytes"}, 1.0) | {"resumed": 1.0}
    assert alone({"fleet": True}, since)
    assert not alone({"fleet": True}, dict.fromkeys(together, 1.0) | {"resumed": 1.0})


def test_a_measure_is_there_once_with_words_for_people():
    assert len(NAMES) == len(CATALOGUE)
    for measure in CATALOGUE:
        for text in (measure.title, measure.about):
            assert text.strip()
            assert not text.endswith(".")
            assert "|" not in text
    assert len({measure.heading for measure in COLUMNS}) == len(COLUMNS)
    assert {measure for measure in CATALOGUE if measure.drawn} <= set(COLUMNS)


def test_the_documentation_says_what_the_catalogue_says():
    """A measure may be too new for the page; what is there must hold. ``python -m rlprune.costs.measures`` prints it anew."""
    page = (Path(__file__).parent.parent / "docs" / "measures.md").read_text(encoding="utf-8").splitlines()
    header, under, *lines = described().splitlines()
    start = page.index(header, page.index("## All else"))
    assert page[start + 1] == under
    table = page[start + 2 : page.index("", start)]
    assert len(table) > 30
    assert table == [line for line in lines if line in table]


def test_the_documentation_has_what_every_task_is_judged_by():
    lines = (Path(__file__).parent.parent / "docs" / "measures.md").read_text(encoding="utf-8").splitlines()
    for name in tasks().names():
        task = tasks().load(name)
        for measure in (task.metric, *task.also):
            assert [line for line in lines if f"`{measure.name}`" in line and measure.heading in line and line.startswith("|")], (
                name
            )
        sampled = any(measure.name == "return_sampled" for measure in task.also)
        assert sampled == (hasattr(task.recipe, "evaluation_games") and type(task.recipe).__name__ != "DQNRecipe"), name


def test_what_a_cell_is_judged_by_comes_back_from_its_document():
    judged = Judged(Measure("a", "A", "m", "lower"), Measure("b", "B"), "steps", (Measure("c", "C", "", None),), {"random": 1.0})
    for one in (judged, replace(judged, chance="c")):
        told = []
        assert read(document(one), told.append) == one
        assert told == []
    assert "chance" not in document(judged)


def test_a_document_tells_what_is_left_out_of_it():
    told, nothing = [], Measure("", "", better=None)
    own = {"metric": {"name": "a", "better": "sideways"}, "curve": [], "also": [{"name": "c"}, 3], "anchors": {"random": "x"}}
    left = Judged(Measure("a", "a", better=None), nothing, "", (Measure("c", "c", better=None),))
    assert read(own, told.append) == left
    assert told == [
        "anchor random is no number",
        "metric does not say which values are better",
        "curve is no document",
        "also is no document",
    ]
