"""What a suite says: its keys, and what follows from them for a task or a pruner."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rlprune.bench.source import Table, merge
from rlprune.costs.energy import known_country
from rlprune.pruning.pruner import CommonSettings, Pruner, pruners
from rlprune.task import Recipe, Task
from rlprune.words import share_meant


def _share(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError(f"a sparsity is the share removed, more than 0 and less than 1{share_meant(value)}")
    return value


def _country(value: str) -> str:
    if not known_country(value):
        raise ValueError('must be a country whose energy mix CodeCarbon knows, three capital letters (ISO 3166), say "USA"')
    return value


def _title(value: str) -> str:
    if not value.strip() or not value.isprintable() or len(value) > 200:
        raise ValueError("a title has 1 to 200 characters, on one line")
    return value


_Names: TypeAlias = Annotated[tuple[str, ...], Field(min_length=1, max_length=10_000, strict=False)]
_Shares: TypeAlias = Annotated[
    tuple[Annotated[float, AfterValidator(_share)], ...], Field(min_length=1, max_length=1000, strict=False)
]
_Epoch: TypeAlias = Annotated[int, Field(ge=0, le=10_000)]


class Contents(BaseModel):
    """The keys of a suite file, those of the suites that it is like and one profile merged in.

    Args:
        like: another suite, by its name or by its path from this file, whose keys hold where this one has none of its own.
        title: of tables and figures.
        description: a sentence or two.
        tasks: names.
        data_tasks: tasks in their place when a folder with data is given (``--data``).
        pruners: names.
        sparsities: shares of weights to remove.
        task_sparsities: those of one task in their place, by its name.
        seeds: how many; they are numbered from 0.
        branches: epochs from whose end two copies of each network that is not cut train to the end with other noise, to
            measure the barrier between them.
        engine: ``fleet`` trains agents in batches where a task can; ``sb3`` trains each by Stable-Baselines3.
        solo: cells of seeds below it have their worker to themselves, so that their cost can be measured: fleets of one.
        price_per_hour: of one worker, in USD; None is unknown.
        country: whose energy mix counts for CO2, as ISO 3166 alpha-3.
        recipe: fields of every task's recipe; ``task`` those of one task, by its name.
        pruning: settings of every pruner; ``pruner`` those of one pruner, by its name.
        variant: further names for pruners under settings of their own, each with the pruner it is a variant ``of``. A list
            where a setting is one value makes a variant of each: ``"SNIP, floor {floor}" = { of = "SNIP", floor = [2, 8] }``.
            Two pruners under equal settings would be one cell under two names, and are refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    like: str = ""
    title: Annotated[str, AfterValidator(_title)]
    description: str = ""
    tasks: _Names
    data_tasks: _Names | None = None
    pruners: _Names
    sparsities: _Shares
    task_sparsities: dict[str, _Shares] = {}
    seeds: int = Field(ge=1, le=10_000)
    branches: Annotated[tuple[_Epoch, ...], Field(max_length=1000, strict=False)] = ()
    engine: Literal["fleet", "sb3"] = "fleet"
    solo: int = Field(default=1, ge=0, le=10_000)
    price_per_hour: float | None = Field(default=None, ge=0, le=1e6)
    country: Annotated[str, AfterValidator(_country)] = "USA"
    recipe: Table = {}
    task: dict[str, Table] = {}
    pruning: CommonSettings = CommonSettings()
    pruner: dict[str, Table] = {}
    variant: dict[str, Table] = {}


class Profiles(BaseModel):
    """The tables of a suite's profiles, by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    smoke: Table = {}
    quick: Table = {}
    paper: Table = {}


PROFILES = tuple(Profiles.model_fields)


class Suite(Contents):
    """A validated suite under one profile.

    Args:
        name: its file's.
        folder: where data sets are read, as the command line names it.
        fingerprints: of what lies there, by task; ``with_fingerprints`` takes them.
        chosen: numbers of its seeds, where they are not those from 0 on.
        file: where it was read; empty for one that has a name.
    """

    name: str
    profile: str
    folder: str = ""
    fingerprints: dict[str, str] = {}
    chosen: tuple[int, ...] = ()
    file: str = ""

    @property
    def numbers(self) -> Sequence[int]:
        """Return the numbers of its seeds."""
        return self.chosen or range(self.seeds)

    def recipe_for(self, task: Task) -> Recipe:
        return task.settings({**self.recipe, **self.task.get(task.name, {})})

    def together(self, task: Task) -> bool:
        """Say whether cells of a task train in fleets."""
        return self.engine == "fleet" and bool(self.recipe_for(task).fleet)

    def method(self, name: str) -> tuple[Pruner, CommonSettings]:
        """Return the pruner that a pruner's or a variant's name stands for, and its settings."""
        pruner = pruners().load(self.variant[name]["of"] if name in self.variant else name)
        return pruner, pruner.settings({**self.pruning.model_dump(exclude_unset=True), **self.changed(name)})

    def changed(self, name: str) -> Table:
        """Return what this suite sets on one pruner or variant."""
        own = {key: value for key, value in self.variant.get(name, {}).items() if key != "of"}
        base = self.variant[name]["of"] if name in self.variant else name
        return merge(self.pruner.get(pruners().match(base), {}), own)
