"""A suite file to cells. All its mistakes are told at once; a cell's id and seeds depend on nothing but the cell."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from rlprune.data import folders
from rlprune.data.fingerprint import fingerprint
from rlprune.energy import known_country
from rlprune.mistakes import Keys, Mistake, SuiteError, in_words, line_of, reach, shown
from rlprune.pruner import NOTHING, CommonSettings, Pruner, pruners
from rlprune.registry import Registry, nearest
from rlprune.task import Recipe, Task, tasks

Table: TypeAlias = dict[str, Any]


# -- what a suite says -------------------------------------------------------------------------------------------


def _share(value: float) -> float:
    if not 0 < value < 1:
        raise ValueError("a sparsity is the share removed, more than 0 and less than 1")
    return value


def _country(value: str) -> str:
    if not known_country(value):
        raise ValueError('must be a country whose energy mix CodeCarbon knows, three capital letters (ISO 3166), say "USA"')
    return value


_Names: TypeAlias = Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
_Shares: TypeAlias = Annotated[tuple[Annotated[float, AfterValidator(_share)], ...], Field(min_length=1, strict=False)]


class Contents(BaseModel):
    """The keys of a suite file, one profile merged in.

    Args:
        title: of tables and figures.
        description: a sentence or two.
        tasks: names.
        data_tasks: tasks in their place when a folder with data is given (``--data``).
        pruners: names.
        sparsities: shares of weights to remove.
        task_sparsities: those of one task in their place, by its name.
        seeds: how many; they are numbered from 0.
        engine: ``fleet`` trains agents in batches where a task can; ``sb3`` trains each alone.
        solo: seeds below it train alone in any case, so that their cost can be measured.
        price_per_hour: of one worker, in USD; None is unknown.
        country: whose energy mix counts for CO2, as ISO 3166 alpha-3.
        recipe: fields of every task's recipe; ``task`` those of one task, by its name.
        pruning: settings of every pruner; ``pruner`` those of one pruner, by its name.
        variant: further names for pruners under settings of their own, each with the pruner it is a variant ``of``. A list
            where a setting is one value makes a variant of each: ``"SNIP, floor {floor}" = { of = "SNIP", floor = [1, 8] }``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    title: str
    description: str = ""
    tasks: _Names
    data_tasks: _Names | None = None
    pruners: _Names
    sparsities: _Shares
    task_sparsities: dict[str, _Shares] = {}
    seeds: int = Field(ge=1)
    engine: Literal["fleet", "sb3"] = "fleet"
    solo: int = Field(default=1, ge=0)
    price_per_hour: float | None = Field(default=None, ge=0, allow_inf_nan=False)
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
    """

    name: str
    profile: str
    folder: str = ""
    fingerprints: dict[str, str] = {}

    def recipe_for(self, task: Task) -> Recipe:
        return task.settings({**self.recipe, **self.task.get(task.name, {})})

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
        fleet: whether it trains in a fleet, or alone.
        folder: where its data set is read; the result does not depend on the place.
        variant: what the suite calls the pruner under these settings, where it has a name for that.
        data: fingerprint of the data read from ``folder``; empty where they are the program's own.
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

    @property
    def method(self) -> str:
        """What figures and tables call its pruner."""
        return self.variant or self.pruner

    @property
    def config(self) -> dict[str, Any]:
        """All that the result depends on, as JSON has it."""
        left_out = ("folder", "variant") if self.data else ("folder", "variant", "data")
        return {key: value for key, value in asdict(self).items() if key not in left_out}

    @property
    def id(self) -> str:
        """Sixteen hex digits that stand for ``config`` and nothing else: suites and profiles share finished cells."""
        return sha256(json.dumps(self.config, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def make_cell(suite: Suite, task_name: str, method: str, sparsity: float, seed: int, device: str) -> Cell:
    """Return one cell as this suite would run it, whether it lists it or not; ``method`` names a pruner or a variant."""
    task, (pruner, chosen) = tasks().load(task_name), suite.method(method)
    settings = chosen.model_dump(mode="json")
    if pruner.cut == NOTHING:  # scope and floor change nothing here: let nobody train Dense again for them
        sparsity, settings = 0.0, {key: value for key, value in settings.items() if key not in CommonSettings.model_fields}
    else:
        settings["scope"] = settings["scope"] or pruner.scope or task.scope
    fleet = bool(task.fleet) and suite.engine == "fleet" and seed >= suite.solo
    recipe = suite.recipe_for(task).model_dump(mode="json")
    variant = method if method in suite.variant else ""
    data = suite.fingerprints.get(task.name, "")
    return Cell(task.name, pruner.name, sparsity, seed, recipe, settings, device, fleet, suite.folder, variant, data)


def cells(suite: Suite, device: str) -> list[Cell]:
    """Return every cell, seed by seed so that what is done so far is balanced, in each seed what cuts nothing first."""
    uncut = [name for name in suite.pruners if suite.method(name)[0].cut == NOTHING]
    shares = {task: suite.task_sparsities.get(task, suite.sparsities) for task in suite.tasks}
    turns = [(name, 0) for name in uncut]
    turns += [(name, turn) for name in suite.pruners if name not in uncut for turn in range(max(map(len, shares.values())))]
    return [
        make_cell(suite, task, pruner, shares[task][turn], seed, device)
        for seed in range(suite.seeds)
        for pruner, turn in turns
        for task in suite.tasks
        if turn < len(shares[task])
    ]


def seed_sequence(task: str, seed: int, use: str) -> np.random.SeedSequence:
    """Return the seed of one use of randomness; the pruner has no part in it: all meet the same network and episodes."""
    return np.random.SeedSequence(int.from_bytes(sha256(json.dumps([task, seed, use]).encode()).digest()))


# -- reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layer:
    """Keys from one place: the file, a profile's table ``inside`` it, or an option of the command line."""

    data: Table
    option: str = ""
    inside: tuple[str, ...] = ()


def suites() -> dict[str, Path]:
    """Return the suites that have names: the checkout's own, or those of the wheel."""
    package = Path(__file__).parent
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
        options: ``pruners``, ``sparsities``, ``seeds`` and ``engine`` as the command line gives them.
        folder: where data sets are.

    Raises:
        SuiteError: everything that is wrong.
    """
    file, text, table = _read(name)
    profiles = table.pop("profiles", {})
    mistakes = list(_profile_mistakes(file, text, profiles, profile))
    layers = [_Layer(table), _Layer(_table(_table(profiles).get(profile)), inside=("profiles", profile))]
    for override in overrides:
        given = _override(override)
        layers.append(_Layer(given, f"--set {override}"))
        if not given:
            mistakes.append(Mistake(f"--set {override}", "", "must be key=value, say recipe.budget=100000"))
    for option, value in (options or {}).items():
        layers.append(_Layer(_spelled({option: _words(value, plain=option in ("seeds", "engine"))}), f"--{option}"))
    merged = _spread(_merge(*(layer.data for layer in layers)))
    problems: dict[Keys, str] = {}
    for keys, message in _problems(merged):
        problems.setdefault(keys, message)
    mistakes += [_mistake(keys, message, layers, file, text) for keys, message in problems.items()]
    if mistakes:
        raise SuiteError(mistakes)
    suite = Suite.model_validate({**merged, "name": file.stem, "profile": profile, "folder": str(folder or "")})
    changes: Table = {"tasks": suite.data_tasks} if folder and suite.data_tasks else {}
    if "sparsities" in (options or {}):  # the command line's are for every task
        changes["task_sparsities"] = {}
    return suite.model_copy(update=changes)


def load_profiles(name: str) -> list[Suite]:
    """Return a suite under every profile it has.

    Raises:
        SuiteError: everything that is wrong with any of them.
    """
    declared = _table(_read(name)[2].get("profiles"))
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


def _read(name: str) -> tuple[Path, str, Table]:
    file = {suite.casefold(): file for suite, file in suites().items()}.get(name.casefold(), Path(name))
    if file.is_relative_to(Path.cwd()):
        file = file.relative_to(Path.cwd())
    try:
        text = file.read_text(encoding="utf-8")
        return file, text, _spelled(tomllib.loads(text))
    except FileNotFoundError:
        message = f"no suite and no file has this name{nearest(name, suites())} (see: rlprune list suites)"
        raise SuiteError([Mistake(name, "", message)]) from None
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).partition(" (at ")
        line = re.match(r"line (\d+)", place)
        number = int(line[1]) if line else text.count("\n") + 1
        raise SuiteError([Mistake(str(file), "", f"not TOML: {message}", number)]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError([Mistake(name, "", f"cannot be read: {error}")]) from None


def _override(text: str) -> Table:
    """Return ``key=value`` as a table, or nothing where it is no such thing."""
    key, equals, value = text.partition("=")
    for line in (text, f"{key}={json.dumps(value)}"):
        try:
            return _spelled(tomllib.loads(line)) if equals else {}
        except tomllib.TOMLDecodeError:
            continue
    return {}


def _words(text: str, *, plain: bool) -> object:
    """Return the items of ``A,B``, numbers as numbers; the one item of a ``plain`` value."""

    def number(word: str) -> int | float | str:
        for read in (int, float):
            try:
                return read(word)
            except ValueError:
                continue
        return word

    return number(text) if plain else [number(word.strip()) for word in text.split(",") if word.strip()]


def _spelled(table: Table) -> Table:
    """Spell names as the registries do, so that tables meet whatever their case."""
    spelled, registries = dict(table), {"task": tasks().names(), "pruner": pruners().names()}
    for kind, names in registries.items():
        proper = {name.casefold(): name for name in names}
        for key in (kind + "s", f"data_{kind}s"):
            if listed := _list(table.get(key)):
                spelled[key] = [proper.get(str(name).casefold(), name) for name in listed]
        for key in (kind, f"{kind}_sparsities"):
            if own := _table(table.get(key)):
                spelled[key] = _merge(*({proper.get(name.casefold(), name): entry} for name, entry in own.items()))
    if profiles := _table(table.get("profiles")):
        spelled["profiles"] = {name: _spelled(entry) if isinstance(entry, dict) else entry for name, entry in profiles.items()}
    return spelled


def _spread(table: Table) -> Table:
    """Make a variant of each value of a list that a variant's name has a place for, and list them all as pruners."""
    variants: Table = {}
    listed = _list(table.get("pruners"))
    for name, own in _table(table.get("variant")).items():
        if not (key := next(iter(re.findall(r"{(\w+)}", name)), "")) or not (values := _list(_found(own, key))):
            variants[name] = own
            continue
        names = {name.replace(f"{{{key}}}", str(value)): _put(own, key, value) for value in values}
        variants |= names
        listed = [each for entry in listed for each in (names if entry == name else [entry])]
    spread = {"variant": variants} if variants else {}
    return {**table, **({"pruners": listed} if listed else {}), **spread}


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


def _profile_mistakes(file: Path, text: str, profiles: object, profile: str) -> Iterator[Mistake]:
    try:
        offered = {"quick", *_Profiles.model_validate(profiles).model_fields_set}
    except ValidationError as error:
        for keys, message in in_words(error, _Profiles):
            yield Mistake(str(file), ".".join(("profiles", *map(str, keys))), message, line_of(text, ("profiles", *keys)))
        offered = set(PROFILES)
    if profile not in offered:
        message = f"no profile is named '{profile}'{nearest(profile, offered)} ({file.stem} has: {', '.join(sorted(offered))})"
        yield Mistake("--profile", "", message)


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
        yield Mistake("--data", "", f"no task of {suite.name} reads data from a folder")


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


def extra_mistakes(suite: Suite) -> Iterator[Mistake]:
    """Yield which optional packages the suite's tasks need and are not installed, and which cells would play something else."""
    for task in map(tasks().load, suite.tasks):
        if (reason := suite.recipe_for(task).fleets_only) and (suite.engine != "fleet" or suite.solo):
            yield Mistake(task.name, "", f"{reason}: set engine=fleet and solo=0")
    wanted = {needed: task for task in map(tasks().load, suite.tasks) if (needed := suite.recipe_for(task).extra)}
    for (package, extra), task in wanted.items():
        if find_spec(package) is None:
            yield Mistake(task.name, "", f"needs {package}: python3 -m pip install 'rlprune[{extra}]'")


def _problems(table: Table) -> Iterator[tuple[Keys, str]]:
    """Yield where something is wrong and what; a value may be told of more than once."""
    try:
        Contents.model_validate(table)
    except ValidationError as error:
        yield from in_words(error, Contents)
    for key in ("tasks", "data_tasks", "pruners", "sparsities"):
        values = _list(table.get(key))
        for index, value in enumerate(values):
            if value in values[:index]:
                yield (key, index), f"{shown(value)} is there twice"
    variants = {name: own for name, own in _table(table.get("variant")).items() if isinstance(own, dict)}
    for name, values in _table(table.get("task_sparsities")).items():
        try:
            tasks().match(name)
        except KeyError as error:
            yield ("task_sparsities", name), error.args[0]
        if len(set(map(shown, _list(values)))) < len(_list(values)):
            yield ("task_sparsities", name), f"{shown(values)} has a sparsity twice"
    yield from _entry_problems(table, "task", tasks(), "recipe")
    yield from _entry_problems(table, "pruner", pruners(), "pruning", known=variants)
    for name, own in variants.items():
        if name in pruners().names():
            yield ("variant", name), f"'{name}' is the name of a pruner"
        elif not isinstance(base := own.get("of"), str):
            yield ("variant", name, "of"), "is missing: name the pruner it is a variant of"
        else:
            settings = {base: _merge(_table(_table(table.get("pruner")).get(base)), {k: v for k, v in own.items() if k != "of"})}
            for keys, message in _entry_problems({"pruner": settings}, "pruner", pruners(), "pruning"):
                yield ("variant", name, *(keys[2:] or ("of",))), message


def _entry_problems(
    table: Table, kind: str, registry: Registry[Any], common: str, known: Mapping[str, Table] = MappingProxyType({})
) -> Iterator[tuple[Keys, str]]:
    """Yield what is wrong with names of one kind and with their settings, those that this suite does not run included."""
    own = _table(table.get(kind))
    named: dict[str, Keys] = {name: (kind, name) for name in own}
    for key in (kind + "s", f"data_{kind}s"):
        named |= {name: (key, index) for index, name in enumerate(_list(table.get(key))) if isinstance(name, str)}
    for name, keys in named.items():
        if name in known:
            continue
        try:
            entry = registry.load(name)
        except KeyError as error:
            yield keys, error.args[0]
            continue
        except Exception as error:  # somebody else's file may fail in any way
            yield keys, f"'{name}' cannot be imported: {type(error).__name__}: {error}"
            continue
        mine = _table(own.get(name))
        try:
            entry.settings({**_table(table.get(common)), **mine})
        except ValidationError as error:
            for inner, message in in_words(error, type(entry.settings())):
                yield (*((common,) if inner and inner[0] not in mine else (kind, name)), *inner), message


def _mistake(keys: Keys, message: str, layers: Sequence[_Layer], file: Path, text: str) -> Mistake:
    """Name the last place that sets these keys, or the file that lacks them."""
    known = [reach(layer.data, keys) for layer in layers]
    layer = layers[max(range(len(layers)), key=lambda index: (known[index], index)) if any(known) else 0]
    dotted = ".".join(key for key in (*layer.inside, *keys) if isinstance(key, str))
    if layer.option:
        return Mistake(layer.option, dotted if layer.option.startswith("--set") else "", message)
    return Mistake(str(file), dotted, message, line_of(text, (*layer.inside, *keys[: max(known)])))
