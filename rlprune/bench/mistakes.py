"""What is wrong with a request, in plain words, with the line of the file it is on."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rlprune.safely import plain
from rlprune.words import MOST, Keys


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong; prints as ``where:line: key: message``.

    Args:
        where: a file, or an option of the command line with what was given.
        key: dotted, as in the file; empty where ``where`` says it all.
        message: what was got, what is allowed, the nearest right thing.
        line: of the file.
    """

    where: str
    key: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = plain(self.where, 300) if self.line is None else f"{plain(self.where, 300)}:{self.line}"
        return ": ".join(part for part in (where, plain(self.key, 200), plain(self.message)) if part)


class SuiteError(Exception):
    """All that is wrong with a request: the file's mistakes line by line, then those of the command line."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        order = sorted(dict.fromkeys(mistakes), key=lambda it: (it.line is None, it.where if it.line else "", it.line or 0))
        more = [Mistake("", "", f"and {len(order) - MOST:,} mistakes more")] if len(order) > MOST else []
        self.mistakes = order[:MOST] + more
        super().__init__("\n".join(map(str, self.mistakes)))


def reach(data: object, keys: Keys) -> int:
    """Return how many of the keys, from the first, lead somewhere in parsed TOML; names match without regard to case."""
    for count, key in enumerate(keys):
        match data, key:
            case dict(), str():
                spelled = key if key in data else next((name for name in data if name.casefold() == key.casefold()), None)
                if spelled is None:
                    return count
                data = data[spelled]
            case list(), int() if key < len(data):
                data = data[key]
            case _:
                return count
    return len(keys)


# -- lines -------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r'''(?P<skip>[^\S\n]+|\#[^\n]*)|(?P<end>\n)|(?P<mark>[][{}=,.])
    |(?P<text>"""(?:\\.|[^\\])*?"{3,5}|\'{3}.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\'|[^][{}=,.\#"\'\s]+|.)''',
    re.DOTALL | re.VERBOSE,
)


def line_of(text: str, keys: Keys) -> int:
    """Return the line that sets ``keys``, or as many of them as are set, in TOML that the parser accepts.

    Of a table it is the first that mentions it. Names match without regard to case where none is spelled so.
    """
    exact, folded = _places(text)
    for count in range(len(keys), 0, -1):
        if line := exact.get(keys[:count]) or folded.get(_folded(keys[:count])):
            return line
    return 1


_DEEPEST = 20
"""Parts of a dotted key that are told apart; no suite may have so many."""


@lru_cache(maxsize=4)
def _places(text: str) -> tuple[Mapping[Keys, int], Mapping[Keys, int]]:
    """Return the line of every key, and of every item of a list: read in one go, since suites may be long."""
    exact: dict[Keys, int] = {}
    items: dict[Keys, int] = {}  # tables in lists of tables, so far
    table: Keys = ()
    open_: list[tuple[Keys, int | None]] = []  # lists with the number of the next item, and tables in braces (None)
    words: list[str] = []  # of the key or header that is being read
    brackets, value, path, line = 0, False, table, 1

    def item() -> None:
        """Note the item of a list that begins here, if one does."""
        nonlocal path
        if open_ and (index := open_[-1][1]) is not None:
            path = (*open_[-1][0], index)
            exact.setdefault(path, line)

    for token in _TOKEN.finditer(text):
        kind, it = token.lastgroup, token[0]
        if kind == "end":
            line += 1
            if not open_:
                words, brackets, value = [], 0, False
        elif kind == "text":
            if value:
                item()
            else:
                words.append(_unquoted(it))
            line += it.count("\n")
        elif it == "=" and not value:
            base = open_[-1][0] if open_ else table
            path, value = (*base, *words[:_DEEPEST]), True
            for count in range(len(base) + 1, len(path)):
                exact.setdefault(path[:count], line)
            exact[path] = line
            words = []
        elif it == "[" and not value:
            brackets += 1
        elif it == "]" and not value and words:
            table = tuple(words[:_DEEPEST])
            for count in range(1, len(table) + 1):
                exact.setdefault(table[:count], line)
            if brackets == 2:
                items[table] = items.get(table, -1) + 1
                table = (*table, items[table])
                exact.setdefault(table, line)
            words = []
        elif it in "[{" and value:
            item()
            open_.append((path, 0 if it == "[" else None))
            value = it == "["
        elif it in "]}" and open_:
            open_.pop()
            value = True
        elif it == "," and open_:
            base, index = open_[-1]
            open_[-1] = base, None if index is None else index + 1
            value = index is not None
    return exact, {_folded(keys): number for keys, number in exact.items()}


def _folded(keys: Keys) -> Keys:
    return tuple(key.casefold() if isinstance(key, str) else key for key in keys)


def _unquoted(word: str) -> str:
    if word[0] not in "\"'":
        return word
    return str(tomllib.loads(f"word = {word}")["word"]) if "\\" in word else word[1:-1]
