"""The cells behind the numbers of a page: every line of a table leads to its own."""

from functools import cache

from rlprune import safely
from rlprune.costs.measures import alone
from rlprune.report.curves import Comparison, count_of, measure, percent
from rlprune.report.tables import MISSING, Entry, Table, iqm_text
from rlprune.rows import Row

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Listing:
    """The cells of a comparison, those that diverged among them, in groups of one pruner and sparsity.

    Args:
        comparison: whose cells.
        place: of the comparison on its page; it is part of the anchors.
    """

    def __init__(self, comparison: Comparison, place: int) -> None:
        self._of = comparison
        self._groups: dict[tuple[str, float], list[Row]] = {}
        for pruner in comparison.pruners:
            for sparsity in comparison.sparsities if comparison.cut(pruner) != "nothing" else [0.0]:
                if rows := [*comparison.cells(pruner, sparsity), *comparison.lost_of(pruner, sparsity)]:
                    self._groups[pruner, sparsity] = rows
        self._anchors = {key: f"c{place}-{number}" for number, key in enumerate(self._groups)}

    @property
    def count(self) -> int:
        """Return how many cells there are."""
        return sum(map(len, self._groups.values()))

    def anchor(self, of: tuple[str, float]) -> str:
        """Return where on the page the cells of a pruner at a sparsity stand; nothing where there are none."""
        pruner, sparsity = of
        return self._anchors.get((pruner, sparsity)) or self._anchors.get((pruner, 0.0), "")

    @property
    def anchors(self) -> list[str]:
        """Return the anchors of the table's blocks."""
        return list(self._anchors.values())

    def table(self) -> Table:
        """Return a line a cell: its id, seed, metric, and what it was made by."""
        one, (machines, letters) = self._of, self._machines()
        several = len(one.runs) > 1
        ends = {sparsity: one.estimates(sparsity, one.metric.name) for sparsity in (0.0, *one.sparsities)}
        blocks, known = [], cache(Entry)  # many cells say the same
        for (pruner, sparsity), rows in self._groups.items():
            end = ends[sparsity].get(pruner)
            seeds = end.seeds if end else len(rows)
            heading = f"{pruner}, {percent(sparsity)} removed: {iqm_text(end)}, {count_of((seeds, seeds))}"
            lines = []
            for row in sorted(rows, key=lambda row: (row.seed, row.id)):
                values = [_shown(measure(row, name)) for name in (one.metric.name, "sparsity_weights", "pruning_epoch")]
                texts = [row.id, str(row.seed), *values, _company(row), _version(row), letters[id(row.machine)]]
                texts += [row.labels.get("run", "")] if several else []
                lines.append((Entry(texts[0]), *map(known, texts[1:])))
            blocks.append((heading, tuple(lines)))
        header = ["cell", "seed", one.measured, "share removed", "epoch of pruning", "trained", "commit", "machine"]
        told = "; ".join(f"{letter}: {machine}" for machine, letter in machines.items() if machine)
        note = (
            "rlprune show OUT CELL prints all that is known of a cell, its settings and layers, and the command that runs it "
            f"alone again; OUT is the folder of the run, and the first digits of CELL are enough. Machines: {told or 'unknown'}."
        )
        title = f"{one.title}: the {self.count:,} cells behind these numbers"
        return Table(title, note, (*header, *(["run"] if several else [])), tuple(blocks), ())

    def _machines(self) -> tuple[dict[str, str], dict[int, str]]:
        """Return what machines are called to a letter, and the place of what a row says of its own, which many share, to one."""
        own = {id(row.machine): row for rows in self._groups.values() for row in rows}
        named = {place: _machine(row) for place, row in own.items()}
        letters = {machine: _letters(place) if machine else MISSING for place, machine in enumerate(sorted({*named.values()}))}
        return letters, {place: letters[machine] for place, machine in named.items()}


def _letters(place: int) -> str:
    return LETTERS[place] if place < len(LETTERS) else _letters(place // len(LETTERS) - 1) + LETTERS[place % len(LETTERS)]


def _machine(row: Row) -> str:
    cores = f"{row.machine['cores']} cores" if row.machine.get("cores") else ""
    return safely.plain(", ".join(filter(None, (row.machine.get("cpu"), row.machine.get("gpu"), cores))))


def _version(row: Row) -> str:
    return row.versions.get("commit") or row.versions.get("rlprune") or MISSING


def _company(row: Row) -> str:
    return "alone" if alone(row.config, row.values) else "in a fleet"


def _shown(value: float | None) -> str:
    return MISSING if value is None else f"{value:.6g}".replace("-", "−")
