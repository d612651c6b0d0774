"""What is wrong with a request, in plain words, with the line of the file it is on."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from math import isfinite
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from rlprune.registry import nearest
from rlprune.safely import plain

Keys: TypeAlias = tuple[str | int, ...]
"""Where a value is: table, key, and index in a list."""

MOST = 100
"""Mistakes that are told one by one; of a file with more, the others are counted."""

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "tuple": "a list",
    "dict": "a table",
    "model": "a table",
    "dataclass": "a table",
}


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


def shown(value: object) -> str:
    """Return a value as a suite file writes it, shortened where it is long."""
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    try:
        return plain(json.dumps(value, default=str, ensure_ascii=False), 120)
    except (ValueError, RecursionError):  # digits or depth beyond what Python writes
        return f"a {type(value).__name__} that is too large to show"


def in_words(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[Keys, str]]:
    """Yield where and what for each of pydantic's errors about ``model``, without its jargon."""
    for count, item in enumerate(error.errors()):
        kind, keys, limits = item["type"], item["loc"], item.get("ctx", {})
        got = f"got {shown(item['input'])}"
        match kind:
            case "extra_forbidden" | "unexpected_keyword_argument":
                allowed = _allowed(model, keys) if count < MOST else []  # to look for the nearest of each takes time
                message = f"no such key{nearest(str(keys[-1]), allowed)} (allowed: {', '.join(allowed)})"
            case "missing":
                message = "is missing"
            case "too_short" if len(item["input"]) >= limits["min_length"]:
                continue  # it counts the items that are right; those that are wrong have been told
            case "too_short":
                message = f"{got}; needs at least {limits['min_length']}"
            case "string_too_short":
                message = f"{got}; must not be empty"
            case "too_long":
                message = f"has {limits['actual_length']:,} items; must be at most {limits['max_length']:,}"
            case "literal_error":
                allowed = re.findall("'([^']*)'", limits["expected"])
                message = f"{got}; must be {limits['expected']}{nearest(str(item['input']), allowed)}"
            case "value_error" if isinstance(item["input"], Mapping):
                message = str(limits["error"])  # about how its keys go together: to show all of them would help nobody
            case "value_error":
                message = f"{got}; {limits['error']}"
            case _ if kind.endswith(("_type", "_parsing", "_from_float")) and kind.split("_")[0] in KINDS:
                message = f"{got}; must be {KINDS[kind.split('_')[0]]}"
            case _:
                message = f"{got}; {_plain(item['msg'])}"
        yield keys, message


def _plain(message: str) -> str:
    message = message.replace("Input should be", "must be")
    return message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")


def _allowed(model: Any, keys: Keys) -> list[str]:
    """Return the keys of the table that the last of ``keys`` is in; none where its type has no such list."""
    for key in keys[:-1]:
        field = getattr(model, "model_fields", {}).get(key)
        model = field and field.annotation
    return [field.name for field in fields(model)] if is_dataclass(model) else list(getattr(model, "model_fields", {}))


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
