"""What is wrong with a request, in plain words, with the line of the file it is on."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from rlprune.registry import nearest

Keys: TypeAlias = tuple[str | int, ...]
"""Where a value is: table, key, and index in a list."""

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
        where = self.where if self.line is None else f"{self.where}:{self.line}"
        return ": ".join(part for part in (where, self.key, self.message) if part)


class SuiteError(Exception):
    """All that is wrong with a request: the file's mistakes line by line, then those of the command line."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = sorted(dict.fromkeys(mistakes), key=lambda mistake: (mistake.line is None, mistake.line or 0))
        super().__init__("\n".join(map(str, self.mistakes)))


def shown(value: object) -> str:
    """Return a value as a suite file writes it."""
    return json.dumps(value, default=str, ensure_ascii=False)


def in_words(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[Keys, str]]:
    """Yield where and what for each of pydantic's errors about ``model``, without its jargon."""
    for item in error.errors():
        kind, keys, limits = item["type"], item["loc"], item.get("ctx", {})
        got = f"got {shown(item['input'])}"
        match kind:
            case "extra_forbidden" | "unexpected_keyword_argument":
                allowed = _allowed(model, keys)
                message = f"no such key{nearest(str(keys[-1]), allowed)} (allowed: {', '.join(allowed)})"
            case "missing":
                message = "is missing"
            case "too_short" if len(item["input"]) >= limits["min_length"]:
                continue  # it counts the items that are right; those that are wrong have been told
            case "too_short":
                message = f"{got}; needs at least {limits['min_length']}"
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
    """Return the keys of the table that the last of ``keys`` is in."""
    for key in keys[:-1]:
        model = model.model_fields[key].annotation
    return [field.name for field in fields(model)] if is_dataclass(model) else list(model.model_fields)


def reach(data: object, keys: Keys) -> int:
    """Return how many of the keys, from the first, lead somewhere in parsed TOML; names match without regard to case."""
    for count, key in enumerate(keys):
        match data, key:
            case dict(), str():
                folded = {name.casefold(): value for name, value in data.items()}
                if key.casefold() not in folded:
                    return count
                data = folded[key.casefold()]
            case list(), int() if key < len(data):
                data = data[key]
            case _:
                return count
    return len(keys)


def line_of(text: str, keys: Keys) -> int:
    """Return the line that sets ``keys``: the first after which the parser knows them.

    A list over several lines is also read as if it were closed after each of them, so that its items have lines.
    """
    rows, first = text.splitlines(), 1
    for number in range(1, len(rows) + 1):
        for closing in ("", "\n]"):
            try:
                known = tomllib.loads("\n".join(rows[:number]) + closing)
            except tomllib.TOMLDecodeError:
                continue
            if reach(known, keys) == len(keys):
                return number if keys and isinstance(keys[-1], int) else first
            if not closing:
                first = number + 1
    return 1
