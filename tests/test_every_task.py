"""Laws of ``rlprune.laws`` that hold for every registered task, shrunk by its recipe, with data where it reads any."""

import itertools
import math
import time
from functools import cache
from importlib.util import find_spec

import pytest
import tiny_data
import worlds

from rlprune.bench.cell import run_cells
from rlprune.data import rooms, shapes
from rlprune.laws import tasks as laws
from rlprune.task import tasks
from rlprune.training.recipes import ImageRecipe

# an error out of the import of Box2D's SWIG types takes the interpreter down
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
NAMES = tasks().names()


def first_alike(name):
    """The first task that differs from this one in its name alone once both are shrunk: one cell shows what both do."""
    return next(other for other in NAMES if shrunk(other) == shrunk(name))


@cache
def shrunk(name):
    task = tasks().load(name)
    return task.recipe.shrunk(), task.metric, task.also, task.scope


CASES = [
    pytest.param(name, fleet, law, id=f"{name}-fleet-{law.__name__}" if fleet else f"{name}-{law.__name__}")
    for name in NAMES
    for fleet in laws.ways(tasks().load(name))
    for law in laws.of(fleet=fleet)
]
"""All laws of a task in turn, where its cells ran."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with every data set that a registered task reads, and few drawings and rooms, for all of them are evaluated."""
    place = tmp_path_factory.mktemp("data")
    with tiny_data.few(shapes, 160, 40), tiny_data.few(rooms, 50, 25), pytest.MonkeyPatch.context() as monkeypatch:
        for name in {tasks().load(name).recipe.reads for name in NAMES} & set(tiny_data.MAKERS):
            tiny_data.MAKERS[name](place, monkeypatch)
        yield place


@pytest.fixture(scope="module", autouse=True)
def _late():
    """Every look at the clock finds it a second later, so that a final network is timed by as few runs as can be."""
    seconds = itertools.count()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
        yield


@pytest.fixture(scope="module")
def trial(folder, tmp_path_factory):
    """Cells of a task; tasks that are alike once they are shrunk share them."""

    @cache
    def made(name, fleet):
        return laws.Trial(tasks().load(name), fleet=fleet, place=tmp_path_factory.mktemp("cells"), folder=folder)

    def found(name, fleet):
        recipe = tasks().load(name).recipe
        if recipe.extra and find_spec(recipe.extra[0]) is None:
            pytest.skip(f"{name} needs {recipe.extra[0]}")
        if recipe.reads not in {None, *tiny_data.MAKERS}:
            pytest.skip(f"{name} reads {recipe.reads}, which tests/tiny_data.py does not make")
        return made(first_alike(name), fleet)

    return found


def test_there_are_tasks():
    assert {"cartpole-v1", "resnet18-cifar10", "nyu-fcrn", "ptb-psmm", "glue-mnli"} <= set(NAMES)
    assert {True, False} == {case.values[1] for case in CASES}


@pytest.mark.parametrize("name", NAMES)
def test_a_shrunk_recipe_is_one_of_the_same_kind_and_data(name, tmp_path):
    assert laws.shrinks(laws.Trial(tasks().load(name), fleet=False, place=tmp_path)) is None


@pytest.mark.parametrize(("name", "fleet", "law"), CASES)
def test_it_keeps_the_law(name, fleet, law, trial):
    assert law(trial(name, fleet)) is None


def test_a_network_of_torchvision_and_the_pieces_of_a_batch_outlive_the_shrinking():
    recipe = ImageRecipe(budget=9, network="torchvision/resnet34", resize=224, batch_size=64, micro_batch=2, train_images=5)
    small = recipe.shrunk()
    assert (small.network, small.resize, small.train_images) == ("torchvision/resnet34", 224, 5)
    assert (small.batch_size, small.micro_batch, small.scoring_micro_batch) == (8, 4, None)


@pytest.mark.parametrize("fleet", [False, True])
def test_a_cell_closes_every_environment_that_it_opens(fleet, trial):
    worlds.register()
    ever, opened = worlds.Counted.ever, worlds.Counted.opened
    (measured,) = run_cells([trial("cartpole-v1", fleet).cell(environment="Counted-v0")], [None])
    assert math.isfinite(measured.values["return_greedy"])
    assert worlds.Counted.ever >= ever + 4 * 3, "training, scoring and evaluation play four games each"
    assert worlds.Counted.opened == opened
