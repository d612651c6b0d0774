"""Rows as reports need them: what a damaged file of results, or a stranger's, holds in their place is left out and told."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from rlprune.costs.judged import LARGEST, Judged, document, read
from rlprune.costs.measures import Measure
from rlprune.rows import Epochs, Layers, Row
from rlprune.safely import plain, shortened

DAMAGED = "damaged"
"""Status of a row that cannot be shown, and the label that says what any row lacks."""

Made = TypeVar("Made")

STATUSES, CUTS = ("done", "failed", "skipped", DAMAGED), ("weights", "channels", "nothing")


class Sound(list[Row]):
    """Rows that were looked at, and are not looked at again."""


def sound(rows: Iterable[Row]) -> Sound:
    """Return rows whose text is in single plain lines and whose numbers are finite; sound rows come back as they are.

    What was left out of a row is told by its label ``damaged``; a row without a sparsity, a seed or a cut has that status.
    """
    if isinstance(rows, Sound):
        return rows
    rows = list(rows)  # all at once, so that what several hold can be known by its place
    seen: _Seen = {}
    return Sound(_sound(row, seen) for row in rows)


def _sound(row: Row, seen: "_Seen") -> Row:
    faults: list[str] = []
    names = ("id", "suite", "profile", "task", "pruner", "cut", "status", "started", "ended")
    texts = {name: _text(getattr(row, name), name, faults) for name in names}
    shared = ("labels", "versions", "machine")
    documents = {name: _once(seen, partial(_texts, what=name), getattr(row, name), name, faults) for name in shared}
    texts |= {name: texts[name] or "(unnamed)" for name in ("suite", "profile", "task", "pruner")}
    labels = documents["labels"]
    if not labels.get("task_title"):
        faults.append("labels do not name the task")
    if (title := shortened(labels.get("task_title") or texts["task"])) != labels.get("task_title"):
        labels = {**labels, "task_title": title}
    judged = _once(seen, _judged, row.judged, "judged", faults)
    sparsity = _number(row.sparsity)
    if texts["cut"] == "nothing" and sparsity != 0:
        sparsity = 0.0
    seed = row.seed if type(row.seed) is int else None
    lacking = {
        "sparsity": sparsity is None or not 0 <= sparsity < 1,
        "seed": seed is None,
        "cut": texts["cut"] not in CUTS,
        "status": texts["status"] not in STATUSES,
    }
    unusable = [f"{name} is {shortened(plain(repr(getattr(row, name))))}" for name, wrong in lacking.items() if wrong]
    if unusable:
        texts |= {"status": DAMAGED, "cut": texts["cut"] if texts["cut"] in CUTS else "nothing"}
    elif texts["status"] == "done" and not judged.metric.name:
        faults.append("it is judged by no metric")
    values = _numbers(row.values, "measures", faults)
    epochs = _epochs(row.epochs, faults)
    layers = _layers(row.layers, faults, seen)
    config = _config(row.config, faults)
    if told := "; ".join(dict.fromkeys(unusable + faults)):
        labels = {DAMAGED: shortened(told, 200), **labels}
    right: dict[str, Any] = {
        **texts,
        "sparsity": 0.0 if sparsity is None or lacking["sparsity"] or lacking["cut"] else sparsity,
        "seed": seed or 0,
        "config": config,
        "labels": labels,
        "judged": judged,
        "error": None if row.error is None else _lines(row.error),
        "versions": documents["versions"],
        "machine": documents["machine"],
        "values": values,
        "epochs": epochs,
        "layers": layers,
    }
    changed = {name: value for name, value in right.items() if value is not getattr(row, name)}
    return replace(row, **changed) if changed else row


_Seen: TypeAlias = dict[tuple[str, int], tuple[Any, list[str]]]
"""What was made of a document and what was wrong with it, by its kind and its place: thousands of rows share one."""


def _once(seen: _Seen, make: Callable[..., Made], document: object, kind: str, faults: list[str]) -> Made:
    """Return what is made of a document, made before or now."""
    if (found := seen.get((kind, id(document)))) is None:
        wrong: list[str] = []
        found = seen[kind, id(document)] = make(document, faults=wrong), wrong
    faults += found[1]
    return found[0]


def _text(value: object, what: str, faults: list[str], length: int = 60) -> str:
    if not isinstance(value, str):
        faults.append(f"{what} is no text")
        return ""
    if len(value) <= length and value.isprintable() and value == value.strip():  # as nearly all are
        return value
    return shortened(plain(value).strip(), length)


def _lines(value: object) -> str:
    return "\n".join(map(plain, value.splitlines())) if isinstance(value, str) else ""


def _texts(value: object, what: str, faults: list[str]) -> dict[str, str]:
    found = _mapping(value, what, faults)
    right = {_text(name, what, faults): _text(str(text), what, faults, 200) for name, text in found.items()}
    return found if right == found else right


def _judged(value: object, faults: list[str]) -> Judged:
    """Return what a cell is judged by, with what a page cannot do without filled in."""
    found = read(document(value) if isinstance(value, Judged) else value, faults.append)
    metric = _shown(found.metric)
    if metric.better is None:
        faults += ["it is not said which values of the metric are better"] if metric.name else []
        metric = replace(metric, better="higher")
    right = replace(
        found,
        metric=metric if metric.title else replace(metric, title="unknown metric"),
        curve=_shown(found.curve),
        unit=shortened(plain(found.unit).strip()),
        also=tuple(map(_shown, found.also)),
        anchors={shortened(plain(name)): number for name, number in found.anchors.items()},
        chance=shortened(plain(found.chance)),
    )
    return value if isinstance(value, Judged) and value == right else right


def _shown(one: Measure) -> Measure:
    """Return a measure whose name and heading are single plain lines of no great length."""
    name, heading = shortened(plain(one.name).strip(), 200), shortened(plain(one.heading).strip(), 80)
    return replace(one, name=name) if heading == one.heading else Measure(name, heading, better=one.better)


def _config(value: object, faults: list[str]) -> dict[str, Any]:
    config = _mapping(value, "config", faults)
    inner: dict[str, Any] = {name: _mapping(config[name], name, faults) for name in ("recipe", "settings") if name in config}
    return config if all(config[name] is it for name, it in inner.items()) else {**config, **inner}


def _mapping(value: object, what: str, faults: list[str]) -> dict[str, Any]:
    if type(value) is dict and {*map(type, value)} <= {str}:
        return value
    if isinstance(value, Mapping):
        return {str(name): inner for name, inner in value.items()}
    faults.append(f"{what} cannot be read")
    return {}


def _sequence(value: object, what: str, faults: list[str]) -> Sequence[object]:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value
    faults.append(f"{what} cannot be read")
    return ()


def _number(value: object) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    return float(value) if usable else None  # type: ignore[arg-type]


def _numbers(value: object, what: str, faults: list[str]) -> dict[str, float]:
    found = _mapping(value, what, faults)
    if {*map(type, found.values())} <= {float} and sum(map(abs, found.values())) <= LARGEST:  # no one is larger than all together
        return found
    kept = {name: number for name, given in found.items() if (number := _number(given)) is not None}
    faults += [f"{shortened(plain(name))} is no number that can be shown" for name in found if name not in kept]
    return kept


def _epochs(value: object, faults: list[str]) -> Sequence[Mapping[str, float]]:
    if isinstance(value, Epochs) and value.within(LARGEST):
        return value
    return [_numbers(epoch, "epochs", faults) for epoch in _sequence(value, "epochs", faults)]


def _short(names: Iterable[str], faults: list[str]) -> bool:
    """Return whether names are shown as they are."""
    return all(shortened(plain(name), 80) == name for name in names)


def _layers(value: object, faults: list[str], seen: _Seen) -> Mapping[str, Mapping[str, float]]:
    short = partial(_once, seen, _short)
    if isinstance(value, Layers) and value.within(LARGEST) and value.counted() and short(value.layers, "names of layers", faults):
        return value
    layers = {}
    for name, counts in _mapping(value, "layers", faults).items():
        found = _numbers(counts, "layers", faults)
        label = shortened(plain(name), 80)
        if found.get("dense", 0) > 0 and found.get("kept", -1) >= 0:
            layers[label] = found
        else:
            faults.append(f"layer {label} has no count of its weights")
    return layers
