"""When cells were pruned that wait: told to, by their trigger, or where waiting had to end."""

from rlprune.report.comparable import settings
from rlprune.rows import Row


def moment(row: Row) -> int | None:
    """Return the epoch at which a cell was told to prune; None where its own trigger decided."""
    told = settings(row).get("until.epoch")
    return told if isinstance(told, int) else None


def untold(row: Row) -> bool:
    """Return whether a cell is pruned and was not told when, whatever became of it."""
    return row.cut != "nothing" and moment(row) is None


def own(row: Row) -> bool:
    """Return whether a cell's own trigger decided when to prune."""
    return untold(row) and "pruning_epoch" in row.values


def threshold(row: Row) -> float:
    """Return the value under which a cell's trigger fires: of the lazy regime, or of the distance of masks."""
    chosen = settings(row)
    told = chosen.get("until.threshold")
    margin = chosen.get("until.margin", 1.0)
    return told if isinstance(told, float) else (margin if isinstance(margin, float) else 1.0) * (1 - row.sparsity)


def fired(row: Row) -> bool:
    """Return whether the trigger fired; it did not where the latest epoch that it may wait for came first."""
    seen = _seen(row)
    return bool(seen) and seen[-1] < threshold(row)


def overtaken(row: Row) -> bool:
    """Return whether a cell was pruned because waiting had to end, and not by the trigger that it waited for.

    Some triggers have nothing to compare before their second epoch, and waiting may end before it.
    """
    waits = bool(_seen(row)) or (bool(row.epochs) and any(name.startswith("until.") for name in settings(row)))
    return own(row) and waits and not fired(row)


def _seen(row: Row) -> list[float]:
    return [epoch["trigger"] for epoch in row.epochs if "trigger" in epoch]
