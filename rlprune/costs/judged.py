"""What the cells of a task are judged by: stands in every row, so that who reads rows asks no task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rlprune.costs.measures import Measure

LARGEST = 1e30
"""Beyond it squares and axes overflow, and nothing that is measured is as large."""

MOST = 100
"""Measures beyond it are more than any table shows."""

Kind = TypeVar("Kind", dict[str, Any], list[Any], str)


@dataclass(frozen=True)
class Judged:
    """What decides between pruners, and what is shown beside it.

    Args:
        metric: measured at the end of training; pruners are judged by it.
        curve: measured every epoch; learning curves show it.
        unit: of the budget: ``steps`` or ``epochs``.
        also: what else networks are measured by.
        anchors: metric of a random policy or constant predictor (``random``) and of the dense network (``dense``), where known.
        chance: name of the measure that says what such a predictor reaches on a cell's own data; empty where none does.
    """

    metric: Measure
    curve: Measure
    unit: str = ""
    also: tuple[Measure, ...] = ()
    anchors: Mapping[str, float] = field(default_factory=dict)
    chance: str = ""


def document(judged: Judged) -> dict[str, Any]:
    """Return it as JSON can hold it: of measures their names, titles, units, and which values are better."""
    parts = {name: _plain(part) for name, part in vars(judged).items() if name != "chance" or part}  # as rows before it had it
    return {**parts, "also": [_plain(one) for one in judged.also] if isinstance(judged.also, Sequence) else judged.also}


def _plain(part: object) -> object:
    if isinstance(part, Measure):
        return {name: getattr(part, name) for name in ("name", "title", "unit", "better")}
    return dict(part) if isinstance(part, Mapping) else part


def read(parsed: object, tell: Callable[[str], object]) -> Judged:
    """Return what a document says, whoever wrote it; what it lacks is empty, and a measure that it lacks has no name.

    Args:
        parsed: the document, as JSON holds it.
        tell: called with a few words for each part that is of another kind or too large, and left out.
    """
    own = _part({"judged": parsed}, "judged", dict, tell)
    also, anchors = _part(own, "also", list, tell), _part(own, "anchors", dict, tell)
    if len(also) > MOST:
        tell(f"{len(also) - MOST:,} measures are too many")
    for name in (unreal := {name for name, value in anchors.items() if not (isinstance(name, str) and _is_number(value))}):
        tell(f"anchor {name} is no number")
    return Judged(
        metric=_measure(own, "metric", tell),
        curve=_measure(own, "curve", tell),
        unit=_part(own, "unit", str, tell),
        also=tuple(one for each in also[:MOST] if (one := _measure({"also": each}, "also", tell)).name),
        anchors={name: float(value) for name, value in anchors.items() if name not in unreal},
        chance=_part(own, "chance", str, tell),
    )


def _measure(inside: Mapping[str, object], name: str, tell: Callable[[str], object]) -> Measure:
    own = _part(inside, name, dict, tell)
    key, title, unit = (_part(own, part, str, tell) for part in ("name", "title", "unit"))
    match own.get("better"):
        case "higher" | "lower" | None as better:
            return Measure(key, title or key, unit, better)
        case _:
            tell(f"{name} does not say which values are better")
            return Measure(key, title or key, unit, None)


def _part(inside: Mapping[str, object], name: str, kind: type[Kind], tell: Callable[[str], object]) -> Kind:
    """Return a part of a document, empty where it is absent or of another kind."""
    part = inside.get(name, kind())
    if isinstance(part, kind):
        return part
    tell(f"{name} is no {_KINDS[kind]}")
    return kind()


_KINDS: Mapping[type, str] = {dict: "document", list: "list", str: "text"}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
