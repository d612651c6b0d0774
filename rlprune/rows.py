"""A row of results: what is known of a cell, and what was measured; epochs and layers in a tenth of the room of mappings."""

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from operator import le
from typing import Any, SupportsFloat, overload

from rlprune.costs import judged
from rlprune.costs.judged import Judged
from rlprune.reason import reason

LARGEST = 1e100
"""What is larger, squares of which would overflow, is no measurement."""

COLUMNS = ("id", "suite", "profile", "task", "pruner", "cut", "sparsity", "seed", "status", "error", "started", "ended")
DOCUMENTS = ("config", "labels", "judged", "versions", "machine")


@dataclass(frozen=True)
class Identity:
    """What is known of a cell before it runs.

    Args:
        id: hash of the validated configuration.
        suite: name of the suite that asked for it.
        profile: which sizes of the suite.
        task: name of the task.
        pruner: name of the pruner.
        cut: ``weights``, ``channels`` or ``nothing``.
        sparsity: requested share of weights removed; 0 for a pruner that removes nothing.
        seed: number of the seed.
        config: the validated configuration, as JSON can hold it.
        labels: ``task_title`` and ``device``; ``suite_title``, ``suite_file``, ``folder`` and ``data`` where there are such.
        judged: what it is judged by, as its task had it when it ran.
    """

    id: str
    suite: str
    profile: str
    task: str
    pruner: str
    cut: str
    sparsity: float
    seed: int
    config: Mapping[str, object]
    labels: Mapping[str, str]
    judged: Judged


@dataclass(frozen=True)
class Row(Identity):
    """What is recorded for a cell. What could not be measured is absent, never zero.

    Args:
        status: ``done``, ``failed`` or ``skipped``.
        error: why a cell failed or was skipped, in one line; of a failed one the traceback below it (see ``reason``).
        started: ISO 8601, UTC.
        ended: ISO 8601, UTC.
        versions: of rlprune, its commit, Python and libraries.
        machine: processor, GPU, cores, and how memory and energy were measured.
        values: scalar measures by name.
        epochs: measures by name, one mapping a trained epoch, in order.
        layers: parameter name to ``kept`` (weights left) and ``dense`` (weights of the dense network), in the network's order.
    """

    status: str
    error: str | None
    started: str
    ended: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    values: Mapping[str, float]
    epochs: Sequence[Mapping[str, float]]
    layers: Mapping[str, Mapping[str, float]]


class _Block:
    """Numbers in one block, all of one name after all of another: a tenth of what they take as mappings.

    Args:
        names: what is measured, by alphabet, and which place it has; many cells share one.
        numbers: NaN where something was not measured.
    """

    __slots__ = ("_most", "names", "numbers")

    def __init__(self, names: Mapping[str, int], numbers: "array[float]") -> None:
        self.names, self.numbers = names, numbers
        self._most = inf

    def within(self, most: float) -> bool:
        """Return whether no number is farther from zero; what was found is remembered."""
        if self._most > most:
            together = sum(map(abs, self.numbers))  # no number is larger than all together
            self._most = together if together <= most else max((abs(one) for one in self.numbers if one == one), default=0.0)
        return self._most <= most

    def _line(self, place: int) -> dict[str, float]:
        lines = len(self.numbers) // len(self.names)
        return {name: one for name, one in zip(self.names, self.numbers[place::lines], strict=True) if one == one}

    def column(self, name: str) -> "array[float]":
        """Return one measure of all lines; nothing where none has it."""
        if (place := self.names.get(name)) is None:
            return array("d")
        lines = len(self.numbers) // len(self.names)
        return self.numbers[place * lines : (place + 1) * lines]


class Epochs(_Block, Sequence[Mapping[str, float]]):
    """The epochs of a cell as mappings, made when they are asked for."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self.numbers) // len(self.names)

    @overload
    def __getitem__(self, index: int) -> dict[str, float]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, float]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, float] | list[dict[str, float]]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        return self._line(range(len(self))[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


class Layers(_Block, Mapping[str, Mapping[str, float]]):
    """The layers of a cell as mappings, made when they are asked for.

    Args:
        layers: their names in the network's order, and which place each has; many cells share one.
    """

    __slots__ = ("_counted", "layers")

    def __init__(self, layers: Mapping[str, int], names: Mapping[str, int], numbers: "array[float]") -> None:
        super().__init__(names, numbers)
        self.layers = layers
        self._counted: bool | None = None

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> dict[str, float]:
        return self._line(self.layers[name])

    def counted(self) -> bool:
        """Return whether all have weights, and a count of those left; what was found is remembered."""
        if self._counted is None:
            kept, dense = self.column("kept"), self.column("dense")
            self._counted = len(kept) == len(dense) > 0 and all(map(le, kept, dense)) and min(kept) >= 0 < min(dense)
        return self._counted

    def __repr__(self) -> str:
        return repr(dict(self))


def column(epochs: Sequence[Mapping[str, float]], name: str) -> Sequence[float]:
    """Return one measure of every epoch, NaN where one lacks it; nothing where all do."""
    if isinstance(epochs, Epochs):
        return epochs.column(name)
    return [epoch.get(name, nan) for epoch in epochs] if any(name in epoch for epoch in epochs) else []


def counts(layers: Mapping[str, Mapping[str, float]]) -> Iterable[tuple[str, float, float]]:
    """Return of each layer its name, how many of its weights are left and how many it had."""
    if isinstance(layers, Layers):
        return zip(layers, layers.column("kept"), layers.column("dense"), strict=True)
    return ((name, layer["kept"], layer["dense"]) for name, layer in layers.items())


def measured(values: Mapping[Any, Any]) -> dict[str, float]:
    """Leave out what is no number: a measurement that failed is absent."""
    if {*map(type, values)} <= {str} and {*map(type, values.values())} <= {float} and sum(map(abs, values.values())) <= LARGEST:
        return dict(values)
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(name, str) and isinstance(value, (float, SupportsFloat)) and isfinite(value)
        if abs(float(value)) <= LARGEST
    }


def as_document(part: Judged | Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of a row as JSON can hold it."""
    return judged.document(part) if isinstance(part, Judged) else dict(part)


def table(rows: Sequence[Row]) -> tuple[list[str], Iterator[list[object]]]:
    """Return the header and the lines of a table with one line a cell."""
    nested = ("judged", "config")
    flat = [{**vars(row), **{name: dict(_flat(as_document(getattr(row, name)))) for name in nested}} for row in rows]
    parts = ("labels", "judged", "values", "config", "machine", "versions")
    names = {part: sorted({name for row in flat for name in row[part]}) for part in parts}
    header = [*COLUMNS, *((name if part == "values" else f"{part}.{name}") for part in parts for name in names[part])]

    def line(row: Mapping[str, Any]) -> list[object]:
        plain = [row[name] for name in COLUMNS]
        plain[COLUMNS.index("error")] = reason(row["error"]) if row["status"] != "done" else ""
        return plain + [row[part].get(name) for part in parts for name in names[part]]

    return header, map(line, flat)


def _flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    """Yield the keys of nested tables, dotted, with their values."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", json.dumps(value) if isinstance(value, list) else value
