"""A folder as a registry: drop a file in, and its entries have names.

An entry is a module-level assignment such as ``CROP_U = Pruner("CroP-U", ...)``. Names are read from the text
of the files, so listing them imports nothing and a broken file hides nobody else's entry; an entry is imported
when it is loaded. Other packages add entries through the entry-point groups ``rlprune.pruners`` and
``rlprune.tasks``: ``my-name = "my_package.my_module:MY_ENTRY"``.
"""

import ast
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'X'?"`` for the known name nearest to ``name``, or an empty string."""
    folded = {entry.casefold(): entry for entry in known}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f"; did you mean '{folded[close[0]]}'?" if close else ""


@dataclass(frozen=True)
class Registry(Generic[Entry]):
    """The entries of one kind: ``package`` is the folder, ``kind`` the class whose calls make entries.

    Args:
        package: importable package whose modules hold entries; also the name of the entry-point group.
        kind: the class; ``Pruner("name", ...)`` and ``Task("name", ...)`` at module level are entries.
    """

    package: str
    kind: type[Entry]

    @cached_property
    def _places(self) -> dict[str, str]:
        places = {}
        folder = Path(__file__).parent.joinpath(*self.package.split(".")[1:])
        for file in sorted(folder.glob("*.py")):
            for variable, name in _assignments(file, self.kind.__name__):
                places[name] = f"{self.package}.{file.stem}:{variable}"
        for point in entry_points(group=self.package):
            places[point.name] = point.value
        return places

    def names(self) -> list[str]:
        """Return every entry's name, sorted without regard to case; imports nothing."""
        return sorted(self._places, key=str.casefold)

    def summary(self, name: str) -> str:
        """Return the first line of the file that holds an entry; empty for entries of other packages."""
        module = self._places[self.match(name)].partition(":")[0]
        if not module.startswith(f"{self.package}."):
            return ""
        file = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
        return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]

    def match(self, name: str) -> str:
        """Return the entry's own spelling of ``name``, matched without regard to case.

        Raises:
            KeyError: no entry has this name; the message suggests the nearest one.
        """
        for known in self._places:
            if known.casefold() == name.casefold():
                return known
        what = self.kind.__name__.lower()
        raise KeyError(f"no {what} is named '{name}'{nearest(name, self._places)} (see: rlprune list {what}s)")

    def load(self, name: str) -> Entry:
        """Import and return the entry called ``name``.

        Raises:
            KeyError: no entry has this name.
            TypeError: the place an entry point names holds something else.
        """
        place = self._places[self.match(name)]
        module, _, variable = place.partition(":")
        entry = getattr(importlib.import_module(module), variable)
        if not isinstance(entry, self.kind):
            raise TypeError(f"{place} is registered as a {self.kind.__name__} but is a {type(entry).__name__}")
        return entry


def _assignments(file: Path, kind: str) -> Iterable[tuple[str, str]]:
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body
    except SyntaxError:
        return
    for node in body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=variable)],
                value=ast.Call(func=ast.Name(id=called), args=[ast.Constant(value=str(name)), *_]),
            ) if called == kind:
                yield variable, name
