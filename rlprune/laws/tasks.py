"""What holds for every task, tried on its recipe made small (``Recipe.shrunk``): seconds, or minutes where games are slow.

Every cell is pruned before its first epoch, so that what is killed and goes on is a network that was cut.
"""

import json
import math
import multiprocessing
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlprune.bench.cell import Measured, run_cells
from rlprune.bench.matrix import Cell
from rlprune.laws import Law, demand
from rlprune.laws.subject import generators
from rlprune.pruning.pruner import NOTHING, pruners
from rlprune.reason import NotApplicable
from rlprune.task import Task

SPARSITY = 0.5


class Trial:
    """Cells of a task, small, each run once however many laws look at it.

    Args:
        task: which.
        fleet: whether its cells train in fleets.
        place: an empty folder, for their files.
        folder: with data, where the task reads any.
    """

    def __init__(self, task: Task, *, fleet: bool, place: Path, folder: Path | None = None) -> None:
        self.task, self.fleet, self._place, self._folder = task, fleet, place, folder
        self.whole, self.resumed = cache(self._whole), cache(self._resumed)

    def cell(self, seed: int = 0, pruner: str = "CroP-S", **fields: object) -> Cell:
        """Return a cell.

        Raises:
            NotApplicable: the task needs a package, or data, that are not here.
        """
        recipe, method = self.task.recipe, pruners().load(pruner)
        if recipe.extra and find_spec(recipe.extra[0]) is None:
            raise NotApplicable(f"{self.task.name} needs {recipe.extra[0]}: python3 -m pip install 'rlprune[{recipe.extra[1]}]'")
        small = recipe.shrunk().replaced(fields)
        if small.reads and self._folder is None:
            raise NotApplicable(f"{self.task.name} reads {small.reads}: name the folder that holds it (--data)")
        settings = method.settings({"scope": self.task.scope}).model_dump(mode="json")
        sparsity = 0.0 if method.cut == NOTHING else SPARSITY
        about = small.model_dump(mode="json"), settings, "cpu", self.fleet, str(self._folder or "")
        return Cell(self.task.name, method.name, sparsity, seed, *about)

    def _whole(self, seed: int = 0) -> tuple[Measured, bytes, dict[str, Any], dict[str, Any]]:
        """Run a cell in one go; return what it yielded, its network as written, what was around it before and after."""
        one, recipe = self.cell(seed), self.task.recipe
        import_module((recipe.fleet if self.fleet else recipe.trainer).partition(":")[0])  # a library may draw while imported
        file, before = self._place / f"{one.id}.pt", surroundings()
        return _run(one, file), file.with_suffix(".safetensors").read_bytes(), before, surroundings()

    def _resumed(self) -> tuple[Measured, bytes, list[Mapping[str, float | str]]]:
        """Kill a cell after an epoch and run it again; return what it yielded, its network, the epochs told since."""
        one, file, told = self.cell(), self._place / "killed.pt", list[Mapping[str, float | str]]()
        for draw in (torch.rand, np.random.rand, lambda _: random.random()):  # as they stand in another process
            draw(3)
        with suppress(_Killed):
            run_cells([one], [file], _kill)
        return _run(one, file, told.append), file.with_suffix(".safetensors").read_bytes(), told


def ways(task: Task) -> list[bool]:
    """Return whether a task's cells train in a fleet: both, where both can be."""
    return [fleet for fleet in (False, True) if (task.recipe.fleet if fleet else not task.recipe.fleets_only)]


def of(*, fleet: bool) -> "Iterator[Law[Trial]]":
    """Yield the laws that a task is held to, in a fleet or alone."""
    yield shrinks
    yield measures
    yield leaves_alone
    yield goes_on
    yield seeds_differ
    if fleet:
        yield alone_as_in_a_fleet


# -- the laws ----------------------------------------------------------------------------------------------------


def shrinks(trial: Trial) -> None:
    """A shrunk recipe is one of the same kind and data, with three epochs, that starts from no checkpoint."""
    recipe = trial.task.recipe
    small = recipe.shrunk()
    demand(type(small) is type(recipe), f"it becomes a {type(small).__name__}")
    for what in ("reads", "curve", "extra"):
        was, now = getattr(recipe, what), getattr(small, what)
        demand(was == now, f"its {what} was {was} and becomes {now}")
    demand(small.starts_from is None, f"it starts from {small.starts_from}")
    demand(small.epochs == 3, f"it has {small.epochs} epochs")
    demand(small.shrunk() == small, "shrunk again it becomes another one")


def measures(trial: Trial) -> None:
    """Its measures are there and finite, and the sparsity is the one asked for."""
    measured, task = trial.whole()[0], trial.task
    for measure in (task.metric, *task.also):
        value = measured.values.get(measure.name, math.nan)
        demand(math.isfinite(value), f"{measure.name} is {value}")
    unmeasured = task.recipe.measured() - {task.recipe.curve.name} - measured.values.keys()
    demand(not unmeasured, f"{type(task.recipe).__name__} says that it measures {', '.join(sorted(unmeasured))}, and does not")
    curve = [row.get(task.recipe.curve.name, math.nan) for row in measured.epochs]
    demand([math.isfinite(value) for value in curve] == [True] * 3, f"over 3 epochs {task.recipe.curve.name} is {curve}")
    reached = measured.values["sparsity_weights"]
    demand(abs(reached - SPARSITY) < 0.1, f"of {SPARSITY:.0%} of the weights {reached:.1%} are removed")


def leaves_alone(trial: Trial) -> None:
    """A cell leaves global random generators alone and lets go of its processes and threads."""
    _, _, before, after = trial.whole()
    changed = [name for name in before if before[name] != after[name]]
    demand(not changed, f"not as before: {', '.join(changed)}")


def goes_on(trial: Trial) -> None:
    """The same seed gives the same rows and the same network, killed after an epoch or not."""
    (measured, network, told), whole = trial.resumed(), trial.whole()
    trained = [row["trained"] for row in told]
    demand(trained == [2, 3], f"killed after epoch 1 it went on with {trained}: an epoch was lost, or trained twice")
    demand(measured.values.get("resumed") == 1, "it is not marked as resumed")
    demand(rows(measured) == rows(whole[0]), f"rows differ: {_differing(measured, whole[0])}")
    demand(network == whole[1], "the network is another one")


def seeds_differ(trial: Trial) -> None:
    """Another seed gives other rows."""
    demand(rows(trial.whole(1)[0]) != rows(trial.whole()[0]), "seeds 0 and 1 give the same")


def alone_as_in_a_fleet(trial: Trial) -> None:
    """In a fleet of other pruners and seeds a cell yields what it yields alone."""
    company = [trial.cell(seed, pruner) for seed, pruner in ((2, "SNIP"), (0, "CroP-S"), (3, "Dense"))]
    measured = run_cells(company, [None] * 3)[1]
    if isinstance(measured, Exception):
        raise measured
    whole = trial.whole()[0]
    demand(rows(measured) == rows(whole), f"rows differ: {_differing(measured, whole)}")


# -- what they are tried with ------------------------------------------------------------------------------------


class _Killed(BaseException):
    """Stands for kill -9 at the end of an epoch."""


def _kill(row: Mapping[str, float | str]) -> None:
    raise _Killed


def _run(cell: Cell, file: Path, tell: Any = lambda row: None) -> Measured:
    (measured,) = run_cells([cell], [file], tell)
    if isinstance(measured, Exception):
        raise measured
    return measured


def surroundings() -> dict[str, Any]:
    """Return what a cell has to leave as it was: global generators, processes and threads."""
    return {
        **{f"{name}'s generator": state for name, state in generators().items()},
        "processes": multiprocessing.active_children(),
        # a meter that somebody else started looks by timers, each begun by the one before
        "threads": [thread for thread in threading.enumerate() if not isinstance(thread, threading.Timer)],
    }


def rows(measured: Measured) -> str:
    """Return all that a cell yields but times, to the last bit."""
    return json.dumps([_timeless(measured.values), measured.epochs, measured.layers], sort_keys=True)


def _timeless(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if not name.endswith("_seconds") and name != "resumed"}


def _differing(one: Measured, other: Measured) -> str:
    """Name what two cells do not have alike."""
    mine, theirs = _timeless(one.values), _timeless(other.values)
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    return ", ".join([*names, *(["learning curves"] if one.epochs != other.epochs else [])]) or "what is left of layers"
