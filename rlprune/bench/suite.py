"""A suite file to cells. All its mistakes are told at once; a cell's id and seeds depend on nothing but the cell."""

import codecs
import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from hashlib import sha256
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from rlprune.bench.mistakes import Mistake, SuiteError, line_of, reach
from rlprune.costs.energy import known_country
from rlprune.data import folders
from rlprune.data.fingerprint import fingerprint
from rlprune.packed import is_packed
from rlprune.pruning.plan import Rewind, Save, Train, reached, trained_epochs, unheard, waits
from rlprune.pruning.pruner import CHANNELS, NOTHING, CommonSettings, Pruner, pruners
from rlprune.registry import Registry
from rlprune.safely import fault, typed
from rlprune.store import RESULTS
from rlprune.task import Recipe, Task, tasks
from rlprune.words import MOST, Keys, in_words, nearest, share_meant, shown

Table: TypeAlias = dict[str, Any]

MOST_CELLS = 1_000_000
MOST_SEED = 9_999
DEEPEST = 16
"""Tables and lists inside each other."""
LARGEST = 10_000_000
"""Bytes of a suite file."""
OPTIONS = ("tasks", "pruners", "sparsities", "seeds", "engine")
"""Keys of a suite that have an option of the command line."""
LONGEST_CHAIN = 8
"""Suites of which each is like the next."""
OWN = ("title", "description", "like")
"""Keys that a suite does not take from the one that it is like, profiles' descriptions excepted."""


# -- what a suite says -------------------------------------------------------------------------------------------


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


class _Profiles(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    smoke: Table = {}
    quick: Table = {}
    paper: Table = {}


PROFILES = tuple(_Profiles.model_fields)


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
        return _merge(self.pruner.get(pruners().match(base), {}), own)


# -- cells -------------------------------------------------------------------------------------------------------


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


# -- reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """A suite file that was read."""

    path: Path
    text: str
    table: Table

    @property
    def profiles(self) -> object:
        return self.table.get("profiles", {})

    def mistake(self, keys: Keys, message: str) -> Mistake:
        dotted = ".".join(key for key in keys if isinstance(key, str))
        return Mistake(str(self.path), dotted, message, line_of(self.text, keys))


@dataclass(frozen=True)
class _Layer:
    """Keys from one place: a file, a profile's table ``inside`` it, or an option of the command line."""

    data: Table
    file: _File | None = None
    inside: tuple[str, ...] = ()
    option: str = ""


def _beside(file: Path, name: str) -> list[str]:
    """Return the suites beside a file, named as it is."""
    return [str(Path(name).parent / other.name) for other in file.parent.glob("*.toml")]


def suites() -> dict[str, Path]:
    """Return the suites that have names: the checkout's own, or those of the wheel."""
    package = Path(__file__).parents[1]
    checkout = (package.parent / "pyproject.toml").is_file()  # an editable install leaves a stale copy in the package
    folder = package.parent / "suites" if checkout else package / "_suites"
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def load_suite(
    name: str,
    profile: str = "quick",
    overrides: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Suite:
    """Read and validate a suite.

    Args:
        name: of a suite, or a path to a TOML file.
        profile: one of its profiles; ``quick`` where it has none is the file as it stands.
        overrides: ``key=value``: the key dotted as in the file, the value as TOML writes it, or plain text.
        options: those of ``OPTIONS`` as the command line gives them.
        folder: where data sets are.

    Raises:
        SuiteError: everything that is wrong.
    """
    files = _files(name)
    own = files[-1].path
    mistakes = list(_profile_mistakes(files, profile))
    if why := fault(own.stem):
        mistakes.append(Mistake(str(own), "", f"results and figures are named after the file: {why}"))
    layers = _layers(files, profile)
    if profile == "smoke" and not _declares(files, profile):
        layers.append(_small(layers))
    for text in overrides:
        try:
            layers.append(_Layer(override(text), option=f"--set {text}"))
        except SuiteError as error:
            mistakes += error.mistakes
    chosen: tuple[int, ...] = ()
    for option, value in (options or {}).items():
        if option == "seeds" and isinstance(_number(value), str) and set(value) & set(",-"):
            try:
                chosen = _seeds(value)
            except ValueError as error:
                mistakes.append(Mistake("--seeds", "", str(error)))
            value = str(len(chosen) or 1)
        words = _spelled({option: _words(value, plain=option in ("seeds", "engine"))})
        layers.append(_Layer(words, option=f"--{option}"))
    mistakes += _misplaced(layers)
    layers = _heard(layers)
    spread, origins = _spread(_spelled(_merge(*(layer.data for layer in layers))))
    merged = _spelled(spread)
    problems: dict[Keys, str] = {}
    for keys, message in _problems(merged):
        problems.setdefault(keys, message)
    mistakes += [_mistake(keys, message, origins, layers) for keys, message in problems.items()]
    if mistakes:
        raise SuiteError(mistakes)
    named = suites().get(own.stem.casefold())
    about = {"name": own.stem, "profile": profile, "folder": str(folder or ""), "chosen": chosen}
    about["file"] = "" if named and named.resolve() == own.resolve() else str(own)
    suite = Suite.model_validate({**merged, **about})
    given = options or {}
    changes: Table = {"tasks": suite.data_tasks} if folder and suite.data_tasks and "tasks" not in given else {}
    if "sparsities" in given:  # the command line's are for every task
        changes["task_sparsities"] = {}
    suite = suite.model_copy(update=changes)
    if wrong := [_mistake(keys, message, origins, layers) for keys, message in _matrix_problems(suite)]:
        raise SuiteError(wrong)
    return suite


def _heard(layers: Sequence[_Layer]) -> list[_Layer]:
    """Let what ``--set recipe.KEY`` says be so for every task: below it no task has a value of its own."""
    said = {key for layer in layers if layer.option.startswith("--set") for key in _table(_spelled(layer.data).get("recipe"))}

    def without(layer: _Layer) -> _Layer:
        own = {
            name: {key: value for key, value in table.items() if key not in said} if isinstance(table, dict) else table
            for name, table in _table(layer.data.get("task")).items()
        }
        return replace(layer, data={**layer.data, "task": own})

    return [without(one) if said and "task" in one.data and not one.option.startswith("--set") else one for one in layers]


def _declares(files: Sequence[_File], profile: str) -> bool:
    return any(profile in _table(file.profiles) for file in files)


def _small(layers: Sequence[_Layer]) -> _Layer:
    """Return the profile ``smoke`` of a suite that has none: a seed, a sparsity, and each task's recipe shrunk.

    Where its file has a mistake nothing is made small, and the mistake is told.
    """
    spread, _ = _spread(_spelled(_merge(*(layer.data for layer in layers))))
    table = _spelled(spread)
    if any(True for _ in _problems(table)):
        return _Layer({}, option="--profile")
    small: Table = {"seeds": 1, "sparsities": _list(table.get("sparsities"))[:1]}
    small["task_sparsities"] = {name: _list(own)[:1] for name, own in _table(table.get("task_sparsities")).items()}
    small["branches"] = [0] if table.get("branches") else []
    small["task"] = {}
    for name in (*_list(table.get("tasks")), *_list(table.get("data_tasks"))):
        recipe = (
            tasks().load(name).settings(_merge(_table(table.get("recipe")), _table(_table(table.get("task")).get(name)))).shrunk()
        )
        small["task"][name] = recipe.model_dump(mode="json", exclude=set(recipe.derived), exclude_none=True)
    return _Layer({key: value for key, value in small.items() if value}, option="--profile")


def load_profiles(name: str) -> list[Suite]:
    """Return a suite under every profile it has; one that declares none but this has ``smoke``.

    Raises:
        SuiteError: everything that is wrong with any of them.
    """
    declared = {"smoke", *(profile for file in _files(name) for profile in _table(file.profiles))}
    found, mistakes = [], []
    for profile in PROFILES:
        if profile == "quick" or profile in declared:
            try:
                found.append(load_suite(name, profile))
            except SuiteError as error:
                mistakes += error.mistakes
    if mistakes:
        raise SuiteError(mistakes)
    return found


def _files(name: str) -> list[_File]:
    """Return a suite's file, and before it those of the suites that it is like, the one that is like no other first.

    Raises:
        SuiteError: one of them is not there or cannot be read, or they are like each other in a circle.
    """
    if not name.strip():
        raise SuiteError([Mistake("SUITE", "", "is empty: name a suite or a file (see: rlprune list suites)")])
    try:
        files = [_read(name, Path())]
    except ValueError as error:
        raise SuiteError([Mistake(name, "", str(error))]) from None
    while (like := files[0].table.get("like")) is not None:
        try:
            if not isinstance(like, str) or not like.strip():
                raise ValueError(f"got {shown(like)}; must name a suite or a file")
            below = _read(like, files[0].path.parent)
            names = [file.path.stem for file in (below, *files)]
            if below.path.resolve() in {file.path.resolve() for file in files}:
                raise ValueError(f"is like itself in the end: {', like '.join(reversed(names))}")
            if len(names) > LONGEST_CHAIN:
                raise ValueError(f"more than {LONGEST_CHAIN} suites are like the next: {', like '.join(reversed(names))}")
        except ValueError as error:
            raise SuiteError([files[0].mistake(("like",), str(error))]) from None
        files.insert(0, below)
    return files


def _layers(files: Sequence[_File], profile: str) -> list[_Layer]:
    """Return what files say, the lowest first: each over those before it, and over all of them the profile in the same order."""
    layers = []
    for file in files:
        others = {"profiles"} if file is files[-1] else {"profiles", *OWN}
        layers.append(_Layer({key: value for key, value in file.table.items() if key not in others}, file))
    for file in files:
        chosen = _table(_table(file.profiles).get(profile))
        untitled = {key: value for key, value in chosen.items() if key != "title"}
        layers.append(_Layer(chosen if file is files[-1] else untitled, file, ("profiles", profile)))
    return layers


def _read(name: str, folder: Path) -> _File:
    """Return the suite of a name, or the file at a path from a folder.

    Raises:
        ValueError: there is none, or it cannot be read.
        SuiteError: it is no TOML.
    """
    file = {suite.casefold(): file for suite, file in suites().items()}.get(name.casefold(), folder / name)
    with suppress(OSError, ValueError):  # not in it, or it is gone
        file = file.relative_to(Path.cwd())
    if _has_results(file):
        raise ValueError(f"holds results and is no suite: rlprune report {typed(file)} shows them")
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise IsADirectoryError
        with file.open("rb") as opened:
            text = _decoded(opened.read(LARGEST + 1))
    except FileNotFoundError:
        if name.casefold() in map(str.casefold, tasks().names()):
            raise ValueError("a task, which is run by a suite that names it, in tasks = [...]; this is no suite") from None
        known = nearest(name, [*suites(), *_beside(folder / name, name)])
        raise ValueError(f"no suite and no file has this name{known} (see: rlprune list suites)") from None
    except IsADirectoryError:
        raise ValueError("is not a file") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {error}") from None
    return _File(file, text, _spelled(_parsed(text, str(file))))


def _has_results(path: Path) -> bool:
    """Say whether a run is there: its folder, or packed rows."""
    with suppress(OSError, ValueError):
        return (path / RESULTS).exists() or (path.is_file() and is_packed(path))
    return False


def _decoded(data: bytes) -> str:
    """Return a file's text, its line ends as TOML counts them; a byte order mark of UTF-8 is let pass.

    Raises:
        ValueError: it is not UTF-8, or very large.
    """
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST / 1e6:g} MB")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
        raise ValueError("it is UTF-16, or no text at all: save it as UTF-8")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{error}; line {line} is not UTF-8: save it as UTF-8") from None


def _parsed(text: str, where: str) -> Table:
    """Return TOML as tables.

    Raises:
        SuiteError: it is none, or nested too deep, or has a number that is too long.
    """

    def wrong(message: str, line: int) -> SuiteError:
        return SuiteError([Mistake(where, "", message, None if where.startswith("--") else line)])

    too_deep = f"tables and lists are nested more than {DEEPEST} deep"
    if chain := _CHAIN.search(text):  # the parser's time grows with its square
        raise wrong(too_deep, text.count("\n", 0, chain.start()) + 1)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).partition(" (at ")
        found = re.match(r"line (\d+)", place)
        line = int(found[1]) if found else text.count("\n") + 1
        bare = re.search(r"[\[,=]\s*[-+]?\.\d", text.split("\n")[line - 1])
        raise wrong(f"not TOML: {message}{'; write 0.9, not .9' if bare else ''}", line) from None
    except ValueError:  # Python reads no number of more digits
        digits = re.search(r"[\d_]{4300,}", text)
        raise wrong("a number has thousands of digits", text.count("\n", 0, digits.start() if digits else 0) + 1) from None
    except RecursionError:
        depth = line = 1
        for mark in re.findall(r"[][{}\n]", text):
            depth += (mark in "[{") - (mark in "]}")
            line += mark == "\n"
            if depth > DEEPEST:
                break
        raise wrong(too_deep, line) from None
    left: list[tuple[Keys, object]] = [((), table)]
    while left:
        keys, value = left.pop()
        if len(keys) > DEEPEST:
            raise wrong(too_deep, line_of(text, keys))
        left += [((*keys, key), inner) for key, inner in _inside(value)]
    return table


_CHAIN = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){64}""")
"""So many words with dots between them that they can only be a key, and one too deep."""


def _inside(value: object) -> Iterator[tuple[str | int, object]]:
    """Yield what a table or a list holds."""
    yield from value.items() if isinstance(value, dict) else enumerate(_list(value))


def override(text: str) -> Table:
    """Return ``key=value`` as a table: the key dotted, the value as TOML writes it, or plain text.

    Raises:
        SuiteError: it is no such thing.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    where = f"--set {text}"
    try:
        if not equals or not key.isprintable() or not value.isprintable() or not (names := _parsed(f"{key}=0", where)):
            raise SuiteError([])
    except SuiteError:
        raise SuiteError([Mistake(where, "", "must be key=value, say recipe.budget=100000")]) from None
    try:
        return _spelled(_parsed(f"{key}={value}", where))
    except SuiteError:
        if value[:1] in ("[", "{", '"', "'") or len(value) > 1000:
            raise
    leaf = names  # plain text, or a number that TOML writes in another way
    while isinstance(inner := next(iter(leaf.values())), dict):
        leaf = inner
    leaf[next(iter(leaf))] = _number(value)
    return _spelled(names)


def _number(word: str) -> int | float | str:
    """Return a word as the number that it is, or as it stands."""
    for read in (int, float):
        try:
            return read(word) if len(word) <= 1000 else word
        except ValueError:
            continue
    return word


def _seeds(text: str) -> tuple[int, ...]:
    """Return the seeds that ``2,5-9`` names.

    Raises:
        ValueError: it names none, or one twice.
    """
    found: dict[int, None] = {}  # a set in order
    for part in filter(None, map(str.strip, text.split(","))):
        ends = re.fullmatch(r"([0-9]{1,4})(?:\s*-\s*([0-9]{1,4}))?", part)
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (1, 0)
        if first > last:
            raise ValueError(f"got {shown(part)}; must be the number of a seed, 0 to {MOST_SEED}, or a first and a last, say 5-9")
        for number in range(first, last + 1):
            if number in found:
                raise ValueError(f"{number} is there twice")
            found[number] = None
    if not found:
        raise ValueError(f"got {shown(text)}; names no seed")
    return tuple(found)


def _words(text: str, *, plain: bool) -> object:
    """Return the items of ``A,B``, numbers as numbers; the one item of a ``plain`` value."""
    return _number(text) if plain else [_number(word.strip()) for word in text.split(",") if word.strip()]


def _spelled(table: Table) -> Table:
    """Spell names as the registries, or the variants, do, so that tables meet whatever their case."""
    spelled, registries = dict(table), {"task": tasks().names(), "pruner": pruners().names()}
    variants = {name.casefold(): name for name in _table(table.get("variant"))}
    for kind, names in registries.items():
        proper = {**(variants if kind == "pruner" else {}), **{name.casefold(): name for name in names}}
        for key in (kind + "s", f"data_{kind}s"):
            if listed := _list(table.get(key)):
                spelled[key] = [proper.get(str(name).casefold(), name) for name in listed]
        for key in (kind, f"{kind}_sparsities"):
            if own := _table(table.get(key)):
                spelled[key] = {}
                for name, entry in own.items():  # of two spellings the second stays, and is told of
                    right = proper.get(name.casefold(), name)
                    spelled[key][name if right in own or right in spelled[key] else right] = entry
    if profiles := _table(table.get("profiles")):
        spelled["profiles"] = {name: _spelled(entry) if isinstance(entry, dict) else entry for name, entry in profiles.items()}
    return spelled


def _spread(table: Table) -> tuple[Table, Mapping[Keys, Keys]]:
    """Make a variant of each value of a list that a variant's name has a place for, and list them all as pruners.

    Returns:
        The table, and for keys that the file does not have in this form those that it has.
    """
    variants: Table = {}
    origins: dict[Keys, Keys] = {}
    listed = list(enumerate(_list(table.get("pruners"))))
    for name, own in _table(table.get("variant")).items():
        names = {name: own}
        for key in dict.fromkeys(re.findall(r"{(\w+)}", name)):
            if (values := _list(_found(own, key))) and len({*map(str, values)}) == len(values):
                names = {
                    each.replace(f"{{{key}}}", str(value)): _put(table, key, value)
                    for each, table in names.items()
                    for value in values
                }
        if [*names] == [name]:
            variants[name] = own
            continue
        variants |= names
        origins |= {("variant", each): ("variant", name) for each in names}
        listed = [(index, each) for index, entry in listed for each in (names if entry == name else [entry])]
    origins |= {("pruners", place): ("pruners", index) for place, (index, _) in enumerate(listed)}
    spread = {"variant": variants} if variants else {}
    return {**table, **({"pruners": [entry for _, entry in listed]} if listed else {}), **spread}, origins


def _found(table: object, key: str) -> object:
    """Return what a key has in a table, or in one inside it."""
    if not isinstance(table, dict):
        return None
    return table[key] if key in table else next((it for inner in table.values() if (it := _found(inner, key)) is not None), None)


def _put(table: Table, key: str, value: object) -> Table:
    return {
        name: value if name == key else _put(old, key, value) if isinstance(old, dict) else old for name, old in table.items()
    }


def _merge(*layers: Table) -> Table:
    """Merge tables deeply; later values take the place of earlier ones, whole lists included."""
    merged: Table = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _table(value: object) -> Table:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


# -- mistakes ----------------------------------------------------------------------------------------------------


def _profile_mistakes(files: Sequence[_File], profile: str) -> Iterator[Mistake]:
    offered = {"quick", "smoke"}
    for file in files:
        try:
            offered |= _Profiles.model_validate(file.profiles).model_fields_set
        except ValidationError as error:
            for keys, message in in_words(error, _Profiles):
                yield file.mistake(("profiles", *keys), message)
            offered |= set(PROFILES)
    if profile not in offered:
        own = files[-1].path.stem
        message = f"no profile is named '{profile}'{nearest(profile, offered)} ({own} has: {', '.join(sorted(offered))})"
        yield Mistake("--profile", "", message)


def _misplaced(layers: Sequence[_Layer]) -> Iterator[Mistake]:
    """Yield where ``like`` stands and is not read."""
    message = "is read in a suite's file, outside its profiles, and nowhere else"
    for layer in layers:
        if "like" in layer.data and (layer.inside or layer.option):
            yield layer.file.mistake((*layer.inside, "like"), message) if layer.file else Mistake(layer.option, "like", message)


def data_mistakes(suite: Suite) -> Iterator[Mistake]:
    """Yield what the folder of data lacks of what the suite's tasks read."""
    sets = {name: task for task in map(tasks().load, suite.tasks) if (name := suite.recipe_for(task).reads)}
    for name, task in sets.items():
        if not suite.folder:
            yield Mistake("--data", "", f"{task.name} reads {name}: name the folder that holds it")
            continue
        try:
            folders.found(name, Path(suite.folder))
        except ValueError as error:
            yield Mistake("--data", "", str(error))
    for start in {start for task in map(tasks().load, suite.tasks) if (start := suite.recipe_for(task).starts_from)}:
        try:
            folders.checkpoint(start, Path(suite.folder))
        except ValueError as error:
            yield Mistake("recipe.checkpoint", "", str(error))
    if suite.folder and not sets:
        why = f"no task of {suite.name} reads data from a folder"
        if suite.data_tasks:  # others were asked for
            why = f"{', '.join(suite.tasks)}: reads no data from a folder; of {suite.name} do: {', '.join(suite.data_tasks)}"
        yield Mistake("--data", "", why)


def with_fingerprints(suite: Suite) -> Suite:
    """Return the suite with a fingerprint of the data and the checkpoint that each of its tasks reads.

    Raises:
        SuiteError: data that cannot be read.
    """
    recipes = {task.name: suite.recipe_for(task) for task in map(tasks().load, suite.tasks)}
    wanted = {task: (recipe.reads, recipe.starts_from) for task, recipe in recipes.items() if recipe.reads or recipe.starts_from}
    try:
        taken = {what: fingerprint(what[0], Path(suite.folder), what[1]) for what in set(wanted.values())}
    except ValueError as error:
        raise SuiteError([Mistake("--data", "", str(error))]) from None
    return suite.model_copy(update={"fingerprints": {task: taken[what] for task, what in wanted.items()}})


def misfits(suite: Suite) -> Iterator[Mistake]:
    """Yield which cells could not learn or would play something else."""
    for task in map(tasks().load, suite.tasks):
        fleet = suite.together(task)
        if why := suite.recipe_for(task).misfit(fleet=fleet):
            yield Mistake(task.name, "", why)
        if (reason := suite.recipe_for(task).fleets_only) and not fleet:
            yield Mistake(task.name, "", f"{reason}: set engine=fleet")


def extra_mistakes(suite: Suite) -> Iterator[Mistake]:
    """Yield which cells do not fit, and which packages tasks need and are not installed."""
    yield from misfits(suite)
    yield from lacking(suite, suite.tasks)


def lacking(suite: Suite, names: Iterable[str]) -> Iterator[Mistake]:
    """Yield which packages some of a suite's tasks need and are not installed."""
    wanted = defaultdict[tuple[str, str], list[str]](list)
    for task in map(tasks().load, names):
        if needed := suite.recipe_for(task).extra:
            wanted[needed].append(task.name)
    for (package, extra), whose in wanted.items():
        if find_spec(package) is None:
            verb = "needs" if len(whose) == 1 else "need"
            yield Mistake(", ".join(whose), "", f"{verb} {package}: python3 -m pip install 'rlprune[{extra}]'")


def _problems(table: Table) -> Iterator[tuple[Keys, str]]:
    """Yield where something is wrong and what; a value may be told of more than once."""
    yield from _value_problems(table)
    try:
        Contents.model_validate(table)
    except ValidationError as error:
        yield from in_words(error, Contents)
    for key in ("tasks", "data_tasks", "pruners", "sparsities", "branches"):
        seen = set()
        for index, value in enumerate(_list(table.get(key))):
            if shown(value) in seen:
                yield (key, index), f"{shown(value)} is there twice"
            seen.add(shown(value))
    variants = {name: own for name, own in _table(table.get("variant")).items() if isinstance(own, dict)}
    for name, values in _table(table.get("task_sparsities")).items():
        try:
            if (right := tasks().match(name)) != name:
                yield ("task_sparsities", name), f"'{right}' is there twice"
        except KeyError as error:
            yield ("task_sparsities", name), error.args[0]
        if len(set(map(shown, _list(values)))) < len(_list(values)):
            yield ("task_sparsities", name), f"{shown(values)} has a sparsity twice"
    yield from _entry_problems(table, "task", tasks(), "recipe")
    yield from (told := list(_entry_problems(table, "pruner", pruners(), "pruning", known=variants)))
    taken = {name.casefold(): "the name of a pruner" for name in pruners().names()}
    for name, own in variants.items():
        if reason := taken.get(name.casefold()):
            yield ("variant", name), f"'{name}' is {reason}"
        elif places := re.findall(r"{\w+}", name):
            yield ("variant", name), f"{places[0]} in its name stands for the different values of a list, and it sets none"
        elif why := fault(name):
            yield ("variant", name), f"{shown(name)}: {why}"
        elif not isinstance(base := own.get("of"), str):
            yield ("variant", name, "of"), "is missing: name the pruner it is a variant of"
        else:
            settings = {base: _merge(_table(_table(table.get("pruner")).get(base)), {k: v for k, v in own.items() if k != "of"})}
            both = {"pruner": settings, "pruning": table.get("pruning")}
            for keys, message in _entry_problems(both, "pruner", pruners(), "pruning"):
                if keys[0] != "pruning" and (keys, message) not in told:  # told already
                    yield ("variant", name, *(keys[2:] or ("of",))), message
        taken[name.casefold()] = "there twice"


def _value_problems(table: Table) -> Iterator[tuple[Keys, str]]:
    """Yield what no key of a suite may be set to."""
    left: list[tuple[Keys, object]] = [((), table)]
    while left:
        keys, value = left.pop()
        match value:
            case float() if not isfinite(value):
                yield keys, f"got {value}; must be a finite number"
            case int() if abs(value) >= 2**63:
                yield keys, f"got {shown(value)}; must be a number of at most 64 bits"
            case str() if not value.replace("\n", "").replace("\t", "").isprintable():
                yield keys, f"got {shown(value)}; must be text without control characters"
            case _:
                left += [((*keys, key), inner) for key, inner in _inside(value)]


def _matrix_problems(suite: Suite) -> Iterator[tuple[Keys, str]]:
    """Yield what is wrong with a suite's cells together: too many, or one under two names."""
    shares = [len(suite.task_sparsities.get(task, suite.sparsities)) for task in suite.tasks]
    uncut = sum(suite.method(name)[0].cut == NOTHING for name in suite.pruners)
    cut, once = (len(suite.pruners) - uncut) * sum(shares), uncut * (1 + len(suite.branches)) * len(shares)
    if (count := suite.seeds * (cut + once)) > MOST_CELLS:
        yield ("seeds",), f"tasks, pruners, sparsities and seeds make {count:,} cells; must be at most {MOST_CELLS:,}"
        return
    for one in map(tasks().load, suite.tasks if suite.branches else ()):
        if why := _unbranched(one, suite.recipe_for(one), max(suite.branches)):
            yield ("branches",), why
            return
    if suite.branches and all(suite.method(name)[0].cut != NOTHING for name in suite.pruners):
        yield ("branches",), "copies are of a network that is not pruned, and no pruner here leaves it so: add 'Dense'"
        return
    make = cell_maker(suite, "cpu")
    recipes = {name: suite.recipe_for(tasks().load(name)) for name in suite.tasks}
    for index, name in enumerate(suite.pruners):
        pruner, settings = suite.method(name)
        if None not in (settings.actor, settings.critic) and max(shares) > 1 and pruner.cut != NOTHING:
            what = f"'{name}' has sparsities of its own for actor and critic, so that all of sparsities would train one agent"
            yield ("sparsities",), f"{what}: give one"
            return
        try:
            plan = pruner.steps(settings)
            trained = trained_epochs(plan, 10)
            end = reached(plan, 0.9)
        except Exception as error:  # somebody else's plan may fail in any way
            yield ("pruners", index), f"the plan of '{name}' cannot be followed: {type(error).__name__}: {error}"
            return
        if trained < 10:
            share = f"{trained / 10:.0%} of the budget" if trained else "nothing"
            yield ("pruners", index), f"the plan of '{name}' trains {share}: let it end with Train()"
            return
        for task, recipe in recipes.items():
            if why := unheard(plan, recipe.epochs):
                yield ("pruners", index), f"'{name}' on {task}: {why}"
                return
        if pruner.cut != NOTHING and end != 0.9:
            ends = "never prunes" if end is None else f"ends at a sparsity of {end:.4g} where 0.9 is asked for"
            yield ("pruners", index), f"the plan of '{name}' {ends}"
            return
    for task in suite.tasks:
        named: dict[str, str] = {}
        for method in suite.pruners:
            first = named.setdefault(make(task, method, suite.sparsities[0], 0).id, method)
            if first != method:
                variant, other = (method, first) if method in suite.variant else (first, method)
                yield ("variant", variant), f"has all settings of '{other}' (on {task}): one cell cannot have two names"


def _unbranched(task: Task, recipe: Recipe, latest: int) -> str:
    """Return why there is no barrier between two copies of a task's network, or an empty string."""
    if latest >= recipe.epochs:
        return f"got {latest}; must be less than the {recipe.epochs} epochs of {task.name}"
    if task.metric.span is None:
        return f"a barrier is a share of the metric's range, and nobody says how far {task.metric.title} of {task.name} goes"
    if recipe.unit == "steps" and recipe.about != task.recipe.about:  # a return has another range in another game
        return f"a barrier is a share of the metric's range, known for {task.recipe.about}, and this is {recipe.about}"
    return ""


def _entry_problems(
    table: Table,
    kind: str,
    registry: Registry[Any],
    common: str,
    known: Mapping[str, Table] = MappingProxyType({}),
) -> Iterator[tuple[Keys, str]]:
    """Yield what is wrong with names of one kind and with their settings, those that this suite does not run included."""
    own = _table(table.get(kind))
    named: dict[str, Keys] = {name: (kind, name) for name in own}
    for key in (kind + "s", f"data_{kind}s"):
        named |= {name: (key, index) for index, name in enumerate(_list(table.get(key))) if isinstance(name, str)}
    unknown = 0
    for name, keys in named.items():
        if name in known:
            continue
        try:
            if (right := registry.match(name)) != name:
                yield keys, f"'{right}' is there twice"
                continue
        except KeyError:
            unknown += 1
            yield keys, registry.unknown(name, known) if unknown <= MOST else f"no {kind} is named '{name}'"
            continue
        try:
            entry = registry.load(name)
        except (ValueError, ImportError, TypeError) as error:
            yield keys, str(error)
            continue
        mine, shared = _table(own.get(name)), _table(table.get(common))
        try:
            made = entry.settings({**shared, **mine})
        except ValidationError as error:
            for inner, message in in_words(error, type(entry.settings())):
                if inner and isinstance(entry, Task) and inner[0] in entry.recipe.derived:
                    continue  # told of what it follows from
                if not inner:  # about how keys go together: the last one that it names
                    inner = tuple(key for key, value in {**shared, **mine}.items() if _mentions(message, key, value))[-1:]
                if not inner:
                    yield keys, message
                else:
                    yield (*((kind, name) if inner[0] in mine or inner[0] not in shared else (common,)), *inner), message
            continue
        for key in {**shared, **mine} if isinstance(made, Recipe) else ():
            if why := made.unknown(key):
                yield (*((kind, name) if key in mine else (common,)), key), f"got {shown(getattr(made, key))}; {why}"


def _mentions(message: str, key: str, value: object) -> bool:
    return any(re.search(rf"\b{re.escape(it)}\b", message) for it in (key, value) if isinstance(it, str) and it)


def _mistake(keys: Keys, message: str, origins: Mapping[Keys, Keys], layers: Sequence[_Layer]) -> Mistake:
    """Name the last place that sets these keys, or the suite's own file where none does."""
    places = (*origins.get(keys[:2], keys[:2]), *keys[2:])
    known = [reach(layer.data, places) for layer in layers]
    own = max(index for index, layer in enumerate(layers) if layer.file and not layer.inside)
    layer = layers[max(range(len(layers)), key=lambda index: (known[index], index)) if any(known) else own]
    dotted = ".".join(key for key in (*layer.inside, *keys) if isinstance(key, str))
    if layer.file is None:
        return Mistake(layer.option, dotted if layer.option.startswith("--set") else "", message)
    return Mistake(str(layer.file.path), dotted, message, line_of(layer.file.text, (*layer.inside, *places[: max(known)])))
