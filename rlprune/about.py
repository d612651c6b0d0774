"""All about one pruner, task or executor, as ``rlprune list pruners NAME`` prints it; imports no torch."""

import inspect
import textwrap
from collections.abc import Iterator, Mapping

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
    parts = {key: _arguments(type(getattr(settings, key))) for key, value in own.items() if isinstance(value, Mapping)}
    return {
        "cuts": entry.cut,
        "score": said.formula(entry.score) if entry.score else "none: nothing is removed",
        "plan": "\n".join(said.plan(entry.steps(settings))),
        "needs": ", ".join(sorted(entry.needs)),
        "scope": entry.scope or "",
        "start": entry.start if entry.start != "kept" else "",
        "settings": "\n".join(f"{key} = {_toml(value)}" for key, value in own.items()),
        **{f"{key} is": told for key, told in parts.items()},
        "of all": _arguments(CommonSettings) if entry.score else "",
    }


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
    }


def _arguments(kind: type) -> str:
    """Return what the docstring of a class says of its arguments, a line each."""
    told = textwrap.dedent(inspect.cleandoc(kind.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0])
    return told.replace("\n    ", " ").replace("``", "")


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
