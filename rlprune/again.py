"""The command that trains one stored cell alone again: found from its configuration, and tried out before it is told."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from rlprune.bench.contents import Suite
from rlprune.bench.matrix import cells, make_cell
from rlprune.bench.mistakes import SuiteError
from rlprune.bench.source import suites
from rlprune.bench.suite import load_suite
from rlprune.costs.measures import alone
from rlprune.pruning.pruner import NOTHING, pruners
from rlprune.reason import line
from rlprune.rows import Identity, Row
from rlprune.task import tasks

Options = dict[str, str]


def command(one: Identity, out: str) -> list[str]:
    """Return the words that train this cell, and no other, into a folder.

    Raises:
        ValueError: the rlprune that is installed does not train it; the message says why.
    """
    why = ""
    for suite, profile in _candidates(one):
        try:
            sets, options = _changes(one, suite, profile)
            found = _loaded(one, suite, profile, sets, options)
        except SuiteError as error:
            why = why or str(error.mistakes[0])
            continue
        except Exception as error:  # its pruner or task may not be here any more, and rows may be anybody's
            why = why or (str(error.args[0]) if isinstance(error, ValueError | KeyError) and error.args else line(error))
            continue
        if any(cell.id == one.id for cell in cells(found, _device(one))):
            return [*_words(one, suite, profile, sets, options), "--only", one.id, "--out", out]
        why = why or _differing(one, found)
    raise ValueError(why or f"no suite here trains {one.task}")


def _candidates(one: Identity) -> Iterator[tuple[str, str]]:
    """Yield suites that may train it, each with a profile: its own first, any that has its task last."""
    known = suites()
    own = [name for name in (one.labels.get("suite_file"), known.get(one.suite) and one.suite) if name]
    for name in dict.fromkeys((*own, *(name for name in known if name != one.suite))):
        for profile in dict.fromkeys((one.profile, "quick")):
            with suppress(SuiteError):
                suite = load_suite(name, profile)
                if name in own or one.task in chain(suite.tasks, suite.data_tasks or ()):
                    yield name, profile
                    break
    for name in own:  # or nobody hears what is wrong with it
        yield name, one.profile


def _loaded(one: Identity, name: str, profile: str, sets: Sequence[str], options: Options) -> Suite:
    """Return a suite with the fingerprint of the data that the cell read, which need not be here."""
    data = one.config.get("data")
    folder = Path(one.labels.get("folder", ".")) if data else None
    suite = load_suite(name, profile, sets, {key: value for key, value in options.items() if key != "device"}, folder)
    return suite.model_copy(update={"fingerprints": {one.task: str(data)}}) if data else suite


def _method(one: Identity) -> tuple[str, int | None]:
    """Return the name of a pruner or a variant, and the epoch from which its network was copied, if it was."""
    branch = one.config.get("branch")
    return one.pruner.removesuffix(f" branched at {branch}"), branch if isinstance(branch, int) else None


def _device(one: Identity) -> str:
    return str(one.config.get("device", "cpu"))


def _changes(one: Identity, name: str, profile: str) -> tuple[list[str], Options]:
    """Return what to set on a suite, and the options that make it list the cell.

    Raises:
        ValueError: it cannot be written so.
    """
    sets: list[str] = []
    suite, (method, branch) = _loaded(one, name, profile, sets, {}), _method(one)
    pruner = pruners().load(str(one.config.get("pruner")))
    if method not in suite.variant and method != pruner.name:
        sets.append(f"variant.{_key(method)}.of={_toml(pruner.name)}")
        suite = _loaded(one, name, profile, sets, {})
    today = make_cell(suite, one.task, method, one.sparsity, one.seed, _device(one))
    usual = {key: field.default for key, field in type(pruner.settings()).model_fields.items()}
    settings = _different(_table(one.config.get("settings")), today.settings, usual)
    for key, text in settings:  # of a variant that a list made nothing more can be set, but of its pruner
        own = key in suite.variant.get(method, {})
        sets.append(f"{f'variant.{_key(method)}' if own else f'pruner.{_key(pruner.name)}'}.{text}")
    recipe = tasks().load(one.task).recipe
    mine = {key: value for key, value in _table(one.config.get("recipe")).items() if key not in recipe.derived}
    fields = _different(mine, {key: today.recipe[key] for key in today.recipe if key in mine}, {})
    sets += [f"task.{_key(one.task)}.{text}" for _, text in fields]
    if isinstance(one, Row) and one.values and alone(one.config, one.values) and not today.alone:  # its costs, too
        sets.append(f"solo={one.seed + 1}")
    options: Options = {"seeds": f"{one.seed}-{one.seed}", "device": _device(one)}
    if today.fleet != bool(one.config.get("fleet")):
        options["engine"] = "sb3" if today.fleet else "fleet"
    if one.task not in suite.tasks or (one.config.get("data") and suite.tasks[1:]):  # others' data may not be there
        options["tasks"] = one.task
    if method not in suite.pruners:
        sets.append(f"pruners={_toml([method])}")
    if branch is not None and branch not in suite.branches:
        sets.append(f"branches=[{branch}]")
    if pruner.cut != NOTHING and one.sparsity not in suite.task_sparsities.get(one.task, suite.sparsities):
        options["sparsities"] = repr(one.sparsity)
    return sets, options


def _words(one: Identity, suite: str, profile: str, sets: Sequence[str], options: Options) -> Iterator[str]:
    yield from ("rlprune", "run", suite, "--profile", profile)
    for key, value in options.items():
        yield from (f"--{key}", value)
    for text in sets:
        yield from ("--set", text)
    if one.config.get("data"):
        yield from ("--data", one.labels.get("folder", "DIR"))
    if ":" in str(_table(one.config.get("recipe")).get("environment", "")):
        yield "--allow-import"


def _different(mine: Mapping[str, Any], today: Mapping[str, Any], usual: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield where a stored table differs from today's, and what to set; a key that was not stored had its usual value.

    Raises:
        ValueError: that is none, which nobody can set.
    """
    for key in dict.fromkeys((*mine, *today)):
        value = mine[key] if key in mine else usual.get(key)
        if key not in today or value != today[key]:
            if value is None:
                raise ValueError(f"{key} was none, and no --set can say so")
            yield key, f"{_key(key)}={_toml(value)}"


def _differing(one: Identity, suite: Suite) -> str:
    """Return in words why a suite that was set as the cell says does not list it."""
    method, branch = _method(one)
    today = replace(make_cell(suite, one.task, method, one.sparsity, one.seed, _device(one)), branch=branch).config
    keys = [key for key in dict.fromkeys((*one.config, *today)) if one.config.get(key) != today.get(key)]
    return f"today's cell differs in {', '.join(keys)}" if keys else "today's suite does not list it"


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    """Return a value as TOML writes it."""
    match value:
        case dict():
            return "{" + ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
