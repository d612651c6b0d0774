"""What the EarlyCroP paper prints, to be shown beside what came out here; the numbers are in ``printed.toml``."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Printed:
    """A number that the paper prints.

    Args:
        sparsity: share of weights removed; of Dense that of the pruners beside it.
        value: in the unit that figures and tables show.
        budget: epochs trained, where the paper has several.
    """

    pruner: str
    sparsity: float
    value: float
    budget: int | None = None

    def __str__(self) -> str:
        return f"{self.value:#.3g}".rstrip(".") + (f" ({self.budget})" if self.budget else "")


def printed(task: str, measure: str) -> tuple[Printed, ...]:
    """Return what the paper prints of a task by a measure."""
    return tuple(
        Printed(pruner, entry["sparsity"], value, entry.get("budget"))
        for entry in _read()["value"]
        if (entry["task"], entry["measure"]) == (task, measure)
        for pruner, value in entry["pruners"].items()
    )


def tasks() -> set[str]:
    """Return the tasks of which the paper prints anything that is at hand."""
    return {entry["task"] for entry in _read()["value"]}


def note(table: str) -> str:
    """Return what the paper prints that belongs to no line of one of its tables."""
    return str(_read()["notes"].get(table, ""))


def prices() -> dict[str, float]:
    """Return USD an hour of a worker, as appendix A has them."""
    return dict(_read()["prices"])


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
