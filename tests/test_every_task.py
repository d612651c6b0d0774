"""Laws that hold for every registered task, shrunk by its recipe; a third-party one is held to them as soon as it is registered.

Every cell is pruned before its first epoch, so that what is killed and goes on is a network that was cut.
"""

import itertools
import json
import math
import multiprocessing
import random
import threading
import time
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import tiny_data
import torch
import worlds

from rlprune.bench.cell import run_cells
from rlprune.bench.suite import Cell
from rlprune.data import rooms, shapes
from rlprune.pruning.pruner import NOTHING, pruners
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


def ways(name):
    """Whether a task's cells train in a fleet: both, where both can be."""
    recipe = tasks().load(name).recipe
    return [fleet for fleet in (False, True) if (recipe.fleet if fleet else not recipe.fleets_only)]


CASES = [pytest.param(name, fleet, id=f"{name}-fleet" if fleet else name) for name in NAMES for fleet in ways(name)]
FLEETS = [name for name in NAMES if True in ways(name)]
each = pytest.mark.parametrize(("name", "fleet"), CASES, scope="module")  # all laws of a task in turn, where its cells ran


class Killed(BaseException):
    """Stands for kill -9 at the end of an epoch."""


def kill(row):
    raise Killed


def surroundings():
    """What a cell has to leave as it was: global generators, processes and threads."""
    numpy = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (numpy["state"]["key"].tobytes(), numpy["state"]["pos"], numpy["has_gauss"], numpy["gauss"]),
        "python": random.getstate(),
        "processes": multiprocessing.active_children(),
        # a meter that another test started looks by timers, each begun by the one before
        "threads": [thread for thread in threading.enumerate() if not isinstance(thread, threading.Timer)],
    }


def timeless(values):
    return {name: value for name, value in values.items() if not name.endswith("_seconds") and name != "resumed"}


def rows(measured):
    """All that a cell yields but times, to the last bit."""
    return json.dumps([timeless(measured.values), measured.epochs, measured.layers], sort_keys=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with every data set that a registered task reads, and few drawings and rooms, for all of them are evaluated."""
    place = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for made, counts in ((shapes, (160, 40)), (rooms, (50, 25))):
            monkeypatch.setattr(made, "TRAIN", counts[0])
            monkeypatch.setattr(made, "TEST", counts[1])
            made.drawn.cache_clear()
        for name in {tasks().load(name).recipe.reads for name in NAMES} & set(tiny_data.MAKERS):
            tiny_data.MAKERS[name](place, monkeypatch)
        yield place
    for made in (shapes, rooms):
        made.drawn.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def _late():
    """Every look at the clock finds it a second later, so that a final network is timed by as few runs as can be."""
    seconds = itertools.count()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
        yield


@pytest.fixture(scope="module")
def cell(folder):
    """Cells of a shrunk task."""

    def make(name, fleet, seed=0, pruner="CroP-S", **fields):
        task, method = tasks().load(name), pruners().load(pruner)
        if task.recipe.extra and find_spec(task.recipe.extra[0]) is None:
            pytest.skip(f"{name} needs {task.recipe.extra[0]}")
        recipe = task.recipe.shrunk().replaced(fields)
        if recipe.reads not in {None, *tiny_data.MAKERS}:
            pytest.skip(f"{name} reads {recipe.reads}, which tests/tiny_data.py does not make")
        settings = method.settings({"scope": task.scope}).model_dump(mode="json")
        sparsity = 0.0 if method.cut == NOTHING else 0.5
        return Cell(name, pruner, sparsity, seed, recipe.model_dump(mode="json"), settings, "cpu", fleet, str(folder))

    return make


@pytest.fixture(scope="module")
def whole(cell, tmp_path_factory):
    """Cells that ran alone and in one go: what each yielded, its network as written, what was around it before and after."""
    place = tmp_path_factory.mktemp("whole")

    @cache
    def run(name, fleet, seed):
        one, recipe = cell(name, fleet, seed), tasks().load(name).recipe
        import_module((recipe.fleet if fleet else recipe.trainer).partition(":")[0])  # a library may draw while it is imported
        file, before = place / f"{one.id}.pt", surroundings()
        (measured,) = run_cells([one], [file])
        if isinstance(measured, Exception):
            raise measured
        return measured, file.with_suffix(".safetensors").read_bytes(), before, surroundings()

    return lambda name, fleet, seed=0: run(first_alike(name), fleet, seed)


def test_there_are_tasks():
    assert {"cartpole-v1", "resnet18-cifar10", "nyu-fcrn", "ptb-psmm", "glue-mnli"} <= set(NAMES)
    assert {True, False} == {case.values[1] for case in CASES}


@pytest.mark.parametrize("name", NAMES)
def test_a_shrunk_recipe_is_one_of_the_same_kind_and_data(name):
    recipe = tasks().load(name).recipe
    small = recipe.shrunk()
    assert type(small) is type(recipe)
    assert (small.reads, small.curve, small.extra) == (recipe.reads, recipe.curve, recipe.extra)
    assert small.starts_from is None
    assert small.epochs == 3
    assert small.shrunk() == small


def test_a_network_of_torchvision_and_the_pieces_of_a_batch_outlive_the_shrinking():
    recipe = ImageRecipe(budget=9, network="torchvision/resnet34", resize=224, batch_size=64, micro_batch=2, train_images=5)
    small = recipe.shrunk()
    assert (small.network, small.resize, small.train_images) == ("torchvision/resnet34", 224, 5)
    assert (small.batch_size, small.micro_batch, small.scoring_micro_batch) == (8, 4, None)


@each
def test_its_measures_are_there_and_finite(name, fleet, whole):
    measured, (recipe, metric, also, _) = whole(name, fleet)[0], shrunk(name)
    for measure in (metric, *also):
        assert math.isfinite(measured.values[measure.name]), measure.name
    assert [math.isfinite(row[recipe.curve.name]) for row in measured.epochs] == [True] * 3
    assert measured.values["sparsity_weights"] == pytest.approx(0.5, abs=0.1)


@each
def test_a_cell_leaves_global_generators_alone_and_lets_go_of_its_workers(name, fleet, whole):
    _, _, before, after = whole(name, fleet)
    assert after == before


@pytest.mark.parametrize("fleet", [False, True])
def test_a_cell_closes_every_environment_that_it_opens(fleet, cell):
    worlds.register()
    ever, opened = worlds.Counted.ever, worlds.Counted.opened
    (measured,) = run_cells([cell("cartpole-v1", fleet, environment="Counted-v0")], [None])
    assert math.isfinite(measured.values["return_greedy"])
    assert worlds.Counted.ever >= ever + 4 * 3, "training, scoring and evaluation play four games each"
    assert worlds.Counted.opened == opened


@pytest.fixture(scope="module")
def resumed(cell, tmp_path_factory):
    """Cells of seed 0 that were killed after an epoch and begun again: what each yielded, its network, the epochs told since."""
    place = tmp_path_factory.mktemp("resumed")

    @cache
    def run(name, fleet):
        one, file, told = cell(name, fleet), place / f"{name}-{fleet}.pt", []
        for draw in (torch.rand, np.random.rand, lambda _: random.random()):  # as global generators stand in another process
            draw(3)
        with pytest.raises(Killed):
            run_cells([one], [file], kill)
        (measured,) = run_cells([one], [file], told.append)
        return measured, file.with_suffix(".safetensors").read_bytes(), told

    return lambda name, fleet: run(first_alike(name), fleet)


@each
def test_the_same_seed_gives_the_same_rows_killed_after_an_epoch_or_not(name, fleet, whole, resumed):
    measured, network, told = resumed(name, fleet)
    assert [row["trained"] for row in told] == [2, 3], "an epoch was lost, or trained twice"
    assert measured.values["resumed"] == 1
    assert rows(measured) == rows(whole(name, fleet)[0])
    assert network == whole(name, fleet)[1]


@each
def test_another_seed_gives_other_rows(name, fleet, whole):
    assert rows(whole(name, fleet, 1)[0]) != rows(whole(name, fleet)[0])


@pytest.mark.parametrize("name", FLEETS)
def test_in_a_fleet_a_cell_yields_what_it_yields_alone(name, whole, cell):
    company = [cell(first_alike(name), True, seed, pruner) for seed, pruner in ((2, "SNIP"), (0, "CroP-S"), (3, "Dense"))]
    _, measured, _ = run_cells(company, [None] * 3)
    assert rows(measured) == rows(whole(name, True)[0])
