"""A folder as a registry: drop a file in, and its entries have names.

An entry is a module-level assignment such as ``CROP_U = Pruner("CroP-U", ...)``. Names are read from the text
of the files, so listing them imports nothing and a broken file hides nobody else's entry; an entry is imported
when it is loaded. Other packages add entries through the entry-point groups ``rlprune.pruners``, ``rlprune.tasks`` and
``rlprune.executors``: ``my-name = "my_package.my_module:MY_ENTRY"``, where ``my-name`` is the entry's own name. Finished cells
are shared by name: a package cannot have a built-in's, and a name that two packages claim is nobody's.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, wraps
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, ParamSpec, TypeVar

from pydantic import ValidationError

from rlprune.reason import placed
from rlprune.safely import LONGEST, fault, plain
from rlprune.words import mistaken, nearest

Entry = TypeVar("Entry")
Made = TypeVar("Made")
P = ParamSpec("P")


class UnknownName(KeyError):  # noqa: N818 (what is wrong, said in its name)
    """No entry has a name. Unlike another KeyError's, its message is shown as it was written."""

    def __str__(self) -> str:
        return str(self.args[0])


def spelled(init: Callable[P, Made]) -> Callable[P, Made]:
    """Let a constructor that takes settings by any name tell which one is a misspelt argument that it cannot do without."""
    parameters = inspect.signature(init).parameters
    taken = [name for name, one in parameters.items() if one.kind is not one.VAR_KEYWORD]

    @wraps(init)
    def told(*args: P.args, **named: P.kwargs) -> Made:
        for name in taken[len(args) :]:
            if name not in named and parameters[name].default is inspect.Parameter.empty:
                hints = [f"{other!r} is no argument{hint}" for other in named if (hint := nearest(other, taken))]
                raise TypeError("; ".join((f"{init.__qualname__.partition('.')[0]} needs {name}", *hints)))
        return init(*args, **named)

    return told


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
        return {name: place for name, (place, *_) in self._claims.items()}

    @cached_property
    def _claims(self) -> dict[str, list[str]]:
        """Every name, as its first owner spells it, with the places that claim it."""
        claims: dict[str, list[str]] = {}
        for file, body in self._read[0].items():
            for variable, name in _assignments(body, self.kind.__name__):
                claims.setdefault(name, []).append(f"{self.package}.{file.stem}:{variable}")
        spelled = {name.casefold(): name for name in claims}
        for point in sorted(entry_points(group=self.package), key=lambda point: (point.name, point.value)):
            name = spelled.setdefault(point.name.casefold(), point.name)
            if point.value not in claims.setdefault(name, []):  # a package that is found twice claims once
                claims[name].append(point.value)
        return claims

    @cached_property
    def _read(self) -> tuple[dict[Path, list[ast.stmt]], dict[str, str]]:
        """Return what the files of the folder hold, and of those that are no Python why."""
        bodies, faults = {}, {}
        for file in sorted(Path(__file__).parent.joinpath(*self.package.split(".")[1:]).glob("*.py")):
            place = f"{self.package.replace('.', '/')}/{file.name}"
            try:
                bodies[file] = ast.parse(file.read_text(encoding="utf-8")).body
            except SyntaxError as error:
                faults[place] = plain(f"line {error.lineno}: {error.msg}", 200)
            except ValueError as error:
                faults[place] = plain(f"{type(error).__name__}: {error}", 200)
        return bodies, faults

    def unread(self) -> Mapping[str, str]:
        """Return the files of the folder whose entries nobody finds, for they are no Python, and why."""
        return self._read[1]

    def _built_in(self, place: str) -> bool:
        return place.startswith(f"{self.package}.")

    def names(self) -> list[str]:
        """Return every entry's name, sorted without regard to case; imports nothing."""
        return sorted(self._places, key=str.casefold)

    def place(self, name: str) -> str:
        """Return where an entry is, ``module:VARIABLE``."""
        return self._places[self.match(name)]

    def origin(self, name: str) -> str:
        """Return the package that an entry comes from, with its version; empty for what is built in."""
        if self._built_in(place := self.place(name)):
            return ""
        found = (point.dist for point in entry_points(group=self.package) if point.value == place)
        return next((f"{plain(dist.name)} {plain(dist.version)}" for dist in found if dist is not None), place)

    def code(self, name: str) -> str:
        """Return ``origin`` with a digest of an entry's file, which changes with its code; empty for what is built in.

        Once it is imported here, the file is that which was imported, whatever becomes of it.
        """
        if not (origin := self.origin(name)):
            return ""
        return f"{origin} {self._digest(self.place(name).partition(':')[0])}".rstrip()

    def _digest(self, module: str) -> str:
        """Return some digits that change with a module's file; none where it has none."""
        if module not in sys.modules or module not in self._digests:
            self._digests[module] = _digest(module)
        return self._digests[module]

    @cached_property
    def _digests(self) -> dict[str, str]:
        """Modules to the digits of what was there when they were looked at last before they were imported."""
        return {}

    def about(self, name: str) -> str:
        """Return what the file that holds an entry says of itself; another package's is imported for it."""
        module = self.place(name).partition(":")[0]
        if not self._built_in(module):
            return inspect.cleandoc(importlib.import_module(module).__doc__ or "")
        file = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
        return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""

    def summary(self, name: str) -> str:
        """Return the first line of that."""
        return self.about(name).partition("\n")[0]

    def match(self, name: str) -> str:
        """Return the entry's own spelling of ``name``, matched without regard to case.

        Raises:
            UnknownName: no entry has this name; the message suggests the nearest one.
        """
        for known in self._places:
            if known.casefold() == name.casefold():
                return known
        raise UnknownName(self.unknown(name))

    def unknown(self, name: str, others: Iterable[str] = ()) -> str:
        """Say that nothing has this name, and which name, of these ``others`` too, is the nearest."""
        what = self.kind.__name__.lower()
        near = nearest(name, [*self._places, *others])
        broken = "".join(f"; {file} cannot be read, {why}" for file, why in self.unread().items())
        return f"no {what} is named '{plain(name, LONGEST)}'{near} (see: rlprune list {what}s){broken}"

    def load(self, name: str) -> Entry:
        """Import and return the entry called ``name``.

        Raises:
            UnknownName: no entry has this name.
            ValueError: two packages claim the name, or it cannot be a name, or is not the entry's own.
            ImportError: its module cannot be imported, or has no such entry.
            TypeError: the place an entry point names holds something else.
        """
        name = self.match(name)
        place, what = self._places[name], self.kind.__name__.lower()
        if others := ", ".join(map(plain, self._claims.get(name, [])[1:])):
            if not self._built_in(place) or self._built_in(others):
                raise ValueError(f"the {what} '{plain(name)}' is registered by {plain(place)} and by {others}: rename one")
            warnings.warn(f"the {what} '{name}' of {others} is left out: the name is built in; give it another", stacklevel=1)
        if why := fault(name):
            raise ValueError(f"the {what} '{plain(name, LONGEST)}' of {plain(place)} cannot be used: {why}")
        module, _, variable = place.partition(":")
        try:
            if not self._built_in(place):  # its file may change while what it held trains
                self._digest(module)
            entry = getattr(importlib.import_module(module), variable)
        except (Exception, SystemExit) as error:  # somebody else's file may fail in any way
            told = plain(_why(error), 400)
            missing = ModuleNotFoundError if isinstance(error, ModuleNotFoundError) else ImportError
            raise missing(f"'{name}' cannot be imported: {told}") from error
        if not isinstance(entry, self.kind):
            raise TypeError(f"{place} is registered as a {self.kind.__name__} but is a {type(entry).__name__}")
        own = str(getattr(entry, "name", name))
        if own.casefold() != name.casefold():  # its cells bear that name, and nobody would find it
            raise TypeError(f"{place} is registered as '{name}' but calls itself '{plain(own)}': register it under that name")
        return entry


def _digest(module: str) -> str:
    try:
        found = importlib.util.find_spec(module)
        content = Path(str(found and found.origin)).read_bytes()
    except (ImportError, ValueError, OSError):
        return ""
    return hashlib.sha256(content).hexdigest()[:8]


def _why(error: BaseException) -> str:
    """Return in a line why a module cannot be imported, and where; of a recipe or of settings that are wrong, which key."""
    where = placed([frame for frame in traceback.extract_tb(error.__traceback__) if frame.name == "<module>"])
    if isinstance(error, ValidationError):
        return mistaken(error) + where
    kind = "" if type(error) is ImportError else f"{type(error).__name__}: "
    return f"{kind}{error}".partition("\n")[0] + where


def _assignments(body: Iterable[ast.stmt], kind: str) -> Iterator[tuple[str, str]]:
    """Yield variable and name of each ``VARIABLE = Kind("name", ...)``."""
    for node in body:
        match node:
            case ast.Assign(targets=[ast.Name(id=variable)], value=ast.Call() as call):
                pass
            case ast.AnnAssign(target=ast.Name(id=variable), value=ast.Call() as call):
                pass
            case _:
                continue
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        first = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "name")]
        if called == kind and first and isinstance(first[0], ast.Constant) and isinstance(first[0].value, str):
            yield variable, first[0].value
