"""A suite's cells. A cell's id and seeds depend on nothing but the cell."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from hashlib import sha256
from typing import Any

from rlprune.bench.contents import Suite
from rlprune.pruning.plan import Rewind, Save, Train, waits
from rlprune.pruning.pruner import CHANNELS, NOTHING, CommonSettings, Pruner, pruners
from rlprune.task import tasks
from rlprune.words import shown


@dataclass(frozen=True)
class Cell:
    """One task, pruner, sparsity and seed, with all that its result depends on.

    Args:
        task: its registered name.
        pruner: its registered name.
        sparsity: share of weights to remove; 0 where nothing is cut.
        seed: its number.
        recipe: every field of the task's recipe, as JSON has it.
        settings: every setting of the pruner, as JSON has it, the scope settled.
        device: ``cpu`` or ``cuda``.
        fleet: whether it trains as one of a fleet's agents.
        folder: where its data set is read; the result does not depend on the place.
        variant: what the suite calls the pruner under these settings, where it has a name for that.
        data: fingerprint of the data read from ``folder``; empty where they are the program's own.
        branch: the epoch from whose end two copies train to the end; None for a cell that trains one network.
        alone: whether it has its worker to itself, so that its costs are its own; no other result depends on it.
    """

    task: str
    pruner: str
    sparsity: float
    seed: int
    recipe: Mapping[str, Any] = field(hash=False)
    settings: Mapping[str, Any] = field(hash=False)
    device: str
    fleet: bool = False
    folder: str = ""
    variant: str = ""
    data: str = ""
    branch: int | None = None
    alone: bool = True

    @property
    def method(self) -> str:
        """What figures and tables call its pruner."""
        return (self.variant or self.pruner) + ("" if self.branch is None else f" branched at {self.branch}")

    @property
    def config(self) -> dict[str, Any]:
        """All that the result depends on, as JSON has it; cells of one kind share their recipe and settings."""
        later = {"data": self.data, "branch": self.branch is not None}  # cells had been stored without them
        left_out = {"folder", "variant", "alone", *(name for name, there in later.items() if not there)}
        return {key: getattr(self, key) for key in self.__dataclass_fields__ if key not in left_out}

    @cached_property
    def id(self) -> str:
        """Sixteen hex digits that stand for ``config`` and nothing else: suites and profiles share finished cells."""
        return sha256(json.dumps(self.config, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def code(cell: Cell) -> dict[str, str]:
    """Return what code a cell's ``pruner`` and ``task`` are, where they are not rlprune's own."""
    found = {"pruner": pruners().code(cell.pruner), "task": tasks().code(cell.task)}
    return {what: code for what, code in found.items() if code}


@dataclass(frozen=True)
class Shard:
    """A part of any cells, for one machine that knows nothing of the others: which cells, their ids say, in whatever company.

    Args:
        number: which part, from 1.
        of: how many parts there are.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"shard {self.number} of {self.of}"

    def __contains__(self, cell: Cell) -> bool:
        return int(cell.id, 16) % self.of == self.number - 1  # the id is a hash, so that parts are about equal

    @classmethod
    def read(cls, text: str) -> "Shard":
        """Return the shard that ``2/8`` names.

        Raises:
            ValueError: it names none.
        """
        found = re.fullmatch("([0-9]{1,5})/([0-9]{1,5})", text.strip())
        shard = cls(int(found[1]), int(found[2])) if found else cls(0, 0)
        if not 1 <= shard.number <= shard.of:
            raise ValueError(f"got {shown(text)}; must be N/M, the Nth of M parts, say 1/8 to 8/8")
        return shard


def make_cell(suite: Suite, task_name: str, method: str, sparsity: float, seed: int, device: str) -> Cell:
    """Return one cell as this suite would run it, whether it lists it or not; ``method`` names a pruner or a variant."""
    return cell_maker(suite, device)(task_name, method, sparsity, seed)


def cell_maker(suite: Suite, device: str) -> Callable[[str, str, float, int], Cell]:
    """Return ``make_cell`` for one suite; what its cells have in common is worked out once."""
    found, method_of = cache(tasks().load), cache(suite.method)

    @cache
    def recipe(task_name: str) -> Mapping[str, Any]:
        return suite.recipe_for(found(task_name)).model_dump(mode="json")

    @cache
    def anneals(task_name: str) -> bool:
        return suite.recipe_for(found(task_name)).anneals

    @cache
    def settings(task_name: str, method: str) -> Mapping[str, Any]:
        pruner, chosen = method_of(method)
        every = chosen.model_dump(mode="json")
        if "start" not in chosen.model_fields_set:
            every["start"] = pruner.starts(found(task_name).recipe.start)
        every = {
            key: value
            for key, value in every.items()
            if key not in chosen.later or {value} != {one.model_fields[key].default for one in (CommonSettings, type(chosen))}
        }
        if pruner.cut == CHANNELS:  # nor do heads here: outputs are never cut
            every.pop("heads", None)
        if "rate_held" in every and not (anneals(task_name) and (chosen.rate_held or waits(pruner.steps(chosen)))):
            every.pop("rate_held")
        if pruner.cut == NOTHING:  # scope and floor change nothing here: let nobody train Dense again for them
            return {key: value for key, value in every.items() if key not in CommonSettings.model_fields or key == "rate_held"}
        return {**every, "scope": every["scope"] or pruner.scope or found(task_name).scope}

    @cache
    def together(task_name: str) -> bool:
        return suite.together(found(task_name))

    def make(task_name: str, method: str, sparsity: float, seed: int) -> Cell:
        task, (pruner, _) = found(task_name), method_of(method)
        share, fleet = 0.0 if pruner.cut == NOTHING else sparsity, together(task_name)
        variant = method if method in suite.variant else ""
        mine, data = settings(task_name, method), suite.fingerprints.get(task.name, "")
        alone = not fleet or seed < suite.solo
        about = task.name, pruner.name, share, seed, recipe(task_name), mine, device, fleet, suite.folder, variant, data
        return Cell(*about, alone=alone)

    return make


def branched(pruner: Pruner, settings: CommonSettings, branch: int | None) -> Pruner:
    """Return a pruner whose plan goes on twice from the end of an epoch; the pruner itself where there is none.

    Only the network, its optimizer and the schedule go back: noise goes on, so that the second copy meets other noise than
    the first, which ends as the network of an ordinary cell does.
    """
    if branch is None:
        return pruner
    plan = pruner.steps(settings)
    return replace(pruner, plan=(Train(epochs=branch), Save(), *plan, Rewind(), *plan))


def cells(suite: Suite, device: str) -> list[Cell]:
    """Return every cell, seed by seed so that what is done so far is balanced, in each seed what cuts nothing first."""
    make = cell_maker(suite, device)
    uncut = [name for name in suite.pruners if suite.method(name)[0].cut == NOTHING]
    shares = {task: suite.task_sparsities.get(task, suite.sparsities) for task in suite.tasks}
    turns: list[tuple[str, int, int | None]] = [(name, 0, None) for name in uncut]
    longest = max(map(len, shares.values()))
    turns += [(name, turn, None) for name in suite.pruners if name not in uncut for turn in range(longest)]
    turns += [(name, 0, branch) for branch in suite.branches for name in uncut]
    return [
        cell if branch is None else replace(cell, branch=branch)
        for seed in suite.numbers
        for pruner, turn, branch in turns
        for task in suite.tasks
        if turn < len(shares[task])
        for cell in [make(task, pruner, shares[task][turn], seed)]
    ]
