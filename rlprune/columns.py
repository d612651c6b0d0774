"""What the file of results holds, as it is used: documents in JSON, and blocks of numbers. What is of no use is told."""

import json
import marshal
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from math import isnan, nan
from typing import Any

from rlprune.costs import judged
from rlprune.rows import LARGEST, Epochs, Layers, measured

_LABELS = ("task_title", "device")
_CHOICES = {"cut": ("weights", "channels", "nothing"), "status": ("done", "failed", "skipped")}


# -- documents ---------------------------------------------------------------------------------------------------


def decoded_of(cell: Mapping[str, Any], tell: Callable[[str], object]) -> dict[str, Any]:
    """Return the columns of a cell as they are used; ``tell`` is called with what is left out of it.

    Raises:
        ValueError: one is of no use; the message says which.
    """
    decoded = dict(cell)
    for name, value in cell.items():
        match name:
            case "sparsity":
                right = isinstance(value, float | int) and 0 <= value < 1
            case "seed":
                right = isinstance(value, int) and value >= 0
            case "cut" | "status":
                right = value in _CHOICES[name]
                decoded[name] = once(value)
            case "error":
                right = value is None or isinstance(value, str)
            case "config" | "labels" | "judged" | "versions" | "machine":
                decoded[name] = _own(value) if name == "config" else _shared(name, value)
                right = decoded[name] is not None
            case _:
                right = isinstance(value, str)
                decoded[name] = once(value)
        if not right:
            raise ValueError(f"its {name} is {str(value)[:40]!r}")
    if "labels" in decoded:
        if "judged" not in decoded:
            decoded["labels"], document = apart(decoded["labels"])
            decoded["judged"] = judged.read(document, tell)
        else:
            decoded["judged"], odd = decoded["judged"]
            for told in odd:
                tell(told)
        if missing := [name for name in _LABELS if name not in decoded["labels"]]:
            raise ValueError(f"it has no label '{missing[0]}'")
        if not decoded["judged"].metric.name:
            raise ValueError("it is judged by no metric")
    return decoded


@lru_cache(4096)
def _shared(name: str, text: object) -> Any:
    """Return a document as it is used, or None where there is none; thousands of cells have one alike, and hold it once."""
    if (document := document_of(text)) is None:
        return None
    match name:
        case "judged":
            odd: list[str] = []
            return judged.read(document, odd.append), odd
        case "labels":
            return {key: value for key, value in document.items() if isinstance(value, str)}
        case _:
            return {key: str(value) for key, value in document.items()}


def _own(text: object) -> dict[str, Any] | None:
    """Return a cell's configuration, or None where there is none; its recipe and settings are held once for all cells alike."""
    if document := document_of(text):
        with suppress(RecursionError):
            return {
                once(name): _alike(marshal.dumps(part, 2)) if type(part) is dict else once(part)
                for name, part in document.items()
            }
    return document


@lru_cache(65536)
def _alike(part: bytes) -> Any:
    return marshal.loads(part)  # noqa: S302 (of this process's own)


def apart(labels: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the labels of schema 1 without what a cell is judged by, and that as a document."""
    own = {name: value for name, value in labels.items() if isinstance(value, str)}
    left, also, anchors = dict(labels), [], {}
    for name in own:
        kind, _, measure = name.partition("_")
        if kind == "also":
            also.append({"name": measure, "title": own[name], "better": own.get(f"better_{measure}", "higher") or None})
        elif kind == "anchor":
            anchors[measure] = float(own[name]) if is_number(own[name]) else own[name]
        if kind in ("also", "anchor", "better", "metric", "curve", "unit"):
            del left[name]
    document = {
        "metric": {"name": own.get("metric", ""), "title": own.get("metric_title", ""), "better": own.get("better") or None},
        "curve": {
            "name": own.get("curve", "return_train"),
            "title": own.get("curve_title", "return (training games)"),
            "better": None,
        },
        "unit": own.get("unit", ""),
        "also": also,
        "anchors": anchors,
    }
    return left, document


def document_of(text: object) -> dict[str, Any] | None:
    """Return what a column of JSON holds; None where it is none, or no table."""
    try:
        document = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def metric_of(document: str) -> object:
    """Return the name of the metric that a stored document says a cell is judged by, None where it cannot be read."""
    try:
        return json.loads(document)["metric"]["name"]
    except (ValueError, KeyError, TypeError):
        return None


def is_number(text: str) -> bool:
    """Say whether a text is a number that may be a measurement."""
    try:
        return abs(float(text)) <= LARGEST
    except ValueError:
        return False


def once(name: Any) -> Any:
    """Return a name that is held once, however many cells have it."""
    return sys.intern(name) if type(name) is str else name


# -- blocks of numbers -------------------------------------------------------------------------------------------


def block(lines: Sequence[Mapping[str, float]]) -> "tuple[str, array[float]]":
    """Return what is measured and its numbers; a line that has not all of them has NaN there."""
    names = sorted({name for line in lines for name in line})
    return json.dumps(names), array("d", [line.get(name, nan) for name in names for line in lines])


def little(numbers: "array[float]") -> "array[float]":
    """Return numbers with their little end first, or those that have it first."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


@lru_cache(4096)
def places_of(text: object) -> dict[str, int] | None:
    """Return names and their places in a list; None where there is no list of several names."""
    try:
        names = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return None
    places = {once(name): place for place, name in enumerate(names)}
    return places if len(places) == len(names) else None


def _numbers(blob: object, lines: int) -> "array[float] | None":
    """Return numbers that are a whole number of lines; None where they are not."""
    if not isinstance(blob, bytes) or not blob or len(blob) % (8 * lines):
        return None
    return little(array("d", blob))


def epochs_of(names: object, blob: object) -> tuple[Sequence[Mapping[str, float]], list[str]]:
    """Return the epochs that a block holds, and in words if not all of it is some."""
    if (places := places_of(names)) is None or (numbers := _numbers(blob, len(places))) is None:
        return [], ["its epochs"]
    epochs = Epochs(places, numbers)
    if epochs.within(LARGEST) and not isnan(sum(epochs.column("trained") or [nan])):
        return epochs, []
    known = list(map(measured, epochs))
    return [epoch for epoch in known if "trained" in epoch], ["of its epochs"]


def layers_of(layers: object, names: object, blob: object) -> tuple[Mapping[str, Mapping[str, float]], list[str]]:
    """Return the layers that a block holds, and in words what in it is none."""
    own, places = places_of(layers), places_of(names)
    if own is None or places is None or (numbers := _numbers(blob, len(places))) is None:
        return {}, ["its layers"]
    if len(numbers) != len(own) * len(places):
        return {}, ["its layers"]
    found = Layers(own, places, numbers)
    if found.within(LARGEST) and found.counted():
        return found, []
    return counted_of({name: measured(layer) for name, layer in found.items()})


def counted_of(layers: Mapping[Any, Mapping[str, float]]) -> tuple[Mapping[str, Mapping[str, float]], list[str]]:
    """Return the layers whose weights are counted, and what the others are called."""
    counted = {
        name: layer
        for name, layer in layers.items()
        if isinstance(name, str) and 0 <= layer.get("kept", -1) <= layer.get("dense", 0) != 0
    }
    odd = [f"layer {name!r}" for name in layers if name not in counted]
    names, numbers = block(list(counted.values()))
    places = places_of(json.dumps(list(counted)))
    return Layers(places, places_of(names) or {}, numbers) if places and numbers else {}, odd
