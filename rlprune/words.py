"""Values, and what pydantic finds wrong with them, in plain words."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from math import isfinite
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from rlprune.safely import LONGEST, plain

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


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'X'?"`` for the known name nearest to ``name``; nothing where it is known, or none is near."""
    folded = {entry.casefold(): entry for entry in known}
    if folded.get(name.casefold()) == name or len(name) > LONGEST:
        return ""
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f"; did you mean '{folded[close[0]]}'?" if close else ""


def several(names: Sequence[str]) -> str:
    """Return the first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")


def share_meant(value: object) -> str:
    """Return ``"; did you mean 0.95?"`` for 95 in the place of a share removed; nothing for what is no such percentage."""
    return f"; did you mean {value / 100:g}?" if isinstance(value, int | float) and 50 <= value < 100 else ""


def in_words(error: ValidationError, model: type[BaseModel], beside: Sequence[str] = ()) -> Iterator[tuple[Keys, str]]:
    """Yield where and what for each of pydantic's errors about ``model``, without its jargon.

    Args:
        beside: names that are taken where the model's own fields are, by whatever takes both.
    """
    for count, item in enumerate(error.errors()):
        kind, keys, limits = item["type"], item["loc"], item.get("ctx", {})
        got = f"got {shown(item['input'])}"
        match kind:
            case "extra_forbidden" | "unexpected_keyword_argument":
                allowed = _allowed(model, keys) if count < MOST else []  # to look for the nearest of each takes time
                allowed += [name for name in beside if not keys[1:] and name not in allowed]
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


def mistaken(error: ValidationError) -> str:
    """Return in a line what is wrong with the values that some model was given, by the keyword that took each."""
    model = next((one for one in _below(BaseModel) if one.__name__ == error.title), BaseModel)
    return "; ".join(f"{error.title}({'.'.join(map(str, keys))}=): {said}" for keys, said in in_words(error, model))


def _below(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def _plain(message: str) -> str:
    message = message.replace("Input should be", "must be")
    return message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")


def _allowed(model: Any, keys: Keys) -> list[str]:
    """Return the keys of the table that the last of ``keys`` is in; none where its type has no such list."""
    for key in keys[:-1]:
        field = getattr(model, "model_fields", {}).get(key)
        model = field and field.annotation
    return [field.name for field in fields(model)] if is_dataclass(model) else list(getattr(model, "model_fields", {}))
