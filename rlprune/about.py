"""All about one pruner, task or executor, as ``rlprune list pruners NAME`` prints it; imports no torch."""

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass

from pydantic import BaseModel

from rlprune.executors import Executor, executors
from rlprune.pruning import said
from rlprune.pruning.pruner import CommonSettings, Pruner, pruners
from rlprune.safely import plain
from rlprune.task import Task, tasks
from rlprune.words import shown

WIDTH = 80


def pruner(name: str) -> str:
    """Return a pruner in words: what it is, its score, its plan, its paper."""
    entry = pruners().load(name)
    return _page(entry.name, pruners().about(name), {**_of_pruner(entry), "from": pruners().origin(name)})


def task(name: str) -> str:
    """Return a task in words: what it is judged by, and every number of its recipe."""
    entry = tasks().load(name)
    return _page(entry.name, tasks().about(name), {**_of_task(entry), "from": tasks().origin(name)})


def executor(name: str) -> str:
    """Return an executor in words: where jobs run, and what it may be told."""
    entry = executors().load(name)
    return _page(entry.name, executors().about(name), {**_of_executor(entry), "from": executors().origin(name)})


def _of_executor(entry: Executor) -> dict[str, str]:
    package, extra = entry.extra or ("", "")
    options = entry.options.model_fields.items()
    return {
        "needs": package and f"{package}: python3 -m pip install 'rlprune[{extra}]'",
        "options": "none"
        if not options
        else "\n".join(f"--set executor.{key}={_toml(field.get_default(call_default_factory=True))}" for key, field in options),
        "which are": _arguments(entry.options) if options else "",
    }


def _of_pruner(entry: Pruner) -> dict[str, str]:
    settings = entry.settings()
    own = {key: value for key, value in settings.model_dump(mode="json").items() if key not in CommonSettings.model_fields}
    return {
        "cuts": entry.cut,
        "score": said.formula(entry.score) if entry.score else "none: nothing is removed",
        "plan": "\n".join(said.plan(entry.steps(settings))),
        "needs": ", ".join(sorted(entry.needs)),
        "scope": entry.scope or "",
        "start": entry.start if entry.start != "kept" else "",
        "settings": "\n".join(f"{key} = {_toml(value)}" for key, value in own.items()),
        "which are": "\n".join(_meant(entry, settings)) if own else "",
        "also": f"{', '.join(CommonSettings.model_fields)}: of every pruner; docs/using.md" if entry.score else "",
    }


def _meant(entry: Pruner, settings: CommonSettings) -> Iterator[str]:
    """Yield what a plan says of its settings, and what those say of their own parts."""
    if callable(entry.plan):
        yield " ".join(inspect.cleandoc(entry.plan.__doc__ or "").replace("``", "").split())
    for key in type(settings).model_fields:
        if key not in CommonSettings.model_fields and (limits := _range(type(settings), key)):
            yield f"{key}: {limits}"
        if is_dataclass(value := getattr(settings, key)):
            yield f"{key}: {inspect.cleandoc(value.__doc__ or '').partition(chr(10))[0]}".replace("``", "")
            yield _arguments(type(value))


def _range(model: type[BaseModel], key: str) -> str:
    """Return which values a number may have, where its type says."""
    schema = model.model_json_schema()["properties"][key]
    schema = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    kinds = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "less than"}
    return " and ".join(f"{words} {schema[kind]:,}".removesuffix(".0") for kind, words in kinds.items() if kind in schema)


def _arguments(kind: type) -> str:
    """Return what a class says of its arguments, a line each, those of the classes that it refines first."""
    told: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        name, section = "", inspect.cleandoc(one.__dict__.get("__doc__") or "").partition("Args:\n")[2]
        for line in textwrap.dedent(section.partition("\n\n")[0]).replace("``", "").splitlines():
            if line.startswith(" "):
                told[name] += f" {line.strip()}"
            else:
                name = line.partition(":")[0]
                told[name] = line
    return "\n".join(told.values())


def _of_task(entry: Task) -> dict[str, str]:
    metric, recipe = entry.metric, entry.recipe
    anchors = ", ".join(f"{name} {value:g}" for name, value in entry.anchors.items())
    numbers = recipe.model_dump(mode="json", exclude=set(recipe.derived))
    return {
        "title": entry.title,
        "metric": f"{metric.name}, {metric.title}; {metric.better} is better" + (f"; {anchors}" if anchors else ""),
        "scope": entry.scope,
        "start": recipe.start if recipe.start != "kept" else "",
        "reads": recipe.reads or "",
        "budget": f"in {recipe.unit}",
        "recipe": f"{type(recipe).__name__}: " + ", ".join(f"{key} = {_toml(value)}" for key, value in numbers.items()),
        "which are": _arguments(type(recipe)),
    }


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key} = {_toml(one)}" for key, one in value.items() if one is not None)
        return f"{{ {inner} }}"
    return "none" if value is None else shown(value)


def _page(name: str, about: str, facts: Mapping[str, str]) -> str:
    return "\n".join([plain(name), *_paragraphs(about), *_facts({key: text for key, text in facts.items() if text})])


def _paragraphs(about: str) -> Iterator[str]:
    for paragraph in about.replace("``", "").split("\n\n"):
        yield textwrap.fill(plain(" ".join(paragraph.split())), WIDTH, initial_indent="  ", subsequent_indent="  ")


def _facts(facts: Mapping[str, str]) -> Iterator[str]:
    margin = max(map(len, facts), default=0) + 4
    for key, text in facts.items():
        for number, line in enumerate(text.splitlines()):
            head = f"  {key if number == 0 else ''}".ljust(margin)
            yield textwrap.fill(plain(line), WIDTH, initial_indent=head, subsequent_indent=" " * margin)
