"""Rows to tables: what pruners earn and cost, who beats whom, what failed; as Markdown, LaTeX (booktabs) and CSV."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Literal, TypeAlias

import numpy as np

from rlprune.report.curves import COSTS, Better, Comparison, by_seed, count_of, measure, order, percent
from rlprune.stats import Estimate, estimate, probability_of_improvement
from rlprune.store import Row

MISSING = "–"
BLOCKS = {"nothing": "", "channels": "structured (channels)", "weights": "unstructured (weights)"}

Record: TypeAlias = Mapping[str, str | float | int | None]
"""A line of a CSV file: plain numbers in the units of the row's values, None where nothing was measured."""


@dataclass(frozen=True)
class Cell:
    """Args:
    text: what people read.
    mark: ``best`` or ``second`` of its block and column, or nothing.
    shade: colours the background on the page: 1 full for, 0 full against, 0.5 or None neither.
    hint: shown on hovering on the page.
    """

    text: str
    mark: Literal["best", "second", ""] = ""
    shade: float | None = None
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """Blocks of lines under one header; a block has a heading, or an empty one. ``records`` is what the CSV file says."""

    title: str
    note: str
    header: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[tuple[Cell, ...], ...]], ...]
    records: tuple[Record, ...]


# -- costs -------------------------------------------------------------------------------------------------------


def cost_table(comparison: Comparison, sparsity: float) -> Table:
    """Return metric and costs of every pruner at one sparsity: dense, then channel pruners, then weight pruners.

    Costs are means over the cells that measured them.
    """
    blocks, records = [], []
    for cut, heading in BLOCKS.items():
        pruners = [
            pruner for pruner in comparison.pruners if comparison.cut(pruner) == cut and comparison.cells(pruner, sparsity)
        ]
        summed = {pruner: _summary(comparison, pruner, sparsity) for pruner in pruners}
        records += [_record(comparison, pruner, sparsity, *found) for pruner, found in summed.items()]
        columns = [[Cell(pruner) for pruner in pruners], [Cell(str(one.seeds) if one else "0") for one, _ in summed.values()]]
        judged = [one for one, _ in summed.values()]
        columns += [
            _marked([_mean_std(one) for one in judged], [one and one.mean for one in judged], comparison.better, cut),
            _marked([iqm_text(one) for one in judged], [one and one.iqm for one in judged], comparison.better, cut),
        ]
        for cost in COSTS:
            means = [costs[cost.name] for _, costs in summed.values()]
            texts = [MISSING if mean is None else number(mean * cost.scale) for mean in means]
            columns.append(_marked(texts, means, cost.better, cut))
        if pruners:
            blocks.append((heading, tuple(zip(*columns, strict=True))))
    header = (
        "pruner",
        "seeds",
        f"{comparison.measured}, mean ± std",
        f"{comparison.measured}, IQM [95 %]",
        *(cost.heading for cost in COSTS),
    )
    note = (
        f"{comparison.axis}, {count_of(comparison.seeds)}: mean ± standard deviation, and interquartile mean with its 95 % stratified "
        "bootstrap interval. Costs are means over the cells that measured them; training time counts from the start of a cell to its "
        f"end. Best of a block in bold, second best underlined; {MISSING}: not measured."
    )
    return Table(f"{comparison.title}, {percent(sparsity)} of weights removed", note, header, tuple(blocks), tuple(records))


def _summary(comparison: Comparison, pruner: str, sparsity: float) -> tuple[Estimate | None, dict[str, float | None]]:
    rows = comparison.cells(pruner, sparsity)
    values = list(by_seed(rows, comparison.metric).values())
    found = {cost.name: list(by_seed(rows, cost.name).values()) for cost in COSTS}
    return estimate([values]) if values else None, {name: float(np.mean(seen)) if seen else None for name, seen in found.items()}


def _record(
    comparison: Comparison, pruner: str, sparsity: float, one: Estimate | None, costs: Mapping[str, float | None]
) -> Record:
    low, high = (one and one.interval) or (None, None)
    return {
        "suite": comparison.suite,
        "profile": comparison.profile,
        "task": comparison.task,
        "pruner": pruner,
        "cut": comparison.cut(pruner),
        "sparsity": 0.0 if comparison.cut(pruner) == "nothing" else sparsity,
        "seeds": one.seeds if one else 0,
        "metric": comparison.metric,
        "mean": one and one.mean,
        "std": one and one.std,
        "iqm": one and one.iqm,
        "iqm_low": low,
        "iqm_high": high,
        **costs,
    }


def _marked(texts: Sequence[str], values: Sequence[float | None], better: Better | None, cut: str) -> list[Cell]:
    """Mark the best and second best value of a column, ties included, but no value that more than half of the block share."""
    seen = [None if value is None else float(f"{value:.3g}") for value in values]
    ranked = sorted({value for value in seen if value is not None}, reverse=better == "higher")
    if better is None or cut == "nothing" or len(ranked) < 2:
        return [Cell(text) for text in texts]
    marks: dict[float | None, Literal["best", "second"]] = {ranked[0]: "best", ranked[1]: "second"}
    return [
        Cell(text, marks.get(value, "") if 2 * seen.count(value) <= len(seen) else "")
        for text, value in zip(texts, seen, strict=True)
    ]


# -- who beats whom ----------------------------------------------------------------------------------------------


def improvement_table(comparison: Comparison, sparsity: float) -> Table:
    """Return P(row better than column), paired by seed, at one sparsity; bold where the interval leaves out one half."""
    values = {pruner: by_seed(comparison.cells(pruner, sparsity), comparison.metric) for pruner in comparison.pruners}
    values = {pruner: found for pruner, found in values.items() if found}
    sign = 1 if comparison.better == "higher" else -1
    lines, records = [], []
    for pruner, mine in values.items():
        line = [Cell(pruner)]
        for other, theirs in values.items():
            seeds = sorted(mine.keys() & theirs.keys())
            if other == pruner or not seeds:
                line.append(Cell("" if other == pruner else MISSING))
                continue
            one = probability_of_improvement([sign * mine[seed] for seed in seeds], [sign * theirs[seed] for seed in seeds])
            low, high = one.interval or (None, None)
            hint = f"P({pruner} better than {other}), {one.pairs} pairs" + (
                "" if low is None else f": 95 % interval {low:.2f} to {high:.2f}"
            )
            sure = low is not None and high is not None and not low <= 0.5 <= high
            line.append(Cell(f"{one.probability:.2f}", "best" if sure else "", one.probability, hint))
            records.append(
                {"pruner": pruner, "other": other, "probability": one.probability, "low": low, "high": high, "pairs": one.pairs}
            )
        lines.append(tuple(line))
    note = (
        f"Probability that the pruner of the row ends better than the one of the column with the same seed, {count_of(comparison.seeds)}; "
        "ties count half. Bold where the 95 % Wilson interval leaves out 0.5."
    )
    title = f"{comparison.title}, {percent(sparsity)} of weights removed: probability of improvement"
    return Table(title, note, ("", *values), (("", tuple(lines)),), tuple(records))


# -- what is missing ---------------------------------------------------------------------------------------------


def missing_table(rows: Iterable[Row]) -> Table:
    """Return what failed or was skipped and why, alike ones together, and finished cells without a metric."""
    found: defaultdict[tuple[str, str, str, str, str, float], list[int]] = defaultdict(list)
    for row in rows:
        if row.status != "done":
            reason = (row.error or "no reason recorded").strip().splitlines()[-1]
            found[row.status, row.suite, row.task, row.pruner, reason, row.sparsity].append(row.seed)
        elif measure(row, row.labels["metric"]) is None:
            found[
                "done", row.suite, row.task, row.pruner, f"{row.labels['metric']} is missing or not a number", row.sparsity
            ].append(row.seed)
    header = ("status", "suite", "task", "pruner", "sparsity", "seeds", "reason")
    lines = [
        (status, suite, task, pruner, percent(sparsity), ", ".join(map(str, sorted(seeds))), reason)
        for (status, suite, task, pruner, reason, sparsity), seeds in sorted(
            found.items(), key=lambda item: (item[0][:3], order(item[0][3]), item[0][5])
        )
    ]
    cells = tuple(tuple(Cell(text) for text in line) for line in lines)
    records = tuple(dict(zip(header, line, strict=True)) for line in lines)
    return Table("Failed and skipped cells", "", header, (("", cells),) if cells else (), records)


# -- numbers -----------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Return three significant digits, whole numbers from a thousand on, and k, M, G, T from a hundred thousand on."""
    size = abs(value)
    for suffix, factor in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= max(factor, 1e5) * 0.9995:
            return _signed(f"{value / factor:#.3g}".rstrip(".") + suffix)
    return _signed(f"{value:,.0f}" if size >= 999.5 or size == 0 else f"{value:#.3g}".rstrip("."))


def _mean_std(one: Estimate | None) -> str:
    if one is None:
        return MISSING
    decimals = _decimals(max(abs(one.mean), one.std or 0.0))
    return _signed(f"{one.mean:.{decimals}f}") + ("" if one.std is None else f" ± {one.std:.{decimals}f}")


def iqm_text(one: Estimate | None) -> str:
    """Return ``487 [450, 498]``: interquartile mean and its interval, as far as known."""
    if one is None:
        return MISSING
    decimals = _decimals(max(abs(end) for end in (one.iqm, *(one.interval or ()))))
    spread = "" if one.interval is None else " [{}, {}]".format(*(_signed(f"{end:.{decimals}f}") for end in one.interval))
    return _signed(f"{one.iqm:.{decimals}f}") + spread


def _decimals(largest: float) -> int:
    """Return how many decimals give the largest number three significant digits."""
    return max(0, 2 - floor(log10(largest))) if largest > 0 else 0


def _signed(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text


# -- formats -----------------------------------------------------------------------------------------------------


def to_markdown(table: Table) -> str:
    """Return a Markdown table; best in bold, second best in italics, for Markdown cannot underline."""
    wrap = {"best": "**{}**", "second": "_{}_", "": "{}"}
    lines = ["| " + " | ".join(map(_markdown, table.header)) + " |", "|" + " --- |" * len(table.header)]
    for heading, block in table.blocks:
        if heading:
            lines.append(f"| *{_markdown(heading)}* |" + " |" * (len(table.header) - 1))
        lines += ["| " + " | ".join(wrap[cell.mark].format(_markdown(cell.text)) for cell in line) + " |" for line in block]
    note = table.note.replace("underlined", "in italics")
    return "\n".join([f"**{_markdown(table.title)}**", "", *lines, "", _markdown(note)]).rstrip() + "\n"


def to_latex(table: Table) -> str:
    r"""Return a ``table*`` for a document that loads ``booktabs`` and ``graphicx``."""
    wrap = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}
    body = []
    for place, (heading, block) in enumerate(table.blocks):
        body += [r"\midrule"] if place else []
        body += [rf"\multicolumn{{{len(table.header)}}}{{l}}{{\emph{{{_latex(heading)}}}}} \\"] if heading else []
        body += [" & ".join(wrap[cell.mark].format(_latex(cell.text)) for cell in line) + r" \\" for line in block]
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{_latex(table.title)}. {_latex(table.note)}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"\toprule",
            " & ".join(map(_latex, table.header)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table*}",
            "",
        ]
    )


def to_csv(table: Table) -> str:
    """Return the records with all digits; what was not measured is empty."""
    text = io.StringIO()
    if table.records:
        writer = csv.DictWriter(text, list(table.records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table.records)
    return text.getvalue()


def _markdown(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\|*_<`" else letter for letter in text)


_LATEX = {letter: f"\\{letter}" for letter in "%&#_{}$"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "₂": "$_2$",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
