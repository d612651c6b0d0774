"""What is wrong with a suite: its keys, its cells together, and what it needs and is not here."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from rlprune.bench.contents import PROFILES, Contents, Profiles, Suite
from rlprune.bench.matrix import cell_maker
from rlprune.bench.mistakes import Mistake, line_of, reach
from rlprune.bench.source import File, Layer, Table, inside, list_of, merge, table_of
from rlprune.data import folders
from rlprune.pruning.plan import reached, trained_epochs, unheard
from rlprune.pruning.pruner import NOTHING, pruners
from rlprune.registry import Registry
from rlprune.safely import fault
from rlprune.task import Recipe, Task, tasks
from rlprune.words import MOST, Keys, in_words, nearest, shown

MOST_CELLS = 1_000_000


# -- keys --------------------------------------------------------------------------------------------------------


def profile_mistakes(files: Sequence[File], profile: str) -> Iterator[Mistake]:
    """Yield what is wrong with the profiles of these files, the one that is asked for among them."""
    offered = {"quick", "smoke"}
    for file in files:
        try:
            offered |= Profiles.model_validate(file.profiles).model_fields_set
        except ValidationError as error:
            for keys, message in in_words(error, Profiles):
                yield file.mistake(("profiles", *keys), message)
            offered |= set(PROFILES)
    if profile not in offered:
        own = files[-1].path.stem
        message = f"no profile is named '{profile}'{nearest(profile, offered)} ({own} has: {', '.join(sorted(offered))})"
        yield Mistake("--profile", "", message)


def misplaced(layers: Sequence[Layer]) -> Iterator[Mistake]:
    """Yield where ``like`` stands and is not read."""
    message = "is read in a suite's file, outside its profiles, and nowhere else"
    for layer in layers:
        if "like" in layer.data and (layer.inside or layer.option):
            yield layer.file.mistake((*layer.inside, "like"), message) if layer.file else Mistake(layer.option, "like", message)


def table_problems(table: Table) -> Iterator[tuple[Keys, str]]:
    """Yield where something is wrong and what; a value may be told of more than once."""
    yield from _value_problems(table)
    try:
        Contents.model_validate(table)
    except ValidationError as error:
        yield from in_words(error, Contents)
    for key in ("tasks", "data_tasks", "pruners", "sparsities", "branches"):
        seen = set()
        for index, value in enumerate(list_of(table.get(key))):
            if shown(value) in seen:
                yield (key, index), f"{shown(value)} is there twice"
            seen.add(shown(value))
    variants = {name: own for name, own in table_of(table.get("variant")).items() if isinstance(own, dict)}
    for name, values in table_of(table.get("task_sparsities")).items():
        try:
            if (right := tasks().match(name)) != name:
                yield ("task_sparsities", name), f"'{right}' is there twice"
        except KeyError as error:
            yield ("task_sparsities", name), error.args[0]
        if len(set(map(shown, list_of(values)))) < len(list_of(values)):
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
            settings = {
                base: merge(table_of(table_of(table.get("pruner")).get(base)), {k: v for k, v in own.items() if k != "of"})
            }
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
                left += [((*keys, key), inner) for key, inner in inside(value)]


def _entry_problems(
    table: Table,
    kind: str,
    registry: Registry[Any],
    common: str,
    known: Mapping[str, Table] = MappingProxyType({}),
) -> Iterator[tuple[Keys, str]]:
    """Yield what is wrong with names of one kind and with their settings, those that this suite does not run included."""
    own = table_of(table.get(kind))
    named: dict[str, Keys] = {name: (kind, name) for name in own}
    for key in (kind + "s", f"data_{kind}s"):
        named |= {name: (key, index) for index, name in enumerate(list_of(table.get(key))) if isinstance(name, str)}
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
        mine, shared = table_of(own.get(name)), table_of(table.get(common))
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


def located(keys: Keys, message: str, origins: Mapping[Keys, Keys], layers: Sequence[Layer]) -> Mistake:
    """Name the last place that sets these keys, or the suite's own file where none does."""
    places = (*origins.get(keys[:2], keys[:2]), *keys[2:])
    known = [reach(layer.data, places) for layer in layers]
    own = max(index for index, layer in enumerate(layers) if layer.file and not layer.inside)
    layer = layers[max(range(len(layers)), key=lambda index: (known[index], index)) if any(known) else own]
    dotted = ".".join(key for key in (*layer.inside, *keys) if isinstance(key, str))
    if layer.file is None:
        return Mistake(layer.option, dotted if layer.option.startswith("--set") else "", message)
    return Mistake(str(layer.file.path), dotted, message, line_of(layer.file.text, (*layer.inside, *places[: max(known)])))


# -- cells together ----------------------------------------------------------------------------------------------


def matrix_problems(suite: Suite) -> Iterator[tuple[Keys, str]]:
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


# -- what is not here, or does not go together -------------------------------------------------------------------


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
