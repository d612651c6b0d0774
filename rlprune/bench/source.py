"""Where a suite's keys come from: its file, those of suites that it is like, a profile, the command line; all as tables."""

import codecs
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rlprune.bench.mistakes import Mistake, SuiteError, line_of
from rlprune.packed import is_packed
from rlprune.pruning.pruner import pruners
from rlprune.safely import typed
from rlprune.store import RESULTS
from rlprune.task import tasks
from rlprune.words import Keys, nearest, shown

Table: TypeAlias = dict[str, Any]

DEEPEST = 16
"""Tables and lists inside each other."""
LARGEST = 10_000_000
"""Bytes of a suite file."""
LONGEST_CHAIN = 8
"""Suites of which each is like the next."""
MOST_SEED = 9_999
OWN = ("title", "description", "like")
"""Keys that a suite does not take from the one that it is like, profiles' descriptions excepted."""


@dataclass(frozen=True)
class File:
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
class Layer:
    """Keys from one place: a file, a profile's table ``inside`` it, or an option of the command line."""

    data: Table
    file: File | None = None
    inside: tuple[str, ...] = ()
    option: str = ""


def suites() -> dict[str, Path]:
    """Return the suites that have names: the checkout's own, or those of the wheel."""
    package = Path(__file__).parents[1]
    checkout = (package.parent / "pyproject.toml").is_file()  # an editable install leaves a stale copy in the package
    folder = package.parent / "suites" if checkout else package / "_suites"
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def files_of(name: str) -> list[File]:
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


def layers_of(files: Sequence[File], profile: str) -> list[Layer]:
    """Return what files say, the lowest first: each over those before it, and over all of them the profile in the same order."""
    layers = []
    for file in files:
        others = {"profiles"} if file is files[-1] else {"profiles", *OWN}
        layers.append(Layer({key: value for key, value in file.table.items() if key not in others}, file))
    for file in files:
        chosen = table_of(table_of(file.profiles).get(profile))
        untitled = {key: value for key, value in chosen.items() if key != "title"}
        layers.append(Layer(chosen if file is files[-1] else untitled, file, ("profiles", profile)))
    return layers


# -- a file ------------------------------------------------------------------------------------------------------


def _read(name: str, folder: Path) -> File:
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
    return File(file, text, spell(_parsed(text, str(file))))


def _beside(file: Path, name: str) -> list[str]:
    """Return the suites beside a file, named as it is."""
    return [str(Path(name).parent / other.name) for other in file.parent.glob("*.toml")]


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
        left += [((*keys, key), inner) for key, inner in inside(value)]
    return table


_CHAIN = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){64}""")
"""So many words with dots between them that they can only be a key, and one too deep."""


# -- the command line --------------------------------------------------------------------------------------------


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
        return spell(_parsed(f"{key}={value}", where))
    except SuiteError:
        if value[:1] in ("[", "{", '"', "'") or len(value) > 1000:
            raise
    leaf = names  # plain text, or a number that TOML writes in another way
    while isinstance(inner := next(iter(leaf.values())), dict):
        leaf = inner
    leaf[next(iter(leaf))] = number_of(value)
    return spell(names)


def number_of(word: str) -> int | float | str:
    """Return a word as the number that it is, or as it stands."""
    for read in (int, float):
        try:
            return read(word) if len(word) <= 1000 else word
        except ValueError:
            continue
    return word


def seeds_of(text: str) -> tuple[int, ...]:
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


def words_of(text: str, *, plain: bool) -> object:
    """Return the items of ``A,B``, numbers as numbers; the one item of a ``plain`` value."""
    return number_of(text) if plain else [number_of(word.strip()) for word in text.split(",") if word.strip()]


# -- tables ------------------------------------------------------------------------------------------------------


def spell(table: Table) -> Table:
    """Spell names as the registries, or the variants, do, so that tables meet whatever their case."""
    spelled, registries = dict(table), {"task": tasks().names(), "pruner": pruners().names()}
    variants = {name.casefold(): name for name in table_of(table.get("variant"))}
    for kind, names in registries.items():
        proper = {**(variants if kind == "pruner" else {}), **{name.casefold(): name for name in names}}
        for key in (kind + "s", f"data_{kind}s"):
            if listed := list_of(table.get(key)):
                spelled[key] = [proper.get(str(name).casefold(), name) for name in listed]
        for key in (kind, f"{kind}_sparsities"):
            if own := table_of(table.get(key)):
                spelled[key] = {}
                for name, entry in own.items():  # of two spellings the second stays, and is told of
                    right = proper.get(name.casefold(), name)
                    spelled[key][name if right in own or right in spelled[key] else right] = entry
    if profiles := table_of(table.get("profiles")):
        spelled["profiles"] = {name: spell(entry) if isinstance(entry, dict) else entry for name, entry in profiles.items()}
    return spelled


def spread_out(table: Table) -> tuple[Table, Mapping[Keys, Keys]]:
    """Make a variant of each value of a list that a variant's name has a place for, and list them all as pruners.

    Returns:
        The table, and for keys that the file does not have in this form those that it has.
    """
    variants: Table = {}
    origins: dict[Keys, Keys] = {}
    listed = list(enumerate(list_of(table.get("pruners"))))
    for name, own in table_of(table.get("variant")).items():
        names = {name: own}
        for key in dict.fromkeys(re.findall(r"{(\w+)}", name)):
            if (values := list_of(_found(own, key))) and len({*map(str, values)}) == len(values):
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


def merge(*layers: Table) -> Table:
    """Merge tables deeply; later values take the place of earlier ones, whole lists included."""
    merged: Table = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def inside(value: object) -> Iterator[tuple[str | int, object]]:
    """Yield what a table or a list holds."""
    yield from value.items() if isinstance(value, dict) else enumerate(list_of(value))


def table_of(value: object) -> Table:
    """Return a table, an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """Return a list, an empty one in the place of anything else."""
    return value if isinstance(value, list) else []
