"""What a shell may put in place of half a word, by argcomplete, an extra: names of suites, pruners, tasks and executors too."""

import argparse
from collections.abc import Callable, Iterable

from rlprune.bench.contents import PROFILES
from rlprune.bench.source import suites
from rlprune.executors import executors
from rlprune.pruning.pruner import pruners
from rlprune.task import tasks


def answer(parser: argparse.ArgumentParser) -> None:
    """Tell the shell that asked, and end; do nothing where argcomplete is missing."""
    try:
        import argcomplete
    except ImportError:
        return
    for action in _actions(parser):
        if known := NAMES.get(action.dest):
            action.completer = known  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


def _suites(**_: object) -> Iterable[str]:
    return suites()


def _several(known: Callable[[], Iterable[str]]) -> Callable[..., Iterable[str]]:
    """Return what says how ``A,B`` may go on: those before the last stay."""

    def complete(prefix: str, **_: object) -> Iterable[str]:
        before, comma, _last = prefix.rpartition(",")
        return [f"{before}{comma}{name}" for name in known()]

    return complete


_pruners = _several(lambda: pruners().names())


def _tasks(**_: object) -> Iterable[str]:
    return tasks().names()


def _entries(parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
    known = {"pruners": pruners().names, "tasks": tasks().names, "executors": executors().names}
    return known.get(parsed_args.what, list)()


NAMES: dict[str, Callable[..., Iterable[str]]] = {
    "suite": _suites,
    "suites": _suites,
    "pruners": _pruners,
    "pruner": _pruners,
    "task": _tasks,
    "tasks": _several(lambda: tasks().names()),
    "names": _entries,
    "profile": lambda **_: PROFILES,
    "executor": lambda **_: executors().names(),
}
"""What completes an argument, by where it is kept."""


def _actions(parser: argparse.ArgumentParser) -> Iterable[argparse.Action]:
    """Yield the arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
