"""Which pruner, at which size, and is it sure: the first table of a task."""

from collections.abc import Sequence

from rlprune.report.curves import Comparison, count_of, leaders, percent
from rlprune.report.sure import differences
from rlprune.report.tables import BLOCKS, Entry, Fields, Table, iqm_text, number, share_text
from rlprune.stats import LEVEL
from rlprune.words import several

NAMED = 4
"""Most rivals that are named."""


def question_table(comparison: Comparison) -> Table:
    """Return the best pruner of each cut at each sparsity, and whether its seeds tell it from every other of its cut."""
    lines, fields = [], list[Fields]()
    kept, metric = comparison.against.pruners, comparison.metric
    for sparsity in comparison.sparsities:
        ends = comparison.estimates(sparsity, metric.name)
        for cut in ("channels", "weights"):
            block = [pruner for pruner in comparison.cutting(cut) if pruner in ends]
            if not block:
                continue
            best, *alike = leaders({pruner: ends[pruner] for pruner in block}, metric.sign)
            p, seeds = _told_apart(comparison, sparsity, best, [pruner for pruner in block if pruner != best])
            share = kept[best].at(sparsity) if best in kept else None
            texts = (iqm_text(ends[best]), share_text(share), _sure(p, seeds, cut))
            named = Entry(several([best, *alike]), of=(best, sparsity))
            lines.append((Entry(percent(sparsity)), Entry(BLOCKS[cut]), named, *map(Entry, texts)))
            worst = max(p.values(), default=None)
            found: Fields = {"sparsity": sparsity, "cut": cut, "best": best, "alike": ", ".join(alike)}
            fields.append({**found, "iqm": ends[best].iqm, "p": worst})
    dense = "".join(f"; {pruner} ends at {iqm_text(end)}" for pruner, end in comparison.estimates(0.0, metric.name).items())
    of_dense = f"% {comparison.against.unit} [95 %]"
    header = ("weights removed", "cut", "best", f"{comparison.measured}, IQM [95 %]", of_dense, "is it sure?")
    note = (
        f"{metric.heading}, {'lower' if metric.sign < 0 else 'higher'} is better, {count_of(comparison.seeds)}"
        f"{dense}. Sure: the seeds, paired, tell the best from each other pruner of its cut (sign-flip test of the mean "
        f"difference, corrected by Holm, p ≤ {LEVEL:g}). Where several end alike, numbers are those of the first, whose mean is "
        "best. Choosing the best by the same seeds flatters it."
    )
    return Table(f"{comparison.title}: which pruner, at which size?", note, header, (("", tuple(lines)),), tuple(fields))


def _told_apart(comparison: Comparison, sparsity: float, best: str, others: Sequence[str]) -> tuple[dict[str, float], int]:
    """Return the p-value, corrected, of the best being no better than each other, and the most seeds that one shares with it.

    It is 1 where its mean is worse, too. Seeds count that both have.
    """
    name, sign = comparison.metric.name, comparison.metric.sign
    values = {pruner: comparison.by_seed(pruner, sparsity, name) for pruner in (best, *others)}
    found = {one.other: one for one in differences(((best, other) for other in others), values, sign)}
    p = {other: found[other].p if other in found and sign * found[other].mean > 0 else 1.0 for other in others}
    return p, max((one.improvement.pairs for one in found.values()), default=0)


def _sure(p: dict[str, float], seeds: int, cut: str) -> str:
    if not p:
        return f"only one pruner cuts {cut} here: none to tell it from"
    rivals = [pruner for pruner, value in p.items() if value > LEVEL]
    if not rivals:
        others = f"each of {len(p)} others (p ≤" if len(p) > 1 else f"{', '.join(p)} (p ="
        return f"yes: better than {others} {number(max(p.values()))})"
    least = 2 ** (1 - seeds) * len(p)
    if least > LEVEL and len(rivals) == len(p):
        others = f"any of {len(p)} others" if len(p) > 1 else ", ".join(p)
        return f"no: {count_of((seeds, seeds))} {'is' if seeds == 1 else 'are'} too few to tell {others} from it"
    if len(p) == 1:
        return f"no: {', '.join(p)} cannot be told from it"
    named = ", ".join(rivals[:NAMED]) + (f" and {len(rivals) - NAMED} more" if rivals[NAMED:] else "")
    return f"no: {len(rivals)} of {len(p)} others cannot be told from it: {named}"
